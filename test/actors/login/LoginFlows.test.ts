/** Logins as callers see them: one per device, shared, with fresh codes, and ended by the right causes. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Redacted, Stream } from "effect"
import type { DeviceLoginData, LoginStep } from "../../../src/domain/Login.ts"
import type { LoginRequest } from "../../../src/services/GatewayParts.ts"
import { codesMax, confirmMax, refreshMargin } from "../../../src/actors/login/LoginFlow.ts"
import { loginsMax, pollLease, resultKept } from "../../../src/actors/login/LoginFlows.ts"
import { device, deviceId, FleetBench, layer, pass, until } from "../../support/fleetBench.ts"
import { ScriptedLogin } from "../../support/scriptedLogin.ts"

const one = deviceId(1)
const jid = "628111000001@s.whatsapp.net"
const qr: LoginRequest = { method: "qr" }
const byCode: LoginRequest = { method: "code", phone: Redacted.make("628111000001") }
const nobody = { isConnected: false, isLoggedIn: false, jid: null }

/** A fleet whose devices wait for a login. */
const within = <A, E>(
  test: (bench: FleetBench["Service"], login: ScriptedLogin) => Effect.Effect<A, E, FleetBench>,
  devices = [device(1, { jid: null })],
  login = new ScriptedLogin()
) =>
  Effect.flatMap(FleetBench, (bench) => {
    if (login.methods.size > 0) bench.gateway.login = login
    bench.gateway.answer = nobody
    return Effect.andThen(pass("1 second"), test(bench, login))
  }).pipe(Effect.provide(layer(devices)), Effect.scoped)

/** A caller that reads all steps. */
const read = Effect.fnUntraced(function*(request: LoginRequest = qr, id = one) {
  const { fleet } = yield* FleetBench
  const steps: Array<LoginStep> = []
  const fiber = yield* Effect.forkChild(
    Stream.runForEach(fleet.logins.follow(id, request), (step) => Effect.sync(() => steps.push(step)))
  )
  yield* until("it has a first code", () => steps.some(({ _tag }) => _tag !== "Starting"))
  return { steps, fiber, tags: () => steps.map(({ _tag }) => _tag), last: () => steps.at(-1)! }
})

const textOf = (step: LoginStep): string =>
  step._tag === "Qr" ? Redacted.value(step.text!) : step._tag === "Code" ? Redacted.value(step.code) : step._tag

const logged = (bench: FleetBench["Service"]): ReadonlyArray<DeviceLoginData> =>
  bench.drafts.flatMap((draft) => draft.kind === "device.login" ? [draft.data] : [])

const outcomes = (bench: FleetBench["Service"]) =>
  logged(bench).map(({ outcome, reason }) => reason === null ? outcome : `${outcome} ${reason}`)

