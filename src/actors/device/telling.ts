/**
 * How transitions get into the log: each as an event `device.state`, most of them at once.
 *
 * On its way back a device that waits passes through `Connecting`, twice, within milliseconds. Where the log already says
 * that the device is not connected, these transitions are held back for a moment, and told as the steps of the event that
 * follows: a fleet that comes back writes one event per device for them instead of three. What lasts longer than
 * `holdMax` is told by itself. A process that dies meanwhile loses nothing that its successor goes on from: the successor
 * begins with a connection too.
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
import { isOnTheWay, remember } from "./memory.ts"

/** For so long the log may say less than is known: a handshake that takes longer is worth an event of its own. */
export const holdMax = Duration.seconds(2)

/** The holds of a whole fleet that is slow to connect end in so many rounds per second, not each by itself. */
export const holdGrain = Duration.millis(250)

/** An operator may ask for a new connection again and again within that time. */
const stepsMax = 8

const holdMillis = Duration.toMillis(holdMax)

/** Transitions that the log does not have yet. At least one. */
export interface HeldSteps {
  /** The state before the first of them. */
  readonly from: DeviceState["_tag"]
  readonly steps: Array<TransitionStep>
}

/** Records the transition to the state that the actor has by now, or holds it back for a moment. */
export const tell = (
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
  forgetHeld(cell)
  pushState(cell, { from: held?.from ?? from._tag, rule, failure, steps: held?.steps ?? [] }, now)
}

/** Records what was held back, if anything was. */
export const tellHeld = (cell: DeviceCell): void => {
  const { held } = cell
  if (held === null) return
  forgetHeld(cell)
  const steps = held.steps.slice(0, -1)
  const { at, rule } = held.steps.at(-1)!
  pushState(cell, { from: held.from, rule, failure: null, steps }, Date.parse(at))
}

/** What was held back is not recorded any more. */
export const forgetHeld = (cell: DeviceCell): void => {
  if (cell.held === null) return
  cell.held = null
  cell.host.holds.cancel(cell)
}

/** Records the state that the device is in, for a log that has lost it. No transition. */
export const recordAgain = (cell: DeviceCell): void => {
  forgetHeld(cell)
  const from = cell.actorState.state._tag
  pushState(
    cell,
    { from, rule: "log-reset", failure: null, steps: [] },
    cell.host.clock.currentTimeMillisUnsafe()
  )
}

const pushState = (cell: DeviceCell, told: Told, now: number): void => {
  cell.mayHold = isOnTheWay(cell.actorState.state)
  const fence = { deviceId: cell.device.id, epoch: cell.epoch }
  cell.host.log.push(stateDraft(cell.device, told, cell.actorState, now, cell.reception.handOver), {
    fence,
    patient: true,
    onFenced: cell.onFenced
  })
}

/** How the device came into its state. */
interface Told extends Pick<Transition, "rule" | "failure"> {
  readonly from: DeviceState["_tag"]
  readonly steps: ReadonlyArray<TransitionStep>
}

/** The log's record of a transition. */
export const stateDraft = (
  device: Pick<DesiredDevice, "id" | "releaseRequests">,
  { failure, from, rule, steps }: Told,
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
