/**
 * Records transitions in the log: each as an event `device.state`, most of them at once.
 *
 * While it reconnects, a waiting device passes through `Connecting` twice within milliseconds. If the log already shows
 * that the device is not connected, these transitions are held back for a moment, and recorded as the steps of the event
 * that follows: a reconnecting fleet writes one event per device instead of three. A state that lasts longer than `holdMax`
 * is recorded by itself. If the process dies meanwhile, its successor loses nothing that it needs: it starts with a
 * connection too.
 */
import { Duration } from "effect"
import type { DesiredDevice } from "../../domain/Device.ts"
import type { DeviceState } from "../../domain/DeviceState.ts"
import type { EventDraft } from "../../domain/Event.ts"
import type { TransitionStep } from "../../domain/EventData.ts"
import { makeEventId } from "../../services/EventIdentity.ts"
import type { ActorState, Transition } from "./ActorState.ts"
import { phoneFor } from "./DeviceBehaviour.ts"
import type { DeviceCell } from "./DeviceCell.ts"
import { isOnTheWay, remember } from "./actorMemory.ts"

/** Maximum time for which the log may lag behind the actor: a longer handshake is worth an event of its own. */
export const holdMax = Duration.seconds(2)

/** The holds of a fleet that is slow to connect end in rounds of this length, not one by one. */
export const holdGrain = Duration.millis(250)

/** An operator may ask for a new connection repeatedly within that time. */
const stepsMax = 8

const holdMillis = Duration.toMillis(holdMax)

/** Transitions that are not in the log yet. At least one. */
export interface HeldSteps {
  /** The state before the first of them. */
  readonly from: DeviceState["_tag"]
  readonly steps: Array<TransitionStep>
}

/** Records the transition to the actor's current state, or holds it back for a moment. */
export const recordTransition = (
  cell: DeviceCell,
  from: DeviceState,
  { failure, rule }: Pick<Transition, "rule" | "failure">,
  now: number
): void => {
  const { state } = cell.actorState
  const { held } = cell
  if (cell.mayHold && state._tag === "Connecting" && (held === null || held.steps.length < stepsMax)) {
    const step: TransitionStep = { state, rule, at: iso(now) }
    if (held !== null) {
      held.steps.push(step)
      return
    }
    cell.held = { from: from._tag, steps: [step] }
    cell.host.holds.planIn(cell, holdMillis)
    return
  }
  dropHeld(cell)
  pushState(cell, { from: held?.from ?? from._tag, rule, failure, steps: held?.steps ?? [] }, now)
}

/** Records the held-back transitions, if any. */
export const recordHeld = (cell: DeviceCell): void => {
  const { held } = cell
  if (held === null) return
  dropHeld(cell)
  const steps = held.steps.slice(0, -1)
  const { at, rule } = held.steps.at(-1)!
  pushState(cell, { from: held.from, rule, failure: null, steps }, Date.parse(at))
}

/** Drops the held-back transitions without recording them. */
export const dropHeld = (cell: DeviceCell): void => {
  if (cell.held === null) return
  cell.held = null
  cell.host.holds.cancel(cell)
}

/** Records the device's current state in a log that has lost it. This is not a transition. */
export const recordAgain = (cell: DeviceCell): void => {
  dropHeld(cell)
  const from = cell.actorState.state._tag
  pushState(
    cell,
    { from, rule: "log-reset", failure: null, steps: [] },
    cell.host.clock.currentTimeMillisUnsafe()
  )
}

const pushState = (cell: DeviceCell, change: StateChange, now: number): void => {
  cell.mayHold = isOnTheWay(cell.actorState.state)
  const fence = { deviceId: cell.device.id, epoch: cell.epoch }
  cell.host.log.push(stateDraft(cell.device, change, cell.actorState, now, cell.reception.handOver), {
    fence,
    patient: true,
    onFenced: cell.onFenced
  })
}

/** How the device came into its state. */
interface StateChange extends Pick<Transition, "rule" | "failure"> {
  readonly from: DeviceState["_tag"]
  readonly steps: ReadonlyArray<TransitionStep>
}

/** The log's record of a transition. */
export const stateDraft = (
  device: Pick<DesiredDevice, "id" | "releaseRequests">,
  { failure, from, rule, steps }: StateChange,
  actorState: ActorState,
  now: number,
  handOver: number | null = null
): EventDraft => ({
  id: makeEventId(now),
  kind: "device.state",
  deviceId: device.id,
  occurredAt: iso(now),
  via: "columba",
  data: {
    from,
    ...(steps.length === 0 ? {} : { steps }),
    state: actorState.state,
    rule,
    failure,
    jid: actorState.jid,
    phone: phoneFor(actorState),
    memory: remember(actorState, device.releaseRequests, handOver)
  },
  identity: null,
  aliases: []
})

const iso = (at: number): string => new Date(at).toISOString()
