/**
 * Moves events from the log to a sink, forever: reads in order, publishes in batches, and moves the sink's cursor to the
 * highest number up to which everything is confirmed. The next batches are read and published while earlier ones wait for
 * their confirmations.
 *
 * Every failure ends the attempt: reading and publishing restart with the first unconfirmed event. When another reader has
 * claimed the cursor, the relay stands by, and claims the cursor again if that reader makes no progress. When the log has
 * gone back (an older database took its place), the relay's progress is no longer valid: it reads its cursor from the
 * database again. A shutdown waits, within a bound, for the confirmations of batches in flight and for the cursor; events
 * that miss the bound are published again by the next reader.
 */
import { Clock, Deferred, Duration, Effect, Fiber, Layer, Queue, Random, Schedule, Scope } from "effect"
import { LogReset } from "../../domain/MessageErrors.ts"
import type { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import { CursorLost, EventLog } from "../../services/EventLog.ts"
import type { CursorClaim } from "../../services/EventLog.ts"
import type { EventSink, SinkUnavailable } from "../../services/EventSink.ts"
import { Readiness } from "../../services/Readiness.ts"
import { SinkRelays } from "../../services/SinkRelays.ts"
import type { SinkView } from "../../services/SinkRelays.ts"
import { shutdownBudget } from "../../services/shutdownBudget.ts"
import { splitIntoBatches } from "./InFlight.ts"
import type { PublishBatch } from "./InFlight.ts"
import { SinkProgress } from "./SinkProgress.ts"

/** Small enough that a batch's last event does not delay its first, large enough that a batch costs little. */
const batchMax = { events: 128, bytes: 1024 * 1024 }

/**
 * 0.1 s at first, since most failures are a lost connection that is restored at once; at most 5 s, since nothing is
 * delivered meanwhile. Never ends: the events wait in the log. Restarts after every attempt that confirmed something.
 */
const retryDelays = Schedule.min([
  Schedule.exponential("100 millis", 2),
  Schedule.spaced("5 seconds")
]).pipe(Schedule.jittered)

/** How often the distance to the end of the log is measured while a relay is behind: one small query. */
const lagInterval = Duration.seconds(2)

/**
 * How long a reader that claimed our cursor may leave it unmoved while there are events to deliver. A healthy reader moves
 * it many times per second, and a replaced process resumes well within this time.
 */
const standbyTimeout = Duration.seconds(30)

/** Spreads several relays that stand by: one acts first, and the others then see the cursor move. */
const standbyScatter = Duration.seconds(15)

/** The pause before a cursor without another reader is claimed again, so that repeated losses cost little. */
const reclaimPause = Duration.seconds(1)

export interface SinkRelay {
  readonly view: Effect.Effect<SinkView>
}

/** `from`: where a sink without a cursor starts. `keep`: how long retention waits for it; without a limit unless set. */
export interface RelayOptions {
  readonly from?: "beginning" | "now"
  readonly keep?: Duration.Duration
}

/** Runs until its scope closes. */
export const make = Effect.fnUntraced(function*(
  sink: EventSink,
  options: RelayOptions = {}
): Effect.fn.Return<SinkRelay, never, EventLog | Scope.Scope> {
  const log = yield* EventLog
  const context = yield* Effect.context<never>()
  const progress = new SinkProgress(sink.name, yield* Clock.Clock, context)
  const stopping = yield* Deferred.make<void>()
  // One slot: only the latest confirmed number counts, so several confirmations may share one signal.
  const confirms = yield* Queue.sliding<void>(1)

  /** Publishing does not wait for the cursor. A crash before the cursor is durable repeats events but loses none. */
  const moveCursor = Effect.fnUntraced(function*(claim: CursorClaim) {
    while (true) {
      yield* Queue.take(confirms)
      yield* settleCursor(log, claim, progress)
    }
  })

  /** Returns only on shutdown. */
  const relayWith = Effect.fnUntraced(function*(claim: CursorClaim) {
    const stopped = Effect.andThen(
      Deferred.await(stopping),
      Effect.timeoutOption(progress.drained, shutdownBudget.relayDrain)
    )
    yield* Effect.raceAllFirst([deliver(log, sink, progress, confirms), moveCursor(claim), stopped])
    yield* Effect.timeoutOption(settleCursor(log, claim, progress), shutdownBudget.relayCursor)
  })

  const relay = claimCursor(log, sink.name, options, progress).pipe(
    Effect.flatMap(relayWith),
    // A reader that moves the cursor keeps it, so two working relays do not take it from each other.
    Effect.tapError((error) =>
      error._tag === "LogReset"
        ? progress.reset(error)
        : Effect.andThen(progress.lost(error), Effect.raceFirst(standBy(log, progress), Deferred.await(stopping)))
    ),
    Effect.retry({ until: () => Deferred.isDone(stopping) }),
    Effect.ignore,
    Effect.ensuring(progress.stopped)
  )

  const readHead = Effect.map(log.bounds, ({ head }) => head)
  /** A relay that has caught up measures its lag one last time, and then nothing runs until new events arrive. */
  const measure = Effect.suspend(() =>
    progress.caughtUp
      ? Effect.andThen(progress.measured(progress.confirmed), progress.behind)
      : Effect.ignore(Effect.flatMap(readHead, progress.measured))
  ).pipe(Effect.andThen(Effect.sleep(lagInterval)), Effect.forever)

  yield* Effect.forkScoped(measure)
  const fiber = yield* Effect.forkScoped(relay)
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      // Without a cursor nothing is in flight.
      if (!progress.holdsCursor) return Fiber.interrupt(fiber)
      return Deferred.succeed(stopping, undefined).pipe(Effect.andThen(Fiber.await(fiber)))
    })
  )
  return { view: Effect.sync(() => progress.view) }
})

