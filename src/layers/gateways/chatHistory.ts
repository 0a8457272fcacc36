/**
 * The history of `gowa` and `bridge` gateways as pages of a window: each page is one request (`historyPages`), and its rows
 * become drafts (`historyRows`).
 *
 * Times are sent in UTC with `Z` and whole seconds: these gateways compare them as text.
 */
import { Clock, Effect, Result, Schema } from "effect"
import { GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { GatewayName } from "../../domain/Ids.ts"
import type { UpstreamId } from "../../domain/Ids.ts"
import { HistoryAbsent } from "../../services/GatewayParts.ts"
import type { History, HistoryPage, HistoryWindow, SessionTarget } from "../../services/GatewayParts.ts"
import { readEnvelope } from "./envelope.ts"
import type { RestClient } from "./RestClient.ts"
import { describeRefusal, type Reply } from "./SlotRest.ts"
import { readTimestamp } from "./timestamps.ts"
import {
  afterChats,
  afterMessages,
  type Bounds,
  type Cursor,
  pageMax,
  sameSecondMax,
  settle,
  start
} from "./historyPages.ts"
import { readRow, timeOfRow } from "./historyRows.ts"

/** Histories of large accounts come from a loaded database. */
const pageMillis = 15_000

/** A hundred texts of 64 KiB fit, as long as most of their characters need no escape. */
const pageBytesMax = 16 * 1024 * 1024

/** A larger page is requested in parts of this size, then of a fraction of it. */
const smallerBy = 10

const text = Schema.optionalKey(Schema.NullOr(Schema.String))
const data = <Item extends Schema.Top>(item: Item) =>
  Schema.Struct({ data: Schema.optionalKey(Schema.NullOr(Schema.Array(item))) })

const decodeChats = Schema.decodeUnknownResult(
  data(Schema.Struct({ jid: Schema.String, last_message_time: text, updated_at: text }))
)
const decodeRows = Schema.decodeUnknownResult(data(Schema.Unknown))

const CursorText = Schema.fromJsonString(Schema.Struct({
  pass: Schema.Literals([1, 2]),
  movedSince: Schema.Finite,
  listed: Schema.Int,
  more: Schema.Boolean,
  chats: Schema.Array(Schema.String),
  until: Schema.NullOr(Schema.Finite),
  skip: Schema.Int,
  limit: Schema.Int
}))
const encodeCursor = Schema.encodeSync(CursorText)
const decodeCursor = Schema.decodeUnknownResult(CursorText)

export const make = (name: GatewayName, rest: RestClient): History => {
  /** The slot is named in a header that is unescaped as a query. */
  const ask = Effect.fnUntraced(function*(operation: string, slot: UpstreamId, url: URL) {
    const { status, text } = yield* rest.ask({
      operation,
      method: "GET",
      url,
      millis: pageMillis,
      headers: { "x-device-id": encodeURIComponent(slot) },
      bodyBytesMax: pageBytesMax
    })
    return { status, envelope: readEnvelope(text), isTooLarge: text === null && status === 200 }
  })

  /** A server without the path answers in its framework's format, or in that of another service. */
  const refused = (operation: string, reply: Reply): GatewayUnavailable | HistoryAbsent =>
    reply.envelope === null && (reply.status === 404 || reply.status === 405 || reply.status === 501)
      ? HistoryAbsent.of(name, "gateway")
      : GatewayUnavailable.of(name, operation, describeRefusal(reply))

  const readChats = Effect.fnUntraced(function*(target: SessionTarget, cursor: Cursor, bounds: Bounds) {
    const operation = "list its chats"
    const url = rest.at("chats")
    url.searchParams.set("limit", String(pageMax))
    url.searchParams.set("offset", String(cursor.listed))
    const reply = yield* ask(operation, target.upstreamId, url)
    const decoded = decodeChats(reply.envelope?.results)
    if (reply.status !== 200 || Result.isFailure(decoded)) return yield* refused(operation, reply)
    const chats = (decoded.success.data ?? []).map(({ jid, last_message_time, updated_at }) => ({
      jid,
      lastMessageAt: readSeconds(last_message_time),
      updatedAt: readSeconds(updated_at)
    }))
    return makePage([], settle(afterChats(cursor, chats, bounds)))
  })

  const readMessages = Effect.fnUntraced(
    function*(target: SessionTarget, chat: string, cursor: Cursor, bounds: Bounds) {
      const operation = "read its history"
      if (cursor.skip > sameSecondMax) return yield* GatewayUnavailable.of(name, operation, "a chat of it never ends")
      const url = rest.at("chat", chat, "messages")
      url.searchParams.set("limit", String(cursor.limit))
      url.searchParams.set("offset", String(cursor.skip))
      url.searchParams.set("start_time", formatSeconds(bounds.from))
      url.searchParams.set("end_time", formatSeconds(cursor.until ?? bounds.to))
      const reply = yield* ask(operation, target.upstreamId, url)
      if (reply.isTooLarge && cursor.limit > 1) {
        return makePage([], { ...cursor, limit: Math.max(1, Math.floor(cursor.limit / smallerBy)) })
      }
      const decoded = decodeRows(reply.envelope?.results)
      if (reply.status !== 200 || Result.isFailure(decoded)) return yield* refused(operation, reply)
      const rows = decoded.success.data ?? []
      const now = yield* Clock.currentTimeMillis
      const times = rows.map(timeOfRow).filter((time) => time !== null)
      const oldest = times.length === 0 ? null : Math.ceil(Math.min(...times) / 1000)
      const drafts = rows.toReversed().flatMap((row) => readRow(row, target, now))
      return makePage(drafts, settle(afterMessages(cursor, rows.length, oldest, bounds)))
    }
  )

  return {
    // A row has the current reactions to its message. A reaction to a message from before the window, and one that was
    // withdrawn, are in no row of it, so reactions are not proven.
    covers: new Set(["messages"]),
    read: Effect.fn("ChatHistory.read")(function*(target, window, page) {
      const bounds = readBounds(window)
      const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
      const cursor = page === null ? Result.succeed(start(bounds, now)) : decodeCursor(page)
      if (Result.isFailure(cursor)) return yield* Effect.die(new Error("not a page of this history"))
      const [chat] = cursor.success.chats
      return yield* chat === undefined
        ? readChats(target, cursor.success, bounds)
        : readMessages(target, chat, cursor.success, bounds)
    })
  }
}

const makePage = (drafts: HistoryPage["drafts"], next: Cursor | null): HistoryPage => ({
  drafts,
  next: next === null ? null : encodeCursor(next)
})

const readBounds = ({ from, to }: HistoryWindow): Bounds => ({
  from: Math.floor(Date.parse(from) / 1000),
  to: Math.ceil(Date.parse(to) / 1000)
})

const formatSeconds = (seconds: number): string => `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`

/** A contact that has never written has a time in the year 1. */
const readSeconds = (value: string | null | undefined): number => {
  const time = readTimestamp(value)
  return time === null ? Number.NEGATIVE_INFINITY : Math.floor(Date.parse(time) / 1000)
}
