/**
 * The one connection of this process to RabbitMQ, kept for ever: whatever ends it, a new one is tried until it stands.
 * Building the layer does not wait for the broker, so a process starts and ingests without one.
 *
 * Who publishes or consumes asks for `usable` each time it opens a channel and never keeps the connection: after a loss
 * its channels die with errors of their own and it asks again.
 */
import { connect } from "amqplib"
import type { ChannelModel } from "amqplib"
import {
  Clock,
  Context,
  DateTime,
  Duration,
  Effect,
  Layer,
  Metric,
  Option,
  Queue,
  Redacted,
  Schedule,
  Schema,
  Scope,
  Stream,
  SubscriptionRef
} from "effect"
import type { Socket } from "node:net"
import { BrokerStatus } from "../../services/BrokerStatus.ts"
import type { BrokerState } from "../../services/BrokerStatus.ts"
import { brokerBlocked, brokerConnected } from "../../services/Metrics.ts"

/** The broker is declared gone after two of these without a byte. Short, because a frozen broker shows no other sign. */
const heartbeatSeconds = 5

/** For TCP, TLS and the AMQP greeting together; a frozen broker still accepts TCP and then says nothing. */
const connectTimeout = Duration.seconds(10)

/** A goodbye the broker does not answer is cut: on a dead connection amqplib's `close()` never settles. */
const closeTimeout = Duration.seconds(2)

/** A connection that lived this long was a good one, and its loss starts the delays from the beginning. */
const stableAfter = Duration.seconds(10)

/** 0.2 s at first, since most losses are restarts; 5 s at most, since nothing is delivered meanwhile. Never ends. */
const reconnectDelays = Schedule.min([
  Schedule.exponential("200 millis", 2),
  Schedule.spaced("5 seconds")
]).pipe(Schedule.jittered)

/** Not connected, or connected and not being read. */
export class BrokerUnavailable extends Schema.TaggedError<BrokerUnavailable>()("BrokerUnavailable", {
  message: Schema.String,
  state: Schema.Literals(["Disconnected", "Blocked"])
}) {
  static of(state: BrokerUnavailable["state"], reason: string): BrokerUnavailable {
    const message = state === "Blocked" ? `The broker takes no publishes: ${reason}` : `No connection: ${reason}`
    return new BrokerUnavailable({ state, message })
  }
}

export class BrokerUrlInvalid extends Schema.TaggedError<BrokerUrlInvalid>()("BrokerUrlInvalid", {
  message: Schema.String
}) {
  static of(): BrokerUrlInvalid {
    return new BrokerUrlInvalid({
      message: "RABBITMQ_URL must look like amqp://user:password@host:5672/vhost (or amqps://)"
    })
  }
}

interface BrokerLost {
  readonly reason: string
  readonly wasStable: boolean
}

export class RabbitMq extends Context.Service<RabbitMq, {
  readonly state: Effect.Effect<BrokerState>
  /** The current state first, then every change. */
  readonly changes: Stream.Stream<BrokerState>
  /** The connection once it stands and the broker reads from it; fails when that does not come within `patience`. */
  readonly usable: (patience: Duration.Input) => Effect.Effect<ChannelModel, BrokerUnavailable>
}>()("columba/layers/rabbitmq/RabbitMq") {}

interface Link {
  readonly state: BrokerState
  readonly connection: ChannelModel | null
}

export interface RabbitMqOptions {
  readonly url: Redacted.Redacted<string>
  /** As the broker's own tools list it. */
  readonly connectionName?: string | undefined
}

export const make = Effect.fnUntraced(function*(options: RabbitMqOptions): Effect.fn.Return<
  RabbitMq["Service"],
  BrokerUrlInvalid,
  Scope.Scope
> {
  const url = yield* withHeartbeat(options.url)
  const link = yield* SubscriptionRef.make<Link>({
    state: { _tag: "Disconnected", since: yield* now, reason: "not connected yet" },
    connection: null
  })

  const show = Effect.fnUntraced(function*(next: Happening, connection: ChannelModel | null) {
    const before = SubscriptionRef.getUnsafe(link).state
    const since = before._tag === next._tag ? before.since : yield* now
    yield* Metric.update(brokerConnected, next._tag === "Disconnected" ? 0 : 1)
    yield* Metric.update(brokerBlocked, next._tag === "Blocked" ? 1 : 0)
    yield* SubscriptionRef.set(link, { state: { ...next, since }, connection })
    if (before._tag !== next._tag) yield* announce(next)
  })

  /** One connection from greeting to loss. Always fails: with why it could not be made, or why it ended. */
  const live = Effect.scoped(Effect.gen(function*() {
    const { connection, latest, next } = yield* Effect.acquireRelease(
      open(url, options.connectionName ?? "columba"),
      (watched) => close(watched.connection),
      { interruptible: true }
    )
    const startedAt = yield* Clock.currentTimeMillis
    while (true) {
      const happening = latest()
      if (happening._tag === "Disconnected") {
        const lived = (yield* Clock.currentTimeMillis) - startedAt
        return yield* Effect.fail<BrokerLost>({
          reason: happening.reason,
          wasStable: lived >= Duration.toMillis(stableAfter)
        })
      }
      yield* show(happening, connection)
      yield* next
    }
  })).pipe(Effect.tapError((lost) => show({ _tag: "Disconnected", reason: lost.reason }, null)))

  yield* live.pipe(
    Effect.retry({ schedule: reconnectDelays, while: (lost) => !lost.wasStable }),
    Effect.ignore,
    Effect.forever,
    Effect.forkScoped
  )

  return RabbitMq.of({
    state: Effect.sync(() => SubscriptionRef.getUnsafe(link).state),
    changes: Stream.map(SubscriptionRef.changes(link), ({ state }) => state),
    usable: (patience) =>
      SubscriptionRef.changes(link).pipe(
        Stream.filter((one) => one.state._tag === "Connected" && one.connection !== null),
        Stream.runHead,
        Effect.map((one) => Option.getOrThrow(one).connection!),
        Effect.timeoutOrElse({
          duration: patience,
          orElse: () => {
            const { state } = SubscriptionRef.getUnsafe(link)
            return state._tag === "Connected"
              ? Effect.fail(BrokerUnavailable.of("Disconnected", "it has only just come back"))
              : Effect.fail(BrokerUnavailable.of(state._tag, state.reason))
          }
        })
      )
  })
})

