/**
 * How a device reacts to inputs. Pure and total: `decide` returns the transition that an input causes in a state, if any,
 * and the actions it requires. The diagram in `docs/device-lifecycle.md` shows this module; every transition names the rule
 * that caused it.
 */
import { Duration } from "effect"
import type { UpstreamStatus } from "../../domain/Device.ts"
import type { DeviceState, Failure, LoginMethod } from "../../domain/DeviceState.ts"
import { parsePhone } from "../../domain/Jid.ts"
import { authProbeDelay, conflictDelay, findBudget, processKilled } from "../Supervision.ts"
import { recent, wasStable } from "./ActorState.ts"
import type { ActorState, Now, PastFailure, Transition } from "./ActorState.ts"

/**
 * Why an actor stops. With all but the first three rules, the device should run but its gateway has changed or cannot be
 * used. Devices of the built-in simulator have a separate rule, because that gateway is missing on purpose. `moved`:
 * another node of the cluster runs it from now on.
 */
export type StopRule =
  | "deactivated"
  | "fleet-stopped"
  | "moved"
  | "gateway-changed"
  | "gateway-inactive"
  | "gateway-unknown"
  | "gateway-unusable"
  | "simulator-not-running"

export type Input =
  | { readonly _tag: "Start" }
  | { readonly _tag: "Stop"; readonly rule: StopRule }
  | { readonly _tag: "Opened" }
  /** The session was lost, or could not be opened. `retryAfter`: in ms, if the gateway requested it. */
  | { readonly _tag: "Ended"; readonly failure: Failure; readonly retryAfter: number }
  /** The gateway itself is down, and a probe has confirmed it. `probeAt` is the wall time of the next probe. */
  | { readonly _tag: "GatewayDown"; readonly failure: Failure; readonly probeAt: number }
  | { readonly _tag: "IncidentOver" }
  | { readonly _tag: "StatusRead"; readonly status: UpstreamStatus }
  | { readonly _tag: "UpstreamConnected"; readonly jid: string | null }
  | { readonly _tag: "UpstreamDisconnected"; readonly reason: string | null }
  | { readonly _tag: "Replaced"; readonly reason: string }
  | { readonly _tag: "LoginNeeded"; readonly method: LoginMethod; readonly expiresAt: string | null }
  | { readonly _tag: "LoggedOut"; readonly reason: string }
  | { readonly _tag: "StatusHint" }
  | { readonly _tag: "TrafficReceived" }
  | { readonly _tag: "DeafProved"; readonly evidence: string }
  | { readonly _tag: "RetryDue" }
  | { readonly _tag: "ReconnectRequested" }
  | { readonly _tag: "ReleaseRequested" }
  | { readonly _tag: "Crashed"; readonly detail: string }
  /** Instead of `Start`: the device has made processes that ran it end. */
  | { readonly _tag: "KillsProcess"; readonly detail: string }
  /** The log refused a transition: another process has claimed the device since. */
  | { readonly _tag: "Fenced" }

/** Facts that `decide` cannot compute itself. `delay` is the reconnect schedule's next wait, in milliseconds. */
export interface Facts extends Now {
  readonly delay: number
}

export type Order =
  /** Ends the open session. Its end is not reported back when `forget` is set. */
  | { readonly _tag: "EndSession"; readonly failure: Failure; readonly forget: boolean }
  /** Ask the gateway about the slot: at once if the device waits for the answer, otherwise soon. */
  | { readonly _tag: "SyncStatus"; readonly when: "now" | "soon" }
  /** The account is not usable: start the slot, if the gateway has slots to start and has left this one stopped. */
  | { readonly _tag: "StartSlot" }

export interface Decision {
  readonly transition: Transition | null
  readonly orders: ReadonlyArray<Order>
}

const nothing: Decision = { transition: null, orders: [] }
const syncSoon: ReadonlyArray<Order> = [{ _tag: "SyncStatus", when: "soon" }]
const syncNow: ReadonlyArray<Order> = [{ _tag: "SyncStatus", when: "now" }]