/** One relay per sink. The sinks are made in the layer's scope, so they outlive their relays. */
export const layer = <E, R>(
  sinks: Effect.Effect<ReadonlyArray<EventSink>, E, R>
): Layer.Layer<SinkRelays, E, EventLog | Exclude<R, Scope.Scope>> =>
  Layer.effect(
    SinkRelays,
    Effect.gen(function*() {
      const relays = yield* Effect.forEach(yield* sinks, (sink) => make(sink))
      return SinkRelays.of({ views: Effect.forEach(relays, ({ view }) => view) })
    })
  )

/** The state of the sinks, for readiness. Events wait safely in the log, so no sink makes the process unready. */
export const readiness: Layer.Layer<never, never, Readiness | SinkRelays> = Readiness.check(
  "sinks",
  Effect.gen(function*() {
    const { views } = yield* SinkRelays
    return (yield* views).map(describe).join("; ")
  })
)

const describe = ({ failure, lag, sink, state }: SinkView): string =>
  `${sink} ${state === "stopped" ? "stands by" : state}, ${lag} behind${
    failure === null ? "" : ` (${failure.message})`
  }`

const claimCursor = (
  log: EventLog["Service"],
  sink: string,
  { from = "beginning", keep }: RelayOptions,
  progress: SinkProgress
): Effect.Effect<CursorClaim> =>
  log.claimCursor(sink, from, keep).pipe(
    Effect.tapCause(progress.failed),
    Effect.retry(retryDelays),
    Effect.tap((claim) => progress.claimed(claim)),
    // The delays never end, so the retries never end either.
    Effect.orDie
  )

/**
 * Returns when the cursor should be claimed again. If the database does not answer, nothing is known about another reader.
 * A missing row, or one whose epoch is not newer than ours, shows that there is no other reader.
 */
const standBy = Effect.fnUntraced(function*(log: EventLog["Service"], progress: SinkProgress) {
  const look = Effect.gen(function*() {
    const { head } = yield* log.bounds
    const row = (yield* log.cursors).find(({ sink }) => sink === progress.sink)
    if (row === undefined || row.epoch <= progress.epoch) return { claimed: false, seq: 0, behind: true }
    progress.observed(row.seq)
    return { claimed: true, seq: row.seq, behind: row.seq < head }
  }).pipe(Effect.orElseSucceed(() => null))

  let before = yield* look
  while (true) {
    if (before?.claimed === false) return yield* Effect.sleep(reclaimPause)
    const scatter = (yield* Random.next) * Duration.toMillis(standbyScatter)
    yield* Effect.sleep(Duration.toMillis(standbyTimeout) + scatter)
    const now = yield* look
    if (before !== null && now?.claimed === true && before.behind && now.seq === before.seq) break
    before = now
  }
  yield* Effect.logWarning("Sink takes its cursor back: the other reader delivers nothing", { sink: progress.sink })
})

const settleCursor = Effect.fnUntraced(function*(
  log: EventLog["Service"],
  claim: CursorClaim,
  progress: SinkProgress
): Effect.fn.Return<void, CursorLost> {
  const { confirmed, confirmedId } = progress
  if (confirmed <= progress.settled) return
  yield* log.moveCursor(claim, confirmed, confirmedId)
  progress.settled = confirmed
})

