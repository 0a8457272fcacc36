/** From GOWA to the log: its posts are committed once, however they come, and its outages are noticed. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { asGowa } from "../../../../src/simulator/gowa/GowaServer.ts"
import * as SimulatedGateway from "../../../../src/simulator/SimulatedGateway.ts"
import * as RealGateway from "../../../support/realGateway.ts"
import { freePort } from "../../../support/servers/ServerHome.ts"
import { makeStorage } from "../../../support/surface.ts"
import { until } from "../../../support/until.ts"

const auth = { user: "columba", password: "gateway-password" }

/** A GOWA with a device of Columba on it, online. */
const setup = Effect.fnUntraced(function*(options: SimulatedGateway.SimulatorOptions = {}) {
  const simulator = yield* Effect.orDie(
    SimulatedGateway.start({ dialect: "gowa", auth, gowa: { pace: 0 }, ...options })
  )
  const port = yield* freePort
  const storage = yield* makeStorage
  const gowa = asGowa(simulator.core)
  const start = RealGateway.start({
    dialect: "gowa",
    url: simulator.url,
    user: auth.user,
    secrets: { password: Redacted.make(auth.password) }
  }, { port, storage })
  const server = yield* start
  const id = yield* server.register("tenant-7")
  const device = simulator.core.devices.get("tenant-7")!
  yield* server.become(id, "Online")
  const posting = until(
    "the slot's webhook is set",
    Effect.sync(() => gowa.slotOf(device).webhook.webhook_url.includes(`device=${id}`))
  )
  /** Everything that GOWA has posted is settled: accepted, or abandoned. */
  const settled = until("nothing is being posted", Effect.sync(() => gowa.webhooks.pending === 0))
  const emit = (count: number) =>
    Effect.callback<void>((resume) => void simulator.core.emit({ count }, () => resume(Effect.void)))
  return { ...simulator, gowa, device, server, start, id, posting, settled, emit }
})

/** The ids in the ledger of the events in the log. */
const waIdsOf = (logged: ReadonlyArray<RealGateway.Logged>): ReadonlyArray<string> =>
  logged.flatMap(({ data, kind }) => kind.startsWith("message.") ? [data.waId as string] : [])

