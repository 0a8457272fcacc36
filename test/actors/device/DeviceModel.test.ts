/**
 * The real actor, on the real fleet, against a model of thirty lines: whatever happens in whatever order, each state
 * leads only to states in the table, a device holds at most one session, every wait ends, and a stopped device opens
 * nothing. The wall clock is stepped in between, which must make no difference.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Random, References } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import type { DesiredDevice } from "../../../src/domain/Device.ts"
import type { DeviceStateTag, FailureClass } from "../../../src/domain/DeviceState.ts"
import { device, deviceId, FleetBench, layer, settle } from "../../support/fleetBench.ts"
import type { OpenMode } from "../../support/scriptedGateway.ts"
import { withSteppedClock } from "../../support/steppedClock.ts"
import type { SteppedClock } from "../../support/steppedClock.ts"

/** The allowed next states of each state. Written from the diagram, not from the code. */
const allowed: Readonly<Record<DeviceStateTag, ReadonlyArray<DeviceStateTag>>> = {
  Inactive: ["Connecting"],
  Connecting: ["Connecting", "Online", "AwaitingLogin", "LoggedOut", "Backoff", "Quarantined", "Inactive"],
  AwaitingLogin: ["AwaitingLogin", "Online", "LoggedOut", "Connecting", "Backoff", "Quarantined", "Inactive"],
  Online: ["Online", "Connecting", "AwaitingLogin", "LoggedOut", "Deaf", "Backoff", "Quarantined", "Inactive"],
  Backoff: ["Connecting", "Backoff", "Quarantined", "Inactive"],
  LoggedOut: ["Online", "AwaitingLogin", "Connecting", "Backoff", "Quarantined", "Inactive"],
  Deaf: ["Backoff", "Connecting", "Quarantined", "Inactive"],
  Quarantined: ["Connecting", "Inactive"]
}

/** States in which the device may hold a session; in the others it must hold none. */
const mayHoldSession: ReadonlySet<DeviceStateTag> = new Set([
  "Connecting",
  "AwaitingLogin",
  "Online",
  "LoggedOut",
  "Deaf"
])
const mustHoldSession: ReadonlySet<DeviceStateTag> = new Set(["AwaitingLogin", "Online", "LoggedOut"])

type Command =
  | { readonly _tag: "mode"; readonly mode: OpenMode; readonly up: boolean }
  | { readonly _tag: "lose"; readonly class: FailureClass }
  | {
    readonly _tag: "say"
    readonly what: "connected" | "disconnected" | "replaced" | "login" | "loggedOut" | "message" | "nonsense"
  }
  | { readonly _tag: "answer"; readonly answer: "usable" | "offline" | "unpaired" | "none" }
  | { readonly _tag: "pass"; readonly seconds: number }
  | { readonly _tag: "step"; readonly seconds: number }
  | { readonly _tag: "full"; readonly full: boolean }
  | { readonly _tag: "want"; readonly what: "active" | "inactive" | "reconnect" | "release" }

const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({
    _tag: fc.constant("mode" as const),
    mode: fc.constantFrom<OpenMode>(
      "accept",
      "accept",
      "accept",
      "hang",
      "defect",
      "transport",
      "auth",
      "conflict",
      "upstreamDown"
    ),
    up: fc.boolean()
  }),
  fc.record({
    _tag: fc.constant("lose" as const),
    class: fc.constantFrom<FailureClass>("transport", "auth", "conflict", "upstreamDown")
  }),
  fc.record({
    _tag: fc.constant("say" as const),
    what: fc.constantFrom("connected" as const, "disconnected", "replaced", "login", "loggedOut", "message", "nonsense")
  }),
  fc.record({
    _tag: fc.constant("answer" as const),
    answer: fc.constantFrom("usable" as const, "offline", "unpaired", "none")
  }),
  fc.record({ _tag: fc.constant("step" as const), seconds: fc.constantFrom(-45, 45, 3600) }),
  fc.record({ _tag: fc.constant("pass" as const), seconds: fc.constantFrom(0.2, 1, 5, 31, 61, 301) }),
  fc.record({ _tag: fc.constant("full" as const), full: fc.boolean() }),
  fc.record({
    _tag: fc.constant("want" as const),
    what: fc.constantFrom("active" as const, "active", "inactive", "reconnect", "release")
  })
)

const jid = "628123456789@s.whatsapp.net"
const answers = {
  usable: { isConnected: true, isLoggedIn: true, jid },
  offline: { isConnected: false, isLoggedIn: true, jid },
  unpaired: { isConnected: false, isLoggedIn: false, jid: null },
  none: null
}

const said = {
  connected: { _tag: "UpstreamConnected", jid },
  disconnected: { _tag: "UpstreamDisconnected", reason: null },
  replaced: { _tag: "Replaced", reason: "stream replaced" },
  login: { _tag: "LoginNeeded", method: "qr", expiresAt: null },
  loggedOut: { _tag: "LoggedOut", reason: "by the user" },
  message: { _tag: "Record", draft: { deviceId: deviceId(1), kind: "message.received", data: {} } },
  nonsense: { _tag: "Nonsense" }
} as const

const id = deviceId(1)

