/**
 * The pacing of the devices that have messages to send. A device's sent messages are read from the database when it first
 * has a message to send, so that a restart resets nothing, and are updated with each claim. Time is the database's, from
 * the last statement, advanced by the monotonic clock: this machine's wall clock is not used.
 */
import { Clock, Duration, Effect, Metric, Option } from "effect"
import type { Scope } from "effect"
import type { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { formatPacing, isOff } from "../../domain/Pacing.ts"
import type { Pacing } from "../../domain/Pacing.ts"
import { PacingReason } from "../../domain/Send.ts"
import * as Metrics from "../../services/Metrics.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { historyMillis, nextSendAt, record, restingChats, restore } from "../../services/SendPacing.ts"
import type { Pace } from "../../services/SendPacing.ts"
import type { ClaimedSend, SendRepository } from "../../services/SendRepository.ts"
import { accountOf as accountOfDevice, SharedPacing } from "../../services/SharedPacing.ts"
import type { SendSettings } from "../../services/SendSettings.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import * as DueSet from "../gateway/DueSet.ts"

/** The maximum delay before a device continues. */
const grain = Duration.millis(100)

interface Paced {
  pace: Pace
  /** The device's pacing when this was read. */
  given: Pacing | null
  /** The database's time minus the monotonic clock's. */
  offset: number
  /** By the monotonic clock. At this time the device is checked again. */
  closedUntil: number
  reason: PacingReason
}

export interface LanePacing {
  /** Whether the device may send now: `unread` if that is unknown before a call of `read`. */
  readonly gate: (cell: DeviceCell) => "open" | "closed" | "unread"
  /** False if there is no such device. */
  readonly read: (cell: DeviceCell) => Effect.Effect<boolean, StorageUnavailable>
  /** Chats to which nothing may be sent yet. */
  readonly resting: (id: DeviceId) => ReadonlyArray<string>
  /** The turn among installations that share the account's rate; false: the device is closed until its next turn. */
  readonly turn: (cell: DeviceCell) => Effect.Effect<boolean>
  /** Nothing was sent in the turn. Must be called before `forget`. */
  readonly giveBack: (cell: DeviceCell) => Effect.Effect<void>
  readonly claimed: (send: ClaimedSend) => void
  /** All waiting messages are for resting chats, or none are waiting. */
  readonly nothing: (id: DeviceId) => void
  readonly isClosed: (id: DeviceId) => boolean
  /** There may be a new message, possibly for another chat. */
  readonly noteNew: (id: DeviceId) => void
  /** The device has nothing to send, or a counted message was not sent: its pacing is read again. */
  readonly forget: (id: DeviceId) => void
  readonly measure: Effect.Effect<void>
}

export const make = Effect.fnUntraced(function*(
  sends: SendRepository["Service"],
  settings: SendSettings,
  due: (id: DeviceId) => void
): Effect.fn.Return<LanePacing, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const shared = yield* Effect.serviceOption(SharedPacing)
  const all = new Map<DeviceId, Paced>()
  const timers = yield* DueSet.make<DeviceId>({ grain, onDue: due })
  const mono = () => monotonicMillis(clock)

  const policyOf = (cell: DeviceCell): Pacing => cell.device.pacing ?? settings.pacing

  const close = (id: DeviceId, paced: Paced, reason: PacingReason, until: number): void => {
    paced.closedUntil = until - paced.offset
    paced.reason = reason
    timers.planAt(id, paced.closedUntil)
  }

  const forget = (id: DeviceId): void => {
    all.delete(id)
    timers.cancel(id)
  }

  /** Whether the device's pacing has changed. The row of a device is read again periodically. */
  const isStale = (cell: DeviceCell, paced: Paced): boolean => {
    if (paced.given === cell.device.pacing) return false
    if (formatPacing(policyOf(cell)) !== formatPacing(paced.pace.pacing)) return true
    paced.given = cell.device.pacing
    return false
  }

  return {
    gate: (cell) => {
      const { id } = cell.device
      const paced = all.get(id)
      if (paced === undefined) return isOff(policyOf(cell)) ? "open" : "unread"
      if (isStale(cell, paced)) {
        forget(id)
        return isOff(policyOf(cell)) ? "open" : "unread"
      }
      if (mono() < paced.closedUntil) return "closed"
      const wait = nextSendAt(paced.pace, Math.floor(mono() + paced.offset))
      if (wait === null) return "open"
      close(id, paced, wait.reason, wait.until)
      return "closed"
    },
    read: Effect.fnUntraced(function*(cell) {
      const pacing = policyOf(cell)
      const { given, id } = { given: cell.device.pacing, id: cell.device.id }
      const read = yield* sends.pace(id, historyMillis(pacing))
      if (read === null) return false
      const { createdAt, now, sent } = read
      all.set(id, {
        pace: restore(pacing, createdAt, sent, now),
        given,
        offset: now - mono(),
        closedUntil: Number.NEGATIVE_INFINITY,
        reason: "rate"
      })
      return true
    }),
    resting: (id) => {
      const paced = all.get(id)
      return paced === undefined ? [] : [...restingChats(paced.pace, mono() + paced.offset).keys()]
    },
    turn: Effect.fnUntraced(function*(cell) {
      const { id } = cell.device
      const paced = all.get(id)
      if (paced === undefined || Option.isNone(shared)) return true
      const wait = yield* shared.value.take(accountOf(cell), paced.pace.pacing)
      if (wait > 0) close(id, paced, "rate", mono() + paced.offset + wait)
      return wait === 0
    }),
    giveBack: (cell) => {
      const paced = all.get(cell.device.id)
      return paced === undefined || Option.isNone(shared)
        ? Effect.void
        : shared.value.giveBack(accountOf(cell), paced.pace.pacing)
    },
    claimed: ({ chat, claimedAt, deviceId }) => {
      const paced = all.get(deviceId)
      if (paced === undefined || claimedAt === null) return
      const at = Date.parse(claimedAt)
      paced.pace = record(paced.pace, { at, chat })
      paced.offset = at - mono()
    },
    nothing: (id) => {
      const paced = all.get(id)
      if (paced === undefined) return
      const ends = [...restingChats(paced.pace, mono() + paced.offset).values()]
      if (ends.length > 0) close(id, paced, "recipient", Math.min(...ends))
    },
    isClosed: (id) => mono() < (all.get(id)?.closedUntil ?? Number.NEGATIVE_INFINITY),
    noteNew: (id) => {
      const paced = all.get(id)
      if (paced?.reason === "recipient") paced.closedUntil = Number.NEGATIVE_INFINITY
    },
    forget,
    measure: Effect.suspend(() => {
      const closed = [...all.values()].filter(({ closedUntil }) => mono() < closedUntil)
      return Effect.forEach(PacingReason.literals, (reason) =>
        Metric.update(
          Metric.withAttributes(Metrics.devicesPaced, { reason }),
          closed.filter((paced) => paced.reason === reason).length
        ), { discard: true })
    })
  }
})

const accountOf = ({ actorState: { jid }, device: { id } }: DeviceCell): string => accountOfDevice({ id, jid })
