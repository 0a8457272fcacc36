/** Reads of the `messages` table. Pages go by the number of the event that brought a message, newest first. */
import { Effect, Layer } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { DeviceId, MessageId } from "../../domain/Ids.ts"
import type { Message, MessageDirection, MessageStatus } from "../../domain/Message.ts"
import { MessageNotFound } from "../../domain/MessageErrors.ts"
import { MessageRepository } from "../../services/MessageRepository.ts"
import { decodeCursor, encodeCursor, pageLimit, seqPattern } from "../../services/pageCursor.ts"
import { unavailable } from "./sqlErrors.ts"

interface MessageRow {
  readonly seq: number
  readonly id: string
  readonly device_id: string
  readonly direction: string
  readonly wa_id: string
  readonly chat: string
  readonly sender: string
  readonly type: string
  readonly body: string | null
  readonly status: string
  readonly occurred_at: string
  readonly created_ms: number
  readonly updated_ms: number
}

const columns = `seq::float8 as seq, id, device_id, direction, wa_id, chat, sender, type, body, status, occurred_at,
  (extract(epoch from created_at) * 1000)::float8 as created_ms,
  (extract(epoch from updated_at) * 1000)::float8 as updated_ms`

/**
 * Messages that one page looks at for what no index leads to (a status; a chat of any device): some tens of
 * milliseconds. An index of the status would cost every ack that moves one.
 */
const scanMax = 50_000

export const layer: Layer.Layer<MessageRepository, never, SqlClient.SqlClient> = Layer.effect(
  MessageRepository,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient

    /** Null where the scan reached the oldest message. */
    const lastLookedAt = (within: string, parameters: ReadonlyArray<unknown>) =>
      sql.unsafe<{ readonly seq: number }>(
        `select messages.seq::float8 as seq ${within} offset ${scanMax - 1} limit $1`,
        [PgTypes.int8(1n), ...parameters]
      ).pipe(Effect.map((rows) => rows[0]?.seq ?? null))

    return MessageRepository.of({
      get: Effect.fn("MessageRepository.get")(function*(id, visible) {
        const rows = yield* sql.unsafe<MessageRow>(
          `select ${columns} from messages where id = $1 and ($2::text[] is null or device_id = any($2))`,
          [PgTypes.text(id), visible === undefined ? null : [...visible]]
        )
        return rows[0] === undefined ? yield* MessageNotFound.of(id) : toMessage(rows[0])
      }, unavailable("read a message")),
      list: Effect.fn("MessageRepository.list")(function*(options) {
        const before = options.cursor === undefined ? null : yield* decodeCursor(options.cursor, seqPattern)
        const limit = pageLimit(options.limit)
        // What an index leads to, and what must be looked for among those.
        const indexed: Array<string> = ["true"]
        const sought: Array<string> = []
        const parameters: Array<unknown> = [PgTypes.int8(BigInt(limit + 1))]
        const where = (conditions: Array<string>, condition: string, value: unknown) => {
          parameters.push(value)
          conditions.push(`${condition} $${parameters.length}`)
        }
        if (before !== null) where(indexed, "seq <", PgTypes.int8(BigInt(before)))
        if (options.device !== undefined) where(indexed, "device_id =", PgTypes.text(options.device))
        if (options.chat !== undefined) {
          const chat = PgTypes.text(options.chat.replaceAll("\u0000", "\ufffd"))
          where(options.device === undefined ? sought : indexed, "chat =", chat)
        }
        if (options.visible !== undefined) {
          parameters.push([...options.visible])
          sought.push(`device_id = any($${parameters.length}::text[])`)
        }
        if (options.status !== undefined) where(sought, "status =", PgTypes.text(options.status))
        const within = `from messages where ${indexed.join(" and ")} order by messages.seq desc`
        const found = sought.length === 0
          ? `${within} limit $1`
          : `from (select * ${within} limit ${scanMax}) messages where ${
            sought.join(" and ")
          } order by messages.seq desc limit $1`
        const rows = yield* sql.unsafe<MessageRow>(`select ${columns} ${found}`, parameters)
        const items = rows.slice(0, limit)
        const next = rows.length > limit
          ? items[limit - 1]!.seq
          : sought.length === 0
          ? null
          : yield* lastLookedAt(within, parameters.slice(1, indexed.length))
        return { items: items.map(toMessage), next: next === null ? null : encodeCursor(String(next)) }
      }, unavailable("list messages"))
    })
  })
)

const toMessage = (row: MessageRow): Message => ({
  id: row.id as MessageId,
  deviceId: row.device_id as DeviceId,
  direction: row.direction as typeof MessageDirection.Type,
  waId: row.wa_id,
  chat: row.chat,
  sender: row.sender,
  type: row.type,
  body: row.body,
  status: row.status as MessageStatus,
  occurredAt: row.occurred_at,
  createdAt: new Date(row.created_ms).toISOString(),
  updatedAt: new Date(row.updated_ms).toISOString()
})