/** The connection, and what readiness shows of it. */
export const layer = (options: RabbitMqOptions): Layer.Layer<RabbitMq | BrokerStatus, BrokerUrlInvalid> =>
  Layer.effectContext(Effect.map(make(options), (rabbit) =>
    Context.make(RabbitMq, rabbit).pipe(
      Context.add(BrokerStatus, BrokerStatus.of({ current: rabbit.state, changes: rabbit.changes }))
    )))

const now = Effect.map(DateTime.now, DateTime.formatIso)

type Happening =
  | { readonly _tag: "Connected" }
  | { readonly _tag: "Blocked"; readonly reason: string }
  | { readonly _tag: "Disconnected"; readonly reason: string }

const announce = (happening: Happening): Effect.Effect<void> =>
  happening._tag === "Connected"
    ? Effect.logInfo("Broker connected")
    : happening._tag === "Blocked"
    ? Effect.logWarning("Broker blocks publishes; events wait in the log", { reason: happening.reason })
    : Effect.logWarning("Broker connection lost; events wait in the log", { reason: happening.reason })

const withHeartbeat = (url: Redacted.Redacted<string>): Effect.Effect<Redacted.Redacted<string>, BrokerUrlInvalid> =>
  Effect.try({
    try: () => {
      const parsed = new URL(Redacted.value(url))
      if (parsed.protocol !== "amqp:" && parsed.protocol !== "amqps:") throw BrokerUrlInvalid.of()
      if (!parsed.searchParams.has("heartbeat")) parsed.searchParams.set("heartbeat", String(heartbeatSeconds))
      return Redacted.make(parsed.href)
    },
    catch: () => BrokerUrlInvalid.of()
  })

/**
 * A connection and what happens to it, seen from a fiber. amqplib tells by callbacks, which only keep the latest and
 * leave a pulse: one slot is enough, since several changes may be read as one.
 */
interface Watched {
  readonly connection: ChannelModel
  readonly latest: () => Happening
  readonly next: Effect.Effect<void>
}

const open = (url: Redacted.Redacted<string>, name: string): Effect.Effect<Watched, BrokerLost> =>
  Effect.flatMap(Queue.sliding<void>(1), (pulse) =>
    Effect.callback<Watched, BrokerLost>((resume) => {
      let abandoned = false
      connect(Redacted.value(url), {
        timeout: Duration.toMillis(connectTimeout),
        noDelay: true,
        clientProperties: { connection_name: name }
      }).then(
        (connection) => {
          // Here and not after the fiber went on: what happens in between would never be heard of.
          const latest = listen(connection, () => Queue.offerUnsafe(pulse, undefined))
          // Nobody waits for it any more, and amqplib has no way to call an attempt off.
          if (abandoned) return destroy(connection)
          resume(Effect.succeed({ connection, latest, next: Queue.take(pulse) }))
        },
        (cause: unknown) => resume(Effect.fail({ reason: describeCause(cause), wasStable: false }))
      )
      return Effect.sync(() => {
        abandoned = true
      })
    }))

/**
 * amqplib reads on before it hands a new connection over, so a broker that greets and closes at once has told both
 * events to nobody; the socket it has ended is what remains of them.
 */
const listen = (connection: ChannelModel, pulse: () => void): () => Happening => {
  let latest: Happening = getSocket(connection).writableEnded
    ? { _tag: "Disconnected", reason: "closed as soon as it was open" }
    : { _tag: "Connected" }
  let fault: string | null = null
  const note = (happening: Happening) => {
    if (latest._tag === "Disconnected") return
    latest = happening
    pulse()
  }
  connection.on("blocked", (reason) => note({ _tag: "Blocked", reason }))
  connection.on("unblocked", () => note({ _tag: "Connected" }))
  // "error" tells why, "close" tells that; only the second comes always. Unheard, "error" would end the process.
  connection.on("error", (cause) => {
    fault = describeCause(cause)
  })
  connection.on("close", (cause) => {
    note({ _tag: "Disconnected", reason: fault ?? (cause === undefined ? "closed" : describeCause(cause)) })
  })
  return () => latest
}

/** Says goodbye if anybody listens, and frees the socket in any case. */
const close = (connection: ChannelModel): Effect.Effect<void> =>
  Effect.tryPromise(() => connection.close()).pipe(
    Effect.timeout(closeTimeout),
    Effect.interruptible,
    Effect.ignore,
    Effect.andThen(Effect.sync(() => destroy(connection)))
  )

/** amqplib only half-closes the socket, which then lives as long as a frozen broker does. */
const destroy = (connection: ChannelModel): void => {
  getSocket(connection).destroy()
}

const getSocket = (connection: ChannelModel): Socket =>
  (connection.connection as unknown as { readonly stream: Socket }).stream

/** A host name with several addresses fails with an error that has a code and no message. */
const describeCause = (cause: unknown): string => {
  if (!(cause instanceof Error)) return "unknown"
  const { code } = cause as Error & { readonly code?: unknown }
  return cause.message || String(code ?? cause.name)
}
