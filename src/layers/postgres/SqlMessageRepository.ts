/**
 * Reads messages, which are stored in the log: a message is the event that brought it, and its status where that has changed
 * since. Pages are ordered by the event's number, newest first.
 */
import { Effect, Layer } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { EventKind } from "../../domain/Event.ts"
import type { VisibleDevices } from "../../contracts/Authorization.ts"
import type { MessageData } from "../../domain/EventData.ts"
import type { DeviceId, MessageId } from "../../domain/Ids.ts"
import { AckStatus } from "../../domain/Message.ts"
import type { Message } from "../../domain/Message.ts"
import { MessageNotFound } from "../../domain/MessageErrors.ts"
import type { Via } from "../../domain/Via.ts"
import { viewMessage } from "../../log/messageView.ts"
import { formatMessageId, parseMessageId } from "../../services/EventIdentity.ts"
import { MessageRepository } from "../../services/MessageRepository.ts"
import { eventsBelow, formatPlace, mergePages, newest, parsePlace, placePattern } from "../../services/messagePlaces.ts"
import type { Found, Place, Placed } from "../../services/messagePlaces.ts"
import { decodeCursor, encodeCursor, pageLimit } from "../../services/pageCursor.ts"
import { readText } from "../../services/sendDrafts.ts"
import { makeAnswered } from "./Migrations.ts"
import { headSql } from "./eventReads.ts"
import { firstOfBlocks, reachOf, readBlocks } from "./deviceBlocks.ts"
import { listedColumns, listSends, toMessage as toSentMessage } from "./sendLists.ts"
import type { ListedRow } from "./sendLists.ts"
import { toSend } from "./sendRows.ts"

const nothing: Found = { rows: [], through: null }

interface MessageRow {
  readonly seq: number
  readonly message: string
  readonly kind: string
  readonly device_id: string
  readonly occurred_at: string
  readonly recorded_ms: number
  readonly via: string
  readonly data: string
  readonly status: string | null
  readonly updated_ms: number | null
}

const columns = `e.seq::float8 as seq, e.message::text as message, e.kind, e.device_id, e.occurred_at,
  (extract(epoch from e.recorded_at) * 1000)::float8 as recorded_ms, e.via, e.data::text as data,
  s.status, (extract(epoch from s.updated_at) * 1000)::float8 as updated_ms`

/**
 * Maximum number of events that one page examines for conditions without an index (a status, a chat of any device, a
 * device's messages among its acks): some tens of milliseconds. More indexes would cost every event that is written.
 */
const scanMax = 50_000

/** Growth factor of the number of a device's events that are examined when the ones before did not fill the page. */
const lookGrowth = 8

type Asked = Parameters<MessageRepository["Service"]["list"]>[0]

interface Looked {
  /** The last examined event of the device; null where it has fewer, or without a device. */
  readonly reach: number | null
  /** Where the search ended otherwise; null at the oldest event of the log. */
  readonly lowest: number | null
}

