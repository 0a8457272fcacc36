/**
 * Batches of events over one confirm channel, in plain callbacks. Thousands of events pass here each second, so there is
 * no effect, promise or timer per event.
 *
 * A channel is used until its first failure. Then every batch in flight fails with that reason, and nothing more is
 * sent. amqplib matches confirms to publishes by delivery tag, so a batch is complete exactly when all its own publishes
 * are confirmed, in whatever order the broker confirms them.
 *
 * Work in flight has no bound here: it is at most the sink's overlap in batches, and the relay bounds the
 * events and bytes of a batch. amqplib's signal that its buffer is full is ignored, because that buffer holds no more.
 */
import type { ChannelModel, ConfirmChannel as AmqpChannel } from "amqplib"
import { toWire } from "../../domain/Event.ts"
import type { LoggedEvent } from "../../domain/Event.ts"
import { writeTraceparent } from "../../services/EventTraces.ts"
import type { EventTraces } from "../../services/EventTraces.ts"
import type { SinkUnavailable } from "../../services/EventSink.ts"
import { closeQuietly } from "./channels.ts"
import { PublishFrames } from "./PublishFrames.ts"
import type { MessageProperties, Route } from "./PublishFrames.ts"
import { eventsExchange, guaranteedQueues } from "./Topology.ts"

export interface ConfirmFailure {
  readonly reason: SinkUnavailable["reason"]
  readonly detail: string
}

interface PublishBatch {
  readonly settled: (failure: ConfirmFailure | null) => void
  /** Publishes sent and not confirmed. An event of a guaranteed kind is two. */
  pending: number
}

export class ConfirmChannel {
  readonly #channel: AmqpChannel
  readonly #inside: AmqplibChannel
  readonly #frames: PublishFrames
  /** Batches in flight, in order; never more than the overlap of the sink. */
  #batches: Array<PublishBatch> = []
  #failure: ConfirmFailure | null = null
  #watched: PublishBatch | null = null
  #watchedPending = 0
  #stalledChecks = 0
  #recordedAt = ""
  #recordedSeconds = 0

  private constructor(channel: AmqpChannel) {
    this.#channel = channel
    this.#inside = channel as unknown as AmqplibChannel
    this.#frames = new PublishFrames(this.#inside.ch, this.#inside.connection.frameMax)
    channel.on(
      "return",
      ({ fields }) => this.end({ reason: "unroutable", detail: `the queue '${fields.routingKey}' does not exist` })
    )
    // Before amqplib's own listener, which would report to the batch only that one of its messages failed.
    channel.prependListener("nack", () => this.end({ reason: "rejected", detail: "the broker refused a message" }))
    channel.on("error", (error) => this.end({ reason: "rejected", detail: error.message }))
    channel.prependListener("close", () => this.end({ reason: "disconnected", detail: "the channel was lost" }))
  }

  static async open(connection: ChannelModel): Promise<ConfirmChannel> {
    return new ConfirmChannel(await connection.createConfirmChannel())
  }

