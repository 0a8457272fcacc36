/**
 * The history of a WAHA session as pages of drafts: one feed over all chats where the engine has it, else chat by chat.
 *
 * Proof that a window is complete: the offset advances by the limit however short a page was, because the server leaves
 * rows out after it has counted them, less an overlap for rows that vanish; and a feed ends with an empty page. The end of
 * the window is fixed, so that new messages move no offset past an unread row.
 */
import { Clock, Effect, Result, Schema } from "effect"
import { GatewayUnavailable } from "../../../domain/DeviceErrors.ts"
import type { GatewayName, UpstreamId } from "../../../domain/Ids.ts"
import { isLid, parsePhone } from "../../../domain/Jid.ts"
import { digest } from "../../../services/EventIdentity.ts"
import { HistoryAbsent } from "../../../services/GatewayParts.ts"
import type {
  History,
  HistoryPage,
  HistoryWindow,
  SessionEvent,
  SessionTarget
} from "../../../services/GatewayParts.ts"
import { repeatableOrigin, rejectText } from "../rejects.ts"
import type { RestClient } from "../RestClient.ts"
import type { LidMap } from "./LidMap.ts"
import { asPayload, type Payload, readMessageRef, readSeconds, textIn } from "./payloads.ts"
import { decodeRow } from "./WahaDecoder.ts"
import { isSuccess, type Reply, type WahaRest } from "./WahaRest.ts"

/** A row has some kilobytes with the engine's own data. */
const pageLimit = 100

/** Deleted rows move the later ones forward while pages are read: this many rows are read again. */
const pageOverlap = 20

/** Rows with a thumbnail have some 100 KiB; a larger page is requested again in smaller parts. */
const pageBytesMax = 16 * 1024 * 1024

/** A server without filters by time would return everything that it has, endlessly where it ignores the offset. */
const offsetMax = 200_000

/** Maximum number of chats of one session. Beyond that their list alone takes minutes. */
const chatsMax = 20_000

/** The server waits up to 5 s for a session that is not working, and an engine may have to read from a browser. */
const pageMillis = 30_000

/** Where a read continues: in the feed over all chats, or in the first of these chats. */
const Cursor = Schema.Struct({
  /** Null: the feed over all chats. */
  chats: Schema.NullOr(Schema.Array(Schema.String)),
  offset: Schema.Int,
  limit: Schema.Int
})
type Cursor = typeof Cursor.Type

const decodeCursor = Schema.decodeUnknownResult(Schema.fromJsonString(Cursor))

/** Engines that have the feed. Others answer for one chat at a time. */
const engineHasFeed = new Map([["GOWS", true], ["NOWEB", true], ["WEBJS", false], ["WPP", false]])

