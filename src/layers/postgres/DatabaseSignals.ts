/**
 * Signals between processes over the database. A channel is a stream of payloads, and null means that some may
 * have been missed (just connected or reconnected), so that the listener reads the database.
 */
import { Context, Deferred, Effect, Exit, Layer, PubSub, Schedule, Scope, Stream } from "effect"
import { PgClient, PgConnection } from "@effect/sql-pg"
import type { SqlError } from "effect/sql"

/** Number of signals that a listener may lag behind. Beyond that the newest are kept, which is enough for a hint. */
const lagMax = 64

/**
 * Half a second: a restarting server gets two attempts per second, and a listener misses signals for a short time only.
 */
const relisten = Schedule.spaced("500 millis")

export class DatabaseSignals extends Context.Service<DatabaseSignals, {
  /** Never ends and never fails. Starts with null. */
  readonly listen: (channel: string) => Stream.Stream<string | null>
  /** For changes by statements that do not notify themselves. */
  readonly notify: (channel: string, payload: string) => Effect.Effect<void>
  /** Whether other processes can use this database. */
  readonly shared: boolean
}>()("columba/layers/postgres/DatabaseSignals") {}

/** Settings for a separate connection to the server: to listen, to hold a lock, to write the log. */
export class ListenConfig extends Context.Service<ListenConfig, PgConnection.Config>()(
  "columba/layers/postgres/ListenConfig"
) {}

/**
 * A signal is a hint: a listener that misses it reads the database within about a second, so the sender waits no
 * longer.
 */
const notifyMax = "2 seconds"

/**
 * A separate connection that listens until the scope closes. It is closed without an UNLISTEN, because a silent server
 * would not answer it, and closing must not wait.
 */
const listenOn = Effect.fnUntraced(function*(
  config: PgConnection.Config,
  channel: string
) {
  const listening = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(listening, Exit.void))
  // Acquired later, so released earlier: without its connection, the listening ends without a statement.
  const connection = yield* PgConnection.make(config)
  const queue = yield* Deferred.make<Success<ReturnType<PgConnection.PgConnection["listen"]>>, SqlError.SqlError>()
  yield* Effect.forkDetach(Deferred.into(Scope.provide(connection.listen(channel), listening), queue))
  return yield* Deferred.await(queue)
})

type Success<T> = T extends Effect.Effect<infer A, infer _E, infer _R> ? A : never

/** LISTEN on one connection per channel. A lost connection gives a null, and the listening starts again. */
export const layerPostgres: Layer.Layer<DatabaseSignals, never, PgClient.PgClient | ListenConfig> = Layer.effect(
  DatabaseSignals,
  Effect.gen(function*() {
    const pg = yield* PgClient.PgClient
    const config = yield* ListenConfig
    const listenOnce = (channel: string): Stream.Stream<string | null, unknown> =>
      Stream.unwrap(Effect.map(listenOn(config, channel), (queue) =>
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
          Effect.timeout(notifyMax),
          Effect.catchCause((cause) => Effect.logWarning("Could not signal other processes", cause))
        )
    })
  })
)

interface LocalSignal {
  readonly channel: string
  readonly payload: string
  /** 1, 2, 3 … over all channels. */
  readonly number: number
}

/** In-process: for a database that no other process can open. */
export const layerLocal: Layer.Layer<DatabaseSignals> = Layer.effect(
  DatabaseSignals,
  Effect.gen(function*() {
    const hub = yield* PubSub.sliding<LocalSignal>(lagMax)
    let given = 0
    return DatabaseSignals.of({
      shared: false,
      listen: (channel) =>
        // Subscribed before the first null, so that no signal falls between the two.
        Stream.unwrap(Effect.map(PubSub.subscribe(hub), (subscription) =>
          Stream.concat(
            Stream.succeed(null),
            Stream.fromSubscription(subscription).pipe(
              Stream.mapAccum(() => given, (seen, signal) => {
                const payloads = signal.channel === channel ? [signal.payload] : []
                // A hole in the numbers: the listener lagged, and older signals fell out.
                return [signal.number, signal.number > seen + 1 ? [null, ...payloads] : payloads] as const
              })
            )
          ))),
      notify: (channel, payload) =>
        Effect.suspend(() => Effect.asVoid(PubSub.publish(hub, { channel, payload, number: ++given })))
    })
  })
)
