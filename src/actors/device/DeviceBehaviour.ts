/**
 * What a device does about what happens to it. Pure: `decide` says which transitions an input causes and what must be
 * done about it, `evolve` applies one transition, `standing` says what the actor has to do while nothing happens. The
 * diagram in `docs/device-lifecycle.md` is this module drawn; every transition names the rule that caused it.
 */
import { Duration } from "effect"
import type { UpstreamStatus } from "../../domain/Device.ts"
import type { DeviceState, Failure } from "../../domain/DeviceState.ts"
import { phoneOf } from "../../domain/Jid.ts"
import { authProbeDelay, budgetOf, conflictDelay, failureMemory, firstSignMax, stableAfter } from "../Supervision.ts"

/** All that a device's future depends on. */
export interface Mind {
  readonly state: DeviceState
  /** Connections begun since the last stable one. */
  readonly attempt: number
  readonly sessionOpen: boolean
  /** Waits for the gateway's incident to end rather than for a time. */
  readonly inIncident: boolean
  /** Recent failures that burn budget, oldest first; bounded by the budgets themselves. */
  readonly failures: ReadonlyArray<PastFailure>
  readonly jid: string | null
}

export interface PastFailure {
  readonly failure: Failure
  readonly at: number
}

export type Input =
  | { readonly _tag: "Start" }
  | { readonly _tag: "Stop"; readonly rule: "deactivated" | "fleet-stopped" }
  | { readonly _tag: "Opened" }
  /** The session was lost, or could not be opened. `retryAfter` in ms where the gateway asked for it. */
  | { readonly _tag: "Ended"; readonly failure: Failure; readonly retryAfter: number }
  /** The gateway itself is down, and a probe has confirmed it. */
  | { readonly _tag: "GatewayDown"; readonly failure: Failure; readonly probeAt: number }
  | { readonly _tag: "IncidentOver" }
  | { readonly _tag: "StatusRead"; readonly status: UpstreamStatus }
  | { readonly _tag: "UpstreamConnected"; readonly jid: string | null }
  | { readonly _tag: "UpstreamDisconnected"; readonly reason: string | null }
  | { readonly _tag: "LoginNeeded"; readonly method: "qr" | "code" | "unknown"; readonly expiresAt: string | null }
  | { readonly _tag: "LoggedOut"; readonly reason: string }
  | { readonly _tag: "TrafficHeard" }
  | { readonly _tag: "DeafProved"; readonly evidence: string }
  | { readonly _tag: "RetryDue" }
  | { readonly _tag: "ReconnectRequested" }
  | { readonly _tag: "ReleaseRequested" }
  | { readonly _tag: "Crashed"; readonly detail: string }

/** What `decide` may not find out by itself. Times in ms since the epoch, `delay` in ms by the reconnect schedule. */
export interface Facts {
  readonly now: number
  readonly delay: number
}

export interface Transition {
  readonly state: DeviceState
  readonly rule: string
  readonly failure: Failure | null
  readonly sessionOpen: boolean
  /** What becomes of the failure memory: `keep`, `burn` this failure, give the last one back, or start afresh. */
  readonly budget: "keep" | "burn" | "refund" | "clear"
  readonly jid: string | null
}

export type Order =
  /** Ends the open session. Its end is not reported back when `forget` is set. */
  | { readonly _tag: "EndSession"; readonly failure: Failure; readonly forget: boolean }
  /** Ask the gateway about the slot soon. */
  | { readonly _tag: "SyncStatus" }

export interface Decision {
  readonly transition: Transition | null
  readonly orders: ReadonlyArray<Order>
}

const nothing: Decision = { transition: null, orders: [] }
const syncStatus: ReadonlyArray<Order> = [{ _tag: "SyncStatus" }]

/** A device as it is before its actor has done anything. */
export const initial = (jid: string | null): Mind => ({
  state: { _tag: "Inactive" },
  attempt: 0,
  sessionOpen: false,
  inIncident: false,
  failures: [],
  jid
})