/** Returns the transition that an input causes, and the actions it requires. Total: any input may occur in any state. */
export const decide = (actorState: ActorState, input: Input, facts: Facts): Decision => {
  switch (input._tag) {
    case "Start":
      return actorState.state._tag === "Inactive" ? become(actorState, connecting(1), "started") : nothing
    case "Stop":
      return stopped(actorState, input.rule)
    case "Fenced":
      return actorState.state._tag === "Inactive"
        ? nothing
        : become(actorState, { _tag: "Inactive" }, "fenced", { sessionOpen: false }, endSession("fenced", "not ours"))
    case "Opened":
      return opened(actorState)
    case "Ended":
      return holdsNoSession(actorState) ? nothing : failed(actorState, input.failure, facts, input.retryAfter)
    case "Crashed":
      return actorState.state._tag === "Inactive" || actorState.state._tag === "Quarantined"
        ? nothing
        : failed(actorState, { class: "ours", code: "defect", detail: input.detail }, facts, 0)
    case "KillsProcess":
      return failed(actorState, { class: "ours", code: processKilled, detail: input.detail }, facts, 0)
    case "GatewayDown":
      return gatewayDown(actorState, input)
    case "IncidentOver":
      return actorState.state._tag === "Backoff" && actorState.inIncident
        ? become(actorState, connecting(actorState.attempt + 1), "incident-over")
        : nothing
    case "RetryDue":
      return retryDue(actorState)
    case "ReconnectRequested":
      return reconnectRequested(actorState)
    case "ReleaseRequested":
      return actorState.state._tag === "Quarantined"
        ? become(actorState, connecting(1), "released", { budget: "clear" })
        : nothing
    default:
      return actorState.sessionOpen ? sessionReported(actorState, input, facts) : nothing
  }
}

const connecting = (attempt: number, sessionOpen = false): DeviceState => ({ _tag: "Connecting", attempt, sessionOpen })

const iso = (at: number): string => new Date(at).toISOString()

const become = (
  actorState: ActorState,
  state: DeviceState,
  rule: string,
  change: Partial<Transition> = {},
  orders: ReadonlyArray<Order> = []
): Decision => ({
  transition: {
    state,
    rule,
    failure: null,
    sessionOpen: actorState.sessionOpen,
    wait: null,
    budget: "keep",
    jid: actorState.jid,
    ...change
  },
  orders
})

const endSession = (code: string, detail: string, forget = true): ReadonlyArray<Order> => [
  { _tag: "EndSession", failure: { class: "transport", code, detail }, forget }
]

const holdsNoSession = (actorState: ActorState): boolean =>
  actorState.state._tag === "Inactive" || actorState.state._tag === "Quarantined" || actorState.state._tag === "Backoff"

/** Whether the device continues with another actor, in another process. */
export const outlives = (rule: string): boolean => rule === "fleet-stopped" || rule === "moved"

/**
 * The end of the process does not end a quarantine: it stays recorded, and the next actor restores it. Deactivating a
 * device or changing its gateway ends the quarantine and clears the failures: after that, the device starts afresh.
 */
const stopped = (actorState: ActorState, rule: StopRule): Decision => {
  const { _tag } = actorState.state
  if (_tag === "Inactive" || _tag === "Quarantined" && outlives(rule)) return nothing
  return become(
    actorState,
    { _tag: "Inactive" },
    rule,
    { sessionOpen: false, budget: outlives(rule) ? "keep" : "clear" },
    endSession("stopped", rule)
  )
}

/**
 * An open session proves nothing about the account behind it: a gateway accepts sessions for slots that are logged out.
 * The device is online when the gateway confirms it, or when a message arrives.
 */
const opened = (actorState: ActorState): Decision =>
  actorState.state._tag !== "Connecting" || actorState.sessionOpen
    ? nothing
    : become(
      actorState,
      connecting(actorState.attempt, true),
      actorState.jid === null ? "session-open-account-unknown" : "session-open-unproven",
      { sessionOpen: true },
      syncNow
    )

const online = (jid: string | null, facts: Facts): DeviceState => ({ _tag: "Online", jid, since: iso(facts.wall) })

const retryDue = (actorState: ActorState): Decision => {
  if (actorState.state._tag === "Backoff" && !actorState.inIncident) {
    return become(actorState, connecting(actorState.attempt + 1), "retry-due")
  }
  return actorState.state._tag === "Quarantined" ? become(actorState, connecting(1), "quarantine-over") : nothing
}

const reconnectRequested = (actorState: ActorState): Decision => {
  switch (actorState.state._tag) {
    case "Inactive":
    case "Quarantined":
      return nothing
    case "Backoff":
      return become(actorState, connecting(actorState.attempt + 1), "reconnect-requested")
    default:
      return become(
        actorState,
        connecting(1),
        "reconnect-requested",
        { sessionOpen: false },
        actorState.sessionOpen ? endSession("reconnect-requested", "an operator asked for a new connection") : []
      )
  }
}

/**
 * The incident refunds the budget that its first sign burned: sockets are lost a moment before connections are refused, and
 * neither is the device's fault.
 */
const gatewayDown = (actorState: ActorState, input: Extract<Input, { _tag: "GatewayDown" }>): Decision => {
  if (actorState.state._tag === "Inactive" || actorState.state._tag === "Quarantined" || actorState.inIncident) {
    return nothing
  }
  const state: DeviceState = {
    _tag: "Backoff",
    attempt: actorState.attempt,
    retryAt: iso(input.probeAt),
    reason: input.failure
  }
  return become(actorState, state, "gateway-down", { failure: input.failure, sessionOpen: false, budget: "refund" })
}

