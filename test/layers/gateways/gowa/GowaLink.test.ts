/** The link as devices use it: through the sessions that share it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schedule, Scope } from "effect"
import * as GatewaySessions from "../../../../src/actors/gateway/GatewaySessions.ts"
import type { DeviceId } from "../../../../src/domain/Ids.ts"
import { asGowa } from "../../../../src/simulator/gowa/GowaServer.ts"
import { makeTarget, record } from "../../../support/gateway.ts"
import { setup, target } from "../../../conformance/gateway/harness.ts"
import { adapter } from "./adapter.ts"

const second = { ...makeTarget("sim-2"), deviceId: "dev_01K000000000000000000OTHER" as DeviceId }

const setupLink = Effect.fnUntraced(function*(options: Parameters<typeof setup>[1] = {}) {
  const bench = yield* setup(adapter, options)
  const open = yield* GatewaySessions.make(bench.gateway)
  return { ...bench, open, gowa: asGowa(bench.core) }
})

/** Two devices of it, and the events that each receives. */
const setupPair = Effect.fnUntraced(function*(options: Parameters<typeof setup>[1] = {}) {
  const bench = yield* setupLink({ ...options, simulator: { devices: 2, ...options.simulator } })
  const [one, two] = [record(), record()]
  const sessions = [yield* bench.open(target, one), yield* bench.open(second, two)]
  return { ...bench, one, two, sessions }
})

describe("opening the link", () => {
  it.live.each(
    [
      [{ status: 401 }, "auth", "unauthorized", null],
      [{ status: 401, json: true }, "transport", "session-not-ready", null],
      [{ status: 403 }, "auth", "forbidden", null],
      [{ status: 429, retryAfter: "7" }, "transport", "rate-limited", 7000],
      [{ status: 503 }, "upstreamDown", "unavailable", null]
    ] as const
  )("refused with %o is %s %s", ([refusal, kind, code, retryAfter]) =>
    Effect.gen(function*() {
      const { core, gateway, open, proxy, wheel } = yield* setupLink()
      core.applyFault({ kind: "refuse", times: 1, ...refusal })
      const error = yield* Effect.flip(open(target, record()))
      assert.deepStrictEqual([error.class, error.code, error.retryAfter], [kind, code, retryAfter])
      assert.deepStrictEqual([core.stats().sockets, wheel.size], [0, 0])
      // A refusal holds for a while for all who share the link.
      yield* (yield* GatewaySessions.make(gateway))(target, record())
      yield* proxy.connected
    }))

  it.live("reports wrong credentials, a missing slot and a closed port as different failures", () =>
    Effect.gen(function*() {
      const { open, proxy, simulator } = yield* setupLink({ simulator: { auth: { user: "u", password: "p" } } })
      const wrong = yield* Effect.flip(open(target, record()))
      assert.deepStrictEqual([wrong.class, wrong.code], ["auth", "unauthorized"])
      const right = yield* adapter.make({ url: `http://127.0.0.1:${proxy.port}`, user: "u", password: "p" })
      yield* (yield* GatewaySessions.make(right))(target, record())
      simulator.core.removeDevice("sim-1")
      const none = yield* Effect.flip((yield* GatewaySessions.make(right))(target, record()))
      assert.deepStrictEqual([none.class, none.code], ["transport", "unknown-slot"])
      yield* proxy.disable
      const down = yield* Effect.flip((yield* GatewaySessions.make(right))(target, record()))
      assert.deepStrictEqual([down.class, down.code], ["upstreamDown", "unreachable"])
      assert.notInclude(JSON.stringify(down), simulator.url)
    }))

  it.live("aborts a handshake that never completes at its deadline, and leaves nothing of an interrupted one", () =>
    Effect.gen(function*() {
      const { core, open, proxy } = yield* setupLink({ gateway: { handshakeMillis: 60 } })
      core.applyFault({ kind: "hang" })
      const error = yield* Effect.flip(open(target, record()))
      assert.deepStrictEqual([error.class, error.code], ["upstreamDown", "handshake-timeout"])
      const opening = yield* Effect.forkChild(Effect.scoped(open(target, record())))
      yield* proxy.connected
      yield* Fiber.interrupt(opening)
      assert.strictEqual(core.stats().sockets, 0)
    }))

  it.live("does not need the slot of any device, and authenticates the upgrade", () =>
    Effect.gen(function*() {
      const auth = { user: "columba", password: "päss:word" }
      const { core, open } = yield* setupLink({
        simulator: { auth, devices: 3 },
        gateway: { user: auth.user, password: auth.password }
      })
      yield* open(makeTarget("missing"), record())
      assert.strictEqual(core.stats().sockets, 1)
    }))
})

