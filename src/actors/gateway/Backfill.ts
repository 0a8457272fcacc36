/**
 * Decides when the histories of one gateway's devices are read into the log: after every loss of reception, periodically in
 * case a loss went unnoticed, and at once if a silent device may be deaf. One timer and a few workers for all devices of
 * the gateway, at a steady rate of requests: a reconnecting fleet does not flood its gateway.
 *
 * `HistoryReader` executes readings, `Deafness` decides what they prove about a device whose reception seemed proven.
 */
import { Cause, Clock, Duration, Effect, Metric, Random } from "effect"
import type { Scope } from "effect"
import type { BackfillView } from "../../services/DeviceFleet.ts"
import type { EventLog } from "../../services/EventLog.ts"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import type { GapRepository } from "../../services/GapRepository.ts"
import type { History } from "../../services/GatewayParts.ts"
import * as Metrics from "../../services/Metrics.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import type { DatabaseTime } from "../fleet/DatabaseTime.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import { endRefusal, loseReception, pauseMax, push } from "../device/receptionGaps.ts"
import * as Deafness from "./Deafness.ts"
import * as DueSet from "./DueSet.ts"
import * as HistoryReader from "./HistoryReader.ts"
import type { ReadingKind } from "./Reading.ts"
import { ReadingQueue } from "./ReadingQueue.ts"
import * as Workers from "./workers.ts"

/** The wait after reception is back, for the gateway to store the events that it has just received itself. */
const settleMax = 2000

/** The wait before a failed reading is retried: short at first, at most `retryMax`. */
const retryBase = 15_000
const retryMax = 10 * 60_000

/** A gateway that answered that it keeps no history is asked again after this time: it may have been updated. */
const absentFor = 60 * 60_000

export interface Backfill {
  readonly add: (cell: DeviceCell) => void
  readonly remove: (cell: DeviceCell) => void
  /** Reception of this device is proven again: its history is read soon. */
  readonly receptionProven: (cell: DeviceCell) => void
  /**
   * The device's next due time may be earlier now: a message came, it is paused, webhooks were refused, or its state has
   * changed.
   */
  readonly changed: (cell: DeviceCell) => void
  readonly view: () => BackfillView
}

export interface BackfillParts {
  readonly log: EventLog["Service"]
  readonly ledger: GapRepository["Service"]
  readonly time: DatabaseTime["Service"]
  readonly settings: FleetSettings
  /** Waits for the turn of the next page. */
  readonly pace: Effect.Effect<void>
}

