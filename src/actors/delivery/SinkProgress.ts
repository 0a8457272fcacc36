/**
 * The progress of one relay: how far it has come, and what holds it up. Used for the view, the metrics and the log lines,
 * not for decisions.
 */
import { Cause, DateTime, Effect, Metric } from "effect"
import type { Clock, Context } from "effect"
import type { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import type { EventId } from "../../domain/Ids.ts"
import type { LogReset } from "../../domain/MessageErrors.ts"
import type { CursorClaim, CursorLost } from "../../services/EventLog.ts"
import type { SinkUnavailable } from "../../services/EventSink.ts"
import { Condition } from "../../services/Condition.ts"
import * as Metrics from "../../services/Metrics.ts"
import type { SinkView } from "../../services/SinkRelays.ts"
import { InFlight } from "./InFlight.ts"
import type { PublishBatch } from "./InFlight.ts"

type Failure = NonNullable<SinkView["failure"]>

export class SinkProgress {
  /** The last number up to which the sink has confirmed everything. */
  confirmed = 0
  /** The event of that number, if this process has read it. */
  confirmedId: EventId | null = null
  /** The epoch of this relay's newest claim. */
  epoch = 0
  generation = 0
  /** The last number the cursor durably holds. */
  settled = 0
  /** Increases with every attempt. */
  attempt = 0
  /** Nothing new may be sent. */
  closing = false
  /** Another reader may have claimed the cursor since; only a move of the cursor reveals that. */
  holdsCursor = false
  readonly sink: string
  readonly #latency
  readonly #published
  readonly #lag
  #state: SinkView["state"] = "starting"
  #failure: Failure | null = null
  #expired = 0
  #head = 0
  #flight: InFlight | null = null

  readonly #clock: Clock.Clock
  readonly #context: Context.Context<never>
  readonly #changes = new Condition()

  constructor(sink: string, clock: Clock.Clock, context: Context.Context<never>) {
    this.sink = sink
    this.#clock = clock
    this.#context = context
    this.#latency = Metric.withAttributes(Metrics.confirmLatency, { sink })
    this.#published = Metric.withAttributes(Metrics.eventsPublished, { sink })
    this.#lag = Metric.withAttributes(Metrics.sinkLag, { sink })
  }

  get view(): SinkView {
    return {
      sink: this.sink,
      state: this.#state,
      confirmed: this.confirmed,
      lag: Math.max(0, this.#head - this.confirmed),
      expired: this.#expired,
      failure: this.#failure
    }
  }

  claimed(claim: CursorClaim): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.confirmed = claim.seq
      this.confirmedId = null
      this.epoch = claim.epoch
      this.generation = claim.generation
      this.settled = claim.seq
      this.holdsCursor = true
      this.#head = claim.seq
      this.#state = "running"
      this.#failure = null
      return Effect.logInfo("Sink begins", { sink: this.sink, after: claim.seq, epoch: claim.epoch })
    })
  }

  begin(): InFlight {
    this.attempt += 1
    this.#flight = new InFlight(this.confirmed)
    return this.#flight
  }

  /** Plain code, since a batch may be a single event. Returns the log lines still to be written. */
  confirm(batch: PublishBatch): Effect.Effect<void> {
    if (this.#flight !== null && this.#flight.confirmed > this.confirmed) {
      this.confirmed = this.#flight.confirmed
      this.confirmedId = this.#flight.confirmedId
    }
    const latency = this.#clock.currentTimeMillisUnsafe() - Date.parse(batch.events[0]!.recordedAt)
    this.#latency.updateUnsafe(Math.max(0, latency) / 1000, this.#context)
    this.#published.updateUnsafe(batch.events.length, this.#context)
    return this.#failure === null ? Effect.void : this.#recovered()
  }

  /** A page was read, so the log is readable; whether the sink accepts events is a separate matter. */
  read(through: number): Effect.Effect<void> {
    this.seen(through)
    return this.#failure?.reason === "storage" ? this.#recovered() : Effect.void
  }

  /** Logs once for each kind of failure, not at each attempt: an outage may last for hours. */
  readonly failed = (cause: Cause.Cause<SinkUnavailable | StorageUnavailable>): Effect.Effect<void> =>
    Effect.gen({ self: this }, function*() {
      if (Cause.hasInterruptsOnly(cause)) return yield* Effect.interrupt
      const { message, reason } = explain(cause)
      yield* Metric.update(Metric.withAttributes(Metrics.sinkFailures, { sink: this.sink, reason }), 1)
      const before = this.#failure
      this.#failure = { reason, message, since: before?.since ?? DateTime.formatIso(yield* DateTime.now) }
      if (this.#state === "running") this.#state = "waiting"
      this.#changes.changed()
      if (before?.reason === reason) return
      if (reason === "defect") return yield* Effect.logError("Sink failed by a defect", cause)
      yield* Effect.logWarning("Sink waits; its events stay in the log", { sink: this.sink, reason, message })
    })

  /** Skips events that retention has deleted. Retention never deletes events that a sink has yet to confirm. */
  skipTo(seq: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const gone = Math.max(0, seq - this.confirmed)
      this.#expired += gone
      this.confirmed = Math.max(this.confirmed, seq)
      this.confirmedId = null
      return Metric.update(Metric.withAttributes(Metrics.sinkEventsExpired, { sink: this.sink }), gone).pipe(
        Effect.andThen(
          Effect.logError("Events were removed before this sink had them; it continues with the oldest kept", {
            sink: this.sink,
            events: gone,
            after: seq
          })
        )
      )
    })
  }

  /** The cursor must be read again: the confirmed number belongs to a log that no longer exists. */
  reset(error: LogReset): Effect.Effect<void> {
    this.holdsCursor = false
    this.#state = "starting"
    this.#changes.changed()
    return Effect.logWarning("Sink reads its cursor again: the log is an older or another one", {
      sink: this.sink,
      confirmed: this.confirmed,
      head: error.head
    })
  }

  lost(error: CursorLost): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      this.holdsCursor = false
      this.#state = "stopped"
      this.#failure = { reason: "cursor-lost", message: error.message, since: DateTime.formatIso(yield* DateTime.now) }
      this.#changes.changed()
      yield* Effect.logWarning("Sink stands by: its claim no longer holds the cursor", { sink: this.sink })
    })
  }

  /** Records the progress of the reader that holds the cursor now. */
  observed(seq: number): void {
    this.confirmed = Math.max(this.confirmed, seq)
  }

  seen(seq: number): void {
    this.#head = Math.max(this.#head, seq)
    if (!this.caughtUp) this.#changes.changed()
  }

  readonly measured = (head: number): Effect.Effect<void> => {
    this.#head = head
    return Metric.update(this.#lag, this.view.lag)
  }

  /** Everything read from the log is confirmed, and the relay waits for more: new events will wake it. */
  get caughtUp(): boolean {
    return this.#state === "running" && this.#failure === null && this.confirmed >= this.#head
  }

  /** Completes once the relay may no longer be caught up. */
  get behind(): Effect.Effect<void> {
    return this.#changes.waitUntil(() => !this.caughtUp)
  }

  /** Sends nothing more and waits for the confirmations of batches in flight. */
  get drained(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.closing = true
      return this.#flight?.until(() => this.#flight!.empty) ?? Effect.void
    })
  }

  #recovered(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#failure === null) return Effect.void
      this.#failure = null
      this.#state = "running"
      return Effect.logInfo("Sink takes events again", { sink: this.sink, confirmed: this.confirmed })
    })
  }

  get stopped(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.#state = "stopped"
    })
  }
}

const explain = (cause: Cause.Cause<SinkUnavailable | StorageUnavailable>): Omit<Failure, "since"> => {
  const error = Cause.findErrorOption(cause)
  if (error._tag === "None") return { reason: "defect", message: "a defect in this program; the log has its trace" }
  return {
    reason: error.value._tag === "StorageUnavailable" ? "storage" : error.value.reason,
    message: error.value.message
  }
}