describe("an open link", () => {
  it.live("is one connection for all devices, and closes after the last", () =>
    Effect.gen(function*() {
      const { core, open, proxy, wheel } = yield* setupLink({ simulator: { devices: 2 } })
      const [a, b] = [yield* Scope.make(), yield* Scope.make()]
      yield* Scope.provide(open(target, record()), a)
      yield* Scope.provide(open(second, record()), b)
      assert.strictEqual(core.stats().sockets, 1)
      yield* Scope.close(a, Exit.void)
      assert.strictEqual(wheel.size, 1)
      yield* Scope.close(b, Exit.void)
      assert.strictEqual(wheel.size, 0)
      yield* proxy.drained
    }))

  it.live("passes a logout only to the device of the slot", () =>
    Effect.gen(function*() {
      const { core, one, two } = yield* setupPair()
      core.logOut(core.devices.get("sim-2")!)
      yield* two.until(({ events }) => events.length > 0)
      assert.deepStrictEqual(two.events, [{ _tag: "LoggedOut", reason: "Device logged out (slot kept)" }])
      assert.deepStrictEqual(one.events, [])
    }))

  it.live("asks for the status of every device after a pairing, whose frame names no slot", () =>
    Effect.gen(function*() {
      const { core, one, two } = yield* setupPair({ simulator: { autoPair: false } })
      core.pair(core.devices.get("sim-2")!)
      yield* one.until(({ events }) => events.length > 0)
      yield* two.until(({ events }) => events.length > 0)
      assert.deepStrictEqual([one.events, two.events], [[{ _tag: "StatusHint" }], [{ _tag: "StatusHint" }]])
    }))

  it.live("reports that a passkey is requested, and does not reveal its secret parts", () =>
    Effect.gen(function*() {
      const { gowa, one, two } = yield* setupPair()
      const frames = [
        { code: "PASSKEY_REQUEST", message: "…", result: { device_id: "sim-1", challenge: { challenge: "s3cret" } } },
        { code: "PASSKEY_CONFIRMATION", message: "code s3cret", result: { device_id: "sim-1", code: "s3cret" } },
        { code: "PASSKEY_ERROR", message: "failed: s3cret", result: { device_id: "sim-1", continuation: false } }
      ]
      for (const frame of frames) yield* Effect.promise(() => gowa.hub.broadcast(frame))
      yield* one.until(({ events }) => events.length === 3)
      assert.deepStrictEqual(one.events.map((event) => event._tag === "LoginNeeded" ? event.method : event._tag), [
        "passkey",
        "passkey",
        "unknown"
      ])
      assert.notInclude(JSON.stringify(one.events), "s3cret")
      assert.deepStrictEqual(two.events, [])
    }))

  it.live("ignores frames of unknown slots, unknown codes and malformed frames", () =>
    Effect.gen(function*() {
      const { core, gowa, one, two } = yield* setupPair()
      const foreign = { code: "DEVICE_LOGGED_OUT", message: "", result: { device_id: "somebody" } }
      yield* Effect.promise(() => gowa.hub.broadcast(foreign))
      for (
        const text of [
          "hello?",
          "null",
          "[]",
          "{\"code\":7}",
          "{\"code\":\"DEVICE_LOGGED_OUT\",\"result\":null}",
          "{\"code\":\"DEVICE_LOGGED_OUT\",\"result\":{\"device_id\":7}}",
          "{\"code\":\"SOMETHING_NEW\",\"message\":\"\",\"result\":{\"device_id\":\"sim-1\"}}",
          "{\"event\":\"message\",\"device_id\":\"sim-1\",\"payload\":{}}"
        ]
      ) yield* Effect.promise(() => gowa.hub.broadcastText(text))
      for (const socket of gowa.hub.sockets) socket.send(Buffer.from([1, 2, 3]))
      core.logOut(core.devices.get("sim-1")!)
      yield* one.until(({ events }) => events.length > 0)
      assert.deepStrictEqual(one.events.map(({ _tag }) => _tag), ["LoggedOut"])
      assert.deepStrictEqual([two.events, one.ends()], [[], 0])
    }))

  it.live("is read without pause, whatever a device asks for, since no other message waits at the hub", () =>
    Effect.gen(function*() {
      const { gowa, one, sessions } = yield* setupPair({ direct: true })
      assert.isFalse(sessions[0]!.pause())
      const padding = "x".repeat(1024 * 1024)
      for (let number = 0; number < 30; number++) {
        yield* Effect.promise(() =>
          gowa.hub.broadcastText(JSON.stringify({ code: "NOOP", message: padding, result: null }))
        )
      }
      assert.deepStrictEqual([gowa.hub.waiting, one.ends()], [0, 0])
    }))

  it.live.each(
    [
      [{ code: 1000 }, "upstreamDown"],
      [{ code: 1008 }, "auth"],
      [{ reset: true }, "upstreamDown"],
      [{}, "upstreamDown"]
    ] as const
  )("ends for all its devices, once, when dropped with %o, as %s", ([drop, kind]) =>
    Effect.gen(function*() {
      const { core, one, two, wheel } = yield* setupPair()
      core.applyFault({ kind: "drop", ...drop })
      for (const listener of [one, two]) {
        const failure = yield* listener.ended
        assert.deepStrictEqual([failure.class, failure.code], [kind, "link-lost"])
        assert.strictEqual(listener.ends(), 1)
      }
      assert.strictEqual(wheel.size, 0)
    }))

  it.live("detects by missing pongs that it is half-open, or its gateway suspended", () =>
    Effect.gen(function*() {
      const { core, one } = yield* setupPair({ turn: 60 })
      core.applyFault({ kind: "half-open" })
      const failure = yield* one.ended
      assert.include(failure.detail, "no sign of life")
    }))

  it.live("ends with the process of the gateway, and is opened again once that is back", () =>
    Effect.gen(function*() {
      const { core, one, open, simulator, two } = yield* setupPair()
      yield* simulator.crash
      for (const listener of [one, two]) assert.strictEqual((yield* listener.ended).code, "link-lost")
      assert.strictEqual((yield* Effect.flip(open(target, record()))).class, "upstreamDown")
      yield* simulator.revive
      // A refusal holds for a while.
      yield* Effect.retry(open(target, record()), Schedule.spaced("25 millis"))
      assert.strictEqual(core.stats().sockets, 1)
    }))
})
