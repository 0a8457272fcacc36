/** From WAHA to the log: by socket and by webhook at once, each event once; and a device that follows its session. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { SimulatedDevice } from "../../../../src/simulator/SimulatedDevice.ts"
import * as SimulatedGateway from "../../../../src/simulator/SimulatedGateway.ts"
import type { WahaOptions, WahaServer } from "../../../../src/simulator/waha/WahaServer.ts"
import * as RealGateway from "../../../support/realGateway.ts"
import { freePort } from "../../../support/servers/ServerHome.ts"
import { makeStorage } from "../../../support/surface.ts"
import { until } from "../../../support/until.ts"
import { apiKey } from "./bench.ts"

/** A WAHA server with a device of Columba on it, online. */
const setup = Effect.fnUntraced(function*(options: WahaOptions = {}) {
  const simulator = yield* Effect.orDie(
    SimulatedGateway.start({ dialect: "waha", waha: { apiKey, waitMillis: 100, webhookPace: 0.05, ...options } })
  )
  const waha = simulator.core.dialect as WahaServer
  const port = yield* freePort
  const storage = yield* makeStorage
  const start = RealGateway.start({
    dialect: "waha",
    url: simulator.url,
    user: null,
    secrets: { apiKey: Redacted.make(apiKey) }
  }, { port, storage })
  const server = yield* start
  const id = yield* server.register("tenant-7")
  const device: SimulatedDevice = simulator.core.devices.get("tenant-7")!
  yield* server.become(id, "Online")
  const posting = until(
    "the session's webhook is set",
    Effect.sync(() => waha.session(device).webhooks.some(({ url }) => url.includes(`device=${id}`)))
  )
  const settled = until("nothing is being posted", Effect.sync(() => waha.webhooks.pending() === 0))
  const emit = (count: number) =>
    Effect.callback<void>((resume) => void simulator.core.emit({ count }, () => resume(Effect.void)))
  return { ...simulator, waha, device, server, start, id, posting, settled, emit }
})

const isMessage = ({ kind }: RealGateway.Logged) => kind === "message.received" || kind === "message.sent"

describe("the events of a WAHA session", () => {
  it.live("on its socket and by webhook, repeated and in any order, are in the log once", () =>
    Effect.gen(function*() {
      const { core, device, emit, posting, server, settled } = yield* setup()
      yield* posting
      core.applyFault({ kind: "duplicate", copies: 3, probability: 0.2 })
      core.applyFault({ kind: "reorder", window: 9, probability: 0.5 })
      yield* emit(100)
      // Without a socket for a moment: only the webhooks have these.
      core.applyFault({ kind: "drop" })
      yield* emit(50)
      core.clearFaults()
      core.emitter.emit(device, "message", {
        id: "LAST",
        chat_id: "628999000111@s.whatsapp.net",
        from: "628999000111@s.whatsapp.net",
        timestamp: "2026-08-22T10:00:00Z",
        body: "the last one"
      })
      yield* settled
      yield* until(
        "the last one is there",
        Effect.map(server.logged, (all) => all.some(({ data }) => data.waId === "LAST"))
      )
      const logged = yield* server.logged
      const ids = new Set(logged.map(({ data }) => data.waId as string | undefined))
      const emitted = core.ledger.entries()
      for (const { event, id } of emitted) if (event !== "chat_presence") assert.isTrue(ids.has(id), `${event} ${id}`)
      const messages = logged.filter(isMessage)
      assert.strictEqual(new Set(messages.map(({ data }) => data.waId)).size, messages.length)
      assert.strictEqual(messages.length, emitted.filter(({ event }) => event === "message").length)
      assert.isEmpty(logged.filter(({ kind }) => kind === "frame.rejected"))
      // A look at the history may have been faster than a webhook for some of those without a socket.
      assert.includeMembers(messages.map(({ via }) => via), ["live", "webhook"])
    }))

  it.live("during a short outage of Columba arrive with the next tries of its webhooks", () =>
    Effect.gen(function*() {
      const { core, emit, posting, server, settled, start, waha } = yield* setup()
      yield* posting
      yield* settled
      yield* server.stop
      yield* emit(50)
      yield* until("all were tried in vain", Effect.sync(() => waha.webhooks.counts.attempts >= 50))
      const again = yield* start
      yield* settled
      const ids = new Set((yield* again.logged).map(({ data }) => data.waId as string | undefined))
      const lost = core.ledger.entries().filter(({ event, id }) => event !== "chat_presence" && !ids.has(id))
      assert.deepStrictEqual(lost, [])
    }))

  it.live("of other kinds are kept as the gateway's own events, once for both paths", () =>
    Effect.gen(function*() {
      const { core, device, id, posting, server, settled } = yield* setup()
      yield* posting
      yield* server.become(id, "Online")
      const call = { id: "5F2A", from: "628999000111@c.us", timestamp: 1_787_392_800, isVideo: false, isGroup: false }
      core.emitter.emit(device, "call.received", call)
      core.emitter.emit(device, "group.v2.participants", { type: "join", group: { id: "1@g.us" }, participants: [] })
      core.emitter.emit(device, "engine.event", { secret: "of the engine" })
      yield* settled
      yield* until(
        "both are there",
        Effect.map(server.logged, (all) => all.filter(({ kind }) => kind.startsWith("gateway.")).length >= 2)
      )
      const kinds = (yield* server.logged).map(({ kind }) => kind).filter((kind) => kind.startsWith("gateway."))
      assert.deepStrictEqual([...kinds].sort(), ["gateway.call.received", "gateway.group.v2.participants"])
    }))
})

