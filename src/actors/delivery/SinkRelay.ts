/**
 * Log to sink, for ever: reads in order, hands runs over, and moves the sink's cursor to the highest number that is
 * confirmed with all before it. The next runs are read and handed over while earlier ones wait for their confirms.
 *
 * Every failure ends the attempt: what is not confirmed is read and offered again, from the first unconfirmed event on.
 * Once somebody else has claimed the cursor the relay stands by, and takes it back when that reader gets nowhere.
 * Shutdown lets what is out be confirmed, within a bound, and settles the cursor; what misses the bound is offered again
 * by whoever reads next.
 */
import { Deferred, Duration, Effect, Fiber, Layer, Queue, Random, Schedule, Scope, Stream } from "effect"
import { EventLog } from "../../services/EventLog.ts"
import type { CursorClaim, CursorLost } from "../../services/EventLog.ts"
import type { EventSink, SinkUnavailable } from "../../services/EventSink.ts"
import { Readiness } from "../../services/Readiness.ts"
import { SinkRelays } from "../../services/SinkRelays.ts"
import type { SinkView } from "../../services/SinkRelays.ts"
import { splitIntoBatches } from "./InFlight.ts"
import type { PublishBatch } from "./InFlight.ts"
import { SinkProgress } from "./SinkProgress.ts"

/** Small enough that the first event of a run is not held up by its last, large enough that a run costs little. */
const runMax = { events: 128, bytes: 1024 * 1024 }

/**
 * 0.1 s at first, since most failures are a lost connection that is back at once; 5 s at most, since nothing is
 * delivered meanwhile. Never ends: the log waits. Begins anew after every attempt that confirmed something.
 */
const retryDelays = Schedule.min([
  Schedule.exponential("100 millis", 2),
  Schedule.spaced("5 seconds")
]).pipe(Schedule.jittered)

/** How long shutdown waits for what is out. Confirms take milliseconds; a sink that needs longer is in trouble. */
const drainTimeout = Duration.seconds(5)

/** How long shutdown waits for the last cursor move. Without it some events are published twice, none is lost. */
const settleTimeout = Duration.seconds(2)

/** How often the distance to the end of the log is measured: one small query. */
const lagInterval = Duration.seconds(2)

/**
 * How long a reader that took our cursor may leave it where it is while there is something to deliver. A healthy one
 * moves it many times a second, and one whose process was replaced is back well within this.
 */
const standbyTimeout = Duration.seconds(30)

/** Of several relays that stand by one looks first, and the others then see the cursor move. */
const standbyScatter = Duration.seconds(15)

export interface SinkRelay {
  readonly view: Effect.Effect<SinkView>
}

/** Runs until its scope closes. `from` is where a sink begins that has no cursor yet. */
export const make = Effect.fnUntraced(function*(
  sink: EventSink,
  from: "beginning" | "now" = "beginning"
): Effect.fn.Return<SinkRelay, never, EventLog | Scope.Scope> {
  const log = yield* EventLog
  const progress = new SinkProgress(sink.name)
  const stopping = yield* Deferred.make<void>()
  // One slot: only the latest confirmed number counts, so several confirms may fall into one pulse.
  const confirms = yield* Queue.sliding<void>(1)

  /** Never waited for by what publishes: until it is durable, a crash repeats events, and loses none. */
  const moveCursor = Effect.fnUntraced(function*(claim: CursorClaim) {
    while (true) {
      yield* Queue.take(confirms)
      yield* settleCursor(log, claim, progress)
    }
  })

  /** Returns only for a shutdown. */
  const relayWith = Effect.fnUntraced(function*(claim: CursorClaim) {
    const stopped = Effect.andThen(Deferred.await(stopping), Effect.timeoutOption(progress.drained, drainTimeout))
    yield* Effect.raceAllFirst([deliver(log, sink, progress, confirms), moveCursor(claim), stopped])
    yield* Effect.timeoutOption(settleCursor(log, claim, progress), settleTimeout)
  })

  const relay = claimCursor(log, sink.name, from, progress).pipe(
    Effect.flatMap(relayWith),
    // Whoever moves the cursor keeps it, so two relays that both work do not take it from each other.
    Effect.tapError((error) =>
      Effect.andThen(progress.lost(error), Effect.raceFirst(standBy(log, progress), Deferred.await(stopping)))
    ),
    Effect.retry({ until: () => Deferred.isDone(stopping) }),
    Effect.ignore,
    Effect.ensuring(progress.stopped)
  )

  const measure = log.bounds.pipe(
    Effect.flatMap(({ head }) => progress.measured(head)),
    Effect.ignore,
    Effect.andThen(Effect.sleep(lagInterval)),
    Effect.forever
  )

  yield* Effect.forkScoped(measure)
  const fiber = yield* Effect.forkScoped(relay)
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      // Without a cursor nothing is out and nothing is to be settled.
      if (!progress.holdsCursor) return Fiber.interrupt(fiber)
      return Deferred.succeed(stopping, undefined).pipe(Effect.andThen(Fiber.await(fiber)))
    })
  )
  return { view: Effect.sync(() => progress.view) }
})

