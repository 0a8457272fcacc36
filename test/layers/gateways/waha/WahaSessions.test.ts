/** Sessions of a WAHA server: what their statuses mean, how they are started, and who may receive their events. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Logger, Tracer } from "effect"
import { WebSocket } from "ws"
import type { UpstreamId } from "../../../../src/domain/Ids.ts"
import { ofKind } from "../../../support/drafts.ts"
import { makeTarget, record } from "../../../support/gateway.ts"
import { until } from "../../../support/until.ts"
import { apiKey, makeGateway, peer, say, setup, target } from "./bench.ts"

const none = { isConnected: false, isLoggedIn: false, jid: null }

const lid = "99887766554433@lid"

describe("the status of a WAHA session", () => {
  it.live("is proof only if the session states whether it has an account", () =>
    Effect.gen(function*() {
      const { core, device, gateway, waha } = yield* setup()
      const { jid } = device
      const slot = "sim-1" as UpstreamId
      const read = Effect.map(gateway.statuses, (all) => all.get(slot))
      const usable = { isConnected: true, isLoggedIn: true, jid }
      assert.deepStrictEqual(yield* read, { status: usable, proven: true })
      core.disconnect(device)
      assert.deepStrictEqual(yield* read, { status: { ...usable, isConnected: false }, proven: true })
      // A stopped session is in the list too, without stating whether it has an account.
      for (const status of ["STOPPED", "FAILED"] as const) {
        waha.setStatus(device, status)
        assert.deepStrictEqual(yield* read, { status: none, proven: false })
        assert.deepStrictEqual(yield* gateway.status({ ...target, jid }), { ...none, jid })
        assert.deepStrictEqual(yield* gateway.status(target), none)
      }
      for (const status of ["PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED"] as const) {
        waha.setStatus(device, status)
        assert.deepStrictEqual(yield* read, { status: none, proven: true })
        assert.deepStrictEqual(yield* gateway.status({ ...target, jid }), none)
      }
      waha.setStatus(device, null)
      core.logOut(device)
      assert.deepStrictEqual(yield* read, { status: none, proven: true })
    }))

  it.live("is sent on the socket as it changes, through every step of a login", () =>
    Effect.gen(function*() {
      const { core, device, gateway, waha } = yield* setup({ autoPair: false })
      const listener = record()
      yield* gateway.open(target, listener)
      waha.setStatus(device, null)
      waha.setStatus(device, "PASSKEY_REQUIRED")
      waha.setStatus(device, "PASSKEY_CONFIRMATION_REQUIRED")
      waha.setStatus(device, null)
      core.pair(device)
      core.disconnect(device)
      waha.setStatus(device, "FAILED")
      yield* listener.until(({ events }) => events.length === 7)
      assert.deepStrictEqual(listener.events, [
        { _tag: "LoginNeeded", method: "qr", expiresAt: null },
        { _tag: "LoginNeeded", method: "passkey", expiresAt: null },
        { _tag: "LoginNeeded", method: "passkey", expiresAt: null },
        { _tag: "LoginNeeded", method: "qr", expiresAt: null },
        { _tag: "UpstreamConnected", jid: device.jid },
        { _tag: "UpstreamDisconnected", reason: "the session is STARTING" },
        { _tag: "UpstreamDisconnected", reason: "the session is FAILED" }
      ])
    }))
})

describe("another process", () => {
  it.live("may give a session of the simulator any status", () =>
    Effect.gen(function*() {
      const { device, gateway, simulator, waha } = yield* setup()
      const set = (status: string | null) =>
        Effect.promise(() =>
          fetch(`${simulator.url}/__sim/status`, { method: "POST", body: JSON.stringify({ device: "sim-1", status }) })
        )
      assert.strictEqual((yield* set("FAILED")).status, 200)
      assert.strictEqual(waha.session(device).status, "FAILED")
      assert.strictEqual((yield* set("ASLEEP")).status, 400)
      assert.strictEqual((yield* set(null)).status, 200)
      assert.isTrue((yield* gateway.status(target)).isConnected)
    }))
})

describe("starting a WAHA session", () => {
  it.live.each(
    [
      ["STOPPED", "POST /api/sessions/sim-1/start"],
      ["FAILED", "POST /api/sessions/sim-1/restart"],
      [null, null],
      ["PASSKEY_REQUIRED", null]
    ] as const
  )("that is %s asks for %s", ([status, request]) =>
    Effect.gen(function*() {
      const { device, gateway, waha } = yield* setup()
      waha.setStatus(device, status)
      yield* gateway.start(target)
      const posts = waha.requests.filter((line) => line.startsWith("POST"))
      assert.deepStrictEqual(posts, request === null ? [] : [request])
      assert.strictEqual(waha.session(device).status, status === "PASSKEY_REQUIRED" ? status : "WORKING")
    }))

  it.live("does nothing if the server does not know it, and fails if the server is unreachable", () =>
    Effect.gen(function*() {
      const { gateway, simulator } = yield* setup()
      yield* gateway.start(makeTarget("nobody"))
      yield* simulator.crash
      assert.strictEqual((yield* Effect.flip(gateway.start(target)))._tag, "GatewayUnavailable")
    }))

  it.live("is part of creating it, with the store that its history needs", () =>
    Effect.gen(function*() {
      const { core, gateway, waha } = yield* setup()
      yield* gateway.ensureSlot("tenant-7" as UpstreamId)
      const made = core.devices.get("tenant-7")!
      assert.strictEqual(waha.session(made).status, "WORKING")
      assert.deepStrictEqual(waha.session(made).config, { noweb: { store: { enabled: true, fullSync: false } } })
    }))
})

describe("the socket of a WAHA session", () => {
  it.live("delivers each message once, and no events of other sessions", () =>
    Effect.gen(function*() {
      const { core, device, gateway } = yield* setup({ devices: 2 })
      const listener = record()
      yield* gateway.open(target, listener)
      core.emitter.emit(core.devices.get("sim-2")!, "message", say("OTHER"))
      core.emitter.emit(device, "message", say("ONE"))
      core.emitter.emit(device, "engine.event", { id: "E" })
      core.emitter.emit(device, "message", say("TWO"))
      yield* listener.until(() => listener.drafts().length >= 2)
      assert.deepStrictEqual(
        listener.drafts().map(({ data }) => (data as { readonly waId: string }).waId),
        ["ONE", "TWO"]
      )
    }))

  it.live("refuses the key of another session after the upgrade, and accepts its own", () =>
    Effect.gen(function*() {
      const { simulator } = yield* setup({}, { sessionKeys: { mine: "sim-1", theirs: "sim-2" } })
      const theirs = yield* makeGateway(simulator.url, "theirs")
      const refused = yield* Effect.flip(theirs.open(target, record()))
      assert.deepStrictEqual([refused.class, refused.code], ["auth", "forbidden"])
      const mine = yield* makeGateway(simulator.url, "mine")
      yield* mine.open(target, record())
      assert.isTrue((yield* mine.status(target)).isConnected)
    }))

  it.live("opens before the session exists, and delivers its events once it does", () =>
    Effect.gen(function*() {
      const { core, gateway } = yield* setup()
      const listener = record()
      const later = makeTarget("later")
      yield* gateway.open(later, listener)
      yield* gateway.ensureSlot(later.upstreamId)
      core.emitter.emit(core.devices.get("later")!, "message", say("ONE"))
      yield* listener.until(() => listener.drafts().length === 1)
    }))

  it.live("answers the server's pings; one that does not is cut", () =>
    Effect.gen(function*() {
      const { core, device, gateway, simulator } = yield* setup({}, { pingMillis: 40 })
      const listener = record()
      yield* gateway.open(target, listener)
      const deaf = new WebSocket(`${simulator.url}/ws?x-api-key=${apiKey}&session=sim-1`, { autoPong: false })
      const code = yield* Effect.promise(() => new Promise<number>((resolve) => deaf.on("close", resolve)))
      assert.strictEqual(code, 1006)
      core.emitter.emit(device, "message", say("ONE"))
      yield* listener.until(() => listener.drafts().length === 1)
      assert.strictEqual(listener.ends(), 0)
    }))

  it.live("spells an account by its phone number, and asks for that of a hidden id once", () =>
    Effect.gen(function*() {
      const { core, device, gateway, waha } = yield* setup()
      const listener = record()
      yield* gateway.open(target, listener)
      for (let number = 0; number < 30; number++) {
        core.emitter.emit(device, "message", say(`A${number}`, { from_lid: lid }))
      }
      yield* listener.until(() => listener.drafts().length === 30)
      const drafts = listener.drafts().map((draft) => ofKind(draft, "message.received"))
      assert.deepStrictEqual(
        drafts.map(({ data }) => data.waId),
        Array.from({ length: 30 }, (_, number) => `A${number}`)
      )
      for (const { data } of drafts) assert.deepStrictEqual([data.chat, data.sender], [peer, peer])
      const hidden = drafts.filter(({ aliases }) => aliases.length > 0)
      assert.isAtLeast(hidden.length, 5)
      for (const { aliases } of hidden) assert.deepStrictEqual(aliases, [{ lid, jid: peer }])
      assert.strictEqual(waha.requests.filter((line) => line.includes("/lids/")).length, 1)
    }))

  it.live("reads nothing while it waits for a phone number, keeps the order, and loses nothing if closed meanwhile", () =>
    Effect.gen(function*() {
      const { core, device, gateway, waha } = yield* setup({}, { lidMillis: 200 })
      const listener = record()
      yield* gateway.open(target, listener)
      const emit = (from: number, to: number) => {
        for (let number = from; number < to; number++) {
          core.emitter.emit(device, "message", say(`A${number}`, { from_lid: `${number % 7}00112233@lid` }))
        }
      }
      emit(0, 50)
      yield* until("it asks", Effect.sync(() => waha.requests.some((line) => line.includes("/lids/"))))
      assert.isBelow(listener.drafts().length, 10)
      yield* listener.until(() => listener.drafts().length === 50)
      const spelled = new Set(listener.drafts().map((draft) => ofKind(draft, "message.received").data.chat))
      assert.deepStrictEqual([...spelled], [peer])
      // Other hidden ids, and the gateway goes down while their numbers are requested.
      for (let number = 50; number < 60; number++) {
        core.emitter.emit(device, "message", say(`A${number}`, { from_lid: `9${number}00112233@lid` }))
      }
      core.applyFault({ kind: "drop", reset: true })
      yield* listener.ended
      const ids = listener.drafts().map((draft) => ofKind(draft, "message.received").data.waId)
      assert.deepStrictEqual(ids, Array.from({ length: 60 }, (_, number) => `A${number}`))
      assert.deepStrictEqual(
        new Set(listener.drafts().map((draft) => ofKind(draft, "message.received").data.chat)),
        new Set([peer])
      )
      assert.deepStrictEqual([listener.ends(), listener.late()], [1, 0])
    }))

  it.live("does not wait for a number that the server does not have, nor twice for one that it does not return", () =>
    Effect.gen(function*() {
      const { core, device, gateway, waha } = yield* setup()
      const listener = record()
      yield* gateway.open(target, listener)
      const hidden = { chat_id: "777@lid", from: "777@lid" }
      for (let number = 0; number < 5; number++) core.emitter.emit(device, "message", say(`A${number}`, hidden))
      yield* listener.until(() => listener.drafts().length === 5)
      for (const draft of listener.drafts()) assert.strictEqual(ofKind(draft, "message.received").data.chat, "777@lid")
      assert.strictEqual(waha.requests.filter((line) => line.includes("/lids/")).length, 1)
    }))
})

describe("hidden ids that a server does not resolve", () => {
  it.live("delay the first frame for seconds, and no later one", () =>
    Effect.gen(function*() {
      const { core, device, gateway, waha } = yield* setup({}, { lidMillis: 3_600_000 })
      const listener = record()
      yield* gateway.open(target, listener)
      for (let number = 0; number < 100; number++) {
        const one = `9${number}@lid`
        core.emitter.emit(device, "message", say(`A${number}`, { chat_id: one, from: one }))
      }
      yield* listener.until(() => listener.drafts().length === 100)
      assert.strictEqual(waha.requests.filter((line) => line.includes("/lids/")).length, 1)
    }))
})

describe("the API key of a WAHA server", () => {
  it.live("appears in no error, span, log line or description, whatever fails", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const logger = Logger.make(({ cause, message }) => {
        seen.push(JSON.stringify([message, String(cause)]))
      })
      const watch = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.map(Effect.exit(Effect.scoped(effect)), (exit) => {
          seen.push(JSON.stringify(exit), Exit.isFailure(exit) ? String(exit.cause) : "")
        })
      yield* Effect.gen(function*() {
        const { simulator } = yield* setup({}, { apiKey: "another key" })
        for (const url of [simulator.url, "http://127.0.0.1:9", "http://no-such-host.invalid"]) {
          const gateway = yield* makeGateway(url)
          seen.push(gateway.description)
          const window = { from: "2026-08-22T10:00:00Z", to: "2026-08-22T11:00:00Z" }
          for (
            const question of [
              gateway.open(target, record()),
              gateway.status(target),
              gateway.statuses,
              gateway.start(target),
              gateway.ensureSlot(target.upstreamId),
              gateway.probe,
              gateway.history.read(target, window, null)
            ]
          ) yield* watch(Effect.withSpan(Effect.tapError(question, Effect.logError), "test"))
        }
      }).pipe(Effect.withTracer(tracer), Effect.provide(Logger.layer([logger])))
      seen.push(...spans.map(({ attributes, events, name, status }) =>
        JSON.stringify([name, [...attributes], events, String(status)], (_, value) =>
          typeof value === "bigint" ? String(value) : value)
      ))
      assert.isAbove(seen.length, 50)
      assert.isAbove(spans.length, 10)
      for (const text of seen) {
        assert.notInclude(text, apiKey)
      }
    }))
})
