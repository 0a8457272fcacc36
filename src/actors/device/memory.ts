/**
 * What of an actor's state outlives its process, as it is recorded and as the next actor goes on from it: failures that
 * count against the restart budgets, a quarantine that is not over, and a hand-over that is not settled (`Reception.handOver`).
 * Everything else begins anew with a connection.
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
  ...(handOver === null ? {} : { heardThrough: new Date(handOver).toISOString() })
})

export interface Restored {
  readonly actorState: ActorState
  /** The releases that the last actor knew of: more than these in the row are requests that are still open. */
  readonly releaseRequests: number
  /** Whether transitions to `Connecting` may be held back, by what the log says of the device. */
  readonly mayHold: boolean
}

/**
 * The state in which the next actor begins. Between two processes only the wall clock can say how old something is, so
 * what it says is bounded: nothing is in the future, and no quarantine lasts longer than its budget gives.
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
  const at = Date.parse(recorded?.transitions[0]?.data.memory?.heardThrough ?? "")
  return Number.isNaN(at) ? null : at
}

const restoreQuarantine = (state: DeviceState, now: Now): Pick<ActorState, "state" | "wakeAt"> | null => {
  if (state._tag !== "Quarantined") return null
  const longest = findBudget(state.reason)?.quarantine ?? Duration.zero
  const left = Math.min(Math.max(0, Date.parse(state.until) - now.wall), Duration.toMillis(longest))
  return { state, wakeAt: now.monotonic + left }
}

/**
 * Whether the log's last word on the device is that it is on its way to a connection: what follows on that way can be told
 * a moment later. What stopped a device otherwise (by an operator, with its gateway) is corrected at once.
 */
const mayHold = (recorded: RecordedDevice | undefined): boolean => {
  if (recorded === undefined) return true
  const { device, transitions } = recorded
  return device.state._tag === "Inactive"
    ? transitions[0] === undefined || outlives(transitions[0].data.rule)
    : isOnTheWay(device.state)
}

/** It says itself that it is not connected yet, so it is not expected to hear. */
export const isOnTheWay = ({ _tag }: DeviceState): boolean => _tag === "Backoff" || _tag === "Connecting"