describe("a login", () => {
  it.effect("is over once the gateway reports connected and logged in and the actor has recorded the account", () =>
    within(Effect.fnUntraced(function*(bench, login) {
      const caller = yield* read()
      assert.deepStrictEqual(caller.tags(), ["Starting", "Qr"])
      login.progress = { _tag: "Accepted" }
      yield* pass("3 seconds")
      assert.strictEqual(caller.last()._tag, "Linking", "a phone that has accepted is no proof")
      bench.gateway.answer = { isConnected: false, isLoggedIn: true, jid }
      yield* pass("3 seconds")
      assert.strictEqual(caller.last()._tag, "Linking", "nor is an account that is not connected")
      bench.gateway.answer = { isConnected: true, isLoggedIn: true, jid }
      yield* pass("3 seconds")
      assert.deepStrictEqual(caller.last(), { _tag: "LoggedIn", jid, phone: "+628111000001" })
      yield* Fiber.join(caller.fiber)
      const state = bench.transitions(one).at(-1)!
      assert.deepInclude(state, { jid, phone: "+628111000001" })
      assert.strictEqual(state.state._tag, "Online")
      assert.deepStrictEqual(outcomes(bench), ["begun", "succeeded"])
      assert.deepStrictEqual(logged(bench).at(-1), { method: "qr", outcome: "succeeded", reason: null, codes: 1, jid })
    })))

  it.effect("takes no phone number from a hidden id", () =>
    within(Effect.fnUntraced(function*(bench, login) {
      const caller = yield* read()
      login.progress = { _tag: "Accepted" }
      bench.gateway.answer = { isConnected: true, isLoggedIn: true, jid: "251556368777322@lid" }
      yield* pass("3 seconds")
      assert.deepStrictEqual(caller.last(), { _tag: "LoggedIn", jid: "251556368777322@lid", phone: null })
      assert.isNull(bench.transitions(one).at(-1)!.phone)
    })))

  it.effect("shows a new code before the last one expires, a bounded number of times, and then expires", () =>
    within(Effect.fnUntraced(function*(bench, login) {
      const caller = yield* read()
      yield* pass(Duration.subtract(Duration.millis(login.millis), Duration.seconds(7)))
      assert.lengthOf(login.begun, 1)
      yield* pass(Duration.seconds(3))
      assert.lengthOf(login.begun, 2, "before it expires")
      assert.deepStrictEqual(caller.steps.slice(1).map(textOf), ["SECRET-1", "SECRET-2"])
      assert.deepInclude(caller.last(), { attempt: 2 })
      yield* pass(Duration.times(Duration.millis(login.millis), codesMax.qr))
      assert.strictEqual(caller.last()._tag, "Expired")
      assert.lengthOf(login.begun, codesMax.qr)
      assert.deepStrictEqual(outcomes(bench), ["begun", "expired"])
      assert.isAbove(Duration.toMillis(refreshMargin), 1000)
    })))

  it.effect("requests another code as soon as the gateway shows none", () =>
    within(Effect.fnUntraced(function*(_, login) {
      const caller = yield* read()
      login.progress = { _tag: "Ended" }
      yield* pass("2 seconds")
      assert.deepStrictEqual(caller.steps.slice(1).map(textOf), ["SECRET-1", "SECRET-2"])
    })))

  it.effect("by pairing code shows the code", () =>
    within(Effect.fnUntraced(function*() {
      const caller = yield* read(byCode)
      assert.strictEqual(textOf(caller.last()), "ABCD-0001")
    })))

  it.effect("shows a passkey, and continues with the step that follows it", () =>
    within(Effect.fnUntraced(function*(bench, login) {
      const caller = yield* read()
      login.progress = { _tag: "Passkey", challenge: Redacted.make({ rpId: "whatsapp.com" }), code: null }
      yield* pass("2 seconds")
      login.progress = { _tag: "Passkey", challenge: null, code: Redacted.make("4711") }
      yield* pass("2 seconds")
      login.progress = { _tag: "Accepted" }
      bench.gateway.answer = { isConnected: true, isLoggedIn: true, jid }
      yield* pass("3 seconds")
      assert.deepStrictEqual(caller.tags(), ["Starting", "Qr", "Passkey", "Passkey", "Linking", "LoggedIn"])
    })))

  it.effect("survives a short outage of the gateway, and fails by a long one", () =>
    within(Effect.fnUntraced(function*(bench, login) {
      login.refusals = ["away", "away"]
      const { fleet } = bench
      const waiting = yield* Effect.forkChild(read())
      yield* pass("5 seconds")
      const caller = yield* Fiber.join(waiting)
      assert.strictEqual(caller.last()._tag, "Qr")
      yield* Fiber.interrupt(caller.fiber)
      login.refusals = ["away", "away", "away"]
      const failing = yield* Effect.forkChild(fleet.logins.begin(one, qr))
      yield* pass("6 seconds")
      assert.deepInclude(yield* Fiber.join(failing), { _tag: "Failed", reason: "gateway" })
      assert.deepStrictEqual(outcomes(bench), ["begun", "failed cancelled", "begun", "failed gateway"])
    })))

  it.effect("connects the account of a slot that already has one", () =>
    within(Effect.fnUntraced(function*(bench, login) {
      login.refusals = ["logged-in"]
      bench.gateway.answer = { isConnected: true, isLoggedIn: true, jid }
      const step = yield* Effect.forkChild(bench.fleet.logins.begin(one, qr))
      yield* pass("3 seconds")
      const first = yield* Fiber.join(step)
      assert.include(["Linking", "LoggedIn"], first._tag)
      assert.deepInclude(yield* bench.fleet.logins.current(one), { _tag: "LoggedIn", jid })
    })))

  it.effect("reports that the account of the slot does not connect, or that a phone accepted in vain", () =>
    within(Effect.fnUntraced(function*(bench, login) {
      login.refusals = ["logged-in"]
      const refused = yield* read()
      yield* pass(Duration.sum(confirmMax, Duration.seconds(3)))
      assert.deepInclude(refused.last(), { _tag: "Failed", reason: "logged-in" })
      login.progress = { _tag: "Accepted" }
      const accepted = yield* read()
      yield* pass(Duration.sum(confirmMax, Duration.seconds(3)))
      assert.deepInclude(accepted.last(), { _tag: "Failed", reason: "not-connected" })
      assert.deepStrictEqual(outcomes(bench), ["begun", "failed logged-in", "begun", "failed not-connected"])
    })))

  it.effect("of a device that is connecting or backs off is recorded once its session opens", () =>
    within(Effect.fnUntraced(function*(bench, login) {
      bench.gateway.mode = "transport"
      bench.gateway.live(one)[0]!.lose("transport")
      yield* pass("1 second")
      const caller = yield* read()
      bench.gateway.mode = "accept"
      login.progress = { _tag: "Accepted" }
      bench.gateway.answer = { isConnected: true, isLoggedIn: true, jid }
      yield* pass("5 seconds")
      assert.deepInclude(caller.last(), { _tag: "LoggedIn", jid })
      assert.strictEqual(bench.readState(one), "Online")
      assert.deepInclude(bench.transitions(one).at(-1), { jid })
    })))
})