const failed = (actorState: ActorState, failure: Failure, facts: Facts, retryAfter: number): Decision => {
  const attempt = wasStable(actorState, facts.monotonic) ? 1 : Math.max(1, actorState.attempt)
  const budget = findBudget(failure)
  if (budget !== null) {
    const spent = recent(actorState.failures, facts, budget.period).filter((past) =>
      past.failure.class === failure.class
    )
    if (spent.length >= budget.intensity) {
      const wait = Duration.toMillis(budget.quarantine)
      const state: DeviceState = {
        _tag: "Quarantined",
        reason: failure,
        evidence: [...spent.slice(-4), { failure, wall: facts.wall }].map(describe),
        until: iso(facts.wall + wait)
      }
      return become(actorState, state, "budget-spent", { failure, sessionOpen: false, wait, budget: "burn" })
    }
  }
  const wait = Math.max(minimumDelay(failure, facts), retryAfter)
  const state: DeviceState = { _tag: "Backoff", attempt, retryAt: iso(facts.wall + wait), reason: failure }
  return become(actorState, state, `${failure.class}-failure`, {
    failure,
    sessionOpen: false,
    wait,
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

const describe = (past: Pick<PastFailure, "failure" | "wall">): string =>
  `${iso(past.wall)} ${past.failure.code}: ${past.failure.detail}`

/** What an open session reports, except its end. */
const sessionReported = (actorState: ActorState, input: Input, facts: Facts): Decision => {
  switch (input._tag) {
    case "StatusRead":
      return statusRead(actorState, input.status, facts)
    case "UpstreamConnected":
      return actorState.state._tag === "Online"
        ? { transition: null, orders: syncSoon }
        : become(actorState, online(input.jid ?? actorState.jid, facts), "upstream-connected", {
          jid: input.jid ?? actorState.jid
        }, syncSoon)
    case "UpstreamDisconnected":
      return actorState.state._tag === "Online"
        ? become(actorState, connecting(actorState.attempt, true), "upstream-disconnected", {}, syncSoon)
        : { transition: null, orders: syncSoon }
    case "Replaced":
      return failed(actorState, { class: "conflict", code: "session-replaced", detail: input.reason }, facts, 0)
    case "LoginNeeded":
      return actorState.state._tag === "AwaitingLogin" && actorState.state.method === input.method &&
          actorState.state.expiresAt === input.expiresAt
        ? nothing
        : become(
          actorState,
          { _tag: "AwaitingLogin", method: input.method, expiresAt: input.expiresAt },
          "login-needed"
        )
    case "LoggedOut":
      return actorState.state._tag === "LoggedOut"
        ? nothing
        : become(actorState, { _tag: "LoggedOut", reason: input.reason }, "logged-out", { jid: null })
    case "StatusHint":
      return actorState.state._tag === "Online" ? nothing : { transition: null, orders: syncSoon }
    case "TrafficReceived":
      return actorState.state._tag === "Connecting" || actorState.state._tag === "AwaitingLogin"
        ? become(actorState, online(actorState.jid, facts), "traffic-received", {}, syncSoon)
        : nothing
    case "DeafProved":
      return actorState.state._tag === "Online"
        ? become(
          actorState,
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

/** The gateway's own answer about the slot. Usable means connected and logged in; one of the two is not enough. */
const statusRead = (actorState: ActorState, status: UpstreamStatus, facts: Facts): Decision => {
  const tag = actorState.state._tag
  if (tag === "Deaf") return nothing
  if (status.isConnected && status.isLoggedIn) {
    const jid = status.jid ?? actorState.jid
    if (actorState.state._tag !== "Online") return become(actorState, online(jid, facts), "status-usable", { jid })
    return jid === actorState.jid && jid === actorState.state.jid
      ? nothing
      : become(actorState, { ...actorState.state, jid }, "account-learnt", { jid })
  }
  const decision = notUsable(actorState, status)
  return { ...decision, orders: [...decision.orders, { _tag: "StartSlot" }] }
}

const notUsable = (actorState: ActorState, status: UpstreamStatus): Decision => {
  const tag = actorState.state._tag
  if (status.isLoggedIn || status.jid !== null) {
    return tag === "Connecting"
      ? nothing
      : become(actorState, connecting(actorState.attempt, true), "upstream-offline", {
        jid: status.jid ?? actorState.jid
      })
  }
  if (tag === "LoggedOut" || tag === "AwaitingLogin") return nothing
  return actorState.jid === null
    ? become(actorState, { _tag: "AwaitingLogin", method: "unknown", expiresAt: null }, "status-not-paired")
    : become(
      actorState,
      { _tag: "LoggedOut", reason: "the gateway holds no login for this slot" },
      "status-logged-out",
      {
        jid: null
      }
    )
}

/** The phone number of the account, for the device row. */
export const phoneFor = (actorState: ActorState): string | null =>
  actorState.jid === null ? null : parsePhone(actorState.jid)
