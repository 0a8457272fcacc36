/** Opening sessions, and the guarantees of an open one: order, backpressure, exactly one end. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import type { DeviceId } from "../../../src/domain/Ids.ts"
import { makeTarget, record } from "../../support/gateway.ts"
import {
  type SessionAdapter,
  awaitClose,
  greeted,
  listIds,
  listRejects,
  pings,
  say,
  serverSocket,
  setup,
  target
} from "./harness.ts"

export const sessionConformance = (adapter: SessionAdapter): void => {
  describe(`${adapter.name}: opening a session`, () => {
    it.live.each(
      [
        [{ status: 401 }, "auth", "unauthorized", null],
        [{ status: 403 }, "auth", "forbidden", null],
        [{ status: 429, retryAfter: "7" }, "transport", "rate-limited", 7000],
        [{ status: 503 }, "upstreamDown", "unavailable", null],
        [{ status: 503, retryAfter: "30" }, "upstreamDown", "unavailable", 30_000]
      ] as const
    )("refused with %o is %s %s", ([refusal, kind, code, retryAfter]) =>
      Effect.gen(function*() {
        const { core, gateway, proxy, wheel } = yield* setup(adapter)
        core.applyFault({ kind: "refuse", times: 1, ...refusal })
        const listener = record()
        const error = yield* Effect.flip(gateway.open(target, listener))
        assert.deepStrictEqual([error.class, error.code, error.retryAfter], [kind, code, retryAfter])
        yield* proxy.drained
        assert.deepStrictEqual([listener.ends(), wheel.size], [0, 0])
        yield* gateway.open(target, listener)
      }))

    it.live.each([...adapter.refusals])("refused with %o is %s", ([refusal, expected]) =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        core.applyFault({ kind: "refuse", times: 1, ...refusal })
        const error = yield* Effect.flip(gateway.open(target, record()))
        assert.strictEqual(`${error.class} ${error.code}`, expected)
      }))

    it.live("reports wrong credentials, an unknown slot and a closed port as different failures", () =>
      Effect.gen(function*() {
        const { gateway, proxy, simulator, wheel } = yield* setup(adapter, { simulator: adapter.locked.simulator })
        const listener = record()
        const wrong = yield* Effect.flip(gateway.open(target, listener))
        assert.deepStrictEqual([wrong.class, wrong.code], ["auth", "unauthorized"])
        yield* proxy.drained
        assert.deepStrictEqual([listener.ends(), wheel.size], [0, 0])
        const right = yield* adapter.make({ url: `http://127.0.0.1:${proxy.port}`, ...adapter.locked.right })
        const unknown = yield* Effect.result(right.open(makeTarget("nobody"), record()))
        assert.strictEqual(unknown._tag === "Failure", adapter.refusesUnknownSlot)
        if (unknown._tag === "Failure") {
          assert.deepStrictEqual([unknown.failure.class, unknown.failure.code], ["transport", "unknown-slot"])
        }
        yield* proxy.disable
        const down = yield* Effect.flip(right.open(target, record()))
        assert.deepStrictEqual([down.class, down.code], ["upstreamDown", "unreachable"])
        assert.notInclude(JSON.stringify(down), simulator.url)
      }))

    it.live("aborts a handshake that never completes at its deadline, and closes the socket", () =>
      Effect.gen(function*() {
        const { core, gateway, proxy } = yield* setup(adapter, { gateway: { handshakeMillis: 60 } })
        core.applyFault({ kind: "hang" })
        const error = yield* Effect.flip(gateway.open(target, record()))
        assert.deepStrictEqual([error.class, error.code], ["upstreamDown", "handshake-timeout"])
        yield* proxy.drained
      }))

    it.live("gives no extra time to a gateway that sends its answer in small pieces", () =>
      Effect.gen(function*() {
        const { gateway, proxy } = yield* setup(adapter, { gateway: { handshakeMillis: 120 } })
        proxy.add("downstream", { type: "slicer", bytes: 1 })
        proxy.add("downstream", { type: "bandwidth", bytesPerSecond: 200 })
        const error = yield* Effect.flip(gateway.open(target, record()))
        assert.strictEqual(error.code, "handshake-timeout")
        yield* proxy.drained
      }))

    it.live("leaves no open socket when it is interrupted while opening", () =>
      Effect.gen(function*() {
        const { core, gateway, proxy } = yield* setup(adapter)
        core.applyFault({ kind: "hang" })
        const listener = record()
        const opening = yield* Effect.forkChild(Effect.scoped(gateway.open(target, listener)))
        yield* proxy.connected
        yield* Fiber.interrupt(opening)
        yield* proxy.drained
        assert.strictEqual(listener.ends(), 0)
      }))
  })

  describe(`${adapter.name}: an open session`, () => {
    it.live("passes on all 200 frames that came before a close, in order, and then the end", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter)
        const listener = record()
        yield* gateway.open(target, listener)
        yield* greeted(adapter, listener)
        for (let index = 0; index < 200; index++) core.emitter.emit(device, "message", say(index))
        core.applyFault({ kind: "drop", code: 1000 })
        const failure = yield* listener.ended
        assert.deepStrictEqual([failure.class, failure.code], ["transport", "socket-closed"])
        assert.deepStrictEqual(listIds(listener), Array.from({ length: 200 }, (_, index) => `ID${index}`))
        assert.deepStrictEqual([listener.ends(), listener.late()], [1, 0])
      }))

    it.live.each(
      [
        ...adapter.closes,
        [{ code: 1012 }, "upstreamDown restarting"],
        [{ code: 4409 }, "conflict replaced"],
        [{ reset: true }, "transport socket-lost"],
        [{}, "transport socket-lost"]
      ] as const
    )("dropped with %o ends as %s", ([drop, expected]) =>
      Effect.gen(function*() {
        const { core, gateway, wheel } = yield* setup(adapter)
        const listener = record()
        yield* gateway.open(target, listener)
        yield* greeted(adapter, listener)
        core.applyFault({ kind: "drop", ...drop })
        const failure = yield* listener.ended
        assert.strictEqual(`${failure.class} ${failure.code}`, expected)
        assert.strictEqual(wheel.size, 0)
      }))

    it.live("detects a half-open connection by missing pongs", () =>
      Effect.gen(function*() {
        const { gateway, proxy } = yield* setup(adapter, { turn: 60 })
        const listener = record()
        yield* gateway.open(target, listener)
        proxy.add("downstream", { type: "timeout", millis: 0 })
        const failure = yield* listener.ended
        assert.deepStrictEqual([failure.class, failure.code], ["transport", "ping-timeout"])
      }))

    it.live("detects a suspended gateway", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter, { turn: 60 })
        const listener = record()
        yield* gateway.open(target, listener)
        yield* greeted(adapter, listener)
        core.applyFault({ kind: "half-open" })
        assert.strictEqual((yield* listener.ended).code, "ping-timeout")
      }))

    it.live("keeps the session of a gateway that is silent but answers pings", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter, { turn: 40 })
        const listener = record()
        yield* gateway.open(target, listener)
        yield* greeted(adapter, listener)
        core.applyFault({ kind: "mute" })
        core.emit({ count: 50 })
        yield* pings(serverSocket(device), 10)
        assert.deepStrictEqual([listener.ends(), listener.drafts().length, core.ledger.count], [0, 0, 50])
      }))

    it.live("keeps malformed and binary frames as rejects, and continues", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter)
        const listener = record()
        yield* gateway.open(target, listener)
        core.applyFault({ kind: "binary", times: 1 })
        core.applyFault({ kind: "junk", times: 1 })
        core.emitter.emit(device, "message", say(1))
        yield* listener.until(() => listIds(listener).length === 1)
        const rejects = listRejects(listener)
        assert.strictEqual(rejects.length, 2)
        assert.strictEqual(rejects[1]!.reason, "binary")
      }))

    it.live("keeps a frame that is nested too deeply as a reject, and continues", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter)
        const listener = record()
        yield* gateway.open(target, listener)
        const deep = `{"id":"X","v":${"[".repeat(200_000)}${"]".repeat(200_000)}}`
        core.emitter.sendRaw(device, adapter.encode("sim-1", "message", deep))
        core.emitter.emit(device, "message", say(1))
        yield* listener.until(() => listIds(listener).length === 1)
        assert.deepStrictEqual(listRejects(listener).map(({ reason }) => reason), ["unreadable"])
        assert.strictEqual(listener.ends(), 0)
      }))

    it.live("receives every event despite duplicates, reordering, delays and malformed frames, and rejects only the latter", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        const listener = record()
        yield* gateway.open(target, listener)
        core.applyFault({ kind: "duplicate", copies: 2, probability: 0.2 })
        core.applyFault({ kind: "reorder", window: 7, probability: 0.5 })
        core.applyFault({ kind: "slow", millis: 20, probability: 0.1 })
        core.applyFault({ kind: "junk", probability: 0.1 })
        core.applyFault({ kind: "binary", times: 3 })
        yield* Effect.callback<void>((resume) => void core.emit({ count: 1000 }, () => resume(Effect.void)))
        core.clearFaults()
        core.emitter.emit(core.devices.get("sim-1")!, "message", say(1))
        yield* listener.until(() => listIds(listener).at(-1) === "ID1")
        const heard = new Set(listener.drafts().map(({ data }) => (data as { waId?: string }).waId))
        for (const { event, id } of core.ledger.entries()) {
          if (event !== "chat_presence") assert.isTrue(heard.has(id), `${event} ${id}`)
        }
        const rejects = listener.drafts().filter(({ kind }) => kind === "frame.rejected")
        assert.isAbove(rejects.length, 50)
        assert.isBelow(rejects.length, 200)
      }))

    it.live("reads nothing while paused, does not time out, and loses nothing", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter, { simulator: { devices: 2 }, turn: 40, direct: true })
        const listener = record()
        const session = yield* gateway.open(target, listener)
        yield* greeted(adapter, listener)
        const other = record()
        yield* gateway.open({ ...makeTarget("sim-2"), deviceId: "dev_01K000000000000000000OTHER" as DeviceId }, other)
        yield* greeted(adapter, other)
        const before = listener.events.length
        assert.isTrue(session.pause())
        const body = "x".repeat(8000)
        for (let index = 0; index < 3000; index++) core.emitter.emit(device, "message", say(index, body))
        // 24 MB are more than the kernel buffers: the rest waits at the gateway, not here. The pings of the other session
        // show that ten turns of the wheel have passed.
        yield* pings(serverSocket(core.devices.get("sim-2")!), 10)
        assert.strictEqual(listener.events.length, before)
        assert.isAbove(serverSocket(device).bufferedAmount, 1_000_000)
        assert.strictEqual(listener.ends(), 0)
        session.resume()
        yield* listener.until(({ events }) => events.length === before + 3000)
        assert.deepStrictEqual(listIds(listener), Array.from({ length: 3000 }, (_, index) => `ID${index}`))
      }))

    it.live("ends once and at once: later frames are ignored, and the gateway receives 1001", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter)
        const listener = record()
        const session = yield* gateway.open(target, listener)
        yield* greeted(adapter, listener)
        const closed = awaitClose(serverSocket(device))
        core.emitter.emit(device, "message", say(1))
        session.end({ class: "transport", code: "reconnect-requested", detail: "asked for" })
        session.end({ class: "ours", code: "again", detail: "" })
        assert.strictEqual((yield* listener.ended).code, "reconnect-requested")
        assert.strictEqual(yield* closed, 1001)
        assert.deepStrictEqual([listener.ends(), listener.late(), listIds(listener).length], [1, 0, 0])
      }))

    it.live("passes on all frames that the gateway has sent when it ends in order; a second session receives all later frames", () =>
      Effect.gen(function*() {
        const { core, device, gateway, wheel } = yield* setup(adapter, { direct: true })
        assert.isTrue(gateway.capabilities.overlap)
        const listener = record()
        const session = yield* gateway.open(target, listener)
        yield* greeted(adapter, listener)
        const first = serverSocket(device)
        const next = record()
        yield* gateway.open(target, next)
        yield* greeted(adapter, next)
        const body = "x".repeat(8000)
        // Far more than is read in one turn.
        for (let index = 0; index < 500; index++) core.emitter.emit(device, "message", say(index, body))
        const closed = awaitClose(first)
        const complete = yield* Effect.callback<boolean>((resume) => {
          session.finish((complete) => resume(Effect.succeed(complete)))
        })
        const all = Array.from({ length: 500 }, (_, index) => `ID${index}`)
        assert.isTrue(complete)
        assert.strictEqual(yield* closed, 1001)
        assert.deepStrictEqual([listIds(listener), listener.ends(), wheel.size], [all, 0, 1])
        core.emitter.emit(device, "message", say(500, body))
        yield* next.until(() => listIds(next).length === 501)
        assert.deepStrictEqual(listIds(next), [...all, "ID500"])
      }))

    it.live("reports an incomplete end in order if the gateway does not answer, or has ended already", () =>
      Effect.gen(function*() {
        const { device, gateway } = yield* setup(adapter, { direct: true })
        const listener = record()
        const session = yield* gateway.open(target, listener)
        yield* greeted(adapter, listener)
        const finish = Effect.callback<boolean>((resume) => {
          session.finish((complete) => resume(Effect.succeed(complete)))
          serverSocket(device)?.terminate()
        })
        assert.isFalse(yield* finish)
        assert.isFalse(yield* finish)
        const cut = yield* gateway.open(target, listener)
        yield* greeted(adapter, listener)
        const done = yield* Effect.callback<boolean>((resume) => {
          cut.finish((complete) => resume(Effect.succeed(complete)))
          cut.end({ class: "transport", code: "passed", detail: "" })
        })
        assert.deepStrictEqual([done, listener.ends()], [false, 0])
      }))

    it.live("closes with 1001 when its scope closes", () =>
      Effect.gen(function*() {
        const { device, gateway, proxy, wheel } = yield* setup(adapter)
        const listener = record()
        const scope = yield* Scope.make()
        yield* Scope.provide(gateway.open(target, listener), scope)
        yield* greeted(adapter, listener)
        const closed = awaitClose(serverSocket(device))
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(yield* closed, 1001)
        assert.strictEqual((yield* listener.ended).code, "closed-by-us")
        yield* proxy.drained
        assert.strictEqual(wheel.size, 0)
      }))

    it.live("can be ended by an event handler, and receives nothing more", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter)
        const listener = record()
        const session = yield* gateway.open(target, {
          onEnd: listener.onEnd,
          onEvent: (event) => {
            listener.onEvent(event)
            if (event._tag === "Record") session.end({ class: "ours", code: "defect", detail: "" })
          }
        })
        const ids = ["A", "B", "C"]
        core.emitter.emit(device, "message.ack", { ids, from: "628999000111@s.whatsapp.net", receipt_type: "read" })
        assert.strictEqual((yield* listener.ended).code, "defect")
        assert.strictEqual(listener.drafts().length, 1)
      }))
  })
}
