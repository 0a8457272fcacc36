/**
 * The event log over any store: gathers the drafts of all devices into batches, and writes one batch at a time.
 *
 * While one batch is being written, the next one is gathered. An idle log writes at once; a busy log waits up to
 * `linger` for more drafts, which costs little delay and saves most of the work. While the store is unavailable, the
 * same batch is retried forever: no acknowledged event is lost. `push` returns false, `append` waits, and sockets are
 * not read until there is room again.
 *
 * A repeat with other content and a draft that the store refuses for its data each become a `frame.rejected`: neither
 * is lost, and neither blocks the log.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import type { DeviceId } from "../domain/Ids.ts"
import { AppendQueue, complete, isBarrier } from "./AppendQueue.ts"
import type { Entry, Group, Waiter } from "./AppendQueue.ts"
import { makeBatchWriter } from "./BatchWriter.ts"
import { makeCursorClaims } from "./CursorClaims.ts"
import { CursorMoves } from "./CursorMoves.ts"
import { prepare, prepareEffects } from "./PreparedDraft.ts"
import { makeEventId } from "../services/EventIdentity.ts"
import { EventTraces } from "../services/EventTraces.ts"
import { EventLog, Fenced, groupBytesMax, groupEventsMax, GroupTooLarge } from "../services/EventLog.ts"
import type { Appended, Fence } from "../services/EventLog.ts"
import type { LogEffect } from "../services/LogEffect.ts"
import { LogStatus } from "../services/LogStatus.ts"
import { LogStore } from "./LogStore.ts"
import type { PreparedDraft } from "./LogStore.ts"
import { makeReader } from "./LogReader.ts"
import { LogTail } from "./LogTail.ts"
import { LogHealth } from "./LogHealth.ts"
import { makeRecorder } from "./logRecorder.ts"
import { WriteSchedule } from "./WriteSchedule.ts"

/** A larger batch no longer costs less per event, and a smaller one is repeated sooner when its connection fails. */
const batchEventsMax = 500

/** 4 MiB: some 50 ms of writing, and well below the message limits of driver and server. */
const batchBytesMax = 4 * 1024 * 1024

/**
 * Measured: at 1,000 events per second, this saves 40 % of the cost of writing at once, and adds 1.2 ms to the median.
 */
const linger = Duration.millis(2)

/**
 * Minimum time between the last batch and a write of patient entries only. No caller waits for them, and a fleet that
 * reconnects at a steady rate fills batches instead of writing hundreds of small ones per second. If the process dies
 * meanwhile, its devices keep their previous record.
 */
const patience = Duration.millis(50)

/** Cursor moves alone are not written until the sink has paused this long. */
const cursorIdle = Duration.millis(50)

/**
 * Minimum time between writes of cursors. Each write leaves a dead version of the row, which cannot be removed while
 * another session holds a snapshot (`pg_dump`), and each later write scans all of them. Four per second are 2,400 after
 * ten minutes, which has no measurable cost. A process that dies publishes the events of a quarter of a second more
 * than once.
 */
const cursorInterval = Duration.millis(250)

/** A supervisor allows 10 s or more for a stop; an unavailable database must not use all of it. */
const closeFlushMax = Duration.seconds(5)

/** Pause after a defect in the writer: a defect that recurs on every write must not keep the processor busy. */
const defectPause = Duration.seconds(1)

/** Events stay in memory at least this long and at most twice as long; the newest ones stay without a limit. */
const tailInterval = Duration.seconds(5)

const cursorIdleNanos = Duration.toNanosUnsafe(cursorIdle)
const cursorIntervalNanos = Duration.toNanosUnsafe(cursorInterval)
const patienceNanos = Duration.toNanosUnsafe(patience)
const lingerNanos = BigInt(Duration.toMillis(linger)) * 1_000_000n