export const make = Effect.fnUntraced(function*(
  gateway: WhatsAppGateway,
  { ledger, log, pace, settings, time }: BackfillParts
): Effect.fn.Return<Backfill, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const lookMin = Duration.toMillis(settings.lookMin)
  const lookMax = Duration.toMillis(settings.lookMax)
  const webhookMax = Duration.toMillis(settings.webhookTries)
  const cells = new Set<DeviceCell>()
  const queue = new ReadingQueue<DeviceCell>()
  let absentUntil = Number.NEGATIVE_INFINITY
  let reading = 0

  const monotonic = (): number => monotonicMillis(clock)
  const findHistory = (cell: DeviceCell): History | undefined =>
    monotonic() < Math.max(absentUntil, cell.reception.absentUntil) ? undefined : gateway.history

  // Due times

  const isDoubted = ({ actorState, reception }: DeviceCell): boolean =>
    reception.doubted && actorState.state._tag === "Online"

  /**
   * Whether reception is proven over its own session, or in doubt. A device in a hand-over is read once it has its own
   * session.
   */
  const isListening = (cell: DeviceCell): boolean => cell.reception.gaps.receivingSince !== null || isDoubted(cell)

  /** When the next look at the device is due; infinite if looks serve no purpose. */
  const findLook = (cell: DeviceCell): number =>
    gateway.history !== undefined && (cell.reception.gaps.gaps.length === 0 || isDoubted(cell))
      ? cell.reception.lookDueAt(lookMin, lookMax)
      : Number.POSITIVE_INFINITY

  /** The device's next due time of any kind; infinite if nothing is due. */
  const findDue = (cell: DeviceCell): number => {
    const { reception } = cell
    const { busy, gaps, pausedAt, refusedAt, suspects } = reception
    let at = refusedAt === null ? Number.POSITIVE_INFINITY : refusedAt + webhookMax
    if (suspects !== null) {
      at = suspects.reduce((least, { judgeAt }) => Math.min(least, judgeAt), suspects.length === 0 ? 0 : at)
    }
    if (gaps.reception !== "receiving" && !isDoubted(cell)) return at
    if (pausedAt !== null) return Math.min(at, pausedAt + pauseMax)
    if (busy || !isListening(cell)) return at
    return Math.min(at, reception.dueAt, findLook(cell))
  }

  const changed = (cell: DeviceCell): void => {
    if (!cells.has(cell)) return
    const at = findDue(cell)
    // A time that is too early costs one check of the device, which corrects it.
    if (at < due.dueAt(cell)) due.planAt(cell, at)
  }

  const plan = (cell: DeviceCell, kind: ReadingKind, wait: number): void => {
    cell.reception.due = kind
    cell.reception.dueAt = monotonic() + wait
    changed(cell)
  }

  const planNext = (cell: DeviceCell): void => {
    const { sweptAt } = cell.reception
    const sweepDue = time.now() - Math.max(sweptAt ?? cell.reception.floor, 0) >=
      Duration.toMillis(settings.historySweepInterval)
    const wait = Duration.toMillis(settings.historyInterval) * (0.5 + random.nextDoubleUnsafe())
    plan(cell, sweepDue ? "sweep" : "schedule", wait)
  }

  const receptionProven = (cell: DeviceCell): void => {
    cell.reception.spread = 0.8 + random.nextDoubleUnsafe() * 0.2
    // Ended gaps are read soon; without any, this connection cannot have missed anything.
    if (cell.reception.gaps.gaps.length > 0 || cell.reception.watermark === null) plan(cell, "connect", settleMax)
    else if (!Number.isFinite(cell.reception.dueAt)) planNext(cell)
    else changed(cell)
  }

  /**
   * A gap that a reading has found may end after the start of that reading, so another reading accounts for it. It starts
   * after the gap's end, which is in the future if the database's clock was set back.
   */
  const planAfter = (cell: DeviceCell): void => {
    const ends = cell.reception.gaps.gaps.flatMap(({ endedAt }) => endedAt ?? [])
    if (ends.length === 0 || findHistory(cell) === undefined) return planNext(cell)
    const wait = Math.max(settleMax, Math.min(...ends) - time.now())
    plan(cell, "connect", Math.min(wait, Duration.toMillis(settings.historyInterval)))
  }

  // The readings

  const deafness = Deafness.make(gateway, { log, ledger, time, settings, onSuspects: changed })
  const reader = yield* HistoryReader.make(gateway, {
    log,
    time,
    settings,
    deafness,
    pace,
    has: (cell) => cells.has(cell)
  })

  const enqueue = (cell: DeviceCell, kind: ReadingKind): void => {
    cell.reception.busy = true
    queue.add(cell, kind)
    wake()
  }

  const settleWithout = (cell: DeviceCell) => Effect.as(reader.settleWithout(cell), "over" as const)

  const failed = (cell: DeviceCell, kind: ReadingKind, detail: string): Effect.Effect<"over"> =>
    Effect.suspend(() => {
      const { reception } = cell
      reception.abandon()
      if (kind === "look") {
        reception.lookedAt = monotonic()
        return Effect.succeed("over")
      }
      const wait = Math.min(retryMax, retryBase * 2 ** Math.min(reception.failures++, 10))
      if (!Number.isFinite(reception.dueAt)) plan(cell, kind, wait * (0.5 + random.nextDoubleUnsafe()))
      return Metric.update(Metrics.backfillFailures, 1).pipe(
        Effect.andThen(
          Effect.annotateLogs(Effect.logDebug(`A history could not be read: ${detail}`), { device: cell.device.id })
        ),
        Effect.as("over" as const)
      )
    })

  /** What an older claim of this process was refused does not concern the actor, which has claimed the device again since. */
  const fenced = (cell: DeviceCell, epoch: number) =>
    Effect.sync(() => {
      if (epoch === cell.epoch) cell.onFenced()
      else cell.reception.abandon()
      return "over" as const
    })

  const read = (cell: DeviceCell, kind: ReadingKind): Effect.Effect<"more" | "over"> =>
    Effect.suspend(() => {
      const history = findHistory(cell)
      return history === undefined ? settleWithout(cell) : reader.takeTurn(cell, kind, history)
    }).pipe(
      Effect.catchTags({
        GatewayUnavailable: ({ message }) => failed(cell, kind, message),
        TimeoutError: () => failed(cell, kind, "a page did not come in time"),
        HistoryAbsent: ({ message, reach }) =>
          Effect.andThen(
            Effect.annotateLogs(Effect.logWarning(message), { gateway: gateway.name, device: cell.device.id }),
            Effect.suspend(() => {
              const until = monotonic() + absentFor
              if (reach === "gateway") absentUntil = until
              else cell.reception.absentUntil = until
              return settleWithout(cell)
            })
          )
      }),
      Effect.catchTags({ Fenced: ({ epoch }) => fenced(cell, epoch), GroupTooLarge: Effect.die }),
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause) ? Effect.failCause(cause as Cause.Cause<never>) : Effect.andThen(
          Effect.annotateLogs(Effect.logError("reading a history crashed", cause), { gateway: gateway.name }),
          failed(cell, kind, "a defect")
        )
      )
    )

  const readNext = (cell: DeviceCell, kind: ReadingKind): Effect.Effect<void> =>
    Effect.suspend(() => {
      reading++
      return read(cell, kind)
    }).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          reading--
          cell.reception.busy = false
          if (!cells.has(cell)) return
          if (exit._tag === "Success" && exit.value === "more") return enqueue(cell, kind)
          if (kind !== "look" && !Number.isFinite(cell.reception.dueAt)) planAfter(cell)
          changed(cell)
        })
      ),
      Effect.asVoid
    )

  /** The number of devices to go that the metric shows. */
  let shown = 0
  const show = Effect.suspend(() => {
    shown = view().devicesToGo
    return Metric.update(Metric.withAttributes(Metrics.backfillDevices, { gateway: gateway.name }), shown)
  })

  yield* Effect.addFinalizer(() => show)

  const next = (): Effect.Effect<void> | null => {
    const found = queue.next()
    if (found !== null) return Effect.andThen(show, readNext(found.key, found.kind))
    return shown === view().devicesToGo ? null : show
  }
  const wake = yield* Workers.make({
    gateway: gateway.name,
    concurrency: settings.historyConcurrency,
    work: "reading a history",
    next
  })

  // Due devices

  const lookAt = (cell: DeviceCell): void => {
    const { reception } = cell
    const now = monotonic()
    if (reception.suspects !== null) deafness.judge(cell, reception.suspects, now)
    if (reception.refusedAt !== null && now - reception.refusedAt >= webhookMax) push(cell, endRefusal(cell))
    if (reception.gaps.reception === "receiving" || isDoubted(cell)) {
      if (reception.pausedAt !== null) {
        if (now - reception.pausedAt >= pauseMax) {
          push(cell, loseReception(cell, "paused", "the log was full, so the socket was not read"))
        }
      } else if (!reception.busy && isListening(cell)) startReading(cell, now)
    }
    changed(cell)
  }

  const startReading = (cell: DeviceCell, now: number): void => {
    const { reception } = cell
    if (reception.dueAt <= now) {
      reception.dueAt = Number.POSITIVE_INFINITY
      return enqueue(cell, reception.gaps.gaps.length > 0 ? "connect" : reception.due)
    }
    if (findLook(cell) <= now) enqueue(cell, "look")
  }

  const due = yield* DueSet.make<DeviceCell>({
    grain: settings.tick,
    onDue: lookAt,
    afterRound: Effect.suspend(() => {
      const proven = deafness.takeProofs()
      return proven === 0 ? Effect.void : Metric.update(Metrics.deafProofs, proven)
    })
  })

  const view = (): BackfillView => ({
    gateway: gateway.name,
    devicesToGo: queue.histories + reading,
    reading,
    ...reader.counts()
  })

  return {
    add: (cell) => {
      cells.add(cell)
    },
    remove: (cell) => {
      cells.delete(cell)
      queue.delete(cell)
      due.cancel(cell)
    },
    receptionProven,
    changed,
    view
  }
})