export const make = (name: GatewayName, client: RestClient, rest: WahaRest, lids: LidMap): History => {
  const operation = "read its history"
  const hasFeed = new Map<UpstreamId, boolean>()

  const get = (url: URL): Effect.Effect<Reply, GatewayUnavailable> =>
    rest.ask({ operation, method: "GET", url, millis: pageMillis, bodyBytesMax: pageBytesMax })

  const readRows = (reply: Reply): Effect.Effect<ReadonlyArray<unknown>, GatewayUnavailable | HistoryAbsent> =>
    isSuccess(reply) && Array.isArray(reply.own)
      ? Effect.succeed(reply.own as ReadonlyArray<unknown>)
      : Effect.fail(
        lacksStore(reply) ? HistoryAbsent.of(name, "slot", storeAdvice) : rest.refused(operation, reply)
      )

  const findFeed = Effect.fnUntraced(function*(slot: UpstreamId) {
    const known = hasFeed.get(slot)
    if (known !== undefined) return known
    const found = yield* rest.readSlot(operation, slot)
    if (found === null) return yield* GatewayUnavailable.of(name, operation, "it has no such session")
    const feed = found.engine === null ? undefined : engineHasFeed.get(found.engine.toUpperCase())
    if (feed !== undefined) hasFeed.set(slot, feed)
    // An unnamed engine may have it: the first page shows.
    return feed ?? true
  })

  /**
   * The chats with messages in the window. The list changes while it is read: a chat with a new message moves to the
   * front, past the page that is read next. So the front is read again until it shows nothing new.
   */
  const listChats = Effect.fnUntraced(function*(slot: UpstreamId, from: number) {
    const chats = new Map<string, boolean>()
    const readPage = Effect.fnUntraced(function*(offset: number) {
      const url = client.at("api", slot, "chats", "overview")
      url.searchParams.set("limit", String(pageLimit))
      url.searchParams.set("offset", String(offset))
      const before = chats.size
      const rows = yield* Effect.flatMap(get(url), readRows)
      for (const row of rows) {
        const chat = readChat(row)
        if (chat !== null) {
          chats.set(chat.id, chats.get(chat.id) === true || chat.lastAt === null || chat.lastAt >= from)
        }
      }
      return { isEmpty: rows.length === 0, isNew: chats.size > before }
    })
    for (let offset = 0; !(yield* readPage(offset)).isEmpty; offset += pageLimit) {
      if (offset >= chatsMax) {
        return yield* GatewayUnavailable.of(name, operation, `it lists more than ${chatsMax} chats`)
      }
    }
    for (let look = 0; (yield* readPage(0)).isNew && look < pageLimit; look++);
    return [...chats].flatMap(([id, isRecent]) => isRecent ? [id] : [])
  })

  const first = Effect.fnUntraced(function*(slot: UpstreamId, bounds: Bounds) {
    const chats = (yield* findFeed(slot)) ? null : yield* listChats(slot, bounds.from)
    return { chats, offset: 0, limit: pageLimit }
  })

  const messagesUrl = (slot: UpstreamId, { chats, limit, offset }: Cursor, bounds: Bounds): URL => {
    const url = client.at("api", slot, "chats", chats === null ? "all" : chats[0]!, "messages")
    url.searchParams.set("limit", String(limit))
    url.searchParams.set("offset", String(offset))
    url.searchParams.set("downloadMedia", "false")
    url.searchParams.set("filter.timestamp.gte", String(bounds.from))
    url.searchParams.set("filter.timestamp.lte", String(bounds.to))
    return url
  }

  const decodeRows = Effect.fnUntraced(function*(
    rows: ReadonlyArray<unknown>,
    target: SessionTarget,
    bounds: Bounds
  ) {
    const findLids = yield* lids.settle(target, rows.flatMap(listUsers))
    if (findLids === null) {
      return yield* GatewayUnavailable.of(name, operation, "it does not return the phone numbers of its hidden ids")
    }
    const now = yield* Clock.currentTimeMillis
    const findPhone = lids.finder(target).find
    return rows.filter((row) => isWithin(row, bounds))
      .sort((one, other) => (readTime(one) ?? 0) - (readTime(other) ?? 0))
      .flatMap((row) => decodeRow(row, { target, now, findPhone, findLids }))
  })

  const read: History["read"] = Effect.fn("WahaGateway.history")(function*(target, window, page) {
    const slot = target.upstreamId
    const bounds = toBounds(window)
    const cursor = page === null ? yield* first(slot, bounds) : yield* readCursor(name, page)
    if (cursor.chats?.length === 0) return complete
    if (cursor.offset > offsetMax) return yield* GatewayUnavailable.of(name, operation, "it pages without an end")
    const reply = yield* get(messagesUrl(slot, cursor, bounds))
    if (reply.tooLarge && reply.status === 200) {
      return cursor.limit > 1
        ? makePage([], { ...cursor, limit: Math.max(1, Math.floor(cursor.limit / 10)) })
        : makePage([yield* rejectRow(target, window)], { ...cursor, offset: cursor.offset + 1 })
    }
    if (page === null && cursor.chats === null && lacksFeed(reply)) {
      hasFeed.set(slot, false)
      return yield* read(target, window, null)
    }
    const rows = yield* readRows(reply)
    if (cursor.chats === null) hasFeed.set(slot, true)
    const next = rows.length > 0
      ? { ...cursor, offset: cursor.offset + cursor.limit - (cursor.limit > pageOverlap ? pageOverlap : 0) }
      : { chats: cursor.chats?.slice(1) ?? [], offset: 0, limit: pageLimit }
    return makePage(yield* decodeRows(rows, target, bounds), next)
  })

  return { covers: new Set(["messages", "other-messages", "acks"]), read }
}