describe("posts of GOWA", () => {
  it.live("are in the log, each event once, in any order and however often repeated", () =>
    Effect.gen(function*() {
      // It abandons nothing here, however long a busy machine needs for all that is posted at once.
      const { core, emit, gowa, posting, server, settled } = yield* setup({ gowa: { pace: 0, webhookPace: 10 } })
      yield* posting
      core.applyFault({ kind: "duplicate", copies: 3, probability: 0.2 })
      core.applyFault({ kind: "reorder", window: 9, probability: 0.5 })
      yield* emit(200)
      core.clearFaults()
      yield* settled
      assert.deepStrictEqual([gowa.webhooks.dropped, gowa.webhooks.delivered > 200], [0, true])
      // A reading of the history may be there before a delayed webhook.
      const logged = (yield* server.logged).filter(({ via }) => via === "webhook" || via === "backfill")
      const ids = new Set(waIdsOf(logged))
      for (const { event, id, ids: several } of core.ledger.entries()) {
        if (event === "chat_presence") continue
        for (const one of several ?? [id]) assert.isTrue(ids.has(one), `${event} ${one}`)
      }
      const messages = logged.filter(({ kind }) => kind === "message.received" || kind === "message.sent")
      assert.strictEqual(new Set(messages.map(({ data }) => data.messageId)).size, messages.length)
      const emitted = core.ledger.entries().filter(({ event }) => event === "message")
      assert.strictEqual(messages.length, emitted.length)
      assert.isEmpty(logged.filter(({ kind }) => kind === "frame.rejected"))
    }))

  it.live("are accepted while GOWA answers no question, and its device stays online meanwhile", () =>
    Effect.gen(function*() {
      const { core, device, id, posting, server, settled } = yield* setup()
      yield* posting
      core.applyFault({ kind: "http", status: 500 })
      core.emitter.emit(device, "message", {
        id: "3EB0SICK",
        chat_id: "628999000111@s.whatsapp.net",
        from: "628999000111@s.whatsapp.net",
        timestamp: "2026-08-22T10:00:00Z",
        body: "hello"
      })
      yield* settled
      assert.include(waIdsOf(yield* server.logged), "3EB0SICK")
      assert.strictEqual(yield* server.state(id), "Online")
    }))

  it.live("during a short outage of Columba arrive with the next try, and are not lost", () =>
    Effect.gen(function*() {
      const { emit, gowa, posting, server, settled, start } = yield* setup({ gowa: { pace: 0, webhookPace: 0.5 } })
      yield* posting
      yield* server.stop
      yield* emit(20)
      yield* until("all were tried in vain", Effect.sync(() => gowa.webhooks.attempts >= 20))
      const again = yield* start
      yield* settled
      assert.strictEqual(gowa.webhooks.dropped, 0)
      assert.isAtLeast(waIdsOf(yield* again.logged).length, 15)
    }))

  it.live("that GOWA abandons during an outage come from its history, and the gap shows it", () =>
    Effect.gen(function*() {
      const { device, emit, gowa, id, posting, server, settled, start } = yield* setup({
        gowa: { pace: 0, webhookPace: 0.01 }
      })
      yield* posting
      yield* server.stop
      yield* emit(80)
      yield* settled
      assert.isAtLeast(gowa.webhooks.dropped, 80)
      const again = yield* start
      yield* again.become(id, "Online")
      // The messages that GOWA keeps: not revoked ones, nor those that it does not report.
      const rows = device.history.filter(({ content, media_type }) => content !== "" || media_type !== "")
      assert.isAbove(rows.length, 20)
      yield* until(
        "the history is read",
        Effect.map(again.logged, (logged) => logged.some(({ kind }) => kind === "gap.closed"))
      )
      const logged = yield* again.logged
      const recovered = logged.filter(({ kind, via }) => via === "backfill" && kind.startsWith("message."))
      const ids = new Set(waIdsOf(recovered))
      for (const { id } of rows) assert.isTrue(ids.has(id), `message ${id}`)
      const closed = logged.find(({ data, kind }) => kind === "gap.closed" && data.recovered > 0)
      assert.deepStrictEqual([closed?.data.status, closed?.data.proven], ["unprovable", ["messages"]])
      assert.include(closed?.data.detail, "acks")
    }))

  it.live("of other kinds are kept as the gateway's own events, and a reject once however often it is posted", () =>
    Effect.gen(function*() {
      const { core, device, gowa, posting, server, settled } = yield* setup()
      yield* posting
      const call = { call_id: "5F2A", from: "628999000111@s.whatsapp.net", timestamp: "2026-08-22T10:00:00Z" }
      for (let time = 0; time < 2; time++) {
        core.emitter.emit(device, "call.offer", call)
        core.emitter.emit(device, "group.participants", { chat_id: "1@g.us", type: "join", jids: [], timestamp: "x" })
        core.emitter.sendRaw(device, "not json")
      }
      yield* settled
      assert.strictEqual(gowa.webhooks.dropped, 0)
      const kinds = (yield* server.logged).filter(({ via }) => via === "webhook").map(({ kind }) => kind)
      assert.deepStrictEqual([...kinds].sort(), ["frame.rejected", "gateway.call.offer", "gateway.group.participants"])
    }))
})

describe("a device on GOWA", () => {
  it.live("is logged out and online again as its account is, by the events of the link", () =>
    Effect.gen(function*() {
      const { core, device, id, server } = yield* setup()
      core.logOut(device)
      yield* server.become(id, "LoggedOut")
      core.pair(device)
      yield* server.become(id, "Online")
    }))

  it.live("is reconnected at GOWA if GOWA has left it offline", () =>
    Effect.gen(function*() {
      // GOWA's own reconnects take an hour here.
      const { crash, device, id, revive, server } = yield* setup({ gowa: { pace: 2000 } })
      yield* crash
      yield* server.become(id, "Backoff")
      yield* Effect.orDie(revive)
      assert.isFalse(device.connected)
      yield* server.become(id, "Online")
      assert.isTrue(device.connected)
    }))

  it.live("reconnects after the end of GOWA's process, with all others of it as one incident", () =>
    Effect.gen(function*() {
      const { core, crash, id, revive, server } = yield* setup()
      const others = yield* Effect.forEach(["tenant-8", "tenant-9"], server.register)
      for (const other of others) yield* server.become(other, "Online")
      assert.strictEqual(core.stats().sockets, 1, "three devices share one link")
      yield* crash
      for (const one of [id, ...others]) yield* server.become(one, "Backoff")
      const lost = (yield* server.logged).filter(({ data, kind }) =>
        kind === "device.state" && data.state._tag === "Backoff"
      )
      assert.deepStrictEqual([...new Set(lost.map(({ data }) => data.rule))], ["gateway-down"])
      yield* Effect.orDie(revive)
      for (const one of [id, ...others]) yield* server.become(one, "Online")
      assert.strictEqual(core.stats().sockets, 1)
    }))
})
