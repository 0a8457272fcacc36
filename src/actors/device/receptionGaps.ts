/**
 * Maps transitions of a device to its gaps, and changes of its gaps to records. A gap is appended to the log before the
 * transition that caused it: a record of a device that is not online always has its gap.
 */
import { Duration } from "effect"
import type { DeviceState } from "../../domain/DeviceState.ts"
import type { EventDraft } from "../../domain/Event.ts"
import type { GapCause, GapOpenedData } from "../../domain/Gap.ts"
import { makeGapId } from "../../services/EventIdentity.ts"
import * as GapDrafts from "../../services/GapDrafts.ts"
import type { LogEffect } from "../../services/LogEffect.ts"
import type { Transition } from "./ActorState.ts"
import type { DeviceCell } from "./DeviceCell.ts"
import { track } from "./GapTracker.ts"
import type { GapInput, GapOrder, TrackedGap } from "./GapTracker.ts"

/** How long a connection may be dead before its pings detect it (`layers/gateways/PingWheel.ts`). */
export const unnoticedMax = 30_000

/** A longer pause is recorded: the gateway may give up on a socket that is not read. */
export const pauseMax = 5000

/** The time from the gateway's timestamp on an event to our receipt of it, including the whole seconds of such timestamps. */
export const transitMax = 2000

/**
 * A heartbeat proves nothing about this much running time before it: the connection may have died without notice, frames may
 * wait in a socket that was not read, and events take time to arrive.
 */
export const unprovenMax = unnoticedMax + pauseMax + transitMax

export interface GapRecords {
  readonly drafts: ReadonlyArray<EventDraft>
  readonly effects: ReadonlyArray<LogEffect>
}

const none: GapRecords = { drafts: [], effects: [] }

/** Applies the input to the device's gaps. Returns the records to write now. */
export const change = (cell: DeviceCell, input: GapInput): GapRecords => {
  const { orders, state } = track(cell.reception.gaps, input)
  cell.reception.gaps = state
  if (state.reception !== "receiving") cell.reception.inherited = false
  return orders.length === 0 ? none : gapRecords(cell, orders)
}

export const gapRecords = (cell: DeviceCell, orders: ReadonlyArray<GapOrder>): GapRecords => {
  const now = cell.host.clock.currentTimeMillisUnsafe()
  const { id } = cell.device
  const drafts: Array<EventDraft> = []
  const effects: Array<LogEffect> = []
  for (const order of orders) {
    const opened = openedData(order.gap)
    switch (order._tag) {
      case "Open":
        drafts.push(GapDrafts.gapOpened(id, opened, now))
        break
      case "Recause":
        effects.push(GapDrafts.gapRecaused(id, opened))
        break
      case "End":
        effects.push(GapDrafts.gapEnded(id, opened, iso(order.gap.endedAt)))
        break
      case "Close": {
        const endedAt = iso(order.gap.endedAt)
        drafts.push(GapDrafts.gapClosed(id, { ...opened, endedAt, ...order.judgement }, now))
        break
      }
    }
  }
  return { drafts, effects }
}

const openedData = ({ cause, detail, id, openedAt }: TrackedGap): GapOpenedData => ({
  gapId: id,
  cause,
  openedAt: iso(openedAt),
  detail
})

const iso = (at: number): string => new Date(at).toISOString()

/** Appends them to the log under the actor's claim, without waiting. */
export const push = (cell: DeviceCell, { drafts, effects }: GapRecords): void => {
  // Most transitions change no gap.
  if (drafts.length === 0 && effects.length === 0) return
  const { log } = cell.host
  const options = { fence: { deviceId: cell.device.id, epoch: cell.epoch }, patient: true, onFenced: cell.onFenced }
  for (const draft of drafts) log.push(draft, options)
  if (effects.length > 0) log.pushEffects(effects, options)
}

/**
 * Reception is proven, unless the socket is not read, webhooks are refused, messages are missing, or reception is in doubt.
 */
export const proveReception = (cell: DeviceCell): GapRecords => {
  const { host, reception } = cell
  if (reception.gaps.receivingSince !== null) return none
  if (cell.paused || reception.refusedAt !== null || reception.suspects !== null || reception.doubted) return none
  reception.receivingAt = host.now()
  if (!Number.isFinite(reception.postedAt)) reception.unpostedSince ??= host.time.at(reception.receivingAt)
  const records = change(cell, { _tag: "Proven", at: host.time.at(reception.receivingAt) })
  host.backfill.receptionProven(cell)
  if (reception.handOver !== null) host.handOvers.expect(cell)
  return records
}

