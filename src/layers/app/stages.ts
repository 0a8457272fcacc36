/** The stages in which the parts of a process start, and their reverse for stopping, within the shutdown budget. */
import { Context, Duration, Effect, Exit, Fiber, Option, Schedule, Scope } from "effect"
import { EventLog } from "../../services/EventLog.ts"
import { Readiness } from "../../services/Readiness.ts"
import { handOverMax, nodeDeliverMax, passMax, shutdownBudget } from "../../services/shutdownBudget.ts"
import { SinkRelays } from "../../services/SinkRelays.ts"

export interface Stages {
  readonly foundation: Scope.Closeable
  /** Its connection outlives all its users. */
  readonly broker: Scope.Closeable
  readonly http: Scope.Closeable
  readonly relays: Scope.Closeable
  readonly fleet: Scope.Closeable
}

/** In the order of starting. A scope closes its last addition first: stopping is the reverse. */
export const makeStages: Effect.Effect<Stages, never, Scope.Scope> = Effect.gen(function*() {
  const outer = yield* Effect.scope
  return {
    foundation: yield* Scope.fork(outer, "sequential"),
    broker: yield* Scope.fork(outer, "sequential"),
    http: yield* Scope.fork(outer, "sequential"),
    relays: yield* Scope.fork(outer, "sequential"),
    fleet: yield* Scope.fork(outer, "sequential")
  }
})

/** Without a cluster, the fleet only closes its sockets. */
export const fleetStopMax = shutdownBudget.fleet

/** A node also commits its devices' last events, ends its relays, releases its shards, and waits for the other nodes. */
export const nodeStopMax = [
  shutdownBudget.fleet,
  handOverMax,
  nodeDeliverMax,
  shutdownBudget.relayDrain,
  shutdownBudget.relayCursor,
  passMax
].reduce(Duration.sum)

/**
 * Returns when all events committed by now have been delivered, where sinks accept them. It compares with the current head: a
 * view's `lag` is some seconds old, and the last events have only just been committed.
 */
export const awaitDelivered = (
  log: EventLog["Service"],
  { views }: SinkRelays["Service"]
): Effect.Effect<void> =>
  Effect.flatMap(log.bounds, ({ head }) =>
    Effect.repeat(views, {
      until: (views) => views.every(({ confirmed, state }) => state !== "running" || confirmed >= head),
      schedule: Schedule.spaced("50 millis")
    })).pipe(Effect.ignore)

export const stopInOrder = (
  stages: Stages,
  context: Context.Context<EventLog | SinkRelays | Readiness>,
  fleetMax: Duration.Duration
): Effect.Effect<void> => {
  const log = Context.get(context, EventLog)
  const budget = shutdownBudget
  const close = (stage: Scope.Closeable, what: string, ...parts: ReadonlyArray<Duration.Duration>) =>
    within(parts.reduce(Duration.sum), what, Scope.close(stage, Exit.void))
  return Effect.gen(function*() {
    yield* Context.get(context, Readiness).contribute("process", Effect.fail("stopping"))
    yield* Effect.logInfo("Stopping: no new frames")
    yield* close(stages.fleet, "the fleet", fleetMax)
    const flushed = yield* Effect.timeoutOption(log.flush, budget.flush)
    if (Option.isNone(flushed)) yield* Effect.logWarning("The log could not be flushed; the database does not answer")
    else yield* Effect.timeoutOption(awaitDelivered(log, Context.get(context, SinkRelays)), budget.deliver)
    yield* close(stages.relays, "the relays", budget.relayDrain, budget.relayCursor)
    yield* close(stages.http, "HTTP", budget.http)
    yield* close(stages.broker, "the broker's connection", budget.broker)
    yield* close(stages.foundation, "the foundation", budget.foundation)
    yield* Effect.logInfo("Stopped")
  })
}

/** A part that does not end in its time continues in the background, and the next part stops meanwhile. */
const within = (time: Duration.Duration, what: string, stop: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.forkDetach(stop).pipe(
    Effect.flatMap((fiber) => Effect.timeoutOption(Fiber.await(fiber), time)),
    Effect.flatMap((ended) =>
      Option.isSome(ended)
        ? Effect.void
        : Effect.logWarning(`Stopping ${what} takes longer than ${Duration.format(time)}; it is left behind`)
    )
  )
