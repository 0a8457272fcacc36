/**
 * The part of an actor's state that outlives its process, as it is recorded and restored: failures that count against the
 * restart budgets, a quarantine that has not ended, and an unsettled hand-over (`Reception.handOver`). Everything else
 * starts again with a connection.
 */
import { Duration } from "effect"
import type { DeviceMemory, DeviceState } from "../../domain/DeviceState.ts"
import type { RecordedDevice } from "../../domain/RecordedDevice.ts"
import { failureMemory, findBudget } from "../Supervision.ts"
import { initial } from "./ActorState.ts"
import type { ActorState, Now, PastFailure } from "./ActorState.ts"
import { outlives } from "./DeviceBehaviour.ts"

/** `handOver`: as in `Reception`. */
export const remember = (
  actorState: ActorState,
  releaseRequests: number,
  handOver: number | null
): DeviceMemory => ({
  failures: actorState.failures.map(({ failure, wall }) => ({ ...failure, at: new Date(wall).toISOString() })),
  releaseRequests,
  ...(handOver === null ? {} : { receivedThrough: new Date(handOver).toISOString() })
})

export interface Restored {
  readonly actorState: ActorState
  /**
   * The number of releases that the last actor had handled: a higher number in the row means that requests are still open.
   */
  readonly releaseRequests: number
  /** Whether transitions to `Connecting` may be held back, according to the device's record in the log. */
  readonly mayHold: boolean
}

/**
 * The state in which the next actor begins. Between two processes, ages can only be computed by the wall clock, so they are
 * bounded: nothing is in the future, and no quarantine lasts longer than its budget allows.
 */
export const restore = (recorded: RecordedDevice | undefined, jid: string | null, now: Now): Restored => {
  if (recorded === undefined) return { actorState: initial(jid), releaseRequests: 0, mayHold: mayHold(recorded) }
  const fresh = initial(recorded.device.jid)
  const memory = recorded.transitions[0]?.data.memory
  const failures = (memory?.failures ?? []).flatMap(({ at, ...failure }): ReadonlyArray<PastFailure> => {
    const wall = Math.min(now.wall, Date.parse(at))
    const age = now.wall - wall
    return age < Duration.toMillis(failureMemory) ? [{ failure, wall, at: now.monotonic - age }] : []
  })
  const quarantine = restoreQuarantine(recorded.device.state, now)
  return {
    actorState: { ...fresh, failures, ...quarantine },
    releaseRequests: memory?.releaseRequests ?? 0,
    mayHold: mayHold(recorded)
  }
}

/** The hand-over that the last actor left unsettled, as in `Reception`. */
export const readHandOver = (recorded: RecordedDevice | undefined): number | null => {
  const at = Date.parse(recorded?.transitions[0]?.data.memory?.receivedThrough ?? "")
  return Number.isNaN(at) ? null : at
}

const restoreQuarantine = (state: DeviceState, now: Now): Pick<ActorState, "state" | "wakeAt"> | null => {
  if (state._tag !== "Quarantined") return null
  const longest = findBudget(state.reason)?.quarantine ?? Duration.zero
  const left = Math.min(Math.max(0, Date.parse(state.until) - now.wall), Duration.toMillis(longest))
  return { state, wakeAt: now.monotonic + left }
}

/**
 * Whether the device's last record shows that it is connecting: then further steps towards a connection can be recorded a
 * moment later. A device that was stopped for another reason (by an operator, with its gateway) is recorded at once.
 */
const mayHold = (recorded: RecordedDevice | undefined): boolean => {
  if (recorded === undefined) return true
  const { device, transitions } = recorded
  return device.state._tag === "Inactive"
    ? transitions[0] === undefined || outlives(transitions[0].data.rule)
    : isOnTheWay(device.state)
}

/** Whether the state itself shows that the device is not connected yet, so that no events are expected. */
export const isOnTheWay = ({ _tag }: DeviceState): boolean => _tag === "Backoff" || _tag === "Connecting"
