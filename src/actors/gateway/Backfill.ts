/**
 * Reads the histories of one gateway's devices into the log: after every loss of reception, now and then in case something
 * was lost that nobody noticed, and at once where a silent device may be deaf. One loop and a few workers for all devices
 * of the gateway, at a steady rate of requests: a fleet that comes back does not flood its gateway.
 *
 * Rows are facts: they are appended like live events, under the same identities, and the log tells which were new. The
 * watermark moves in the transaction that stores the last rows of a reading. The gaps that the reading accounts for are
 * closed after that, in one transaction. A crash in between leaves gaps open, and the next reading closes them.
 *
 * Deafness is proven by what the log answers: a message of the history that was new to it although the device was hearing,
 * and that does not come within `deafArrival` either.
 */
import { Cause, Clock, Duration, Effect, Latch, Metric, Random } from "effect"
import type { Scope } from "effect"
import type { EventDraft } from "../../domain/Event.ts"
import { makeGapId } from "../../services/EventIdentity.ts"
import { groupEventsMax } from "../../services/EventLog.ts"
import type { Appended, EventLog, Fenced, GroupTooLarge } from "../../services/EventLog.ts"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import * as GapDrafts from "../../services/GapDrafts.ts"
import type { History } from "../../services/GatewayParts.ts"
import type { BackfillView } from "../../services/DeviceFleet.ts"
import type { LogEffect } from "../../services/LogEffect.ts"
import * as Metrics from "../../services/Metrics.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import type { DatabaseTime } from "../fleet/DatabaseTime.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import type { Suspect } from "../device/Reception.ts"
import { track } from "../device/GapTracker.ts"
import {
  change,
  endRefusal,
  gapRecords,
  hear,
  loseReception,
  pauseMax,
  push,
  transitMax,
  webhookMax
} from "../device/hearing.ts"
import { makePace } from "./pace.ts"
import * as Reading from "./Reading.ts"
import type { ReadingKind } from "./Reading.ts"

/** Reception is back: the gateway gets this long to store what it has just received itself. */
const settleMax = 2000

/** A page that takes longer is a gateway in trouble. Adapters have shorter limits of their own. */
const pageMax = Duration.seconds(60)

/** After so many pages the next device has its turn: one long history holds up no others. */
const pagesPerTurn = 10

/** What a reading that failed waits for its next try: soon at first, at most this long. */
const retryBase = 15_000
const retryMax = 10 * 60_000

/** A gateway that answered that it keeps no history is asked again after this time: it may have been updated. */
const absentFor = 60 * 60_000

/**
 * A device that is proven deaf connects again at once, and again only after this time, doubled by each proof that comes
 * within an hour: where the gateway withholds some messages by its settings, connecting again does not help.
 */
const proofPause = 60_000
const proofPauseMax = 60 * 60_000

/** One missed message proves as much as many. */
const suspectsMax = 16

/** How many of a device's newest events are looked through for those that came live. */
const latestMax = 1000

export interface Backfill {
  readonly add: (cell: DeviceCell) => void
  readonly remove: (cell: DeviceCell) => void
  /** Reception of this device is back: its history is read soon. */
  readonly heard: (cell: DeviceCell) => void
  readonly view: () => BackfillView
}

const freshRows = Metric.withAttributes(Metrics.backfillRows, { outcome: "new" })
const knownRows = Metric.withAttributes(Metrics.backfillRows, { outcome: "known" })

const order: ReadonlyArray<ReadingKind> = ["connect", "look", "schedule", "sweep"]

export interface BackfillParts {
  readonly log: EventLog["Service"]
  readonly time: DatabaseTime["Service"]
  readonly settings: FleetSettings
}