/**
 * It was not confirmed that the previous node's session was open until ours was, so events in between may be missing.
 * Returns the records to write: none if the device was not handed over, or was lost again before our session was open.
 */
export const missHandOver = (cell: DeviceCell): GapRecords => {
  const { host, reception } = cell
  const { handOver } = reception
  const { receivingSince } = reception.gaps
  reception.handOver = null
  if (handOver === null || receivingSince === null) return none
  const records = change(cell, {
    _tag: "Missed",
    from: Math.max(reception.floor, handOver),
    to: receivingSince,
    cause: "process-down",
    detail: "it moved from another node, which did not confirm that its session was open until this node's was",
    id: makeGapId(host.clock.currentTimeMillisUnsafe())
  })
  host.backfill.receptionProven(cell)
  return records
}

/** An event has come, or none was missing: an open session proves reception again. */
export const endDoubt = (cell: DeviceCell): GapRecords => {
  cell.reception.doubted = false
  return cell.actorState.state._tag === "Online" ? proveReception(cell) : none
}

/** Reception is lost. Without `provenThrough`: since the last moment for which it was proven. */
export const loseReception = (
  cell: DeviceCell,
  cause: GapCause,
  detail: string,
  provenThrough?: number
): GapRecords => {
  const { host, reception } = cell
  const { handOver } = reception
  const relied = reception.gaps.receivingSince === null && handOver !== null
  const before = missHandOver(cell)
  const lost = change(cell, {
    _tag: "Lost",
    at: host.time.now(),
    cause,
    detail,
    begin: () => ({
      id: makeGapId(host.clock.currentTimeMillisUnsafe()),
      provenThrough: relied ? handOver : provenThrough ?? findProof(cell)
    })
  })
  return before === none
    ? lost
    : { drafts: [...before.drafts, ...lost.drafts], effects: [...before.effects, ...lost.effects] }
}

export const webhookMax = (cell: DeviceCell): number => Duration.toMillis(cell.host.settings.webhookTries)

/** A webhook was refused. The gateway may have abandoned it, and earlier ones that never reached us. */
export const refuseWebhook = (cell: DeviceCell): GapRecords => {
  const { host, reception } = cell
  reception.refusedAt = host.now()
  host.backfill.changed(cell)
  const from = host.time.now() - webhookMax(cell) - transitMax
  return loseReception(cell, "webhook-refused", "a webhook was refused", from)
}

/** Records webhooks that another process has refused, or accepted and lost again, in this interval of the database's clock. */
export const missWebhooks = (cell: DeviceCell, first: number, last: number): GapRecords => {
  const { host, reception } = cell
  if (reception.gaps.reception === "never") return none
  const records = change(cell, {
    _tag: "Missed",
    from: Math.max(reception.floor, first - webhookMax(cell) - transitMax),
    to: last,
    cause: "webhook-refused",
    detail: "webhooks were refused by a process, not answered, or lost with a database that an older one has replaced",
    id: makeGapId(host.clock.currentTimeMillisUnsafe())
  })
  if (reception.gaps.reception === "receiving") host.backfill.receptionProven(cell)
  return records
}

/** The detail of a gap that begins with the last reading of the gateway's settings in which it did. */
export const unpostedDetail = "the gateway did not post the device's events to us"

/** The gateway posted the device's events to us at this time of the monotonic clock. */
export const notePosting = ({ reception }: DeviceCell, at: number): void => {
  reception.postedAt = Math.max(reception.postedAt, at)
}

/** Until now the gateway did not post the device's events to us: its webhook address was changed, or had never been set. */
export const missPosts = (cell: DeviceCell): GapRecords => {
  const { host, reception } = cell
  const { gaps: { reception: now }, postedAt, unpostedSince } = reception
  const from = Number.isFinite(postedAt) ? host.time.at(postedAt) : unpostedSince
  // No events were expected from it yet.
  if (now === "never" || from === null) return none
  const records = change(cell, {
    _tag: "Missed",
    from: Math.max(reception.floor, from),
    to: host.time.now(),
    cause: "deaf",
    detail: unpostedDetail,
    id: makeGapId(host.clock.currentTimeMillisUnsafe())
  })
  if (now === "receiving") host.backfill.receptionProven(cell)
  return records
}