/** What the actor does while nothing happens. Every waiting state has a time or somebody who will wake it. */
export type Standing =
  | { readonly _tag: "Finished" }
  | { readonly _tag: "Open" }
  | { readonly _tag: "WaitUntil"; readonly at: number }
  | { readonly _tag: "Park" }

const finished: Standing = { _tag: "Finished" }
const open: Standing = { _tag: "Open" }
const park: Standing = { _tag: "Park" }

export const standing = (mind: Mind): Standing => {
  switch (mind.state._tag) {
    case "Inactive":
      return finished
    case "Connecting":
      return mind.sessionOpen ? park : open
    case "Backoff":
      return mind.inIncident ? park : { _tag: "WaitUntil", at: Date.parse(mind.state.retryAt) }
    case "Quarantined":
      return { _tag: "WaitUntil", at: Date.parse(mind.state.until) }
    default:
      return park
  }
}

/** The mind after a transition. */
export const evolve = (mind: Mind, transition: Transition, now: number): Mind => ({
  state: transition.state,
  attempt: "attempt" in transition.state ? transition.state.attempt : mind.attempt,
  sessionOpen: transition.sessionOpen,
  inIncident: transition.rule === "gateway-down",
  failures: nextFailures(mind.failures, transition, now),
  jid: transition.jid
})

const nextFailures = (
  failures: ReadonlyArray<PastFailure>,
  transition: Transition,
  now: number
): ReadonlyArray<PastFailure> => {
  switch (transition.budget) {
    case "keep":
      return failures
    case "clear":
      return []
    case "refund":
      return isFirstSign(failures.at(-1), now) ? failures.slice(0, -1) : failures
    case "burn":
      return transition.failure === null
        ? failures
        : [...recent(failures, now, failureMemory), { failure: transition.failure, at: now }]
  }
}

/** A lost socket shortly before the gateway was found down was the incident's first sign. */
const isFirstSign = (last: PastFailure | undefined, now: number): boolean =>
  last !== undefined && last.failure.class === "transport" && now - last.at < Duration.toMillis(firstSignMax)

const recent = (failures: ReadonlyArray<PastFailure>, now: number, period: Duration.Duration) =>
  failures.filter((past) => now - past.at < Duration.toMillis(period))

/** Which transition an input causes, and what must be done about it. Total: any input may come in any state. */
export const decide = (mind: Mind, input: Input, facts: Facts): Decision => {
  switch (input._tag) {
    case "Start":
      return mind.state._tag === "Inactive" ? become(mind, connecting(1), "started") : nothing
    case "Stop":
      return mind.state._tag === "Inactive"
        ? nothing
        : become(mind, { _tag: "Inactive" }, input.rule, { sessionOpen: false }, endSession("stopped", input.rule))
    case "Opened":
      return opened(mind, facts)
    case "Ended":
      return holdsNoSession(mind) ? nothing : failed(mind, input.failure, facts, input.retryAfter)
    case "Crashed":
      return mind.state._tag === "Inactive" || mind.state._tag === "Quarantined"
        ? nothing
        : failed(mind, { class: "ours", code: "defect", detail: input.detail }, facts, 0)
    case "GatewayDown":
      return gatewayDown(mind, input)
    case "IncidentOver":
      return mind.state._tag === "Backoff" && mind.inIncident
        ? become(mind, connecting(mind.attempt + 1), "incident-over")
        : nothing
    case "RetryDue":
      return retryDue(mind)
    case "ReconnectRequested":
      return reconnectRequested(mind)
    case "ReleaseRequested":
      return mind.state._tag === "Quarantined"
        ? become(mind, connecting(1), "released", { budget: "clear" })
        : nothing
    default:
      return mind.sessionOpen ? heard(mind, input, facts) : nothing
  }
}

