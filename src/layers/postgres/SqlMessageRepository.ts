/**
 * Reads of messages, which live in the log: a message is the event that brought it, and its status where that has moved
 * since. Pages go by the event's number, newest first.
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
import { blockBits } from "./migrations/0001_log.ts"
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
 * Events that one page looks at for what no index leads to (a status, a chat of any device, a device's messages among
 * its acks): some tens of milliseconds. Further indexes would cost every event that is written.
 */
const scanMax = 50_000

export const layer: Layer.Layer<MessageRepository, never, SqlClient.SqlClient> = Layer.effect(
  MessageRepository,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const answered = yield* makeAnswered

    /** Null where the scan reached the oldest event. */
    const lastLookedAt = (within: string, parameters: ReadonlyArray<unknown>) =>
      sql.unsafe<{ readonly seq: number }>(
        `select e.seq::float8 as seq ${within} offset ${scanMax - 1} limit $1`,
        [PgTypes.int8(1n), ...parameters]
      ).pipe(Effect.map((rows) => rows[0]?.seq ?? null))

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

    /** Older than the place, newest first. Those that Columba has sent are listed as such. */
    const listLogged = Effect.fnUntraced(function*(
      options: Parameters<MessageRepository["Service"]["list"]>[0],
      limit: number,
      place: Place | null
    ) {
      const before = place === null ? null : eventsBelow(place)
      // What an index leads to, and what must be looked for among those.
      const indexed: Array<string> = ["true"]
      const sought = ["not (e.kind = 'message.sent' and exists (select 1 from sends l where l.message = e.message))"]
      const parameters: Array<unknown> = [PgTypes.int8(BigInt(limit + 1))]
      const where = (conditions: Array<string>, condition: string, value: unknown) => {
        parameters.push(value)
        conditions.push(`${condition} $${parameters.length}`)
      }
      if (before !== null) where(indexed, "e.seq <", PgTypes.int8(BigInt(before)))
      if (options.device !== undefined) where(indexed, "e.device_id =", PgTypes.text(options.device))
      const ofChat = options.device !== undefined && options.chat !== undefined
      if (options.chat !== undefined) {
        where(ofChat ? indexed : sought, "e.chat =", PgTypes.text(options.chat.replaceAll("\u0000", "\ufffd")))
      }
      if (options.visible !== undefined) {
        parameters.push([...options.visible])
        sought.push(`e.device_id = any($${parameters.length}::text[])`)
      }
      ;(ofChat ? indexed : sought).push("e.message is not null")
      if (options.status !== undefined) {
        where(
          sought,
          "coalesce(s.status, case e.kind when 'message.sent' then 'sent' else 'delivered' end) =",
          PgTypes.text(options.status)
        )
      }
      if (options.waId !== undefined) {
        // The functions of JSON refuse data with an escaped NUL or half a surrogate pair anywhere in it. The text may also
        // have such a field deeper down: `isAsked` tells.
        parameters.push(PgTypes.text(`"waId":${JSON.stringify(options.waId)}`))
        sought.push(`strpos(e.data::text, $${parameters.length}) > 0`)
      }
      const order = ofChat ? "e.block desc, e.seq desc" : "e.seq desc"
      const within = `from ${
        ofChat
          ? blockwise(indexed, before === null ? "h.head" : "least(h.head, $2)")
          : `events e where ${indexed.join(" and ")}`
      } order by ${order}`
      const rows = yield* sql.unsafe<MessageRow>(
        `select ${columns} from (select e.* ${within} limit ${scanMax}) e
        left join message_status s on s.message = e.message
        where ${["true", ...sought].join(" and ")} order by ${order} limit $1`,
        parameters
      )
      const isAsked = ({ message }: Placed) => options.waId === undefined || message.waId === options.waId
      const found = rows.map((row) => ({ place: { seq: row.seq, ordinal: 0 }, message: toMessage(row) })).filter(
        isAsked
      )
      const next = rows.length <= limit
        ? yield* lastLookedAt(within, parameters.slice(1, 1 + indexed.filter((one) => one.includes("$")).length))
        : found.length === rows.length
        ? null
        : rows[limit]!.seq
      return {
        rows: found,
        through: next === null ? null : { seq: next, ordinal: 0 }
      } satisfies Found
    })

    /** One that Columba sends: by its id, or by the one that its WhatsApp id gives. */
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

/**
 * The index of chats goes by blocks of numbers, so each block is asked, newest first, until the page is full. The bounds of
 * the number lead to the block's partition. `newest` is the expression of the number to begin with.
 */
const blockwise = (conditions: ReadonlyArray<string>, newest: string): string =>
  `(
    select b.block, e.* from log_identity l
    cross join lateral (select n.seq as head from events n order by n.seq desc limit 1) h
    cross join lateral generate_series(columba_block(${newest}), columba_block(l.oldest), -1) b(block)
    cross join lateral (
      select * from events e where columba_block(e.seq) = b.block
        and e.seq >= b.block << ${blockBits} and e.seq < (b.block + 1) << ${blockBits} and ${conditions.join(" and ")}
    ) e
  ) e`

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
