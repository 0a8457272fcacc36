/**
 * The pacing of the devices that have something to send. What a device has sent is read from the database when it first
 * has something to send, so that a restart resets nothing, and then kept up with each claim. Time is the database's, as the
 * last statement gave it, carried on by the monotonic clock: the wall clock of this machine plays no part.
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

/** A device goes on at most so much later than it may. */
const grain = Duration.millis(100)

interface Paced {
  pace: Pace
  /** As the device had it when this was read. */
  given: Pacing | null
  /** The database's time less the monotonic clock's. */
  offset: number
  /** By the monotonic clock. What is planned at its end looks again. */
  closedUntil: number
  reason: PacingReason
}

export interface LanePacing {
  /** Whether the device may send now: `unread` where that is not known before `read`. */
  readonly gate: (cell: DeviceCell) => "open" | "closed" | "unread"
  /** False where there is no such device. */
  readonly read: (cell: DeviceCell) => Effect.Effect<boolean, StorageUnavailable>
  /** Chats that are not to be written to yet. */
  readonly resting: (id: DeviceId) => ReadonlyArray<string>
  /** The turn among installations that share the account's rate; false: the device is closed until it may ask again. */
  readonly turn: (cell: DeviceCell) => Effect.Effect<boolean>
  /** Nothing was sent in the turn. To be called before `forget`. */
  readonly giveBack: (cell: DeviceCell) => Effect.Effect<void>
  readonly claimed: (send: ClaimedSend) => void
  /** All that waits is for resting chats, or nothing waits. */
  readonly nothing: (id: DeviceId) => void
  readonly isClosed: (id: DeviceId) => boolean
  /** There may be something for another chat. */
  readonly news: (id: DeviceId) => void
  /** The device has nothing to send, or what was counted was not sent: it is read again. */
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

  /** Whether the device's pacing is another one by now. The row of a device is read again now and then. */
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
    news: (id) => {
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
