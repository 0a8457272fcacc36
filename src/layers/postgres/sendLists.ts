/** Messages that Columba sends, in the form of the message lists. */
import { Effect } from "effect"
import { PgTypes } from "@effect/sql-pg"
import type { SqlClient } from "effect/sql"
import type { AckStatus } from "../../domain/Message.ts"
import type { Found, Place } from "../../services/messagePlaces.ts"
import type { MessageRepository } from "../../services/MessageRepository.ts"
import { viewSend } from "../../services/sendView.ts"
import { sendColumns, toSend } from "./sendRows.ts"
import type { SendRow } from "./sendRows.ts"

/** Maximum number of rows that one page examines for conditions without an index. */
const scanMax = 50_000

export interface ListedRow extends SendRow {
  readonly head: number
  readonly ordinal: number
  readonly moved: string | null
  readonly moved_ms: number | null
}

export const listedColumns = `${sendColumns}, s.head::float8 as head, s.ordinal::float8 as ordinal,
  m.status as moved, (extract(epoch from m.updated_at) * 1000)::float8 as moved_ms`

const shown = `case s.state when 'sending' then 'pending' when 'sent' then coalesce(m.status, 'sent') else s.state end`

export const toMessage = (row: ListedRow) =>
  viewSend(
    toSend(row),
    row.state !== "sent" || row.moved === null || row.moved_ms === null
      ? null
      : { status: row.moved as AckStatus, updatedAt: new Date(row.moved_ms).toISOString() }
  )

type Options = Parameters<MessageRepository["Service"]["list"]>[0]

/** Messages older than `before`, newest first, at most one more than the limit. */
export const listSends = Effect.fnUntraced(function*(
  sql: SqlClient.SqlClient,
  options: Pick<Options, "device" | "chat" | "status" | "visible" | "waId">,
  limit: number,
  before: Place
) {
  const parameters: Array<unknown> = [
    PgTypes.int8(BigInt(limit + 1)),
    PgTypes.int8(BigInt(before.seq)),
    PgTypes.int8(BigInt(before.ordinal))
  ]
  const parameter = (value: unknown): string => {
    parameters.push(value)
    return `$${parameters.length}`
  }
  const indexed = ["(s.head, s.ordinal) < ($2, $3)"]
  const sought = ["true"]
  if (options.device !== undefined) indexed.push(`s.device_id = ${parameter(PgTypes.text(options.device))}`)
  if (options.visible !== undefined) indexed.push(`s.device_id = any(${parameter([...options.visible])}::text[])`)
  if (options.chat !== undefined) {
    sought.push(`s.chat = ${parameter(PgTypes.text(options.chat.replaceAll("\u0000", "\ufffd")))}`)
  }
  if (options.waId !== undefined) {
    sought.push(`s.wa_id = ${parameter(PgTypes.text(options.waId.replaceAll("\u0000", "\ufffd")))}`)
  }
  if (options.status !== undefined) sought.push(`${shown} = ${parameter(PgTypes.text(options.status))}`)
  const rows = yield* sql.unsafe<(ListedRow | { readonly id: null }) & { readonly end: string | null }>(
    `with looked as (
      select * from sends s where ${indexed.join(" and ")} order by s.head desc, s.ordinal desc limit ${scanMax}
    )
    select e.at as end, f.* from (
      select case when count(*) = ${scanMax} then min(l.head) || '.' ||
        (array_agg(l.ordinal order by l.head, l.ordinal))[1] end as at from looked l
    ) e
    left join lateral (
      select ${listedColumns} from looked s left join message_status m on m.message = s.message
      where ${sought.join(" and ")} order by s.head desc, s.ordinal desc limit $1
    ) f on true`,
    parameters
  )
  const found = rows.flatMap((row) => row.id === null ? [] : [row])
  const end = rows[0]?.end ?? null
  const [seq, ordinal] = end === null ? [0, 0] : end.split(".").map(Number)
  return {
    rows: found.map((row) => ({ place: { seq: row.head, ordinal: row.ordinal }, message: toMessage(row) })),
    through: end === null || found.length > limit ? null : { seq: seq ?? 0, ordinal: ordinal ?? 0 }
  } satisfies Found
})