describe("the callers of a login", () => {
  it.effect("share it: the second one sees the current step first", () =>
    within(Effect.fnUntraced(function*(_, login) {
      const first = yield* read()
      yield* pass("5 seconds")
      const second = yield* read()
      assert.lengthOf(login.begun, 1)
      assert.deepStrictEqual(second.steps.map(textOf), ["SECRET-1"])
      yield* Fiber.interrupt(first.fiber)
      yield* pass("5 seconds")
      assert.strictEqual(second.last()._tag, "Qr", "one who leaves takes nothing from the other")
    })))

  it.effect("may not log a device in by two methods, or for two numbers, at the same time", () =>
    within(Effect.fnUntraced(function*({ fleet }) {
      yield* read(byCode)
      const another: LoginRequest = { method: "code", phone: Redacted.make("628999") }
      for (const request of [qr, another]) {
        assert.deepInclude(yield* Effect.flip(fleet.logins.begin(one, request)), {
          _tag: "LoginInProgress",
          method: "code"
        })
      }
    })))

  it.effect("end it when the last one leaves, and the next one starts a new login", () =>
    within(Effect.fnUntraced(function*(bench, login) {
      const first = yield* read()
      const second = yield* read()
      yield* Fiber.interrupt(first.fiber)
      yield* Fiber.interrupt(second.fiber)
      const looks = login.looks
      yield* pass("30 seconds")
      assert.strictEqual(login.looks, looks, "nobody asks any more")
      assert.deepStrictEqual(outcomes(bench), ["begun", "failed cancelled"])
      const third = yield* read()
      assert.strictEqual(textOf(third.last()), "SECRET-2")
    })))

  it.effect("that poll keep it for a while after their last request", () =>
    within(Effect.fnUntraced(function*(bench, login) {
      const { logins } = bench.fleet
      assert.strictEqual((yield* logins.begin(one, qr))._tag, "Qr")
      for (let asked = 0; asked < 5; asked++) {
        yield* pass("15 seconds")
        assert.strictEqual((yield* logins.current(one))._tag, "Qr")
      }
      yield* pass(Duration.sum(Duration.millis(login.millis), Duration.sum(pollLease, Duration.seconds(2))))
      assert.deepInclude(yield* logins.current(one), { _tag: "Failed", reason: "cancelled" })
      const begun = login.begun.length
      yield* pass("2 minutes")
      assert.lengthOf(login.begun, begun)
    })))

  it.effect("can read its result for a while, and then nothing is left of it", () =>
    within(Effect.fnUntraced(function*({ fleet, gateway }, login) {
      const caller = yield* read()
      login.progress = { _tag: "Accepted" }
      gateway.answer = { isConnected: true, isLoggedIn: true, jid }
      yield* pass("3 seconds")
      assert.strictEqual(caller.last()._tag, "LoggedIn")
      assert.strictEqual((yield* fleet.logins.current(one))._tag, "LoggedIn")
      yield* pass(resultKept, "10 seconds")
      assert.strictEqual((yield* Effect.flip(fleet.logins.current(one)))._tag, "LoginNotFound")
    })))

  it.effect("are informed when the device's actor stops", () =>
    within(Effect.fnUntraced(function*(bench) {
      const caller = yield* read()
      yield* bench.want([device(1, { active: false })])
      yield* pass("1 second")
      assert.deepInclude(caller.last(), { _tag: "Failed", reason: "stopped" })
      assert.deepStrictEqual(outcomes(bench), ["begun", "failed stopped"])
    })))

  it.effect("never cause two concurrent requests to the gateway, also not by leaving and returning", () =>
    within(Effect.fnUntraced(function*({ fleet }, login) {
      const answered = Deferred.makeUnsafe<void>()
      login.held = Deferred.await(answered)
      const gone = yield* Effect.forkChild(Stream.runDrain(fleet.logins.follow(one, qr)))
      yield* until("it is asked", () => login.begun.length === 1)
      yield* Fiber.interrupt(gone)
      const back = yield* Effect.forkChild(fleet.logins.begin(one, qr))
      yield* pass("2 seconds")
      assert.lengthOf(login.begun, 1)
      yield* Deferred.succeed(answered, undefined)
      assert.strictEqual(textOf(yield* Fiber.join(back)), "SECRET-2")
      assert.strictEqual(login.atOnce, 1)
    })))
})

