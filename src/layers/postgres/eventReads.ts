/**
 * Reads of events from the log: a page after a number, and the newest ones, each by one statement. The events of a device are
 * found through its blocks, its states through an index of their own, and everything else through the numbers alone.
 */
import { PgTypes } from "@effect/sql-pg"
import type { EventKind, LoggedEvent } from "../../domain/Event.ts"
import type { DeviceId, EventId } from "../../domain/Ids.ts"
import type { Via } from "../../domain/Via.ts"
import type { EventFilter } from "../../services/EventLog.ts"
import { lastOfBlocks, reachOf, readBlocks } from "./deviceBlocks.ts"

/**
 * Maximum number of events that one read examines when it filters by kind, which has no index: of all events, or of the
 * requested device's. A reader of rare events continues at a later `through` instead of holding a connection over millions of rows.
 */
export const scanSpan = 50_000

/** One event. Times are milliseconds since 1970; `bytes` is the length of the data. */
export interface EventRow {
  readonly seq: number
  readonly id: string
  readonly kind: string
  readonly device_id: string
  readonly occurred_at: string
  readonly recorded_ms: number
  readonly via: string
  readonly data: string
  readonly bytes: number
}

/** A row of a page: the page's information about the log, and an event; a page without events has one row without one. */
export type PageRow =
  & {
    readonly head: number
    readonly oldest: number
    readonly log_id: string
    readonly anchor_id: string | null
    readonly after_id: string | null
    readonly through_id: string | null
    readonly upto: number
  }
  & (EventRow | { readonly seq: null })

type Statement = readonly [text: string, parameters: ReadonlyArray<unknown>]

const columns = `e.seq::float8 as seq, e.id::text as id, e.kind, e.device_id, e.occurred_at,
  (extract(epoch from e.recorded_at) * 1000)::float8 as recorded_ms, e.via, e.data::text as data, e.bytes`

/** The newest event's number: retention never deletes it, so the log's head needs no row of its own. */
export const headSql = "coalesce((select n.seq from events n order by n.seq desc limit 1), 0)"

/** See `LogStore.read`: the page's information about the log and its events are of one snapshot. */
export const pageStatement = (
  options: EventFilter & {
    readonly after: number
    readonly limit: number
    readonly anchor: number
    readonly bytesMax: number
  }
): Statement => {
  const { conditions, parameters, seeks, way } = filterSql(options, 5)
  const ofDevice = { index: "device", lowest: "w.lowest", highest: "w.highest", newestFirst: false } as const
  return [
    `with h as materialized (select l.*, ${headSql} as head, greatest($1 + 1, l.oldest) as lowest from log_identity l),
        w as materialized (
          select h.*, least(h.head, ${
      way._tag === "Device" ? lastOfBlocks("h.lowest") : seeks ? `$1 + ${scanSpan}` : "h.head"
    }) as highest from h
        ),
        u as materialized (
          select w.*, ${
      way._tag === "Device" && seeks
        ? `coalesce(${reachOf(scanSpan, { ...ofDevice, conditions: [way.condition] })}, w.highest)`
        : "w.highest"
    } as upto from w
        ),
        v as materialized (
          select u.*, (select t.id::text from events t where t.seq = greatest($1, u.upto)) as through_id from u
        )
        select v.head::float8 as head, v.oldest::float8 as oldest, v.log_id::text as log_id, v.upto::float8 as upto, v.through_id,
          (select a.id::text from events a where a.seq = $3) as anchor_id,
          (select a.id::text from events a where a.seq = $1) as after_id,
          ${columns}
        from v
        left join lateral (
          select * from (
            select e.*, sum(e.bytes) over (order by e.seq) - e.bytes as ahead from ${
      way._tag === "Device"
        ? readBlocks({ ...ofDevice, lowest: "v.lowest", highest: "v.upto", conditions, limit: "$2" })
        : `(
              select * from events e where e.seq > $1 and e.seq <= v.upto and ${conditions.join(" and ")}
              order by e.seq limit $2
            )`
    } e
          ) e where e.ahead < $4
        ) e on true order by e.seq`,
    [
      PgTypes.int8(BigInt(options.after)),
      PgTypes.int8(BigInt(options.limit)),
      PgTypes.int8(BigInt(options.anchor)),
      PgTypes.int8(BigInt(options.bytesMax)),
      ...parameters
    ]
  ]
}