const perform = Effect.fnUntraced(function*(wanted: DesiredDevice, next: Command, clock: SteppedClock) {
  const bench = yield* FleetBench
  switch (next._tag) {
    case "mode":
      bench.gateway.mode = next.mode
      bench.gateway.up = next.up
      return wanted
    case "lose":
      bench.gateway.live(id).at(-1)?.lose(next.class)
      break
    case "say":
      bench.gateway.live(id).at(-1)?.say(said[next.what] as never)
      break
    case "answer":
      bench.gateway.answer = answers[next.answer]
      return wanted
    case "full":
      bench.setFull(next.full)
      break
    case "pass":
      yield* TestClock.adjust(Duration.millis(next.seconds * 1000))
      break
    case "step":
      clock.stepWall(next.seconds * 1000)
      return wanted
    case "want": {
      const after = want(wanted, next.what)
      yield* bench.want([after])
      return after
    }
  }
  yield* settle
  return wanted
})

const want = (wanted: DesiredDevice, what: Extract<Command, { _tag: "want" }>["what"]): DesiredDevice => {
  switch (what) {
    case "active":
      return { ...wanted, active: true }
    case "inactive":
      return { ...wanted, active: false }
    case "reconnect":
      return { ...wanted, reconnectRequests: wanted.reconnectRequests + 1 }
    case "release":
      return { ...wanted, releaseRequests: wanted.releaseRequests + 1 }
  }
}

/** The conditions that must hold after every command. */
const check = Effect.fnUntraced(function*(wanted: DesiredDevice) {
  const bench = yield* FleetBench
  const transitions = bench.transitions(id)
  let before: DeviceStateTag = "Inactive"
  for (const transition of transitions) {
    assert.strictEqual(transition.from, before, `${transition.rule} does not begin where the last one ended`)
    assert.include(allowed[before], transition.state._tag, `rule ${transition.rule}`)
    before = transition.state._tag
  }
  // The log may report a little later that the device connects.
  const now = (yield* bench.fleet.view(id))?.state._tag ?? "Inactive"
  if (now !== before) {
    assert.strictEqual(now, "Connecting")
    assert.include(["Inactive", "Backoff", "Connecting"], before)
  }
  const live = bench.gateway.live(id).length
  assert.isAtMost(live, 1, "two sessions")
  if (!mayHoldSession.has(now)) assert.strictEqual(live, 0, `a session while ${now}`)
  if (mustHoldSession.has(now)) assert.strictEqual(live, 1, `no session while ${now}`)
  if (!wanted.active) assert.strictEqual(before, "Inactive")
  else if (transitions.length > 0) assert.notStrictEqual(now, "Inactive")
})

/** Whatever the state after the commands: all faults are healed, and the device must be online again. */
const heal = Effect.fnUntraced(function*(wanted: DesiredDevice) {
  const bench = yield* FleetBench
  bench.gateway.mode = "accept"
  bench.gateway.up = true
  bench.gateway.answer = answers.usable
  bench.setFull(false)
  yield* bench.want([{ ...wanted, active: false }])
  const opened = bench.gateway.openedAt.length
  yield* TestClock.adjust("20 minutes")
  yield* settle
  assert.strictEqual(bench.gateway.openedAt.length, opened, "a stopped device connected")
  yield* bench.want([{ ...wanted, active: true }])
  for (let step = 0; step < 60 && bench.readState(id) !== "Online"; step++) {
    yield* TestClock.adjust("20 seconds")
    yield* settle
  }
  assert.strictEqual(bench.readState(id), "Online")
})

/** Without stopping it first: every waiting state has a time limit or is woken by something. */
const awaken = Effect.fnUntraced(function*(wanted: DesiredDevice) {
  const bench = yield* FleetBench
  bench.gateway.mode = "accept"
  bench.gateway.up = true
  bench.gateway.answer = answers.usable
  bench.setFull(false)
  // Only a handshake that hangs forever needs an interruption: real ones end by their timeout.
  yield* bench.want([{ ...wanted, active: true }])
  for (let step = 0; step < 90 && bench.readState(id) !== "Online"; step++) {
    yield* TestClock.adjust("20 seconds")
    yield* settle
  }
  assert.strictEqual(bench.readState(id), "Online", JSON.stringify(bench.transitions(id).slice(-5)))
})

const play = (commands: ReadonlyArray<Command>, seed: number) =>
  withSteppedClock((clock) => playOn(commands, clock)).pipe(
    Effect.provide(TestClock.layer()),
    // Runs crash and recover on purpose; their warnings would hide the one that matters.
    Effect.provideService(References.MinimumLogLevel, "None"),
    Random.withSeed(seed)
  )

const playOn = (commands: ReadonlyArray<Command>, clock: SteppedClock) =>
  Effect.gen(function*() {
    let wanted = device(1)
    let hung = false
    for (const next of commands) {
      wanted = yield* perform(wanted, next, clock)
      hung ||= next._tag === "mode" && next.mode === "hang"
      yield* check(wanted)
    }
    if (!hung) yield* awaken(wanted)
    yield* heal(wanted)
    yield* check({ ...wanted, active: true })
  }).pipe(
    Effect.provide(layer([device(1)], { tick: Duration.seconds(20) })),
    Effect.scoped
  )

describe("a device, in any sequence of inputs", () => {
  it(
    "makes only transitions that the model allows, holds at most one session, and always comes back online",
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(command, { minLength: 1, maxLength: 60 }),
          fc.integer(),
          (commands, seed) => Effect.runPromise(play(commands, seed))
        ),
        { numRuns: 1_500, interruptAfterTimeLimit: 60_000 }
      )
  )
})
