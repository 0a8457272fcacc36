/**
 * The one connection of this process to RabbitMQ. It is opened again whenever it ends, without limit. Building the layer
 * does not wait for the broker, so a process starts and ingests without one.
 *
 * Publishers and consumers ask for `usable` each time they open a channel and do not keep the connection. When it is
 * lost, their channels fail with errors of their own, and they ask again.
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
import type { BrokerState, DisconnectCause } from "../../services/BrokerStatus.ts"
import { shutdownBudget } from "../../services/shutdownBudget.ts"
import { brokerBlocked, brokerConnected } from "../../services/Metrics.ts"

/** Two of these without a byte end the connection. Short, because a frozen broker shows no other sign. */
const heartbeatSeconds = 5

/** For TCP, TLS and the AMQP handshake together. A frozen broker accepts TCP and then does not answer. */
const connectTimeout = Duration.seconds(10)

/** On a dead connection amqplib's `close()` never settles. */
const closeTimeout = shutdownBudget.broker

/** A connection that lived this long was good. After its loss the delays start from the beginning. */
const stableAfter = Duration.seconds(10)

/** 0.2 s at first, since most losses are restarts; 5 s at most, since nothing is delivered meanwhile. Never ends. */
const reconnectDelays = Schedule.min([
  Schedule.exponential("200 millis", 2),
  Schedule.spaced("5 seconds")
]).pipe(Schedule.jittered)

/** There is no connection, or there is one and the broker does not read from it. */
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

interface ConnectionFailed {
  readonly cause: DisconnectCause
  readonly reason: string
  /** It lived long enough that the next attempt may be made at once. */
  readonly wasStable: boolean
}

export class RabbitMq extends Context.Service<RabbitMq, {
  readonly state: Effect.Effect<BrokerState>
  /** Emits the current state, then every change. */
  readonly changes: Stream.Stream<BrokerState>
  /** The connection once it is open and the broker reads from it; fails when that takes longer than `timeout`. */
  readonly usable: (timeout: Duration.Input) => Effect.Effect<ChannelModel, BrokerUnavailable>
}>()("columba/layers/rabbitmq/RabbitMq") {}

interface Link {
  readonly state: BrokerState
  readonly connection: ChannelModel | null
}

export interface RabbitMqOptions {
  readonly url: Redacted.Redacted<string>
  /** Shown by the broker's own tools. */
  readonly connectionName?: string | undefined
}

