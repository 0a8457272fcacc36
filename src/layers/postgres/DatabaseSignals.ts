/**
 * Signals between processes over the database: a channel is a stream of payloads, and null says that some may have
 * been missed (just connected, or connected again), so that whoever listens looks for itself.
 */
import { Context, Effect, Layer, PubSub, Schedule, Stream } from "effect"
import { PgClient } from "@effect/sql-pg"

/** Signals a listener may lag behind; more fall into the newest ones, which say as much. */
const lagMax = 64

/** Half a second: a restarting server is asked twice a second, and a listener is blind no longer than it must be. */
const relisten = Schedule.spaced("500 millis")

export class DatabaseSignals extends Context.Service<DatabaseSignals, {
  /** Never ends and never fails. Starts with null. */
  readonly listen: (channel: string) => Stream.Stream<string | null>
  /** For changes that were not made by a statement that notifies by itself. */
  readonly notify: (channel: string, payload: string) => Effect.Effect<void>
  /** Whether other processes can use this database. */
  readonly shared: boolean
}>()("columba/layers/postgres/DatabaseSignals") {}

/** LISTEN on one connection a channel. A lost connection is a null, and the channel is listened to again. */
export const layerPostgres: Layer.Layer<DatabaseSignals, never, PgClient.PgClient> = Layer.effect(
  DatabaseSignals,
  Effect.gen(function*() {
    const pg = yield* PgClient.PgClient
    const listenOnce = (channel: string): Stream.Stream<string | null, unknown> =>
      Stream.unwrap(Effect.map(pg.listen(channel), (queue) =>
        Stream.concat(
          Stream.succeed(null),
          Stream.map(Stream.fromQueue(queue), (notification) => notification.payload)
        )))
    return DatabaseSignals.of({
      shared: true,
      listen: (channel) =>
        listenOnce(channel).pipe(
          Stream.catchCause(() => Stream.empty),
          Stream.concat(Stream.make(null)),
          Stream.repeat(relisten)
        ),
      notify: (channel, payload) =>
        pg.notify(channel, payload).pipe(
          Effect.catchCause((cause) => Effect.logWarning("Could not signal other processes", cause))
        )
    })
  })
)

/** In-process: for a database that nobody else can open. */
export const layerLocal: Layer.Layer<DatabaseSignals> = Layer.effect(
  DatabaseSignals,
  Effect.gen(function*() {
    const hub = yield* PubSub.sliding<{ readonly channel: string; readonly payload: string }>(lagMax)
    return DatabaseSignals.of({
      shared: false,
      listen: (channel) =>
        // Subscribed before the first null goes out, so nothing falls between the two.
        Stream.unwrap(Effect.map(PubSub.subscribe(hub), (subscription) =>
          Stream.concat(
            Stream.succeed(null),
            Stream.fromSubscription(subscription).pipe(
              Stream.filter((signal) => signal.channel === channel),
              Stream.map((signal) => signal.payload)
            )
          ))),
      notify: (channel, payload) => Effect.asVoid(PubSub.publish(hub, { channel, payload }))
    })
  })
)