/** One relay a sink. The sinks are made in the layer's scope, so they outlive their relays. */
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

/** How the sinks stand, for readiness. Events wait safely in the log, so none of it makes the process unready. */
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
  from: "beginning" | "now",
  progress: SinkProgress
): Effect.Effect<CursorClaim> =>
  log.claimCursor(sink, from).pipe(
    Effect.tapCause(progress.failed),
    Effect.retry(retryDelays),
    Effect.tap((claim) => progress.claimed(claim)),
    // The delays never end, so neither does the trying.
    Effect.orDie
  )

/** Returns when the cursor should be taken back. A database that does not answer says nothing about the other reader. */
const standBy = Effect.fnUntraced(function*(log: EventLog["Service"], progress: SinkProgress) {
  const look = Effect.gen(function*() {
    const { head } = yield* log.bounds
    const { seq } = (yield* log.cursors).find(({ sink }) => sink === progress.sink) ?? { seq: 0 }
    progress.observed(seq)
    return { seq, behind: seq < head }
  }).pipe(Effect.orElseSucceed(() => null))

  let before = yield* look
  while (true) {
    const scatter = (yield* Random.next) * Duration.toMillis(standbyScatter)
    yield* Effect.sleep(Duration.toMillis(standbyTimeout) + scatter)
    const now = yield* look
    if (before !== null && now !== null && before.behind && now.seq === before.seq) break
    before = now
  }
  yield* Effect.logWarning("Sink takes its cursor back: the other reader delivers nothing", { sink: progress.sink })
})

const settleCursor = Effect.fnUntraced(function*(
  log: EventLog["Service"],
  claim: CursorClaim,
  progress: SinkProgress
): Effect.fn.Return<void, CursorLost> {
  const { confirmed } = progress
  if (confirmed <= progress.settled) return
  yield* log.moveCursor(claim, confirmed)
  progress.settled = confirmed
})

/** Attempt after attempt. A failure after progress is tried again at once, others after a growing delay. */
const deliver = (
  log: EventLog["Service"],
  sink: EventSink,
  progress: SinkProgress,
  confirms: Queue.Enqueue<void>
): Effect.Effect<never> =>
  Effect.suspend(() => {
    const before = progress.confirmed
    return attempt(log, sink, progress, confirms).pipe(
      Effect.catchTag("EventsExpired", (error) =>
        Effect.andThen(progress.skipTo(Number(error.oldest) - 1), Queue.offer(confirms, undefined))),
      Effect.catchCause(progress.failed),
      Effect.andThen(Effect.suspend(() =>
        progress.confirmed > before ? Effect.void : Effect.fail("no progress")
      ))
    )
  }).pipe(
    Effect.retry(retryDelays),
    Effect.ignore,
    Effect.forever
  )

/** One reading from the first unconfirmed event on, until something fails. Ends with all its runs settled or dropped. */
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

  const confirmed = (run: PublishBatch) =>
    Effect.suspend(() => {
      flight.confirm(run)
      const accounted = progress.confirm(run)
      Queue.offerUnsafe(confirms, undefined)
      return accounted
    })

  const send = Effect.fnUntraced(function*(run: PublishBatch) {
    yield* flight.until(() => !progress.closing && flight.hasRoom(overlap))
    flight.sent(run)
    // Started at once, so that runs reach the sink in the order they depart.
    yield* sink.publish(run.events, number).pipe(
      Effect.andThen(confirmed(run)),
      Effect.catchCause((cause) => Deferred.failCause(failed, cause)),
      Effect.forkScoped({ startImmediately: true })
    )
  })

  const read = log.follow({ after: progress.confirmed }).pipe(
    Stream.runForEach((page) =>
      Effect.andThen(
        progress.read(page.through),
        Effect.forEach(splitIntoBatches(page.events, runMax), send, { discard: true })
      )
    ),
    // What is out is not the log's fault and may yet be confirmed.
    Effect.catch((error) => Effect.andThen(flight.until(() => flight.empty), Effect.fail(error)))
  )
  return yield* Effect.raceFirst(read, Deferred.await(failed))
}, Effect.scoped)
