/** The history of a WAHA session, beyond the contract of every history: acks, hidden ids, and servers that differ. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { EventDraft } from "../../../../src/domain/Event.ts"
import type { GatewayParts } from "../../../../src/services/WhatsAppGateway.ts"
import * as AnsweringServer from "../../../support/answeringServer.ts"
import { ofKind } from "../../../support/drafts.ts"
import { record } from "../../../support/gateway.ts"
import { makeGateway, peer, say, setup, target } from "./bench.ts"

const window = { from: "2026-08-22T09:00:00Z", to: "2026-08-22T11:00:00.5Z" }
const seconds = Date.parse("2026-08-22T10:00:00Z") / 1000
const pagesMax = 500

const readAll = Effect.fnUntraced(function*(gateway: Required<Pick<GatewayParts, "history">>) {
  const drafts: Array<EventDraft> = []
  let page: string | null = null
  for (let number = 0; number < pagesMax; number++) {
    const read: { readonly drafts: ReadonlyArray<EventDraft>; readonly next: string | null } = yield* gateway.history
      .read(target, window, page)
    drafts.push(...read.drafts)
    if (read.next === null) return { drafts, pages: number + 1 }
    page = read.next
  }
  throw new Error("the history does not end")
})

const waIds = (drafts: ReadonlyArray<EventDraft>) => drafts.map(({ data }) => (data as { readonly waId?: string }).waId)

const row = (id: string, change: Readonly<Record<string, unknown>> = {}) => ({
  id: `false_628999000111@c.us_${id}`,
  timestamp: seconds,
  from: "628999000111@c.us",
  fromMe: false,
  body: `body of ${id}`,
  hasMedia: false,
  ...change
})

/** A server with one working session that answers requests for messages with these pages, in turn. */
const serve = (
  answer: (query: URLSearchParams, path: string) => AnsweringServer.Answer | null,
  engine: string | null = "GOWS"
) =>
  AnsweringServer.start((target) => {
    const url = new URL(target, "http://server")
    const given = answer(url.searchParams, url.pathname)
    if (given !== null) return given
    const slot = { name: "sim-1", status: "WORKING", ...(engine === null ? undefined : { engine: { engine } }) }
    return { status: 200, body: JSON.stringify(url.pathname === "/api/sessions/sim-1" ? slot : []) }
  })

const isMessages = (path: string) => path.endsWith("/messages")

const json = (value: unknown, status = 200): AnsweringServer.Answer => ({ status, body: JSON.stringify(value) })

