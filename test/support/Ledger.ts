/**
 * The ledgers of one run, each written by another party: the events that the gateway emitted, the rows of the log, the
 * messages that a recorder outside the program received from the broker, and what a reader of the event stream received.
 * `Checker` compares them.
 */
import { readFileSync } from "node:fs"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import type { LedgerEntry } from "../../src/simulator/Ledger.ts"

/** One event that the gateway emitted. An ack of several messages has several ids. */
export interface Emitted {
  readonly device: string
  readonly event: string
  readonly ids: ReadonlyArray<string>
  /** The number of sockets it was sent to. */
  readonly sockets: number
  /** The message that it refers to, if any. */
  readonly target?: string | undefined
  /** Of an ack: the status that the messages have reached. */
  readonly status?: string | undefined
  /** Acks that a reader may derive from it. */
  readonly implied?: ReadonlyArray<string> | undefined
  /** False for a message that the gateway's history does not have. */
  readonly kept?: boolean | undefined
  /** True for an event that counts as a repeat of another. */
  readonly alike?: boolean | undefined
  /** Of a message or an edit. */
  readonly text?: string | undefined
}

export interface TimedEmitted extends Emitted {
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** One row of the log. */
export interface Committed {
  readonly seq: number
  readonly id: string
  readonly kind: string
  readonly deviceId: string
  readonly via: string
  readonly occurredAt?: string | undefined
  readonly data: Readonly<Record<string, unknown>>
}

/** One message as the recorder received it, in order of arrival. */
export interface Delivered {
  readonly messageId: string
  readonly seq: number
  readonly kind: string
  readonly deviceId: string
  /** The broker had delivered it to the recorder before: this repeat is not caused by Columba. */
  readonly redelivered: boolean
}

/** One event as a reader of the event stream received it, in order of arrival. */
export interface Streamed {
  readonly seq: number
  readonly id: string
}

export const toEmitted = (entry: LedgerEntry): TimedEmitted => ({
  device: entry.device,
  event: entry.event,
  ids: entry.ids ?? (entry.id === "" ? [] : [entry.id]),
  sockets: entry.sockets,
  target: entry.target,
  status: entry.status,
  implied: entry.implied,
  kept: entry.kept,
  alike: entry.alike,
  text: entry.text,
  at: entry.at
})

export interface LogRow {
  readonly seq: unknown
  readonly id: string
  readonly kind: string
  readonly device_id: string
  readonly via: string
  readonly occurred_at?: string
  readonly data: string
}

/** `data` as text: it is parsed here, because the database cannot hold every escape as a value. */
const columns = "seq, id::text AS id, kind, device_id, via, occurred_at, data::text AS data"
export const logQuery = `SELECT ${columns} FROM events ORDER BY seq`
const messagesQuery = `SELECT ${columns} FROM events WHERE kind IN ('message.received', 'message.sent') ORDER BY seq`

export const toCommitted = (row: LogRow): Committed => ({
  seq: Number(row.seq),
  id: row.id,
  kind: row.kind,
  deviceId: row.device_id,
  via: row.via,
  occurredAt: row.occurred_at,
  data: JSON.parse(row.data) as Readonly<Record<string, unknown>>
})

/** The whole log, read directly from the database. */
export const readLog = (url: string): Effect.Effect<ReadonlyArray<Committed>> =>
  query<LogRow>(url, logQuery).pipe(Effect.map((rows) => rows.map(toCommitted)))

/** Its messages alone. */
export const readLoggedMessages = (url: string): Effect.Effect<ReadonlyArray<Committed>> =>
  query<LogRow>(url, messagesQuery).pipe(Effect.map((rows) => rows.map(toCommitted)))

const ranks = ["pending", "sent", "delivered", "read", "played"]

/** Messages whose status is not the furthest of their acks in the log. */
export const readRegressed = (url: string): Effect.Effect<ReadonlyArray<string>> =>
  query<{ readonly kind: string; readonly message: string; readonly status: string | null; readonly data: string }>(
    url,
    `select e.kind, e.message::text as message, s.status, e.data::text as data
    from events e left join message_status s on s.message = e.message
    where e.kind = 'message.ack' or (e.kind = 'message.sent' and e.message is not null) order by e.seq`
  ).pipe(
    Effect.map((rows) => {
      const read = rows.map((row) => ({ ...row, data: JSON.parse(row.data) as Record<string, unknown> }))
      const furthest = new Map<string, number>()
      for (const { data, kind } of read) {
        if (kind !== "message.ack" || typeof data["messageId"] !== "string") continue
        const rank = ranks.indexOf(String(data["status"]))
        furthest.set(data["messageId"], Math.max(furthest.get(data["messageId"]) ?? -1, rank))
      }
      const sent = new Map(read.flatMap((row) => row.kind === "message.sent" ? [[row.message, row] as const] : []))
      return [...sent.values()].flatMap(({ data, message, status }) => {
        const rank = furthest.get(String(data["messageId"])) ?? -1
        return rank > ranks.indexOf(status ?? "sent")
          ? [`${message} is ${status ?? "sent"} and was ${ranks[rank]}`]
          : []
      })
    })
  )

/** One statement on its own connection. */
export const query = <Row>(
  url: string,
  text: string,
  parameters: ReadonlyArray<unknown> = []
): Effect.Effect<ReadonlyArray<Row>> =>
  Effect.scoped(Effect.flatMap(
    PgClient.makeClient({ url: Redacted.make(url) }),
    (client) => client.unsafe<Row & object>(text, parameters)
  )).pipe(Effect.provide(Reactivity.layer), Effect.orDie)

/** The lines of the recorder. A last line that is cut by a crash of the recorder is an error. */
export const readRecorded = (file: string): ReadonlyArray<Delivered> =>
  readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Delivered)