describe("a login is refused", () => {
  it.effect("for a device that is online, in quarantine, or not here", () =>
    within(Effect.fnUntraced(function*({ fleet, gateway }) {
      gateway.answer = { isConnected: true, isLoggedIn: true, jid }
      gateway.live(one)[0]!.say({ _tag: "UpstreamConnected", jid })
      yield* pass("1 second")
      const refused = yield* Effect.flip(fleet.logins.begin(one, qr))
      assert.deepInclude(refused, { _tag: "DeviceStateConflict", state: "Online" })
      assert.strictEqual((yield* Effect.flip(fleet.logins.begin(deviceId(2), qr)))._tag, "NoActor")
      assert.strictEqual((yield* Effect.flip(fleet.logins.current(deviceId(2))))._tag, "NoActor")
      gateway.mode = "transport"
      gateway.live(one)[0]!.lose("transport")
      yield* pass("4 minutes")
      assert.deepInclude(
        yield* Effect.flip(fleet.logins.begin(one, qr)),
        { _tag: "DeviceStateConflict", state: "Quarantined" }
      )
    })))

  for (
    const [lacks, methods, request] of [["none by this method", ["qr"], byCode], ["none", [], qr]] as const
  ) {
    it.effect(`by a gateway that has ${lacks}`, () =>
      within(
        Effect.fnUntraced(function*({ fleet }) {
          assert.deepInclude(yield* Effect.flip(fleet.logins.begin(one, request)), {
            _tag: "LoginFailed",
            reason: "method"
          })
        }),
        [device(1, { jid: null })],
        Object.assign(new ScriptedLogin(), { methods: new Set(methods) })
      ))
  }

  it.effect("beyond the maximum number of concurrent logins of a process", () => {
    const devices = Array.from({ length: loginsMax + 1 }, (_, index) => device(index + 1, { jid: null }))
    return within(
      Effect.fnUntraced(function*({ fleet }) {
        for (const { id } of devices.slice(1)) yield* fleet.logins.begin(id, qr)
        assert.strictEqual((yield* Effect.flip(fleet.logins.begin(one, qr)))._tag, "TooManyLogins")
      }),
      devices
    )
  })
})

describe("codes", () => {
  it.effect("are never recorded", () =>
    within(Effect.fnUntraced(function*(bench, login) {
      for (const request of [qr, byCode]) {
        const caller = yield* read(request)
        login.progress = { _tag: "Ended" }
        yield* pass("3 seconds")
        yield* Fiber.interrupt(caller.fiber)
      }
      const recorded = JSON.stringify(bench.drafts)
      for (const word of ["SECRET", "ABCD", "base64", "628111000001"]) assert.notInclude(recorded, word)
      assert.notInclude(JSON.stringify(yield* bench.fleet.logins.current(one)), "ABCD")
    })))
})
