/**
 * Events to the exchange `columba.events`, each confirmed by the broker before the log's cursor may pass it.
 *
 * One attempt of the relay is one confirm channel. Whatever goes wrong with a single message (nack, return, silence,
 * loss) ends the channel and with it every run that is out: the relay starts again at the first unconfirmed event on a
 * new channel, so a reader that drops repeated ids always sees each device's events in order.
 *
 * `mandatory` is set only for kinds that our own topology guarantees a queue for. A confirm says that every queue which
 * wanted the message has it; for a kind nobody subscribed to, that is none, and rightly so. For a guaranteed kind it
 * means that somebody deleted the queue or its binding: the message comes back, the run fails as `unroutable`, and the
 * next attempt declares the topology again.
 */
import type { ChannelModel } from "amqplib"
import { Duration, Effect, Scope } from "effect"
import type { LoggedEvent } from "../../domain/Event.ts"
import { SinkUnavailable } from "../../services/EventSink.ts"
import type { EventSink } from "../../services/EventSink.ts"
import { ConfirmChannel } from "./ConfirmChannel.ts"
import type { ConfirmFailure } from "./ConfirmChannel.ts"
import { BrokerUnavailable, RabbitMq } from "./RabbitMq.ts"
import { declare } from "./Topology.ts"

export const sinkName = "rabbitmq"

/**
 * Runs out at a time. A run is at most 128 events, so this fills the channel's window of 1024; at low rates it lets a
 * fresh commit leave at once instead of behind the confirm of the one before.
 */
const overlap = 8

/** How long a run waits for the broker to be there and reading before it is called a failure. */
const brokerTimeout = Duration.seconds(5)

/** A healthy broker confirms in milliseconds; one that is blocked or stuck never says no, so we do. */
const confirmTimeout = Duration.seconds(10)

/** How often the oldest run is looked at. The timeout is late by at most this. */
const confirmCheck = Duration.seconds(1)

const openTimeout = Duration.seconds(5)

interface Attempt {
  readonly number: number
  readonly channel: ConfirmChannel
  readonly connection: ChannelModel
}

export const make: Effect.Effect<EventSink, never, RabbitMq | Scope.Scope> = Effect.gen(function*() {
  const rabbit = yield* RabbitMq
  let current: Attempt | null = null

  const unavailable = (failure: ConfirmFailure) => SinkUnavailable.of(sinkName, failure.reason, failure.detail)

  const begin = Effect.fnUntraced(function*(number: number) {
    current?.channel.end({ reason: "disconnected", detail: "a later attempt took its place" })
    current = null
    const connection = yield* rabbit.usable(brokerTimeout)
    yield* declare(connection)
    const channel = yield* openChannel(connection)
    current = { number, connection, channel }
    return current
  }, Effect.mapError((error) => unavailable(toFailure(error))))

  const publish = Effect.fn("RabbitSink.publish")(function*(events: ReadonlyArray<LoggedEvent>, number: number) {
    const attempt = current?.number === number ? current : yield* begin(number)
    const traceparent = yield* currentTraceparent
    yield* Effect.callback<void, ConfirmFailure>((resume) => {
      const run = attempt.channel.send(
        events,
        traceparent,
        (failure) => resume(failure === null ? Effect.void : Effect.fail(failure))
      )
      // What was sent can not be called back, and what was not must not be: the channel ends.
      return Effect.sync(() => attempt.channel.abandon(run))
    }).pipe(Effect.mapError(unavailable))
  })

  /** A blocked broker is silent, not wrong: its silence is named for what it is. */
  const watch = Effect.gen(function*() {
    yield* Effect.sleep(confirmCheck)
    const attempt: Attempt | null = current
    if (attempt === null || !attempt.channel.stalledFor(stalledChecks)) return
    const state = yield* rabbit.state
    const waited = Duration.format(confirmTimeout)
    attempt.channel.end(
      state._tag === "Blocked"
        ? { reason: "blocked", detail: state.reason }
        : { reason: "confirm-timeout", detail: `no confirm in ${waited}` }
    )
  })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => current?.channel.end({ reason: "disconnected", detail: "shutting down" }))
  )
  yield* Effect.forkScoped(Effect.forever(watch))
  return { name: sinkName, overlap, publish }
})

const stalledChecks = Duration.toMillis(confirmTimeout) / Duration.toMillis(confirmCheck)

type BeginFailure = Effect.Error<ReturnType<RabbitMq["Service"]["usable"] | typeof declare | typeof openChannel>>

const toFailure = (error: BeginFailure): ConfirmFailure => {
  const refused = error._tag !== "BrokerUnavailable"
  const reason = refused ? "rejected" : error.state === "Blocked" ? "blocked" : "disconnected"
  return { reason, detail: error.message }
}

const openChannel = (connection: ChannelModel): Effect.Effect<ConfirmChannel, BrokerUnavailable> =>
  Effect.callback<ConfirmChannel, BrokerUnavailable>((resume) => {
    let abandoned = false
    ConfirmChannel.open(connection).then(
      (channel) => {
        // A connection has a bounded number of channels, and one that opens too late is nobody's.
        if (abandoned) return channel.end({ reason: "disconnected", detail: "it opened too late" })
        resume(Effect.succeed(channel))
      },
      () => resume(Effect.fail(BrokerUnavailable.of("Disconnected", "the connection ended while a channel was opened")))
    )
    return Effect.sync(() => {
      abandoned = true
    })
  }).pipe(Effect.timeoutOrElse({
    duration: openTimeout,
    orElse: () => Effect.fail(BrokerUnavailable.of("Disconnected", "no answer to opening a channel"))
  }))

/** W3C trace context of the run's span, so that a consumer's spans can join it. */
const currentTraceparent: Effect.Effect<string | null> = Effect.currentSpan.pipe(
  Effect.map((span) => `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`),
  Effect.orElseSucceed(() => null)
)