describe("the events that a WAHA session has not delivered", () => {
  it.live.each(["GOWS", "WEBJS"] as const)(
    "come from its history with the furthest acks (%s)",
    (engine) =>
      Effect.gen(function*() {
        const { core, crash, emit, id, posting, revive, server, settled, start } = yield* setup({ engine })
        yield* posting
        yield* emit(30)
        yield* settled
        yield* server.stop
        yield* emit(150)
        // Its process ends too, and with it every webhook that it would have retried.
        yield* crash
        yield* Effect.orDie(revive)
        const again = yield* start
        yield* again.become(id, "Online")
        const revoked = new Set(
          core.ledger.entries().flatMap(({ event, id }) => event === "message.revoked" ? [id] : [])
        )
        const missing = Effect.map(again.logged, (all) => {
          const ids = new Set(all.filter(isMessage).map(({ data }) => data.waId as string))
          return core.ledger.entries().filter(({ event, id }) =>
            event === "message" && !ids.has(id) && !revoked.has(id)
          )
        })
        yield* until("every message is there", Effect.map(missing, ({ length }) => length === 0))
        const logged = yield* again.logged
        const messages = logged.filter(isMessage)
        assert.strictEqual(new Set(messages.map(({ data }) => data.waId)).size, messages.length)
        assert.isAbove(messages.filter(({ via }) => via === "backfill").length, 50)
        assert.isAbove(
          logged.filter(({ data, kind, via }) => kind === "message.ack" && via === "backfill" && data.status === "read")
            .length,
          5
        )
        assert.isEmpty(logged.filter(({ kind }) => kind === "frame.rejected"))
      })
  )
})

describe("a device on WAHA", () => {
  it.live("has its session started whenever the server has left it stopped or failed", () =>
    Effect.gen(function*() {
      const { device, id, posting, server, waha } = yield* setup()
      yield* posting
      for (const status of ["STOPPED", "FAILED"] as const) {
        yield* server.become(id, "Online")
        const before = waha.requests.length
        waha.setStatus(device, status)
        yield* until("it runs again", Effect.sync(() => waha.session(device).status === "WORKING"))
        yield* server.become(id, "Online")
        const verb = status === "STOPPED" ? "start" : "restart"
        assert.include(waha.requests.slice(before), `POST /api/sessions/tenant-7/${verb}`)
        // The next start waits longer: let the device be online, which resets the delay.
      }
    }))

  it.live("has its session started again when nobody has scanned its codes, and not at once each time", () =>
    Effect.gen(function*() {
      const { core, device, id, server, waha } = yield* setup({ codePace: 0.001 })
      core.logOut(device)
      yield* server.become(id, "AwaitingLogin")
      yield* until("the codes ran out", Effect.sync(() => waha.session(device).status === "FAILED"))
      yield* until(
        "it shows codes again",
        Effect.sync(() => waha.requests.includes("POST /api/sessions/tenant-7/restart"))
      )
      yield* until("they ran out again", Effect.sync(() => waha.session(device).status === "FAILED"))
      assert.strictEqual(yield* server.state(id), "AwaitingLogin")
      const restarts = waha.requests.filter((line) => line.endsWith("/restart")).length
      assert.isAtMost(restarts, 2)
    }))

  it.live("waits for a login by code or passkey, and is online with the account", () =>
    Effect.gen(function*() {
      const { core, device, id, server, waha } = yield* setup()
      core.logOut(device)
      yield* server.become(id, "AwaitingLogin")
      waha.setStatus(device, "PASSKEY_REQUIRED")
      yield* until(
        "it waits for a passkey",
        Effect.map(server.logged, (all) => all.some(({ data }) => data.state?.method === "passkey"))
      )
      waha.setStatus(device, null)
      core.pair(device)
      yield* server.become(id, "Online")
    }))

  it.live("reconnects after the end of the server's process, with all others of it as one incident", () =>
    Effect.gen(function*() {
      const { crash, id, revive, server } = yield* setup()
      const others = yield* Effect.forEach(["tenant-8", "tenant-9"], server.register)
      for (const other of others) yield* server.become(other, "Online")
      yield* crash
      for (const one of [id, ...others]) yield* server.become(one, "Backoff")
      yield* until(
        "all wait for the gateway",
        Effect.map(server.logged, (all) => all.filter(({ data }) => data.rule === "gateway-down").length >= 3)
      )
      yield* Effect.orDie(revive)
      for (const one of [id, ...others]) yield* server.become(one, "Online")
    }))

  it.live("whose key is refused waits for an operator, and spends no budget", () =>
    Effect.gen(function*() {
      const simulator = yield* Effect.orDie(SimulatedGateway.start({ dialect: "waha", devices: 1, waha: { apiKey } }))
      const gateway = { dialect: "waha" as const, url: simulator.url, user: null }
      const storage = yield* makeStorage
      const port = yield* freePort
      const secrets = { apiKey: Redacted.make(apiKey) }
      const first = yield* RealGateway.start({ ...gateway, secrets }, { port, storage })
      const id = yield* first.register("sim-1")
      yield* first.become(id, "Online")
      yield* first.stop
      const second = yield* RealGateway.start({ ...gateway, secrets: { apiKey: Redacted.make("old") } }, {
        port,
        storage
      })
      yield* second.become(id, "Backoff")
      const backoff = (yield* second.logged).find(({ data }) => data.state?._tag === "Backoff")
      assert.deepInclude(backoff!.data.failure, { class: "auth", code: "unauthorized" })
      assert.deepStrictEqual(backoff!.data.memory.failures, [])
      for (const { data } of yield* second.logged) assert.notInclude(JSON.stringify(data), apiKey)
    }))
})