/** Unix seconds, both included. */
interface Bounds {
  readonly from: number
  readonly to: number
}

const toBounds = ({ from, to }: HistoryWindow): Bounds => ({
  from: Math.floor(Date.parse(from) / 1000),
  to: Math.ceil(Date.parse(to) / 1000)
})

const complete: HistoryPage = { drafts: [], next: null }

const makePage = (events: ReadonlyArray<SessionEvent>, next: Cursor): HistoryPage => ({
  drafts: events.flatMap((event) => event._tag === "Record" ? [event.draft] : []),
  next: next.chats?.length === 0 ? null : JSON.stringify(next)
})

const readCursor = (name: GatewayName, page: string): Effect.Effect<Cursor, GatewayUnavailable> => {
  const cursor = decodeCursor(page)
  return Result.isSuccess(cursor)
    ? Effect.succeed(cursor.success)
    : Effect.fail(GatewayUnavailable.of(name, "read its history", "the position in it is none of this gateway"))
}

/** An engine without the feed treats `all` as a chat, or has no such route. A session that is not working is no sign. */
const lacksFeed = (reply: Reply): boolean => !lacksStore(reply) && lacksRoute(reply)

const lacksRoute = ({ own, status }: Reply): boolean =>
  own !== null && (status === 400 || status === 404 || status === 500 || status === 501) &&
  !/session with name/i.test(String((own as Payload).message))

/** NOWEB keeps messages only with its store enabled. Its error names the store, with the status of a bad request. */
const lacksStore = ({ own, status }: Reply): boolean =>
  own !== null && status === 400 && /enable noweb store/i.test(String((own as Payload).message))

const storeAdvice =
  "the engine NOWEB keeps messages only where config.noweb.store.enabled was set before the account was paired"

/** A row that is too large to be read: reported once a day. */
const rejectRow = (target: SessionTarget, window: HistoryWindow): Effect.Effect<SessionEvent> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const origin = repeatableOrigin("backfill", digest(`${target.upstreamId} ${window.to.slice(0, 10)}`))
    const detail = `a row of the history is above the limit of ${pageBytesMax} bytes and was not read`
    return rejectText("", target, now, "too-large", detail, undefined, origin)
  })

const readTime = (row: unknown): number | null => {
  const seconds = readSeconds(asPayload(row)?.timestamp)
  return typeof seconds === "number" ? seconds : null
}

/** Old servers ignore the filter. Rows without a time are accepted. */
const isWithin = (row: unknown, { from, to }: Bounds): boolean => {
  const at = readTime(row)
  return at === null || (Math.floor(at) >= from && Math.floor(at) <= to)
}

const readChat = (row: unknown): { readonly id: string; readonly lastAt: number | null } | null => {
  const chat = asPayload(row)
  if (chat === null) return null
  const id = textIn(chat, "id") ?? textIn(asPayload(chat.id) ?? {}, "_serialized")
  return id === null ? null : { id, lastAt: readTime(chat.lastMessage) }
}

/** The hidden ids and the phone addresses that a row names. */
const listUsers = (row: unknown): ReadonlyArray<string> => {
  const message = asPayload(row)
  if (message === null) return []
  const ref = readMessageRef(message.id)
  return [ref?.chat, ref?.participant, message.from, message.to, message.participant]
    .flatMap((address) => typeof address === "string" && isUser(address) ? [address] : [])
}

const isUser = (address: string): boolean => isLid(address) || parsePhone(address) !== null