const connecting = (attempt: number): DeviceState => ({ _tag: "Connecting", attempt })

const iso = (at: number): string => new Date(at).toISOString()

const become = (
  mind: Mind,
  state: DeviceState,
  rule: string,
  change: Partial<Transition> = {},
  orders: ReadonlyArray<Order> = []
): Decision => ({
  transition: { state, rule, failure: null, sessionOpen: mind.sessionOpen, budget: "keep", jid: mind.jid, ...change },
  orders
})

const endSession = (code: string, detail: string, forget = true): ReadonlyArray<Order> => [
  { _tag: "EndSession", failure: { class: "transport", code, detail }, forget }
]

const holdsNoSession = (mind: Mind): boolean =>
  mind.state._tag === "Inactive" || mind.state._tag === "Quarantined" || mind.state._tag === "Backoff"

/** An open session is enough for a known account; an unknown one is asked about first. */
const opened = (mind: Mind, facts: Facts): Decision => {
  if (mind.state._tag !== "Connecting" || mind.sessionOpen) return nothing
  return mind.jid === null
    ? become(mind, mind.state, "session-open-account-unknown", { sessionOpen: true }, syncStatus)
    : become(mind, online(mind.jid, facts), "session-open", { sessionOpen: true })
}

const online = (jid: string | null, facts: Facts): DeviceState => ({ _tag: "Online", jid, since: iso(facts.now) })

const retryDue = (mind: Mind): Decision => {
  if (mind.state._tag === "Backoff" && !mind.inIncident) {
    return become(mind, connecting(mind.attempt + 1), "retry-due")
  }
  return mind.state._tag === "Quarantined" ? become(mind, connecting(1), "quarantine-over") : nothing
}

const reconnectRequested = (mind: Mind): Decision => {
  switch (mind.state._tag) {
    case "Inactive":
    case "Quarantined":
      return nothing
    case "Backoff":
      return become(mind, connecting(mind.attempt + 1), "reconnect-requested")
    default:
      return become(
        mind,
        connecting(1),
        "reconnect-requested",
        { sessionOpen: false },
        mind.sessionOpen ? endSession("reconnect-requested", "an operator asked for a new connection") : []
      )
  }
}

/**
 * The incident gives back what its first sign burned: sockets fall a moment before connecting is refused, and the
 * device could do nothing about either.
 */
const gatewayDown = (mind: Mind, input: Extract<Input, { _tag: "GatewayDown" }>): Decision => {
  if (mind.state._tag === "Inactive" || mind.state._tag === "Quarantined" || mind.inIncident) return nothing
  const state: DeviceState = {
    _tag: "Backoff",
    attempt: mind.attempt,
    retryAt: iso(input.probeAt),
    reason: input.failure
  }
  return become(mind, state, "gateway-down", { failure: input.failure, sessionOpen: false, budget: "refund" })
}

const failed = (mind: Mind, failure: Failure, facts: Facts, retryAfter: number): Decision => {
  const attempt = wasStable(mind, facts.now) ? 1 : Math.max(1, mind.attempt)
  const budget = budgetOf(failure.class)
  if (budget !== null) {
    const spent = recent(mind.failures, facts.now, budget.period).filter((past) => past.failure.class === failure.class)
    if (spent.length >= budget.intensity) {
      const state: DeviceState = {
        _tag: "Quarantined",
        reason: failure,
        evidence: [...spent.slice(-4), { failure, at: facts.now }].map(describe),
        until: iso(facts.now + Duration.toMillis(budget.quarantine))
      }
      return become(mind, state, "budget-spent", { failure, sessionOpen: false, budget: "burn" })
    }
  }
  const delay = Math.max(minimumDelay(failure, facts), retryAfter)
  const state: DeviceState = { _tag: "Backoff", attempt, retryAt: iso(facts.now + delay), reason: failure }
  return become(mind, state, `${failure.class}-failure`, {
    failure,
    sessionOpen: false,
    budget: budget === null ? "keep" : "burn"
  })
}

