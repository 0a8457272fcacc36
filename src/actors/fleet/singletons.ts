/** Parts of the program that run on one node of a cluster at a time, and move to another node when that node ends. */
import { Cause, Duration, Effect, Layer, Schedule } from "effect"
import type { Scope } from "effect"
import { Singleton } from "effect/cluster"
import type { Sharding } from "effect/cluster"

export interface Part<out R, out E> {
  readonly name: string
  /** Runs with its scope. */
  readonly run: Effect.Effect<void, E, R | Scope.Scope>
}

/** A part that could not start, because a broker or a database is unavailable, is started again after this time. */
const retryDelay = Duration.seconds(5)

/** A node that loses the part's shard closes its scope before another node may start it. */
export const layer = <R, E>(parts: ReadonlyArray<Part<R, E>>): Layer.Layer<never, never, R | Sharding.Sharding> =>
  Layer.mergeAll(
    Layer.empty,
    ...parts.map(({ name, run }) =>
      Singleton.make(
        name,
        Effect.scoped(Effect.andThen(run, Effect.never)).pipe(
          Effect.tapCause((cause) =>
            Cause.hasInterruptsOnly(cause)
              ? Effect.void
              : Effect.logError("A part that runs on one node could not begin; it is tried again", cause).pipe(
                Effect.annotateLogs({ part: name })
              )
          ),
          Effect.sandbox,
          Effect.retry({
            schedule: Schedule.spaced(retryDelay),
            while: (cause) => !Cause.hasInterruptsOnly(cause)
          })
        )
      )
    )
  ) as Layer.Layer<never, never, R | Sharding.Sharding>
