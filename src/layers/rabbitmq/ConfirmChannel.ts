/**
 * Runs of events over one confirm channel, in plain callbacks: thousands of events a second pass here, so per event
 * there is one publish and one decrement, and no effect, no promise, no timer.
 *
 * The channel is good until its first failure, and then for nothing: every run that is out fails with that reason, and
 * nothing more is sent. amqplib matches confirms to publishes by delivery tag (single or "up to"), so a run is complete
 * exactly when all its own messages are, in whatever order the broker confirms.
 */
import type { ChannelModel, ConfirmChannel as AmqpChannel, Options } from "amqplib"
import { toWire } from "../../domain/Event.ts"
import type { LoggedEvent } from "../../domain/Event.ts"
import type { SinkUnavailable } from "../../services/EventSink.ts"
import { eventsExchange, routedKinds } from "./Topology.ts"

/**
 * Messages sent and not confirmed. Below 512 the broker idles between confirms; above 1024 only latency grows. This and
 * the runs' own bound are what bounds the bytes under way. amqplib's word that its buffer is full is not heeded: it
 * comes above 1 KiB, and waiting for it makes every message a write of its own.
 */
const windowEvents = 1024

export interface ConfirmFailure {
  readonly reason: SinkUnavailable["reason"]
  readonly detail: string
}

interface Run {
  readonly events: ReadonlyArray<LoggedEvent>
  readonly traceparent: string | null
  readonly settled: (failure: ConfirmFailure | null) => void
  readonly onConfirm: (error: Error | null) => void
  sent: number
  confirmed: number
}

export class ConfirmChannel {
  readonly #channel: AmqpChannel
  /** All that is out, in order; at most what the relay overlaps. */
  #runs: Array<Run> = []
  #inFlight = 0
  #failure: ConfirmFailure | null = null
  #watched: Run | null = null
  #watchedConfirmed = 0
  #stalledChecks = 0
  #recordedAt = ""
  #recordedSeconds = 0

  private constructor(channel: AmqpChannel) {
    this.#channel = channel
    channel.on(
      "return",
      (message) => this.end({ reason: "unroutable", detail: `no queue took ${String(message.properties.type)}` })
    )
    // Before amqplib's own listener, which tells the run only that its message failed.
    channel.prependListener("nack", () => this.end({ reason: "rejected", detail: "the broker refused a message" }))
    channel.on("error", (error) => this.end({ reason: "rejected", detail: error.message }))
    channel.prependListener("close", () => this.end({ reason: "disconnected", detail: "the channel was lost" }))
  }

  static async open(connection: ChannelModel): Promise<ConfirmChannel> {
    return new ConfirmChannel(await connection.createConfirmChannel())
  }

  /** `settled` is called exactly once unless the run is abandoned: with null when all of it is confirmed. */
  send(events: ReadonlyArray<LoggedEvent>, traceparent: string | null, settled: Run["settled"]): Run {
    const run: Run = {
      events,
      traceparent,
      settled,
      onConfirm: (error) =>
        error === null ? this.#confirm(run) : this.end({ reason: "disconnected", detail: error.message }),
      sent: 0,
      confirmed: 0
    }
    if (this.#failure !== null) {
      settled(this.#failure)
    } else if (events.length === 0) {
      settled(null)
    } else {
      this.#runs.push(run)
      this.#pump()
    }
    return run
  }

  /** Nobody waits for this run any more, but some of it may be sent: the channel can not go on without it. */
  abandon(run: Run): void {
    if (!this.#runs.includes(run)) return
    this.#runs = this.#runs.filter((other) => other !== run)
    this.end({ reason: "disconnected", detail: "a run was called off" })
  }

  /** The first failure counts; it reaches every run that is out. */
  end(failure: ConfirmFailure): void {
    if (this.#failure !== null) return
    this.#failure = failure
    const failed = this.#runs
    this.#runs = []
    void closeQuietly(this.#channel)
    for (const run of failed) run.settled(failure)
  }

  /**
   * To be asked at a steady pace: true once the oldest run has had no confirm for that many questions in a row. The
   * oldest, because a single queue that never confirms would otherwise hide behind all the others that do.
   */
  stalledFor(checks: number): boolean {
    const oldest = this.#runs[0] ?? null
    const moved = oldest === null || oldest !== this.#watched || oldest.confirmed !== this.#watchedConfirmed
    this.#stalledChecks = moved ? 0 : this.#stalledChecks + 1
    this.#watched = oldest
    this.#watchedConfirmed = oldest?.confirmed ?? 0
    return this.#stalledChecks >= checks
  }

  #confirm(run: Run): void {
    this.#inFlight -= 1
    run.confirmed += 1
    if (run.confirmed === run.events.length && this.#failure === null) {
      this.#runs = this.#runs.filter((other) => other !== run)
      run.settled(null)
    }
    this.#pump()
  }

  #pump(): void {
    for (const run of this.#runs) {
      while (run.sent < run.events.length) {
        if (this.#inFlight >= windowEvents || this.#failure !== null) return
        this.#sendNext(run)
      }
    }
  }

  #sendNext(run: Run): void {
    const event = run.events[run.sent]!
    run.sent += 1
    this.#inFlight += 1
    try {
      this.#channel.publish(
        eventsExchange,
        `${shortKind(event.kind)}.${event.deviceId}`,
        Buffer.from(toWire(event)),
        this.#properties(event, run.traceparent),
        run.onConfirm
      )
    } catch (error) {
      // It throws on a channel that is closing or closed, and on nothing a good event could cause.
      this.end({ reason: "disconnected", detail: error instanceof Error ? error.message : "unknown" })
    }
  }

  #properties(event: LoggedEvent, traceparent: string | null): Options.Publish {
    const seq = String(event.seq)
    return {
      mandatory: routedKinds.has(event.kind),
      persistent: true,
      messageId: event.id,
      type: shortKind(event.kind),
      contentType: "application/json",
      timestamp: this.#seconds(event.recordedAt),
      headers: traceparent === null
        ? { seq, device: event.deviceId }
        : { seq, device: event.deviceId, traceparent }
    }
  }

  /** Events of one commit share their time, so it is parsed once a commit. */
  #seconds(recordedAt: string): number {
    if (recordedAt !== this.#recordedAt) {
      this.#recordedAt = recordedAt
      this.#recordedSeconds = Math.floor(Date.parse(recordedAt) / 1000)
    }
    return this.#recordedSeconds
  }
}

/**
 * AMQP allows 255 bytes for a routing key and a type. A gateway's own event names have no such bound, and one that can
 * not be sent would hold up the log for ever; the body has the kind in full.
 */
const shortKind = (kind: string): string => Buffer.byteLength(kind) <= 200 ? kind : kind.slice(0, 50)

/** Not waited for: a blocked broker answers when it reads again, a dead one never. */
const closeQuietly = async (channel: AmqpChannel): Promise<void> => {
  try {
    await channel.close()
  } catch {
    // It was closed already.
  }
}