/**
 * Skips events that were deleted. Retention deletes no event that the cursor has not passed, unless it waits for the sink only for a
 * time. If the cursor has passed them, the database is a copy in which the sink has come further: its cursor is claimed again.
 */
const skipDeleted = Effect.fnUntraced(function*(
  log: EventLog["Service"],
  progress: SinkProgress,
  oldest: number
): Effect.fn.Return<void, CursorLost | StorageUnavailable> {
  const row = (yield* log.cursors).find(({ sink }) => sink === progress.sink)
  if (row?.epoch !== progress.epoch || row.seq >= oldest - 1) {
    return yield* CursorLost.of(progress.sink, progress.epoch)
  }
  yield* progress.skipTo(oldest - 1)
})

/** Makes one attempt after another, until the log is another one or the cursor is lost. */
const deliver = (
  log: EventLog["Service"],
  sink: EventSink,
  progress: SinkProgress,
  confirms: Queue.Enqueue<void>
): Effect.Effect<never, LogReset | CursorLost> =>
  Effect.suspend(() => {
    const before = progress.confirmed
    return attempt(log, sink, progress, confirms).pipe(
      Effect.catchTag("EventsExpired", (error) =>
        Effect.andThen(skipDeleted(log, progress, Number(error.oldest)), Queue.offer(confirms, undefined))),
      Effect.catchTag(["LogReset", "CursorLost"], (ended) =>
        Effect.succeed(ended)),
      Effect.catchCause(progress.failed),
      Effect.flatMap((ended): Effect.Effect<void, LogReset | CursorLost | typeof noProgress> => {
        if (ended instanceof LogReset || ended instanceof CursorLost) return Effect.fail(ended)
        return progress.confirmed > before ? Effect.void : Effect.fail(noProgress)
      })
    )
  }).pipe(
    Effect.retry({ schedule: retryDelays, while: (error) => error === noProgress }),
    // The delays never end, so only the other error gets here.
    Effect.catchIf((error) => error === noProgress, () => Effect.void),
    Effect.forever
  )

const noProgress = "no progress" as const

/**
 * One read of the log from the first unconfirmed event, until something fails. When it ends, all its batches are confirmed
 * or dropped.
 */
const attempt = Effect.fnUntraced(function*(
  log: EventLog["Service"],
  sink: EventSink,
  progress: SinkProgress,
  confirms: Queue.Enqueue<void>
) {
  const flight = yield* Effect.acquireRelease(
    Effect.sync(() => progress.begin()),
    (flight) => Effect.sync(() => flight.abandon())
  )
  const number = progress.attempt
  const overlap = sink.overlap ?? 1
  const failed = yield* Deferred.make<never, SinkUnavailable>()
  const scope = yield* Effect.scope

  const ready = () => !progress.closing && flight.hasRoom(overlap)
  const roomForOne = flight.until(ready)

  const publish = (batch: PublishBatch) =>
    Effect.catchCause(
      Effect.flatMap(sink.publish(batch.events, number), () => {
        flight.confirm(batch)
        const said = progress.confirm(batch)
        Queue.offerUnsafe(confirms, undefined)
        return said
      }),
      (cause) => Deferred.failCause(failed, cause)
    )

  const sendNow = (batch: PublishBatch): Effect.Effect<void> => {
    flight.sent(batch)
    // Started at once, so that batches reach the sink in order.
    return Effect.asVoid(Effect.forkIn(publish(batch), scope, { startImmediately: true }))
  }
  const send = (batch: PublishBatch) =>
    ready() ? sendNow(batch) : Effect.andThen(roomForOne, Effect.suspend(() => sendNow(batch)))

  // The mark detects a log that went back and grew again while the sink was unavailable and nothing was read.
  const { confirmed: after, confirmedId: mark, generation } = progress
  const read = log.followEach({ after, mark, generation }, (page) => {
    const said = progress.read(page.through)
    const batches = splitIntoBatches(page.events, batchMax)
    const sent = batches.length === 1 ? send(batches[0]!) : Effect.forEach(batches, send, { discard: true })
    return said === Effect.void ? sent : Effect.andThen(said, sent)
  }).pipe(
    // Batches in flight may still be confirmed, whatever happened to the log.
    Effect.catch((error) => Effect.andThen(flight.until(() => flight.empty), Effect.fail(error)))
  )
  return yield* Effect.raceFirst(read, Deferred.await(failed))
}, Effect.scoped)