export const make = Effect.fnUntraced(function*(options: RabbitMqOptions): Effect.fn.Return<
  RabbitMq["Service"],
  BrokerUrlInvalid,
  Scope.Scope
> {
  const url = yield* withHeartbeat(options.url)
  const link = yield* SubscriptionRef.make<Link>({
    state: {
      _tag: "Disconnected",
      since: yield* now,
      cause: "starting",
      reason: "no attempt has ended yet",
      connectedBefore: false
    },
    connection: null
  })
  let connectedBefore = false

  const show = Effect.fnUntraced(function*(event: BrokerEvent, connection: ChannelModel | null) {
    const before = SubscriptionRef.getUnsafe(link).state
    const since = before._tag === event._tag ? before.since : yield* now
    if (event._tag !== "Disconnected") connectedBefore = true
    yield* Metric.update(brokerConnected, event._tag === "Disconnected" ? 0 : 1)
    yield* Metric.update(brokerBlocked, event._tag === "Blocked" ? 1 : 0)
    const state: BrokerState = event._tag === "Disconnected"
      ? { ...event, since, connectedBefore }
      : { ...event, since }
    yield* SubscriptionRef.set(link, { state, connection })
    if (isNews(before, event)) yield* announce(event)
  })

  /** One connection from the greeting to its end. Always fails: with the reason why it was not opened, or why it ended. */
  const live = Effect.scoped(Effect.gen(function*() {
    const { connection, latest, next } = yield* Effect.acquireRelease(
      open(url, options.connectionName ?? "columba"),
      (watched) => close(watched.connection),
      { interruptible: true }
    )
    const startedAt = yield* Clock.currentTimeMillis
    while (true) {
      const event = latest()
      if (event._tag === "Disconnected") {
        const lived = (yield* Clock.currentTimeMillis) - startedAt
        return yield* Effect.fail<ConnectionFailed>({
          cause: event.cause,
          reason: event.reason,
          wasStable: lived >= Duration.toMillis(stableAfter)
        })
      }
      yield* show(event, connection)
      yield* next
    }
  })).pipe(
    Effect.tapError(({ cause, reason }) => show({ _tag: "Disconnected", cause, reason }, null))
  )

  yield* live.pipe(
    Effect.retry({ schedule: reconnectDelays, while: (failure) => !failure.wasStable }),
    Effect.ignore,
    Effect.forever,
    Effect.forkScoped
  )

  return RabbitMq.of({
    state: Effect.sync(() => SubscriptionRef.getUnsafe(link).state),
    changes: Stream.map(SubscriptionRef.changes(link), ({ state }) => state),
    usable: (timeout) =>
      SubscriptionRef.changes(link).pipe(
        Stream.filter((one) => one.state._tag === "Connected" && one.connection !== null),
        Stream.runHead,
        Effect.map((one) => Option.getOrThrow(one).connection!),
        Effect.timeoutOrElse({
          duration: timeout,
          orElse: () => {
            const { state } = SubscriptionRef.getUnsafe(link)
            return state._tag === "Connected"
              ? Effect.fail(BrokerUnavailable.of("Disconnected", "the connection has only just been opened"))
              : Effect.fail(BrokerUnavailable.of(state._tag, describeReason(state)))
          }
        })
      )
  })
})

export const layer = (options: RabbitMqOptions): Layer.Layer<RabbitMq, BrokerUrlInvalid> =>
  Layer.effect(RabbitMq, make(options))

const now = Effect.map(DateTime.now, DateTime.formatIso)

type BrokerEvent =
  | { readonly _tag: "Connected" }
  | { readonly _tag: "Blocked"; readonly reason: string }
  | { readonly _tag: "Disconnected"; readonly cause: DisconnectCause; readonly reason: string }

/** Attempts that fail like the one before are not reported again, nor are consequences of a loss. */
const isNews = (before: BrokerState, event: BrokerEvent): boolean =>
  before._tag !== event._tag
  || (before._tag === "Disconnected" && event._tag === "Disconnected" && before.cause !== event.cause
    && !(before.cause === "lost" && event.cause === "unreachable"))

const announce = (event: BrokerEvent): Effect.Effect<void> => {
  switch (event._tag) {
    case "Connected":
      return Effect.logInfo("Broker connected")
    case "Blocked":
      return Effect.logWarning("The broker blocks publishes; events wait in the log", { reason: event.reason })
    case "Disconnected":
      return refusals.has(event.cause)
        ? Effect.logError("The broker refuses RABBITMQ_URL; events wait in the log", {
          cause: event.cause,
          reason: event.reason
        })
        : Effect.logWarning("No connection to the broker; events wait in the log", {
          cause: event.cause,
          reason: event.reason
        })
  }
}

const refusals: ReadonlySet<DisconnectCause> = new Set(["credentials", "vhost"])

const describeReason = (state: Exclude<BrokerState, { readonly _tag: "Connected" }>): string => {
  if (state._tag === "Blocked") return state.reason
  if (state.cause === "credentials") return `user or password refused (${state.reason})`
  return state.cause === "vhost" ? `virtual host refused (${state.reason})` : state.reason
}

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
 * A connection and its events. amqplib reports them in callbacks, which store the latest event and put a signal into the
 * queue. The queue has one slot, because several changes may be read as one.
 */