export const make = Effect.fnUntraced(function*(
  gateway: WhatsAppGateway,
  { log, settings, time }: BackfillParts
): Effect.fn.Return<Backfill, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const pace = makePace(settings.historyRequestsPerSecond)
  const skew = Duration.toMillis(settings.clockSkew)
  const grace = Duration.toMillis(settings.deafGrace)
  const arrival = gateway.capabilities.liveEvents === "webhook" ? webhookMax : Duration.toMillis(settings.deafArrival)
  const cells = new Set<DeviceCell>()
  /** By kind, in the order in which they became due. A device is in one of them at most, and never while it is read. */
  const queues: Record<ReadingKind, Set<DeviceCell>> = {
    connect: new Set(),
    look: new Set(),
    schedule: new Set(),
    sweep: new Set()
  }
  const someDue = Latch.makeUnsafe()
  let absentUntil = Number.NEGATIVE_INFINITY
  let reading = 0
  let rows = 0
  let pages = 0
  let turn = 0
  /** Of deafness, since the last tick. */
  let proofs = 0

  const monotonic = (): number => monotonicMillis(clock)
  const isQueued = (cell: DeviceCell): boolean => order.some((kind) => queues[kind].has(cell))
  const findHistory = (): History | undefined => monotonic() < absentUntil ? undefined : gateway.history
  const findFloor = (cell: DeviceCell): number => {
    const { historyAgeMax } = settings
    const age = historyAgeMax === null ? Number.NEGATIVE_INFINITY : time.now() - Duration.toMillis(historyAgeMax)
    return Math.max(cell.reception.floor, age)
  }

  const plan = (cell: DeviceCell, kind: ReadingKind, wait: number): void => {
    cell.reception.due = kind
    cell.reception.dueAt = monotonic() + wait
  }

  const planNext = (cell: DeviceCell): void => {
    const { sweptAt } = cell.reception
    const sweepDue = time.now() - Math.max(sweptAt ?? cell.reception.floor, 0) >=
      Duration.toMillis(settings.historySweepInterval)
    const wait = Duration.toMillis(settings.historyInterval) * (0.5 + random.nextDoubleUnsafe())
    plan(cell, sweepDue ? "sweep" : "schedule", wait)
  }

  const enqueue = (cell: DeviceCell, kind: ReadingKind): void => {
    queues[kind].add(cell)
    someDue.openUnsafe()
  }

  const heard = (cell: DeviceCell): void => {
    cell.reception.spread = 0.8 + random.nextDoubleUnsafe() * 0.2
    // Ended gaps are read for soon; without any there is nothing that this connection could have missed.
    if (cell.reception.gaps.gaps.length > 0 || cell.reception.watermark === null) plan(cell, "connect", settleMax)
    else if (!Number.isFinite(cell.reception.dueAt)) planNext(cell)
  }

  /** The fenced part of a reading: what is decided about the device because of it. */
  const decide = (cell: DeviceCell, drafts: ReadonlyArray<EventDraft>, effects: ReadonlyArray<LogEffect>) =>
    drafts.length === 0 && effects.length === 0
      ? Effect.succeed([])
      : log.append(drafts, { fence: { deviceId: cell.device.id, epoch: cell.epoch }, effects })

  /** Rows in groups that one transaction holds: halved where their texts are too long for one. */
  const appendFacts = (drafts: ReadonlyArray<EventDraft>): Effect.Effect<ReadonlyArray<Appended>> =>
    drafts.length === 0 ? Effect.succeed([]) : Effect.catchTags(
      drafts.length > groupEventsMax ? halves(drafts) : log.append(drafts),
      { GroupTooLarge: () => halves(drafts), Fenced: Effect.die }
    )

  const halves = (drafts: ReadonlyArray<EventDraft>): Effect.Effect<ReadonlyArray<Appended>> => {
    const middle = drafts.length >> 1
    return Effect.zipWith(
      appendFacts(drafts.slice(0, middle)),
      appendFacts(drafts.slice(middle)),
      (first, second) => [...first, ...second]
    )
  }

  const countRows = Effect.fnUntraced(function*(
    cell: DeviceCell,
    read: Reading.Reading,
    drafts: ReadonlyArray<EventDraft>,
    appended: ReadonlyArray<Appended>
  ) {
    const { reception } = cell
    const now = monotonic()
    let fresh = 0
    const suspects: Array<Suspect> = []
    drafts.forEach((draft, index) => {
      if (appended[index]?._tag !== "Committed") return
      fresh++
      if (!Reading.count(read, reception.gaps, draft, skew) || draft.kind !== "message.received") return
      const occurredAt = Date.parse(draft.occurredAt)
      const age = Math.max(0, time.now() - occurredAt)
      suspects.push({ waId: draft.data.waId, occurredAt, judgeAt: now + Math.max(arrival, grace - age) })
    })
    rows += fresh
    yield* Metric.update(freshRows, fresh)
    yield* Metric.update(knownRows, drafts.length - fresh)
    if (suspects.length > 0) yield* suspect(cell, suspects)
  })

  /**
   * Nothing proves any more that the device hears: its gap is written down before the verdict, so that it is there even if
   * the process is killed meanwhile.
   */
  const suspect = Effect.fnUntraced(function*(cell: DeviceCell, suspects: ReadonlyArray<Suspect>) {
    const { reception } = cell
    const since = reception.gaps.hearingSince
    if (since === null) return
    // At once: what comes from now on counts.
    reception.suspects = suspects.slice(0, suspectsMax)
    const oldest = suspects.reduce((least, { occurredAt }) => Math.min(least, occurredAt), Number.POSITIVE_INFINITY)
    const last = (yield* readLive(cell)).find((at) => at <= oldest)
    const detail = "messages of that time were in the gateway's history and had not come"
    const from = Math.max(reception.floor, (last ?? since) - transitMax)
    if (reception.gaps.hearingSince === since) return push(cell, loseReception(cell, "deaf", detail, from))
    // Reception was lost while the log was read, and that gap may begin too late.
    const id = makeGapId(clock.currentTimeMillisUnsafe())
    push(cell, change(cell, { _tag: "Missed", from, to: time.now(), cause: "deaf", detail, id }))
  })

  /** The last page: its rows and the watermark are one transaction, unless the rows are too large for one. */
  const appendLast = (cell: DeviceCell, read: Reading.Reading, drafts: ReadonlyArray<EventDraft>) => {
    const through = new Date(read.through).toISOString()
    const effects = [GapDrafts.watermark(cell.device.id, through, read.kind === "sweep" ? through : null)]
    const apart = Effect.tap(appendFacts(drafts), () => decide(cell, [], effects))
    return drafts.length > groupEventsMax
      ? apart
      : Effect.catchTag(decide(cell, drafts, effects), "GroupTooLarge", () => apart)
  }

  /**
   * Messages from before the gap that were new: the device was deaf for a while before it lost its connection, or WhatsApp
   * delivered them late. What came live around them says between which times.
   */
  const findHindsight = Effect.fnUntraced(function*(cell: DeviceCell, { before }: Reading.Reading) {
    const first = cell.reception.gaps.gaps[0]
    if (before === null || first === undefined) return null
    const live = yield* readLive(cell)
    const from = live.find((at) => at <= before.first) ?? before.first
    const to = live.findLast((at) => at > before.last + transitMax) ?? first.openedAt
    return { from: Math.max(cell.reception.floor, from - transitMax), to: Math.min(to, first.openedAt) }
  })

  /** When the newest events of the device that came live were recorded, newest first. */
  const readLive = (cell: DeviceCell): Effect.Effect<ReadonlyArray<number>> =>
    log.latest({ device: cell.device.id, limit: latestMax }).pipe(
      Effect.map((events) =>
        events.filter(({ via }) => via === "live" || via === "webhook").map(({ recordedAt }) => Date.parse(recordedAt))
      ),
      Effect.orElseSucceed((): ReadonlyArray<number> => [])
    )

  /** The device's gaps come to what the reading found. Synchronous up to the append: what is lost from now on is a new gap. */
  const close = (
    cell: DeviceCell,
    read: Reading.Reading | null,
    through: number,
    hindsight: { readonly from: number; readonly to: number } | null
  ): Effect.Effect<unknown, Fenced | GroupTooLarge> =>
    Effect.suspend(() => {
      const { reception } = cell
      const id = makeGapId(clock.currentTimeMillisUnsafe())
      const [first] = reception.gaps.gaps
      if (hindsight !== null && read !== null && first !== undefined) Reading.assignEarly(read, first.id, id)
      const missed = hindsight === null ? { state: reception.gaps, orders: [] } : track(reception.gaps, {
        _tag: "Missed",
        ...hindsight,
        cause: "deaf",
        detail:
          "messages of that time were in the gateway's history and had not come, although the session seemed open",
        id
      })
      const covers = gateway.history?.covers ?? new Set<never>()
      const closed = track(missed.state, {
        _tag: "Accounted",
        from: read?.from ?? through,
        through,
        judge: (gap) => Reading.judge(read, covers, gap)
      })
      reception.gaps = closed.state
      const { drafts, effects } = gapRecords(cell, [...missed.orders, ...closed.orders])
      return decide(cell, drafts, effects)
    })

  const finish = Effect.fnUntraced(function*(cell: DeviceCell, read: Reading.Reading) {
    const { reception } = cell
    reception.reading = null
    reception.failures = 0
    if (read.kind === "look") {
      reception.lookedAt = monotonic()
      if (read.fresh === 0 && !read.young) reception.looks++
      return
    }
    const hindsight = yield* findHindsight(cell, read)
    reception.watermark = Math.max(reception.watermark ?? 0, read.through)
    if (read.kind === "sweep") reception.sweptAt = read.through
    reception.lookedAt = monotonic()
    yield* close(cell, read, read.through, hindsight)
    if (!Number.isFinite(reception.dueAt)) planNext(cell)
  })

  const takeTurn = Effect.fnUntraced(function*(cell: DeviceCell, kind: ReadingKind, history: History) {
    const { reception } = cell
    const target = { deviceId: cell.device.id, upstreamId: cell.device.upstreamId, jid: cell.actorState.jid }
    const read = reception.reading ??= Reading.begin({
      kind,
      now: time.now(),
      gaps: reception.gaps,
      watermark: reception.watermark,
      floor: findFloor(cell),
      heardThrough: time.at(Math.max(reception.messageAt, reception.lookedAt, reception.hearingAt)),
      overlap: Duration.toMillis(settings.historyOverlap),
      sweep: Duration.toMillis(settings.historySweep),
      skew
    })
    for (let page = 0; page < pagesPerTurn; page++) {
      yield* pace
      const answer = yield* Effect.timeout(history.read(target, read.window, read.page), pageMax)
      pages++
      read.pages++
      yield* Metric.update(Metrics.backfillPages, 1)
      if (answer.next !== null && answer.next === read.page) {
        return yield* Effect.die(new Error("the page leads to itself"))
      }
      // Gone, or given up because an older database has taken the place of ours.
      if (!cells.has(cell) || cell.reception.reading !== read) return
      // Reception was lost meanwhile: the reading that follows finds the same rows, and what they prove of that time.
      if (read.kind === "look" && reception.gaps.gaps.length > 0) {
        reception.reading = null
        return
      }
      const drafts = Reading.selectRows(read, answer.drafts, findFloor(cell))
      const isLast = answer.next === null
      const appended = isLast && read.kind !== "look"
        ? yield* appendLast(cell, read, drafts)
        : yield* appendFacts(drafts)
      yield* countRows(cell, read, drafts, appended)
      read.page = answer.next
      if (isLast) return yield* finish(cell, read)
    }
    enqueue(cell, kind)
  })

  /** Nothing can be read: what has ended is as known as it will ever be. */
  const settleWithout = (cell: DeviceCell) =>
    Effect.suspend(() => {
      cell.reception.reading = null
      const through = time.now()
      cell.reception.lookedAt = monotonic()
      if (!Number.isFinite(cell.reception.dueAt)) planNext(cell)
      return cell.reception.gaps.gaps.length === 0 ? Effect.void : close(cell, null, through, null)
    })

  const failed = (cell: DeviceCell, kind: ReadingKind, detail: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      const { reception } = cell
      reception.reading = null
      if (kind === "look") {
        reception.lookedAt = monotonic()
        return Effect.void
      }
      const wait = Math.min(retryMax, retryBase * 2 ** Math.min(reception.failures++, 10))
      if (!Number.isFinite(reception.dueAt)) plan(cell, kind, wait * (0.5 + random.nextDoubleUnsafe()))
      return Effect.andThen(
        Metric.update(Metrics.backfillFailures, 1),
        Effect.annotateLogs(Effect.logDebug(`A history could not be read: ${detail}`), { device: cell.device.id })
      )
    })

  const run = (cell: DeviceCell, kind: ReadingKind): Effect.Effect<void> =>
    Effect.suspend(() => {
      const history = findHistory()
      return history === undefined ? settleWithout(cell) : takeTurn(cell, kind, history)
    }).pipe(
      Effect.asVoid,
      Effect.catchTags({
        GatewayUnavailable: ({ message }) => failed(cell, kind, message),
        TimeoutError: () => failed(cell, kind, "a page did not come in time"),
        HistoryAbsent: ({ message }) =>
          Effect.andThen(
            Effect.annotateLogs(Effect.logWarning(message), { gateway: gateway.name }),
            Effect.suspend(() => {
              absentUntil = monotonic() + absentFor
              return Effect.asVoid(settleWithout(cell))
            })
          ),
        Fenced: () => Effect.sync(cell.onFenced),
        GroupTooLarge: Effect.die
      }),
      Effect.catchTags({ Fenced: () => Effect.sync(cell.onFenced), GroupTooLarge: Effect.die }),
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause) ? Effect.failCause(cause as Cause.Cause<never>) : Effect.andThen(
          Effect.annotateLogs(Effect.logError("reading a history crashed", cause), { gateway: gateway.name }),
          failed(cell, kind, "a defect")
        )
      )
    )

  /** Devices that were cut off and devices that may be deaf have turns by turns; what is only regular waits for both. */
  const next = (): { readonly cell: DeviceCell; readonly kind: ReadingKind } | null => {
    const first = turn++ % 2
    for (const kind of [order[first]!, order[1 - first]!, "schedule", "sweep"] as const) {
      const [cell] = queues[kind]
      if (cell === undefined) continue
      queues[kind].delete(cell)
      return { cell, kind }
    }
    return null
  }

  const worker = Effect.suspend(() => {
    const found = next()
    if (found === null) {
      someDue.closeUnsafe()
      return someDue.await
    }
    const { cell, kind } = found
    cell.reception.busy = true
    reading++
    return Effect.ensuring(
      run(cell, kind),
      Effect.sync(() => {
        cell.reception.busy = false
        reading--
      })
    )
  })
  for (let place = 0; place < settings.historyConcurrency; place++) yield* Effect.forkScoped(Effect.forever(worker))

  /** Whether what was missing has come meanwhile; what has not proves that the device is deaf. */
  const judgeSuspects = (cell: DeviceCell, suspects: ReadonlyArray<Suspect>, now: number): void => {
    const { reception } = cell
    if (suspects.length === 0) {
      reception.suspects = null
      return push(cell, hear(cell))
    }
    const missed = suspects.filter(({ judgeAt }) => judgeAt <= now)
    if (missed.length === 0) return
    reception.suspects = null
    proofs++
    const oldest = missed.reduce((least, { occurredAt }) => Math.min(least, occurredAt), Number.POSITIVE_INFINITY)
    const evidence = `the gateway's history has ${missed.length} message(s), the first of ${iso(oldest)}, ` +
      "that the session did not deliver"
    if (now - reception.provedAt > proofPauseMax) reception.proofs = 0
    const pause = Math.min(proofPauseMax, proofPause * 2 ** (reception.proofs - 1))
    if (reception.proofs > 0 && now - reception.provedAt <= pause) return push(cell, hear(cell))
    reception.proofs++
    reception.provedAt = now
    cell.post({ _tag: "DeafProved", evidence })
  }

  const look = (cell: DeviceCell, now: number): void => {
    const { reception } = cell
    if (reception.busy || isQueued(cell)) return
    if (reception.dueAt <= now) {
      reception.dueAt = Number.POSITIVE_INFINITY
      enqueue(cell, reception.gaps.gaps.length > 0 ? "connect" : reception.due)
    } else if (
      gateway.history !== undefined && reception.gaps.gaps.length === 0 && reception.lookDueAt(settings) <= now
    ) {
      enqueue(cell, "look")
    }
  }

  const tick = Effect.suspend(() => {
    const now = monotonic()
    for (const cell of cells) {
      const { reception } = cell
      if (reception.suspects !== null) judgeSuspects(cell, reception.suspects, now)
      if (reception.refusedAt !== null && now - reception.refusedAt > webhookMax) push(cell, endRefusal(cell))
      if (reception.gaps.reception !== "hearing") continue
      if (reception.pausedAt !== null && now - reception.pausedAt > pauseMax) {
        push(cell, loseReception(cell, "paused", "the log was full, so the socket was not read"))
      } else look(cell, now)
    }
    const proven = proofs
    proofs = 0
    return Effect.andThen(
      Metric.update(Metrics.deafProofs, proven),
      Metric.update(Metric.withAttributes(Metrics.backfillDevices, { gateway: gateway.name }), view().devicesToGo)
    )
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(tick, Effect.sleep(settings.tick))))

  const view = (): BackfillView => ({
    gateway: gateway.name,
    devicesToGo: order.reduce((sum, kind) => sum + (kind === "look" ? 0 : queues[kind].size), reading),
    reading,
    rows,
    pages
  })

  return {
    add: (cell) => {
      cells.add(cell)
    },
    remove: (cell) => {
      cells.delete(cell)
      for (const kind of order) queues[kind].delete(cell)
    },
    heard,
    view
  }
})

const iso = (at: number): string => new Date(at).toISOString()