/** Webhooks are accepted again: one was accepted, or the gateway has abandoned the last refused one by now. */
export const endRefusal = (cell: DeviceCell): GapRecords => {
  cell.reception.refusedAt = null
  return cell.actorState.state._tag === "Online" ? proveReception(cell) : none
}

/**
 * The time through which reception is proven: an event that came over a session proves all events before it, and a dead
 * connection is noticed within `unnoticedMax`, not counting times in which this process was suspended. Unread data proves
 * nothing. Webhooks come in any order and are retried for a while: one that came proves nothing about others of that time.
 */
export const findProof = (cell: DeviceCell): number => {
  const { host, reception } = cell
  const now = host.now()
  const alive = host.gateway.capabilities.liveEvents === "webhook"
    ? host.running.before(now, webhookMax(cell))
    : Math.max(findSessionProof(cell, now), host.running.before(now, unnoticedMax))
  return host.time.at(Math.min(alive, reception.pausedAt ?? alive)) - transitMax
}

/**
 * The time until which the last event of the session proves that all events before it came. An event that was read right
 * after a time without reading may have come at the beginning of that time, and the session may have died since.
 */
const findSessionProof = ({ host, reception: { lastEventAt, lastPause } }: DeviceCell, now: number): number => {
  const since = host.running.waitedSince(lastEventAt, now, transitMax)
  return lastPause !== null && lastPause.from < since && since < lastPause.to + transitMax ? lastPause.from : since
}

/** Returns the gap records for a transition. Called before the transition is recorded. */
export const noteTransition = (cell: DeviceCell, transition: Transition): GapRecords => {
  if (transition.rule === "fenced") return none
  const { state } = transition
  if (state._tag === "Online") return proveReception(cell)
  if (restsOnOther(cell, transition)) return none
  if (state._tag === "Inactive" && transition.rule === "deactivated") {
    const detail = "the device was deactivated before this time was accounted for"
    return change(cell, { _tag: "SwitchedOff", at: cell.host.time.now(), detail })
  }
  // Events that the session has not delivered by its end will not come; the gap is recorded.
  cell.reception.suspects = null
  const { cause, detail } = explain(state, transition)
  return loseReception(cell, cause, detail)
}

/** Another session is open: the one that this actor leaves behind, or the previous node's while the first one is opened. */
const restsOnOther = (cell: DeviceCell, { rule, state }: Transition): boolean =>
  cell.reception.handOver !== null && cell.reception.gaps.receivingSince === null &&
  (cell.passed !== null ||
    state._tag === "Connecting" && (rule === "started" || rule.startsWith("session-open-")))

/** Why a device in this state does not receive events. Texts of a gateway are not used: they may contain an address. */
const explain = (
  state: Exclude<DeviceState, { readonly _tag: "Online" }>,
  { failure, rule }: Transition
): { readonly cause: GapCause; readonly detail: string } => {
  switch (state._tag) {
    case "Deaf":
      return { cause: "deaf", detail: state.evidence }
    case "Quarantined":
      return {
        cause: "quarantine",
        detail: `it was taken out of service (${state.reason.class}, ${state.reason.code})`
      }
    case "LoggedOut":
      return { cause: "logged-out", detail: "the account was logged out" }
    case "AwaitingLogin":
      return { cause: "logged-out", detail: "no account is logged in" }
    case "Inactive":
      return rule === "fleet-stopped"
        ? { cause: "process-down", detail: "the process that runs it was stopped" }
        : rule === "moved"
        ? { cause: "process-down", detail: "it moved to another node" }
        : { cause: "gateway-down", detail: `its gateway could not be used (${rule})` }
    case "Connecting":
      return rule.startsWith("upstream-")
        ? { cause: "gateway-down", detail: "the gateway lost the account's connection to WhatsApp" }
        : { cause: "socket-down", detail: "it is reconnecting" }
    case "Backoff":
      return rule === "gateway-down"
        ? { cause: "gateway-down", detail: "the gateway did not answer" }
        : failure?.code === "log-full"
        ? { cause: "paused", detail: "the log was full, so the session was ended" }
        : { cause: "socket-down", detail: `the session ended (${state.reason.class}, ${state.reason.code})` }
  }
}