interface Watched {
  readonly connection: ChannelModel
  readonly latest: () => BrokerEvent
  readonly next: Effect.Effect<void>
}

const open = (url: Redacted.Redacted<string>, name: string): Effect.Effect<Watched, ConnectionFailed> =>
  Effect.flatMap(Queue.sliding<void>(1), (signals) =>
    Effect.callback<Watched, ConnectionFailed>((resume) => {
      let abandoned = false
      connect(Redacted.value(url), {
        timeout: Duration.toMillis(connectTimeout),
        noDelay: true,
        clientProperties: { connection_name: name }
      }).then(
        (connection) => {
          // Listens here, before the fiber continues, so that no event in between is missed.
          const latest = listen(connection, () => Queue.offerUnsafe(signals, undefined))
          // amqplib cannot cancel an attempt, so a connection that comes after an interruption is closed.
          if (abandoned) return destroy(connection)
          resume(Effect.succeed({ connection, latest, next: Queue.take(signals) }))
        },
        (error: unknown) => resume(Effect.fail({ ...classifyConnectError(error), wasStable: false }))
      )
      return Effect.sync(() => {
        abandoned = true
      })
    }))

/**
 * amqplib reads from the socket before it hands over a new connection. When the broker opens and closes it at once, the
 * events are emitted before there are listeners; what remains of them is the ended socket.
 */
const listen = (connection: ChannelModel, signal: () => void): () => BrokerEvent => {
  let latest: BrokerEvent = getSocket(connection).writableEnded
    ? { _tag: "Disconnected", cause: "lost", reason: "closed as soon as it was open" }
    : { _tag: "Connected" }
  let fault: string | null = null
  const note = (event: BrokerEvent) => {
    if (latest._tag === "Disconnected") return
    latest = event
    signal()
  }
  connection.on("blocked", (reason) => note({ _tag: "Blocked", reason }))
  connection.on("unblocked", () => note({ _tag: "Connected" }))
  // "error" carries the reason, "close" always comes. An "error" without a listener would end the process.
  connection.on("error", (error) => {
    fault = describeError(error)
  })
  connection.on("close", (error) => {
    const reason = fault ?? (error === undefined ? "closed" : describeError(error))
    note({ _tag: "Disconnected", cause: "lost", reason })
  })
  return () => latest
}

/** Closes the connection properly if the broker answers, and frees the socket in any case. */
const close = (connection: ChannelModel): Effect.Effect<void> =>
  Effect.tryPromise(() => connection.close()).pipe(
    Effect.timeout(closeTimeout),
    Effect.interruptible,
    Effect.ignore,
    Effect.andThen(Effect.sync(() => destroy(connection)))
  )

/** amqplib only half-closes the socket, which then stays open as long as a frozen broker does. */
const destroy = (connection: ChannelModel): void => {
  getSocket(connection).destroy()
}

/** The types of amqplib do not show the socket; its version is pinned. */
const getSocket = (connection: ChannelModel): Socket =>
  (connection.connection as unknown as { readonly stream: Socket }).stream

/**
 * amqplib reports a refusal during the handshake as an error with a text only: one text where the login is refused, and
 * another where the login succeeded and opening the virtual host did not.
 */
const classifyConnectError = (error: unknown): { readonly cause: DisconnectCause; readonly reason: string } => {
  const reason = describeError(error)
  if (/Handshake terminated by server: 403/.test(reason)) return { cause: "credentials", reason: "ACCESS_REFUSED" }
  if (/Expected ConnectionOpenOk; got <ConnectionClose/.test(reason)) return { cause: "vhost", reason: "NOT_ALLOWED" }
  return { cause: "unreachable", reason }
}

/** A host name with several addresses fails with an error that has a code and no message. */
const describeError = (error: unknown): string => {
  if (!(error instanceof Error)) return "unknown"
  const code = "code" in error ? error.code : undefined
  return error.message || String(code ?? error.name)
}