describe("the history of a WAHA session", () => {
  it.live("returns the delivery status of each message that the account sent", () =>
    Effect.gen(function*() {
      const { core, device, gateway } = yield* setup()
      const own = { is_from_me: true, from: device.jid }
      for (const id of ["SENT", "DELIVERED", "READ"]) core.emitter.emit(device, "message", say(id, own))
      const ack = (id: string, type: string) =>
        core.emitter.emit(device, "message.ack", { ids: [id], chat_id: peer, from: peer, receipt_type: type })
      ack("READ", "read")
      ack("READ", "delivered")
      ack("DELIVERED", "delivered")
      const { drafts } = yield* readAll(gateway)
      const statuses = drafts.flatMap((draft) =>
        draft.kind === "message.ack" ? [[draft.data.waId, draft.data.status]] : []
      )
      assert.deepStrictEqual(Object.fromEntries(statuses), { SENT: "sent", DELIVERED: "delivered", READ: "read" })
      assert.deepStrictEqual(gateway.history.covers, new Set(["messages", "other-messages", "acks"]))
    }))

  it.live("names the hidden id of a message that may have been logged while the server returned no numbers", () =>
    Effect.gen(function*() {
      const { core, device, gateway } = yield* setup()
      const listener = record()
      yield* gateway.open(target, listener)
      core.applyFault({ kind: "http", status: 500 })
      for (let number = 0; number < 12; number++) {
        core.emitter.emit(device, "message", say(`A${number}`, { from_lid: `9${number}00112233@lid` }))
      }
      yield* listener.until(() => listener.drafts().length === 12)
      core.clearFaults()
      const hidden = listener.drafts().flatMap((draft) => {
        const { chat, waId } = ofKind(draft, "message.received").data
        return chat === peer ? [] : [[waId, chat]]
      })
      assert.isAtLeast(hidden.length, 3)
      const { drafts } = yield* readAll(gateway)
      const told = new Map(drafts.map((draft) => [ofKind(draft, "message.received").data.waId, draft]))
      for (const [waId, chat] of hidden) {
        assert.strictEqual(ofKind(told.get(waId!)!, "message.received").data.chat, peer)
        assert.deepInclude(told.get(waId!)!.aliases, { lid: chat!, jid: peer })
      }
    }))

  it.live("asks for the hidden ids of its senders, since a frame may come later than its row, while the server returns none", () =>
    Effect.gen(function*() {
      const { core, device, gateway, waha } = yield* setup()
      const lid = "99887766554433@lid"
      const emit = (count: number, prefix: string) => {
        for (let number = 0; number < count; number++) {
          core.emitter.emit(device, "message", say(`${prefix}${number}`, { from_lid: lid }))
        }
      }
      emit(2, "A")
      for (const draft of (yield* readAll(gateway)).drafts) {
        assert.strictEqual(ofKind(draft, "message.received").data.chat, peer)
        assert.deepStrictEqual(draft.aliases, [{ lid, jid: peer }])
      }
      const asked = () => waha.requests.filter((line) => line.includes("/lids/")).length
      const before = asked()
      assert.isAbove(before, 0)
      yield* readAll(gateway)
      const listener = record()
      yield* gateway.open(target, listener)
      core.applyFault({ kind: "http", status: 500 })
      emit(12, "B")
      yield* listener.until(() => listener.drafts().length === 12)
      for (const draft of listener.drafts()) assert.strictEqual(ofKind(draft, "message.received").data.chat, peer)
      assert.isAbove(listener.drafts().filter(({ aliases }) => aliases.length > 0).length, 0)
      // Each was asked about once.
      assert.strictEqual(asked(), before)
    }))

  it.live("is not read while the server does not resolve a hidden id, because the log may have its phone number", () =>
    Effect.gen(function*() {
      const lid = "99887766554433@lid"
      const rows = [row("A", { id: `false_${lid}_A`, from: lid })]
      const lids = { answer: json({ message: "busy" }, 500) }
      const server = yield* serve((query, path) =>
        isMessages(path)
          ? json(query.get("offset") === "0" ? rows : [])
          : path.includes("/lids/")
          ? lids.answer
          : null
      )
      const gateway = yield* makeGateway(server.url)
      const failure = yield* Effect.flip(gateway.history.read(target, window, null))
      assert.strictEqual(failure._tag, "GatewayUnavailable")
      lids.answer = json({ lid, pn: "628999000111@c.us" })
      const [draft] = (yield* readAll(gateway)).drafts
      assert.strictEqual(ofKind(draft!, "message.received").data.chat, peer)
      // A definite answer, also that there is no such number or question, ends the wait.
      lids.answer = json({ message: "Not Found" }, 404)
      assert.lengthOf((yield* readAll(yield* makeGateway(server.url))).drafts, 1)
    }))

  it.live("is absent for a session whose engine keeps no messages, whichever way it is requested", () =>
    Effect.gen(function*() {
      const message =
        "Enable NOWEB store \"config.noweb.store.enabled=True\" and \"config.noweb.store.full_sync=True\" when " +
        "starting a new session."
      for (const engine of ["NOWEB", "WEBJS", null]) {
        const server = yield* serve(
          (_, path) => path.includes("/chats") ? json({ message, error: "Bad Request", statusCode: 400 }, 400) : null,
          engine
        )
        const gateway = yield* makeGateway(server.url)
        const failure = yield* Effect.flip(gateway.history.read(target, window, null))
        assert.strictEqual(failure._tag, "HistoryAbsent", String(engine))
        if (failure._tag === "HistoryAbsent") assert.strictEqual(failure.reach, "slot")
        assert.include(failure.message, "noweb.store")
      }
    }))

  it.live("joins hidden ids with the phone numbers that the server returns", () =>
    Effect.gen(function*() {
      const lid = "99887766554433@lid"
      const rows = [row("A", { id: `false_${lid}_A`, from: lid }), row("B", { id: `false_8@lid_B`, from: "8@lid" })]
      const server = yield* serve((query, path) =>
        isMessages(path)
          ? json(query.get("offset") === "0" ? rows : [])
          : path.endsWith("/lids/99887766554433@lid") || path.endsWith("/lids/99887766554433%40lid")
          ? json({ lid, pn: "628999000111@c.us" })
          : path.includes("/lids/")
          ? json({ lid: "8@lid", pn: null })
          : null
      )
      const { drafts } = yield* readAll(yield* makeGateway(server.url))
      const [known, unknown] = drafts.map((draft) => ofKind(draft, "message.received"))
      assert.deepStrictEqual([known!.data.chat, known!.aliases], [peer, [{ lid, jid: peer }]])
      assert.deepStrictEqual([unknown!.data.chat, unknown!.aliases], ["8@lid", []])
      const asked = server.asked.filter((path) => path.includes("/lids/"))
      assert.strictEqual(asked.length, 2, "each is asked for once")
    }))

  it.live("is requested by seconds, both ends included, and without files", () =>
    Effect.gen(function*() {
      const server = yield* serve(() => null)
      yield* readAll(yield* makeGateway(server.url))
      const { pathname, searchParams } = new URL(server.asked.at(-1)!, "http://server")
      assert.strictEqual(pathname, "/api/sim-1/chats/all/messages")
      assert.deepStrictEqual(Object.fromEntries(searchParams), {
        limit: "100",
        offset: "0",
        downloadMedia: "false",
        "filter.timestamp.gte": String(seconds - 3600),
        "filter.timestamp.lte": String(seconds + 3601)
      })
    }))

  it.live("continues after a short page, and ends with an empty one", () =>
    Effect.gen(function*() {
      const pages = [[row("A"), row("B")], [row("C")], []]
      const server = yield* serve((_, path) => isMessages(path) ? json(pages.shift() ?? []) : null)
      const { drafts, pages: read } = yield* readAll(yield* makeGateway(server.url))
      assert.deepStrictEqual([waIds(drafts), read], [["A", "B", "C"], 3])
      const offsets = server.asked.filter((path) => path.includes("/messages")).map((path) =>
        /offset=(\d+)/.exec(path)?.[1]
      )
      // By the limit, less the overlap that is read twice in case rows are deleted.
      assert.deepStrictEqual(offsets, ["0", "80", "160"])
    }))

  it.live("sorts each page, whatever order the server has", () =>
    Effect.gen(function*() {
      const rows = [row("B", { timestamp: seconds + 0.5 }), row("C", { timestamp: String(seconds + 60) }), row("A")]
      const server = yield* serve((query, path) =>
        isMessages(path) ? json(query.get("offset") === "0" ? rows : []) : null
      )
      assert.deepStrictEqual(waIds((yield* readAll(yield* makeGateway(server.url))).drafts), ["A", "B", "C"])
    }))

  it.live("from a server that ignores the window contains only rows of the window", () =>
    Effect.gen(function*() {
      const rows = [row("OLD", { timestamp: seconds - 7200 }), row("A"), row("NEW", { timestamp: seconds + 7200 })]
      const server = yield* serve((query, path) =>
        isMessages(path) ? json(query.get("offset") === "0" ? rows : []) : null
      )
      assert.deepStrictEqual(waIds((yield* readAll(yield* makeGateway(server.url))).drafts), ["A"])
    }))

  it.live("that does not end is aborted", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, path) => isMessages(path) ? json([row("A")]) : null)
      const gateway = yield* makeGateway(server.url)
      const page = JSON.stringify({ chats: null, offset: 1_000_000, limit: 100 })
      assert.match((yield* Effect.flip(gateway.history.read(target, window, page))).message, /without an end/)
      assert.match((yield* Effect.flip(gateway.history.read(target, window, "{}"))).message, /none of this gateway/)
    }))

  it.live(
    "is read in smaller pages if a page is too large, and a row that is too large is kept as a reject",
    () =>
      Effect.gen(function*() {
        const all = Array.from({ length: 25 }, (_, index) => row(`R${index}`))
        const huge = "x".repeat(17 * 1024 * 1024)
        const server = yield* serve((query, path) => {
          if (!isMessages(path)) return null
          const [limit, offset] = [Number(query.get("limit")), Number(query.get("offset"))]
          const some = all.slice(offset, offset + limit)
          return some.length > 0 && offset <= 7 && 7 < offset + limit
            ? { status: 200, body: `[${JSON.stringify(huge)}]` }
            : json(some)
        })
        const { drafts } = yield* readAll(yield* makeGateway(server.url))
        const found = new Set(waIds(drafts))
        for (const { id } of all) {
          if (!id.endsWith("_R7")) assert.isTrue(found.has(id.split("_")[2]!), id)
        }
        const rejects = drafts.filter(({ kind }) => kind === "frame.rejected")
        assert.deepStrictEqual(rejects.map((draft) => ofKind(draft, "frame.rejected").data.reason), ["too-large"])
        assert.isNotNull(rejects[0]!.identity)
      })
  )

  it.live("is read chat by chat if the server has no feed over all chats and does not name its engine", () =>
    Effect.gen(function*() {
      const server = yield* serve((query, path) => {
        if (path === "/api/sim-1/chats/all/messages") {
          return json({ statusCode: 500, exception: { name: "Error" } }, 500)
        }
        if (path === "/api/sim-1/chats/overview") {
          const chats = [
            { id: "628999000111@c.us", lastMessage: row("A") },
            { id: { _serialized: "628999000112@c.us" }, lastMessage: null },
            { id: "628999000113@c.us", lastMessage: row("OLD", { timestamp: seconds - 90_000 }) }
          ]
          return json(query.get("offset") === "0" ? chats : [])
        }
        if (!isMessages(path) || query.get("offset") !== "0") return null
        return json([row(path.includes("111") ? "A" : "B")])
      }, null)
      const { drafts } = yield* readAll(yield* makeGateway(server.url))
      assert.deepStrictEqual(waIds(drafts).sort(), ["A", "B"])
      assert.isFalse(server.asked.some((path) => path.includes("628999000113")), "nothing of it is in the window")
    }))

  it.live("misses no chat that moves to the front of the list while it is read", () =>
    Effect.gen(function*() {
      const chat = (number: number) => ({ id: `6289990${number}@c.us`, lastMessage: row(`M${number}`) })
      const all = Array.from({ length: 150 }, (_, number) => chat(number))
      let looks = 0
      const server = yield* serve((query, path) => {
        const offset = Number(query.get("offset"))
        if (path.endsWith("/chats/overview")) {
          // After the first page the last chat gets a message: it is now at the front, and the others one place further.
          const list = looks++ === 0 ? all : [all.at(-1)!, ...all.slice(0, -1)]
          return json(list.slice(offset, offset + 100))
        }
        if (!isMessages(path)) return null
        return json(offset > 0 ? [] : [row(`M${/6289990(\d+)/.exec(path)![1]}`)])
      }, "WEBJS")
      const { drafts } = yield* readAll(yield* makeGateway(server.url))
      assert.deepStrictEqual(new Set(waIds(drafts)), new Set(all.map((_, number) => `M${number}`)))
    }))

  it.live("of a session that does not work is not an empty history", () =>
    Effect.gen(function*() {
      const { core, device, gateway, waha } = yield* setup()
      core.logOut(device)
      assert.match((yield* Effect.flip(gateway.history.read(target, window, null))).message, /SCAN_QR_CODE/)
      waha.setStatus(device, "STOPPED")
      assert.match((yield* Effect.flip(gateway.history.read(target, window, null))).message, /does not run it/)
    }))
})
