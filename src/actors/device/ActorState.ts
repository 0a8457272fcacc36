/**
 * The state of a device's actor, and how a transition changes it. Pure. `DeviceBehaviour.ts` decides which transition an
 * input causes; `actorMemory.ts` holds what outlives the process.
 *
 * Two clocks: wall time is written into states for people to read, and no decision depends on it. Waits, budgets and
 * stability are measured by the monotonic clock, which corrections of the machine's clock do not affect.
 */
import { Duration } from "effect"
import type { DeviceState, Failure } from "../../domain/DeviceState.ts"
import { failureMemory, firstSignMax, stableAfter } from "../Supervision.ts"

/** Everything that determines the device's further behaviour. */
export interface ActorState {
  readonly state: DeviceState
  /** Connections begun since the last stable one. */
  readonly attempt: number
  readonly sessionOpen: boolean
  /** Waits for the end of the gateway's incident, not for a time. */
  readonly inIncident: boolean
  /** When a waiting state ends by itself, and since when the device has been online; monotonic, null otherwise. */
  readonly wakeAt: number | null
  readonly onlineSince: number | null
  /** Recent failures that burn budget, oldest first; bounded by the budgets themselves. */
  readonly failures: ReadonlyArray<PastFailure>
  readonly jid: string | null
}

export interface PastFailure {
  readonly failure: Failure
  /** By the monotonic clock. */
  readonly at: number
  /** By the wall clock, for the evidence that people read. */
  readonly wall: number
}

/** The current time in milliseconds; `wall` is since the epoch. */
export interface Now {
  readonly wall: number
  readonly monotonic: number
}

export interface Transition {
  readonly state: DeviceState
  readonly rule: string
  readonly failure: Failure | null
  readonly sessionOpen: boolean
  /** For states that end by themselves: after this many milliseconds. */
  readonly wait: number | null
  /**
   * What happens to the recorded failures: `keep` them, `burn` budget for this one, `refund` the last one, or `clear` them.
   */
  readonly budget: "keep" | "burn" | "refund" | "clear"
  readonly jid: string | null
}

/** The state of a device before its actor has done anything. */
export const initial = (jid: string | null): ActorState => ({
  state: { _tag: "Inactive" },
  attempt: 0,
  sessionOpen: false,
  inIncident: false,
  wakeAt: null,
  onlineSince: null,
  failures: [],
  jid
})

/** What the actor does until the next input. Every waiting state ends at a time or by an input. */
export type NextStep =
  | { readonly _tag: "Finished" }
  | { readonly _tag: "Open" }
  /** By the monotonic clock. */
  | { readonly _tag: "WaitUntil"; readonly at: number }
  | { readonly _tag: "Park" }

const finished: NextStep = { _tag: "Finished" }
const open: NextStep = { _tag: "Open" }
const park: NextStep = { _tag: "Park" }

export const nextStep = (actorState: ActorState): NextStep => {
  switch (actorState.state._tag) {
    case "Inactive":
      return finished
    case "Connecting":
      return actorState.sessionOpen ? park : open
    default:
      return actorState.wakeAt === null ? park : { _tag: "WaitUntil", at: actorState.wakeAt }
  }
}

/** The actor's state after a transition. */
export const evolve = (actorState: ActorState, transition: Transition, now: Now): ActorState => ({
  state: transition.state,
  attempt: "attempt" in transition.state ? transition.state.attempt : actorState.attempt,
  sessionOpen: transition.sessionOpen,
  inIncident: transition.rule === "gateway-down",
  wakeAt: transition.wait === null ? null : now.monotonic + transition.wait,
  onlineSince: transition.state._tag === "Online" ? actorState.onlineSince ?? now.monotonic : null,
  failures: nextFailures(actorState.failures, transition, now),
  jid: transition.jid
})

const nextFailures = (
  failures: ReadonlyArray<PastFailure>,
  transition: Transition,
  now: Now
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
        : [
          ...recent(failures, now, failureMemory),
          { failure: transition.failure, at: now.monotonic, wall: now.wall }
        ]
  }
}

const firstSignMillis = Duration.toMillis(firstSignMax)
const stableMillis = Duration.toMillis(stableAfter)

/** A socket lost shortly before the gateway was found down was the first sign of the incident. */
const isFirstSign = (last: PastFailure | undefined, now: Now): boolean =>
  last !== undefined && last.failure.class === "transport" && now.monotonic - last.at < firstSignMillis

/** The failures of this period, oldest first. */
export const recent = (failures: ReadonlyArray<PastFailure>, now: Now, period: Duration.Duration) => {
  const millis = Duration.toMillis(period)
  return failures.filter((past) => now.monotonic - past.at < millis)
}

/** Whether the connection that just ended lasted long enough to reset the failure counts. `now` is monotonic. */
export const wasStable = (actorState: ActorState, now: number): boolean =>
  actorState.onlineSince !== null && now - actorState.onlineSince >= stableMillis