  /** `settled` is called exactly once unless the batch is abandoned: with null when all of it is confirmed. */
  send(
    events: ReadonlyArray<LoggedEvent>,
    traces: EventTraces | null,
    settled: PublishBatch["settled"]
  ): PublishBatch {
    const batch: PublishBatch = { settled, pending: 0 }
    if (this.#failure !== null) {
      settled(this.#failure)
    } else if (events.length === 0) {
      settled(null)
    } else {
      this.#batches.push(batch)
      this.#write(batch, events, traces)
    }
    return batch
  }

  /** The caller was interrupted. Some of the batch may have been sent, so the channel cannot be used any longer. */
  abandon(batch: PublishBatch): void {
    if (!this.#batches.includes(batch)) return
    this.#batches = this.#batches.filter((other) => other !== batch)
    this.end({ reason: "disconnected", detail: "a batch was interrupted" })
  }

  /** The first failure counts. It reaches every batch in flight. */
  end(failure: ConfirmFailure): void {
    if (this.#failure !== null) return
    this.#failure = failure
    const failed = this.#batches
    this.#batches = []
    // Deferred, because amqplib reports a close by the broker before it records it: our own close would still be sent on a
    // closed channel, and the broker ends the whole connection for that.
    queueMicrotask(() => void closeQuietly(this.#channel))
    for (const batch of failed) batch.settled(failure)
  }

  /** Whether anything that was sent waits for a confirm. */
  get waits(): boolean {
    return this.#batches.length > 0
  }

  /**
   * To be called at regular intervals while anything waits. Returns true once the oldest batch has had no confirm for this number
   * of calls. The oldest counts, because one queue that never confirms would otherwise be hidden by the others that do.
   */
  stalledFor(checks: number): boolean {
    const oldest = this.#batches[0] ?? null
    const moved = oldest === null || oldest !== this.#watched || oldest.pending !== this.#watchedPending
    this.#stalledChecks = moved ? 0 : this.#stalledChecks + 1
    this.#watched = oldest
    this.#watchedPending = oldest?.pending ?? 0
    return this.#stalledChecks >= checks
  }

  #write(batch: PublishBatch, events: ReadonlyArray<LoggedEvent>, traces: EventTraces | null): void {
    const onConfirm = (error: Error | null) =>
      error === null ? this.#confirm(batch) : this.end({ reason: "disconnected", detail: error.message })
    for (const event of events) {
      const kind = shortenKind(event.kind)
      const routes = findRoutes(event, kind)
      this.#frames.add(routes, this.#properties(event, kind, traces), toWire(event))
      batch.pending += routes.length
      for (let route = 0; route < routes.length; route++) this.#inside.pushConfirmCallback(onConfirm)
    }
    const frames = this.#frames.take()
    const own = this.#inside.connection.channels[this.#inside.ch]
    // A closed channel has reported its end before, so its number cannot belong to another one already.
    if (own?.channel === this.#channel) own.buffer.write(frames)
    else this.end({ reason: "disconnected", detail: "the channel is closed" })
  }

  #confirm(batch: PublishBatch): void {
    batch.pending -= 1
    if (batch.pending > 0 || this.#failure !== null) return
    this.#batches = this.#batches.filter((other) => other !== batch)
    batch.settled(null)
  }

  #properties(event: LoggedEvent, kind: string, traces: EventTraces | null): MessageProperties {
    const headers: ReadonlyArray<readonly [string, string]> = [
      ["seq", String(event.seq)],
      ["device", event.deviceId],
      ["traceparent", writeTraceparent(event.id, traces?.sampled(event.id) === true)]
    ]
    return { messageId: event.id, type: kind, timestamp: this.#seconds(event.recordedAt), headers }
  }

  /** Events of one commit have the same time, so it is parsed once per commit. */
  #seconds(recordedAt: string): number {
    if (recordedAt !== this.#recordedAt) {
      this.#recordedAt = recordedAt
      this.#recordedSeconds = Math.floor(Date.parse(recordedAt) / 1000)
    }
    return this.#recordedSeconds
  }
}

/** The guaranteed queue first, so that the event is there before any other consumer can have read it. */
const findRoutes = (event: LoggedEvent, kind: string): ReadonlyArray<Route> => {
  const events: Route = { exchange: eventsExchange, routingKey: `${kind}.${event.deviceId}`, mandatory: false }
  const queue = guaranteedQueues.get(event.kind)
  return queue === undefined ? [events] : [{ exchange: "", routingKey: queue, mandatory: true }, events]
}

/**
 * AMQP allows 255 bytes for a routing key and a type. The names of a gateway's own events have no such bound, and an event
 * that cannot be sent would block the log forever. The body has the kind in full.
 */
const shortenKind = (kind: string): string => Buffer.byteLength(kind) <= 200 ? kind : kind.slice(0, 50)

/**
 * The part of amqplib beyond its public interface that we use, to write the frames of a whole batch at once and to receive
 * their confirms as `publish` does. The version of amqplib is pinned, and the tests with a broker verify this part.
 */
interface AmqplibChannel {
  readonly ch: number
  readonly pushConfirmCallback: (onConfirm: (error: Error | null) => void) => void
  readonly connection: {
    readonly frameMax: number
    readonly channels: ReadonlyArray<
      { readonly channel: unknown; readonly buffer: { readonly write: (data: Buffer) => boolean } } | null | undefined
    >
  }
}