export const layer: Layer.Layer<MessageRepository, never, SqlClient.SqlClient> = Layer.effect(
  MessageRepository,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const answered = yield* makeAnswered

    const find = Effect.fnUntraced(function*(id: MessageId, visible: VisibleDevices) {
      const key = parseMessageId(id)
      if (key === null) return yield* MessageNotFound.of(id)
      const rows = yield* sql.unsafe<MessageRow>(
        `select ${columns} from identities i join events e on e.seq = i.seq
        left join message_status s on s.message = e.message
        where i.key = $1::uuid and e.message = $1::uuid and ($2::text[] is null or e.device_id = any($2)) limit 1`,
        [PgTypes.text(key), visible === undefined ? null : [...visible]]
      )
      return rows[0] === undefined ? yield* MessageNotFound.of(id) : rows[0]
    })

    /**
     * One search among events older than the place, newest first. Messages that Columba has sent are listed as such. For one
     * device or one chat it examines the given number of events; without a device, `scanMax` of all.
     */
    const look = Effect.fnUntraced(function*(options: Asked, limit: number, place: Place | null, rowsMax: number) {
      const parameters: Array<unknown> = [PgTypes.int8(BigInt(limit + 1))]
      const parameter = (value: unknown): string => {
        parameters.push(value)
        return `$${parameters.length}`
      }
      const highest = place === null
        ? "h.head"
        : `least(h.head, ${parameter(PgTypes.int8(BigInt(eventsBelow(place) - 1)))})`
      // Conditions with an index, and conditions to be checked on the rows that it finds.
      const indexed: Array<string> = []
      const sought = ["not (e.kind = 'message.sent' and exists (select 1 from sends l where l.message = e.message))"]
      const chat = options.chat === undefined
        ? null
        : `e.chat = ${parameter(PgTypes.text(options.chat.replaceAll("\u0000", "\ufffd")))}`
      if (options.device !== undefined) {
        indexed.push(`e.device_id = ${parameter(PgTypes.text(options.device))}`)
        if (chat !== null) indexed.push(chat, "e.message is not null")
        else sought.push("e.message is not null")
      } else {
        if (chat !== null) sought.push(chat)
        sought.push("e.message is not null")
      }
      if (options.visible !== undefined) sought.push(`e.device_id = any(${parameter([...options.visible])}::text[])`)
      if (options.status !== undefined) {
        sought.push(`coalesce(
          (select m.status from message_status m where m.message = e.message),
          case e.kind when 'message.sent' then 'sent' else 'delivered' end
        ) = ${parameter(PgTypes.text(options.status))}`)
      }
      // The functions of JSON refuse data with an escaped NUL or half a surrogate pair anywhere in it. The text may also
      // have such a field deeper down: `isAsked` decides.
      if (options.waId !== undefined) {
        sought.push(`strpos(e.data::text, ${parameter(PgTypes.text(`"waId":${JSON.stringify(options.waId)}`))}) > 0`)
      }
      const conditions = [...indexed, ...sought]
      const index = chat === null ? "device" : "chat"
      const rows = yield* sql.unsafe<Looked & (MessageRow | { readonly seq: null })>(
        `with h as materialized (select l.oldest, ${headSql} as head from log_identity l),
        t as materialized (select h.oldest, ${highest} as highest from h),
        w as materialized (
          select t.*, greatest(t.oldest, ${
          options.device === undefined ? `t.highest - ${scanMax - 1}` : firstOfBlocks("t.highest")
        }) as lowest from t
        ),
        r as materialized (
          select w.*, ${
          options.device === undefined ? "null::bigint" : reachOf(rowsMax, {
            index,
            conditions: indexed,
            lowest: "w.lowest",
            highest: "w.highest",
            newestFirst: true
          })
        } as reach from w
        )
        select ${columns}, r.reach::float8 as reach, nullif(r.lowest, r.oldest)::float8 as lowest
        from r
        left join lateral ${
          options.device === undefined
            ? `(
              select e.* from events e where e.seq >= r.lowest and e.seq <= r.highest and ${conditions.join(" and ")}
              order by e.seq desc limit $1
            )`
            : readBlocks({
              index,
              conditions,
              lowest: "coalesce(r.reach, r.lowest)",
              highest: "r.highest",
              newestFirst: true,
              limit: "$1"
            })
        } e on true
        left join message_status s on s.message = e.message
        order by e.seq desc`,
        parameters
      )
      const { lowest, reach } = rows[0]!
      return { rows: rows.flatMap((row) => row.seq === null ? [] : [row]), reach, lowest }
    })

    /** Few events are examined first, since most of a device's match as a rule; then more, up to the bound. */
    const listLogged = Effect.fnUntraced(function*(options: Asked, limit: number, place: Place | null) {
      let rowsMax = 2 * (limit + 1)
      let looked = yield* look(options, limit, place, rowsMax)
      while (looked.rows.length <= limit && looked.reach !== null && rowsMax < scanMax) {
        rowsMax = Math.min(scanMax, rowsMax * lookGrowth)
        looked = yield* look(options, limit, place, rowsMax)
      }
      const { lowest, reach, rows } = looked
      const isAsked = ({ message }: Placed) => options.waId === undefined || message.waId === options.waId
      const found = rows.map((row) => ({ place: { seq: row.seq, ordinal: 0 }, message: toMessage(row) })).filter(
        isAsked
      )
      const next = rows.length <= limit ? reach ?? lowest : found.length === rows.length ? null : rows[limit]!.seq
      return {
        rows: found,
        through: next === null ? null : { seq: next, ordinal: 0 }
      } satisfies Found
    })

    /** A message that Columba sends: by its id, or by the one derived from its WhatsApp id. */
    const findSend = (id: MessageId, visible: VisibleDevices) =>
      sql.unsafe<ListedRow>(
        `select ${listedColumns} from (
          select * from sends where id = $1 union all select * from sends where message = $2::uuid limit 1
        ) s
        left join message_status m on m.message = s.message
        where $3::text[] is null or s.device_id = any($3)`,
        [PgTypes.text(id), PgTypes.text(parseMessageId(id)), visible === undefined ? null : [...visible]]
      ).pipe(Effect.map((rows) => rows[0] ?? null))

    return MessageRepository.of({
      get: Effect.fn("MessageRepository.get")(function*(id, visible) {
        const send = yield* findSend(id, visible)
        return send === null ? toMessage(yield* find(id, visible)) : toSentMessage(send)
      }, answered("read a message")),
      content: Effect.fn("MessageRepository.content")(function*(id, visible) {
        const row = yield* findSend(id, visible)
        if (row === null || row.wa_id === null) {
          const { data, device_id } = yield* find(id, visible)
          return { deviceId: device_id as DeviceId, data: JSON.parse(data) as MessageData }
        }
        const { body: { content }, chat, deviceId, sender } = toSend(row)
        const data = { waId: row.wa_id, chat, sender, fromMe: true, type: content.type, body: readText(content) }
        return { deviceId, data: { messageId: id, ...data } }
      }, answered("read a message")),
      known: Effect.fn("MessageRepository.known")(function*(ids) {
        const keys = ids.flatMap((id) => parseMessageId(id) ?? [])
        const rows = yield* sql.unsafe<{ readonly message: string }>(
          `select e.message::text as message from identities i join events e on e.seq = i.seq
          where i.key = any($1::uuid[]) and e.message = i.key`,
          [keys]
        )
        return new Set(rows.map(({ message }) => formatMessageId(message.replaceAll("-", ""))))
      }, answered("look for messages")),
      list: Effect.fn("MessageRepository.list")(function*(options) {
        const place = options.cursor === undefined
          ? null
          : parsePlace(yield* decodeCursor(options.cursor, placePattern))
        const limit = pageLimit(options.limit)
        const sent = yield* listSends(sql, options, limit, place ?? newest)
        const isOfLog = options.status === undefined || AckStatus.literals.some((status) => status === options.status)
        const logged = isOfLog ? yield* listLogged(options, limit, place) : nothing
        const { items, next } = mergePages(limit, logged, sent)
        return { items, next: next === null ? null : encodeCursor(formatPlace(next)) }
      }, answered("list messages"))
    })
  })
)

const toMessage = (row: MessageRow): Message =>
  viewMessage(
    {
      message: row.message,
      kind: row.kind as EventKind,
      deviceId: row.device_id as DeviceId,
      occurredAt: row.occurred_at,
      recordedAt: new Date(row.recorded_ms).toISOString(),
      via: row.via as Via,
      data: row.data
    },
    row.status === null || row.updated_ms === null
      ? null
      : { status: row.status as AckStatus, updatedAt: new Date(row.updated_ms).toISOString() }
  )