const minimumDelay = (failure: Failure, facts: Facts): number => {
  switch (failure.class) {
    case "auth":
      return Duration.toMillis(authProbeDelay)
    case "conflict":
      return Math.max(facts.delay, Duration.toMillis(conflictDelay))
    default:
      return facts.delay
  }
}

const describe = (past: PastFailure): string => `${iso(past.at)} ${past.failure.code}: ${past.failure.detail}`

/** Whether the connection that just ended had earned a fresh start. */
export const wasStable = (mind: Mind, now: number): boolean =>
  mind.state._tag === "Online" && now - Date.parse(mind.state.since) >= Duration.toMillis(stableAfter)

/** What an open session tells, short of its end. */
const heard = (mind: Mind, input: Input, facts: Facts): Decision => {
  switch (input._tag) {
    case "StatusRead":
      return statusRead(mind, input.status, facts)
    case "UpstreamConnected":
      return mind.state._tag === "Online"
        ? { transition: null, orders: syncStatus }
        : become(mind, online(input.jid ?? mind.jid, facts), "upstream-connected", {
          jid: input.jid ?? mind.jid
        }, syncStatus)
    case "UpstreamDisconnected":
      return mind.state._tag === "Online"
        ? become(mind, connecting(mind.attempt), "upstream-disconnected", {}, syncStatus)
        : { transition: null, orders: syncStatus }
    case "LoginNeeded":
      return mind.state._tag === "AwaitingLogin" && mind.state.method === input.method &&
          mind.state.expiresAt === input.expiresAt
        ? nothing
        : become(mind, { _tag: "AwaitingLogin", method: input.method, expiresAt: input.expiresAt }, "login-needed")
    case "LoggedOut":
      return mind.state._tag === "LoggedOut"
        ? nothing
        : become(mind, { _tag: "LoggedOut", reason: input.reason }, "logged-out", { jid: null })
    case "TrafficHeard":
      return mind.state._tag === "Connecting" || mind.state._tag === "AwaitingLogin"
        ? become(mind, online(mind.jid, facts), "traffic-heard", {}, syncStatus)
        : nothing
    case "DeafProved":
      return mind.state._tag === "Online"
        ? become(
          mind,
          { _tag: "Deaf", evidence: input.evidence },
          "deaf-proved",
          {},
          endSession("deaf", input.evidence, false)
        )
        : nothing
    default:
      return nothing
  }
}

/** The gateway's own answer about the slot. Usable means connected and logged in; neither alone is enough. */
const statusRead = (mind: Mind, status: UpstreamStatus, facts: Facts): Decision => {
  const tag = mind.state._tag
  if (tag === "Deaf") return nothing
  if (status.isConnected && status.isLoggedIn) {
    const jid = status.jid ?? mind.jid
    if (mind.state._tag !== "Online") return become(mind, online(jid, facts), "status-usable", { jid })
    return jid === mind.jid && jid === mind.state.jid
      ? nothing
      : become(mind, { ...mind.state, jid }, "account-learnt", { jid })
  }
  if (status.isLoggedIn || status.jid !== null) {
    return tag === "Connecting"
      ? nothing
      : become(mind, connecting(mind.attempt), "upstream-offline", { jid: status.jid ?? mind.jid })
  }
  if (tag === "LoggedOut" || tag === "AwaitingLogin") return nothing
  return mind.jid === null
    ? become(mind, { _tag: "AwaitingLogin", method: "unknown", expiresAt: null }, "status-not-paired")
    : become(mind, { _tag: "LoggedOut", reason: "the gateway holds no login for this slot" }, "status-logged-out", {
      jid: null
    })
}

/** The phone that goes with the account, for the device row. */
export const phoneFor = (mind: Mind): string | null => mind.jid === null ? null : phoneOf(mind.jid)
