import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { evolve, initial, nextStep } from "../../../src/actors/device/ActorState.ts"
import type { ActorState } from "../../../src/actors/device/ActorState.ts"
import { decide } from "../../../src/actors/device/DeviceBehaviour.ts"
import type { Input } from "../../../src/actors/device/DeviceBehaviour.ts"
import { findBudget, restartBudgets, stableAfter } from "../../../src/actors/Supervision.ts"
import type { FailureClass } from "../../../src/domain/DeviceState.ts"

const jid = "628123456789@s.whatsapp.net"
const delay = 1_000

/** The wall clock is an hour ahead, so that a decision by the wrong clock shows. */
const hour = 3_600_000
const at = (monotonic: number) => ({ monotonic, wall: monotonic + hour })

const after = (actorState: ActorState, now: number, ...inputs: ReadonlyArray<Input>): ActorState =>
  inputs.reduce((current, input) => {
    const { transition } = decide(current, input, { ...at(now), delay })
    return transition === null ? current : evolve(current, transition, at(now))
  }, actorState)

const ended = (failureClass: FailureClass, retryAfter = 0): Input => ({
  _tag: "Ended",
  failure: { class: failureClass, code: "test", detail: "in a test" },
  retryAfter
})

const usable: Input = { _tag: "StatusRead", status: { isConnected: true, isLoggedIn: true, jid } }

const online = (now = 0): ActorState => after(initial(jid), now, { _tag: "Start" }, { _tag: "Opened" }, usable)

describe("the decisions of a device", () => {
  it("counts attempts over losses before a connection was stable, and restarts the count after a stable one", () => {
    let actorState = online()
    for (let n = 1; n <= 3; n++) {
      actorState = after(actorState, n, ended("transport"))
      assert.deepInclude(actorState.state, { _tag: "Backoff", attempt: n })
      actorState = after(actorState, n, { _tag: "RetryDue" }, { _tag: "Opened" }, usable)
    }
    const later = Duration.toMillis(stableAfter) + 10
    assert.deepInclude(after(actorState, later, ended("transport")).state, { _tag: "Backoff", attempt: 1 })
  })

  for (const failureClass of ["transport", "conflict", "ours"] as const) {
    const { intensity, period, quarantine } = restartBudgets[failureClass]
    it(`allows ${intensity} failures of class ${failureClass} within ${Duration.format(period)}, and not one more`, () => {
      let actorState = online()
      for (let n = 0; n < intensity; n++) {
        actorState = after(actorState, n, ended(failureClass), { _tag: "RetryDue" }, { _tag: "Opened" }, usable)
        assert.strictEqual(actorState.state._tag, "Online")
      }
      const now = intensity
      const spent = after(actorState, now, ended(failureClass))
      assert.deepInclude(spent.state, {
        _tag: "Quarantined",
        until: new Date(hour + now + Duration.toMillis(quarantine)).toISOString()
      })
      // The first failure leaves the window exactly when the period is over.
      const atEdge = after(actorState, Duration.toMillis(period), ended(failureClass))
      assert.strictEqual(atEdge.state._tag, "Backoff")
    })
  }

  it("has no budget for classes that are no fault of the device", () => {
    assert.isNull(findBudget({ class: "auth", code: "unauthorized" }))
    assert.isNull(findBudget({ class: "upstreamDown", code: "unreachable" }))
  })

  it("spends no budget on frames above the hard limit, and still waits between the attempts", () => {
    const failure = { class: "transport", code: "frame-too-large", detail: "" } as const
    let actorState = online()
    for (let n = 0; n < 50; n++) {
      actorState = after(actorState, n, { _tag: "Ended", failure, retryAfter: 1000 })
      assert.deepInclude(actorState.state, { _tag: "Backoff", retryAt: new Date(hour + n + 1000).toISOString() })
      actorState = after(actorState, n, { _tag: "RetryDue" }, { _tag: "Opened" }, usable)
    }
    assert.deepStrictEqual(actorState.failures, [])
  })

  it("waits as long as the gateway asks for", () => {
    const actorState = after(online(), 0, ended("transport", 90_000))
    assert.deepInclude(actorState.state, { retryAt: new Date(hour + 90_000).toISOString() })
  })

  it("gets back the budget that the first sign of a gateway's incident cost", () => {
    const lost = after(online(), 0, ended("transport"))
    assert.strictEqual(lost.failures.length, 1)
    const failure = { class: "upstreamDown", code: "connection-refused", detail: "refused" } as const
    const waiting = after(lost, 1, { _tag: "RetryDue" }, { _tag: "GatewayDown", failure, probeAt: 500 })
    assert.strictEqual(waiting.failures.length, 0)
    assert.deepStrictEqual(nextStep(waiting), { _tag: "Park" })
    assert.strictEqual(after(waiting, 2, { _tag: "IncidentOver" }).state._tag, "Connecting")
  })

  it("gets no other budget back by an incident: earlier failures remain its own", () => {
    const failure = { class: "upstreamDown", code: "connection-refused", detail: "refused" } as const
    const down: Input = { _tag: "GatewayDown", failure, probeAt: 500 }
    const conflicted = after(online(), 0, ended("conflict"), { _tag: "RetryDue" }, down)
    assert.strictEqual(conflicted.failures.length, 1)
    const longAgo = after(online(), 0, ended("transport"), { _tag: "RetryDue" }, { _tag: "Opened" }, usable)
    assert.strictEqual(after(longAgo, 120_000, down).failures.length, 1)
  })

  for (const known of [jid, null]) {
    it(`asks at once about ${known === null ? "an unknown" : "a known"} account before it calls the device online`, () => {
      const decision = decide(after(initial(known), 0, { _tag: "Start" }), { _tag: "Opened" }, { ...at(0), delay })
      assert.deepStrictEqual(decision.transition?.state, { _tag: "Connecting", attempt: 1, sessionOpen: true })
      assert.deepStrictEqual(decision.orders, [{ _tag: "SyncStatus", when: "now" }])
    })
  }

  it("counts neither flag of a gateway's status as sufficient alone", () => {
    for (const [isConnected, isLoggedIn] of [[true, false], [false, true], [false, false]] as const) {
      const actorState = after(online(), 0, { _tag: "StatusRead", status: { isConnected, isLoggedIn, jid } })
      assert.strictEqual(actorState.state._tag, "Connecting")
    }
    const usable = after(online(), 0, { _tag: "StatusRead", status: { isConnected: true, isLoggedIn: true, jid } })
    assert.strictEqual(usable.state._tag, "Online")
  })

  it("forgets the account when the gateway no longer has a login", () => {
    const actorState = after(online(), 0, {
      _tag: "StatusRead",
      status: { isConnected: false, isLoggedIn: false, jid: null }
    })
    assert.strictEqual(actorState.state._tag, "LoggedOut")
    assert.isNull(actorState.jid)
  })

  it("replaces the session of a device that is proven deaf, and does not count it as stable", () => {
    const decision = decide(online(), { _tag: "DeafProved", evidence: "history holds one more" }, { ...at(1), delay })
    assert.strictEqual(decision.transition?.state._tag, "Deaf")
    assert.strictEqual(decision.orders[0]?._tag, "EndSession")
    const deaf = evolve(online(), decision.transition!, at(1))
    assert.strictEqual(after(deaf, 2, ended("transport")).state._tag, "Backoff")
  })
})
