/**
 * Events to RabbitMQ, each confirmed by the broker before the log's cursor may pass it.
 *
 * One attempt of the relay is one confirm channel. Any problem with a single message (nack, return, no answer,
 * connection lost) ends the channel and with it every batch in flight. The relay starts again at the first unconfirmed
 * event on a new channel, so a reader that drops repeated ids sees the events of each device in order. The one exception:
 * where the broker refuses a message and accepts later ones that are already in flight, the refused one comes later.
 *
 * A confirm of the topic exchange means that every queue bound there has the event; that may be none. A kind that has a
 * guaranteed queue is also published to that queue by name, as `mandatory` (see `Topology`). If the queue does not exist
 * the message is returned, the batch fails as `unroutable`, and the next attempt declares the queue again first.
 */
import type { ChannelModel } from "amqplib"
import { Clock, Duration, Effect, Scope } from "effect"
import type { LoggedEvent } from "../../domain/Event.ts"
import { Condition } from "../../services/Condition.ts"
import { SinkUnavailable } from "../../services/EventSink.ts"
import type { EventSink } from "../../services/EventSink.ts"
import { EventTraces } from "../../services/EventTraces.ts"
import { ConfirmChannel } from "./ConfirmChannel.ts"
import type { ConfirmFailure } from "./ConfirmChannel.ts"
import { BrokerUnavailable, RabbitMq } from "./RabbitMq.ts"
import { TopologyGuard } from "./TopologyGuard.ts"

export const sinkName = "rabbitmq"

/**
 * Batches in flight. A batch is at most 128 events, so this fills the channel's window; at low rates it lets a fresh
 * commit be sent at once instead of after the confirm of the one before.
 */
const overlap = 8

/** How long a batch waits for a usable connection before that counts as a failure. */
const brokerTimeout = Duration.seconds(5)

/** A healthy broker confirms in milliseconds. A blocked or stuck one never answers, so the wait is bounded. */
const confirmTimeout = Duration.seconds(10)

/** How often the oldest batch is checked for confirms, while there is one. The timeout is late by at most this. */
const confirmCheck = Duration.seconds(1)

const openTimeout = Duration.seconds(5)

interface Attempt {
  readonly number: number
  readonly channel: ConfirmChannel
}

export const make: Effect.Effect<EventSink, never, RabbitMq | TopologyGuard | Scope.Scope> = Effect.gen(function*() {
  const rabbit = yield* RabbitMq
  const guard = yield* TopologyGuard
  const clock = yield* Clock.Clock
  const traces = yield* EventTraces
  let current: Attempt | null = null
  const sent = new Condition()

  const unavailable = (failure: ConfirmFailure) => SinkUnavailable.of(sinkName, failure.reason, failure.detail)

  const begin = Effect.fnUntraced(function*(number: number) {
    current?.channel.end({ reason: "disconnected", detail: "a later attempt has started" })
    current = null
    const connection = yield* rabbit.usable(brokerTimeout)
    yield* guard.ensure(connection)
    current = { number, channel: yield* openChannel(connection) }
    return current
  }, Effect.mapError((error) => unavailable(toFailure(error))))

  const now = clock.currentTimeNanosUnsafe.bind(clock)

  const send = (attempt: Attempt, events: ReadonlyArray<LoggedEvent>): Effect.Effect<void, SinkUnavailable> =>
    Effect.callback<void, SinkUnavailable>((resume) => {
      const from = traces === null ? 0n : now()
      const batch = attempt.channel.send(events, traces, (failure) => {
        if (failure !== null) return resume(Effect.fail(unavailable(failure)))
        if (traces !== null) trace(traces, events, from)
        resume(Effect.void)
      })
      sent.changed()
      // Sent messages cannot be withdrawn, and unsent ones must not follow: the channel ends.
      return Effect.sync(() => attempt.channel.abandon(batch))
    })

  const trace = (traces: EventTraces, events: ReadonlyArray<LoggedEvent>, from: bigint): void => {
    const to = now()
    for (const event of events) if (traces.sampled(event.id)) traces.published(event, sinkName, { from, to })
  }

  const publish: EventSink["publish"] = (events, number) =>
    Effect.suspend(() =>
      current?.number === number
        ? send(current, events)
        : Effect.flatMap(begin(number), (attempt) => send(attempt, events))
    )

  /** A blocked broker does not answer either; that is reported as what it is. */
  const watch = Effect.gen(function*() {
    yield* sent.waitUntil(() => current?.channel.waits === true)
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

type BeginFailure = Effect.Error<ReturnType<TopologyGuard["Service"]["ensure"] | typeof openChannel>>

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
        // A connection has a limited number of channels, so one that opens too late is closed.
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