/** See `LogStore.latest`. */
export const latestStatement = (options: EventFilter & { readonly limit: number }): Statement => {
  const { conditions, parameters, seeks, way } = filterSql(options, 2)
  const ofDevice = { index: "device", lowest: "h.oldest", highest: "h.head", newestFirst: true } as const
  const text = way._tag !== "Device"
    ? `select ${columns} from ${
      seeks ? `(select * from events e order by e.seq desc limit ${scanSpan})` : "events"
    } e where ${conditions.join(" and ")} order by e.seq desc limit $1`
    : `with h as materialized (select l.oldest, ${headSql} as head from log_identity l),
    w as materialized (
      select h.head, coalesce(${
      seeks ? reachOf(scanSpan, { ...ofDevice, conditions: [way.condition] }) : "null"
    }, h.oldest) as lowest from h
    )
    select ${columns} from w cross join lateral ${
      readBlocks({ ...ofDevice, lowest: "w.lowest", highest: "w.head", conditions, limit: "$1" })
    } e order by e.seq desc`
  return [text, [PgTypes.int8(BigInt(options.limit)), ...parameters]]
}

/** Has its own index, which only a statement that names it can use: a device's few states among its messages. */
const stateKind = "device.state"

/** The way to the events of a filter: the device's blocks, the index of its states, or the numbers alone. */
type Way =
  | { readonly _tag: "Device"; readonly condition: string }
  | { readonly _tag: "States" }
  | { readonly _tag: "Numbers" }

interface Filter {
  readonly conditions: ReadonlyArray<string>
  /** Numbered from `first`. */
  readonly parameters: ReadonlyArray<unknown>
  readonly way: Way
  /** Whether matching events may be rare on this way, so that a reader examines a bounded number of events. */
  readonly seeks: boolean
}

/**
 * Conditions of a filter. Only a device has an index. For other conditions, a reader examines a bounded number of
 * events at a time: of all of them, or of one device's.
 */
const filterSql = (filter: EventFilter, first: number): Filter => {
  const parameters: Array<unknown> = []
  const parameter = (value: unknown): string => {
    parameters.push(value)
    return `$${first + parameters.length - 1}`
  }
  const device = filter.device === undefined ? null : `e.device_id = ${parameter(PgTypes.text(filter.device))}`
  const states = device !== null && filter.kinds?.length === 1 && filter.kinds[0] === stateKind
  const conditions = device === null ? [] : [device]
  if (states) conditions.push(`e.kind = '${stateKind}'`)
  if (filter.visible !== undefined) conditions.push(`e.device_id = any(${parameter([...filter.visible])}::text[])`)
  if (filter.kinds !== undefined && !states) conditions.push(`e.kind = any(${parameter([...filter.kinds])}::text[])`)
  // No reason to examine fewer events at a time: hardly any are hidden.
  if (filter.hidden !== undefined) conditions.push(`e.kind <> all(${parameter([...filter.hidden])}::text[])`)
  if (conditions.length === 0) conditions.push("true")
  return {
    conditions,
    parameters,
    way: device === null ? { _tag: "Numbers" } : states ? { _tag: "States" } : { _tag: "Device", condition: device },
    // A device is either visible to its reader or not, so that condition alone needs no search.
    seeks: !states && (filter.kinds !== undefined || (device === null && filter.visible !== undefined))
  }
}

export const toEvent = (row: EventRow): LoggedEvent => ({
  seq: row.seq,
  id: row.id as EventId,
  kind: row.kind as EventKind,
  deviceId: row.device_id as DeviceId,
  occurredAt: row.occurred_at,
  recordedAt: new Date(row.recorded_ms).toISOString(),
  via: row.via as Via,
  data: row.data,
  bytes: row.bytes
})