export const layer: Layer.Layer<EventLog | LogStatus, never, LogStore> = Layer.effectContext(
  Effect.gen(function*() {
    const store = yield* LogStore
    const clock = yield* Clock.Clock
    const context = yield* Effect.context<never>()
    const queue = new AppendQueue()
    const moves = new CursorMoves()
    const record = makeRecorder(context)
    const health = new LogHealth(clock, queue)
    const tail = new LogTail((detail) => {
      health.reset(detail)
      record.reset()
      Effect.runForkWith(context)(Effect.logError(
        detail.another
          ? "The database holds another log than before: every reader begins anew"
          : "The log went back: an older database has taken its place. Numbers above its head are given out again",
        detail
      ))
      Effect.runForkWith(context)(store.renew)
    })
    let flushing = 0
    let lastWriteAt = -2n * patienceNanos
    let cursorsAt = -cursorIntervalNanos
    /** Since when cursor moves wait; null without any. */
    let movesSince: bigint | null = null
    const cursorsWait = (now: bigint): bigint => {
      const left = cursorsAt + cursorIntervalNanos - now
      return left > 0n ? left : 0n
    }
    /** Whether anything waits that is not patient. */
    let urgent = false
    const schedule = new WriteSchedule(clock, Effect.runForkWith(context), {
      dueAt: (now) => findDue(now),
      roomWanted: () => queue.length === 0 && queue.roomWanted,
      releaseRoom: () => queue.releaseRoom(),
      write: () => writeBatch()
    })
    const enqueue = (entry: Entry, patient: boolean | undefined = false): void => {
      if (!patient) urgent = true
      queue.push(entry)
    }
    const nudge = () => schedule.changed()
    /** A callback that the writer calls: an exception in it must not disturb the writer. */
    const contained = (resume: () => void) => () => {
      try {
        resume()
      } catch (defect) {
        Effect.runForkWith(context)(Effect.logError("A callback of a caller that waited for room failed", defect))
      }
    }
    const makeId = () => makeEventId(clock.currentTimeMillisUnsafe())

    const makeEntry = (
      draft: PreparedDraft | null,
      arrivedAt: bigint,
      waiter: Waiter | null,
      index: number,
      group: Group | null,
      onFenced: (() => void) | null = null
    ): Entry => ({
      draft,
      arrivedAt,
      waiter,
      onFenced,
      index,
      group,
      floor: null,
      answered: false,
      replaced: false
    })

    /**
     * Waits while the log is over its bound, then queues all drafts of the call at once: if a part waited longer than
     * the rest, later drafts of the same caller could overtake it.
     */
    const appendAll = (
      count: number,
      prepareAll: () => ReadonlyArray<PreparedDraft | null>,
      fence: Fence | null = null,
      effects: ReadonlyArray<LogEffect> = []
    ): Effect.Effect<ReadonlyArray<Appended>, Fenced | GroupTooLarge> =>
      Effect.callback((resume) => {
        const arrivedAt = clock.monotonicTimeNanosUnsafe()
        const waiter: Waiter = {
          remaining: count,
          results: [],
          done: () => resume(Effect.succeed(waiter.results)),
          fenced: (fence) => resume(Effect.fail(Fenced.of(fence))),
          failed: (defect) => resume(Effect.die(defect))
        }
        const enter = () => {
          try {
            const drafts = prepareAll()
            const bytes = drafts.reduce((sum, draft) => sum + (draft?.bytes ?? 0), 0)
            if (count > 1 && bytes > groupBytesMax) return resume(Effect.fail(GroupTooLarge.of(`${bytes} bytes`)))
            const group = count === 1 && fence === null && effects.length === 0
              ? null
              : { fence, effects: prepareEffects(effects), events: count, bytes }
            for (let index = 0; index < count; index++) {
              enqueue(makeEntry(drafts[index]!, arrivedAt, waiter, index, group))
            }
            nudge()
          } catch (defect) {
            resume(Effect.die(defect))
          }
        }
        const leave = queue.admit(enter)
        return Effect.sync(() => {
          leave()
          queue.withdraw(waiter)
          queue.admitWaiting()
        })
      })

    const append: EventLog["Service"]["append"] = (drafts, { effects = [], fence } = {}) => {
      if (drafts.length === 0 && effects.length === 0) return Effect.succeed([])
      if (drafts.length > groupEventsMax) return Effect.fail(GroupTooLarge.of(`${drafts.length} events`))
      if (effects.length > groupEventsMax) return Effect.fail(GroupTooLarge.of(`${effects.length} effects`))
      return drafts.length === 0
        ? appendAll(1, () => [null], fence, effects)
        : appendAll(drafts.length, () => drafts.map((draft) => prepare(draft, makeId)), fence, effects)
    }

    const flush = Effect.suspend(() => {
      flushing++
      return appendAll(1, () => [null])
    }).pipe(
      // A barrier has neither a fence nor a size.
      Effect.orDie,
      Effect.ensuring(Effect.sync(() => {
        flushing--
      })),
      Effect.asVoid
    )

    /** Writing a known event again returns its number, so everything that has no answer yet is simply written again. */
    const recover = (defect: unknown) =>
      Effect.logError("A defect in the log's writer; what has no answer is written again", defect).pipe(
        Effect.andThen(Effect.sync(() => health.failed("a defect in this program; its log has the trace"))),
        Effect.andThen(Effect.sync(() => {
          moves.restore()
          if (moves.pending) movesSince ??= clock.monotonicTimeNanosUnsafe()
        })),
        Effect.andThen(Effect.sleep(defectPause))
      )
    const writer = makeBatchWriter({
      store,
      moves,
      tail,
      record,
      health,
      clock,
      makeId,
      traces: yield* EventTraces,
      runFork: Effect.runForkWith(context),
      recover
    })
    const full = () => queue.length >= batchEventsMax || queue.waitingBytes >= batchBytesMax || flushing > 0
    const findDue = (now: bigint): bigint | null => {
      const oldest = queue.oldest
      if (oldest === undefined && movesSince === null) return null
      if (full()) return now
      if (oldest !== undefined && !urgent) return lastWriteAt + patienceNanos
      if (oldest !== undefined) return now - lastWriteAt > lingerNanos ? now : oldest.arrivedAt + lingerNanos
      // Also since the log's last write: while events arrive, the next batch carries the cursor moves.
      const idleSince = movesSince! > lastWriteAt ? movesSince! : lastWriteAt
      const wait = cursorsWait(now)
      return idleSince + cursorIdleNanos > now + wait ? idleSince + cursorIdleNanos : now + wait
    }

    const writeBatch = (): void => {
      const batch = queue.take(batchEventsMax, batchBytesMax)
      urgent = queue.length > 0
      const entries = batch.filter((entry) => !isBarrier(entry))
      const barriers = batch.filter(isBarrier)
      const now = clock.monotonicTimeNanosUnsafe()
      const piggybacked = flushing > 0 || cursorsWait(now) === 0n ? moves.take() : []
      if (piggybacked.length > 0) {
        cursorsAt = now
        movesSince = null
      }
      if (entries.length === 0 && piggybacked.length === 0) return settleBatch(barriers, [])
      writer.write(entries, piggybacked, (again) => settleBatch(barriers, again))
    }

    const settleBatch = (barriers: ReadonlyArray<Entry>, again: ReadonlyArray<Entry>): void => {
      try {
        lastWriteAt = clock.monotonicTimeNanosUnsafe()
        if (again.length > 0) urgent = true
        queue.settle(again.length === 0 ? [] : [...again, ...barriers])
        if (again.length === 0) { for (const barrier of barriers) complete(barrier, null) }
        queue.admitWaiting()
        queue.releaseRoom()
      } catch (defect) {
        // Not a defect of the batch, which is settled already. The next batch writes the remaining entries.
        Effect.runForkWith(context)(recover(defect)).addObserver(() => schedule.written())
        return
      }
      schedule.written()
    }

    yield* Effect.forkScoped(
      Effect.forever(Effect.andThen(tail.surplus, Effect.delay(Effect.sync(() => tail.age()), tailInterval)))
    )

    yield* Effect.acquireRelease(
      Effect.sync(() => record.observe(() => health.view, () => tail.head)),
      (stop) => Effect.sync(stop)
    )
    // After other fibers have run: drafts that are appended while the process starts go into one batch.
    yield* Effect.forkScoped(Effect.sync(() => schedule.start()))
    yield* Effect.addFinalizer(() =>
      Effect.gen(function*() {
        if (queue.events > 0 || moves.pending) yield* Effect.timeoutOption(flush, closeFlushMax)
        if (queue.events > 0) {
          yield* Effect.logWarning(`The log is closed with ${queue.events} events unwritten: the database is away`)
        }
        schedule.stop()
        yield* writer.interrupt
      })
    )

    const reader = yield* makeReader(store, tail)

    /** Also after a partial failure: events that were erased by then must not be read from memory. */
    const erase = (device: DeviceId, chat: string | null) =>
      Effect.ensuring(store.erase(device, chat), Effect.sync(() => tail.forget()))

    const log = EventLog.of({
      append,
      push: (draft, options) => {
        const prepared = prepare(draft, makeId)
        const onFenced = options === undefined ? null : contained(() => options.onFenced())
        const group = options === undefined
          ? null
          : { fence: options.fence, effects: [], events: 1, bytes: prepared.bytes }
        const entry = makeEntry(prepared, clock.monotonicTimeNanosUnsafe(), null, 0, group, onFenced)
        enqueue(entry, options?.patient === true)
        nudge()
        return !queue.overBound
      },
      hasRoom: () => queue.admitsNow,
      pushEffects: (effects, { fence, onFenced, patient }) => {
        const group = { fence, effects: prepareEffects(effects), events: 1, bytes: 0 }
        const entry = makeEntry(null, clock.monotonicTimeNanosUnsafe(), null, 0, group, contained(onFenced))
        enqueue(entry, patient)
        nudge()
      },
      onRoom: (resume) => queue.onRoom(contained(resume)),
      flush,
      ...reader,
      ...makeCursorClaims(store, () => tail.now.generation),
      generation: () => tail.now.generation,
      moveCursor: (claim, seq, id = null) =>
        moves.move(claim, seq, id, () => {
          movesSince ??= clock.monotonicTimeNanosUnsafe()
          nudge()
        }),
      cursors: store.cursors,
      deleteOlderThan: store.deleteOlderThan,
      mergeIdentities: store.mergeIdentities,
      eraseChat: erase,
      eraseDevice: (device) => erase(device, null)
    })
    return Context.make(EventLog, log).pipe(
      Context.add(LogStatus, LogStatus.of({ view: Effect.sync(() => health.view) }))
    )
  })
)
