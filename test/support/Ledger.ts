/**
 * The ledgers of one run, each kept by another party: the events that the gateway emitted, the rows of the log, the
 * messages that a recorder beside the program received from the broker, and what a reader of the event stream received.
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
  /** The message that it is about, where it is about one. */
  readonly target?: string | undefined
  /** Of an ack: how far the messages have come. */
  readonly status?: string | undefined
  /** Acks that a reader may derive from it. */
  readonly implied?: ReadonlyArray<string> | undefined
  /** False for a message that the gateway's history does not have. */
  readonly kept?: boolean | undefined
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
export const logQuery =
  "SELECT seq, id::text AS id, kind, device_id, via, occurred_at, data::text AS data FROM events ORDER BY seq"

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

/** Messages whose status is not the furthest that the acks in the log say of them. */
export const readRegressed = (url: string): Effect.Effect<ReadonlyArray<string>> =>
  query<{ readonly message: string; readonly status: string | null; readonly furthest: string }>(
    url,
    `with acks as (
      select data->>'messageId' as message, max(columba_rank(data->>'status')) as furthest
      from events where kind = 'message.ack' and data->>'messageId' is not null group by 1
    ), messages as (
      select distinct on (e.message) e.message, e.data->>'messageId' as id from events e
      where e.kind = 'message.sent' and e.message is not null
    )
    select m.id as message, s.status, columba_status(a.furthest) as furthest
    from acks a join messages m on m.id = a.message left join message_status s on s.message = m.message
    where a.furthest > columba_rank(coalesce(s.status, 'sent'))`
  ).pipe(
    Effect.map((rows) =>
      rows.map(({ furthest, message, status }) => `${message} is ${status ?? "sent"} and was ${furthest}`)
    )
  )

/** One statement on a connection of its own. */
export const query = <Row>(url: string, text: string): Effect.Effect<ReadonlyArray<Row>> =>
  Effect.scoped(Effect.flatMap(
    PgClient.makeClient({ url: Redacted.make(url) }),
    (client) => client.unsafe<Row & object>(text)
  )).pipe(Effect.provide(Reactivity.layer), Effect.orDie)

/** The lines of the recorder. A last line that is cut by a crash of the recorder is an error. */
export const readRecorded = (file: string): ReadonlyArray<Delivered> =>
  readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Delivered)
