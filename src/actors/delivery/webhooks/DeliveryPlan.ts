/**
 * Decides what is delivered to one endpoint next, and tracks how far it has come, without effects and clocks.
 *
 * Events enter a window in the order of the log, and leave it when they are delivered. Different devices are delivered
 * concurrently, one device strictly in order. A device whose event the endpoint does not accept is held: the window and the
 * cursor continue without it, and the device is retried on its own schedule, read from the log, until it has caught up.
 * When several devices fail without a success between them, or very many fail at all, the endpoint is considered down: the
 * circuit opens, no new events are taken, and single probes find out when it has recovered.
 */
import { auditKind } from "../../../domain/EventKinds.ts"
import type { LoggedEvent } from "../../../domain/Event.ts"
import type { DeviceId, EventId } from "../../../domain/Ids.ts"
import type { SubscriptionHealth } from "../../../domain/Subscription.ts"
import * as bounds from "../../../services/subscriptionBounds.ts"
import { DeliveryWindow } from "./DeliveryWindow.ts"
import type { Entry } from "./DeliveryWindow.ts"
import { EndpointCircuit } from "./EndpointCircuit.ts"
import { HeldDevice } from "./HeldDevice.ts"
import { RateBucket } from "./RateBucket.ts"
import type { Consequence, Job, PlanOptions, Reported, Step } from "./deliverySteps.ts"

/** A new process retries within this time, however long the last wait was. */
const resumeWithinMillis = 5_000

export class DeliveryPlan {
  readonly #window: DeliveryWindow
  readonly #busy = new Set<DeviceId>()
  readonly #held = new Map<DeviceId, HeldDevice>()
  readonly #circuit: EndpointCircuit
  #successes = 0
  readonly #rate: RateBucket
  #abandoned: number
  #expired: number
  #lastDeliveredAt: string | null
  #healthVersion = 0
  readonly #kinds: ReadonlySet<string> | null
  readonly #devices: ReadonlySet<DeviceId> | null
  readonly #random: () => number
  /** Nothing new is sent. */
  closing = false

  constructor(options: PlanOptions) {
    const { cursor, health, now, random, rateLimit } = options
    this.#kinds = options.kinds === null ? null : new Set(options.kinds)
    this.#devices = options.devices === null ? null : new Set(options.devices)
    this.#rate = new RateBucket(rateLimit, now)
    this.#random = random
    this.#window = new DeliveryWindow(cursor)
    this.#circuit = new EndpointCircuit((millis) => this.#jittered(millis))
    this.#abandoned = health.abandoned
    this.#expired = health.expired
    this.#lastDeliveredAt = health.lastDeliveredAt
    const soon = () => now + random() * resumeWithinMillis
    for (const { attempts, deviceId, outcome, seq, since, status } of health.held) {
      // Beyond the cursor only if an older database has taken over.
      if (seq > cursor) continue
      const held = new HeldDevice({
        device: deviceId,
        seq,
        now,
        since,
        successes: (health.lastDeliveredAt ?? "") > since ? -1 : 0
      })
      held.tryFreely(soon())
      this.#held.set(deviceId, Object.assign(held, { failures: attempts, outcome, status }))
    }
    if (health.failing !== null) this.#circuit.resume(health.failing, soon())
  }

  get through(): number {
    return this.#window.through.seq
  }

  /** The event of that number, if it is known: another event there means another log. */
  get throughId(): EventId | null {
    return this.#window.through.id
  }

  /** Everything up to here is delivered or held. */
  get cursor(): number {
    return this.#window.cursor.seq
  }

  /** The event of that number, if it is known. */
  get cursorId(): EventId | null {
    return this.#window.cursor.id
  }

  get inFlight(): number {
    return this.#busy.size
  }

  /**
   * How many more events the window accepts. While the circuit is open that is one, for a probe: events that wait in memory
   * for days would be delivered even if they were erased from the log meanwhile.
   */
  get room(): number {
    if (this.closing) return 0
    if (!this.#circuit.isOpen) return this.#window.room
    return this.#window.isEmpty && this.#held.size < bounds.probeHeldMax ? 1 : 0
  }

  /** Changes whenever `health` has a change that must not be lost. */
  get healthVersion(): number {
    return this.#healthVersion
  }

  get health(): SubscriptionHealth {
    return {
      failing: this.#circuit.health,
      held: Array.from(this.#held.values(), ({ device, failures, outcome, seq, since, status }) => ({
        deviceId: device,
        seq,
        since,
        attempts: failures,
        outcome,
        status
      })),
      abandoned: this.#abandoned,
      expired: this.#expired,
      lastDeliveredAt: this.#lastDeliveredAt
    }
  }

  /**
   * Offers the events after `after`, in order; up to `through` there are no others. Accepts events that are new and fit;
   * the rest must be offered again. Nothing is accepted if events before them are missing.
   */
  offer(after: number, events: ReadonlyArray<LoggedEvent>, through: number, throughId: EventId | null): void {
    if (this.through < after || this.through >= through || this.room <= 0) return
    for (const event of events) {
      if (event.seq <= this.through) continue
      if (this.room <= 0) return
      if (this.#wants(event) && !this.#held.has(event.deviceId)) this.#window.add(event)
      else this.#window.lookedThrough(event.seq, event.id)
    }
    this.#window.lookedThrough(through, throughId)
  }

  #wants(event: LoggedEvent): boolean {
    return event.kind !== auditKind && (this.#kinds === null || this.#kinds.has(event.kind)) &&
      (this.#devices === null || this.#devices.has(event.deviceId))
  }

  /** Retention has deleted the events after the window: it continues with the oldest event that is kept. */
  skipTo(seq: number): number {
    const gone = Math.max(0, seq - this.through)
    this.#window.lookedThrough(Math.max(this.through, seq), null)
    if (gone > 0) {
      this.#expired += gone
      this.#healthVersion++
    }
    return gone
  }

  next(now: number): Step {
    if (this.closing || this.inFlight >= bounds.concurrencyMax) return idle
    const wakeAt = this.#rate.readyAt(now)
    if (wakeAt > now) return { _tag: "Idle", wakeAt }
    const probeAt = this.#circuit.dueAt
    return probeAt === null ? this.#nextOfAll(now) : this.#nextProbe(probeAt, now)
  }

  #nextOfAll(now: number): Step {
    let wakeAt: number | null = null
    const room = bounds.concurrencyMax - this.#countLoaded()
    for (const held of this.#held.values()) {
      if (held.state !== "waiting" || (held.loaded.length === 0 && room <= 0)) continue
      const dueAt = Math.max(held.dueAt, held.readableAt)
      if (dueAt <= now) return this.#tryHeld(held)
      wakeAt = earlier(wakeAt, dueAt)
    }
    const entry = this.#firstWaiting()
    return entry === undefined
      ? { _tag: "Idle", wakeAt }
      : this.#send(entry.event, "window", 1, () => entry.state = "sent")
  }

  /** The number of held devices that have events in memory or are loading some. */
  #countLoaded(): number {
    let count = 0
    for (const held of this.#held.values()) if (held.isLoaded) count++
    return count
  }

  /** One at a time, in turn: an event that is never accepted must not be the only one that is tried. */
  #nextProbe(dueAt: number, now: number): Step {
    if (this.inFlight > 0) return idle
    if (dueAt > now) return { _tag: "Idle", wakeAt: dueAt }
    const entry = this.#held.size < bounds.probeHeldMax ? this.#firstWaiting() : undefined
    if (entry !== undefined) return this.#send(entry.event, "window", 1, () => entry.state = "sent")
    let wakeAt: number | null = null
    for (const held of this.#held.values()) {
      if (held.state === "reading") return idle
      if (held.readableAt <= now) return this.#tryHeld(held)
      wakeAt = earlier(wakeAt, held.readAt)
    }
    const waiting = this.#firstWaiting()
    return waiting === undefined
      ? { _tag: "Idle", wakeAt }
      : this.#send(waiting.event, "window", 1, () => waiting.state = "sent")
  }

  #firstWaiting(): Entry | undefined {
    // Each event that is sent may turn its device into a held one.
    if (this.#held.size + this.inFlight >= bounds.heldDevicesMax) return undefined
    return this.#window.firstWaiting(this.#busy)
  }

  #tryHeld(held: HeldDevice): Step {
    const event = held.loaded[0]
    if (event === undefined) {
      held.state = "reading"
      return { _tag: "ReadHeld", device: held.device, after: held.after }
    }
    return this.#send(event, "held", held.failures + 1, () => held.state = "sending")
  }

  #send(event: LoggedEvent, from: Job["from"], attempt: number, mark: () => void): Step {
    mark()
    this.#busy.add(event.deviceId)
    this.#rate.take()
    return { _tag: "Send", job: { event, attempt, from, probe: this.#circuit.isOpen } }
  }

  /** The result of reading a held device's events after `after`; null if the log could not be read. */
  heldRead(
    device: DeviceId,
    page: { readonly events: ReadonlyArray<LoggedEvent>; readonly through: number } | null,
    now: number
  ): void {
    const held = this.#held.get(device)
    if (held === undefined) return
    held.read(page, this.through, now)
    if (page === null) return
    this.#releaseIfCaughtUp(held)
  }

  /** Retention has deleted the event that a held device waits for. */
  heldExpired(device: DeviceId, oldest: number): void {
    const held = this.#held.get(device)
    if (held === undefined) return
    held.expired(oldest)
    this.#expired++
    this.#healthVersion++
    this.#releaseIfCaughtUp(held)
  }

  #releaseIfCaughtUp(held: HeldDevice): void {
    if (!held.hasCaughtUp(this.through)) return
    this.#held.delete(held.device)
    this.#healthVersion++
  }

  report(job: Job, reported: Reported, now: number, at: string): Consequence {
    const { deviceId } = job.event
    this.#busy.delete(deviceId)
    const held = this.#held.get(deviceId)
    if (reported.outcome === "delivered") {
      this.#succeeded(at, now)
      if (job.from === "window") this.#window.finish(job.event)
      else if (held !== undefined) this.#heldAdvances(held, now, at)
      return none
    }
    if (reported.outcome === "gone") {
      this.#putBack(job, held)
      return { _tag: "Disable", reason: "gone" }
    }
    const failed = held ?? this.#hold(job.event, now, at)
    failed.failed(reported)
    // A failed probe does not count against its device: only the circuit counts it.
    if (!this.#circuit.isOpen || held === undefined) {
      failed.countFailure(now, (failures) => this.#jittered(bounds.retryDelayMillis(failures)))
    }
    if (this.#circuit.isOpen) this.#moveToEnd(failed)
    this.#healthVersion++
    const consequence = reported.outcome === "refused"
      ? this.#probeAnswered(job, now)
      : this.#endpointFailed(job, reported, now, at)
    if (this.#circuit.isOpen) this.#forgetWaiting()
    return consequence._tag === "None" && failed.failures >= bounds.attemptsMax
      ? this.#exhausted(failed, now, at)
      : consequence
  }

  /** Events that were not sent leave the memory, and are read again once the circuit is closed. */
  #forgetWaiting(): void {
    for (const held of this.#held.values()) {
      if (held.state === "waiting") held.forgetEvents()
    }
    this.#window.forgetWaiting()
  }

  #moveToEnd(held: HeldDevice): void {
    this.#held.delete(held.device)
    this.#held.set(held.device, held)
  }

  #succeeded(at: string, now: number): void {
    this.#successes++
    this.#lastDeliveredAt = at
    this.#closeCircuit(now)
  }

  #closeCircuit(now: number): void {
    if (!this.#circuit.close()) return
    this.#healthVersion++
    // All held devices are tried now: the endpoint has recovered.
    for (const held of this.#held.values()) held.tryFreely(now)
  }

  #heldAdvances(held: HeldDevice, now: number, at: string): void {
    held.delivered(now, at, this.#successes)
    this.#healthVersion++
    this.#releaseIfCaughtUp(held)
  }

  /** The device leaves the window. Its events are read from the log again, because they may be many. */
  #hold({ deviceId, seq }: LoggedEvent, now: number, at: string): HeldDevice {
    const held = new HeldDevice({ device: deviceId, seq, now, since: at, successes: this.#successes })
    this.#held.set(deviceId, held)
    this.#window.dropDevice(deviceId)
    return held
  }

  #putBack(job: Job, held: HeldDevice | undefined): void {
    if (held !== undefined) held.state = "waiting"
    if (job.from === "window") this.#window.putBack(job.event)
  }

  /** An endpoint that refuses an event is available. */
  #probeAnswered(job: Job, now: number): Consequence {
    if (job.probe) this.#closeCircuit(now)
    return none
  }

  #endpointFailed({ event, probe }: Job, reported: Reported, now: number, at: string): Consequence {
    const failure = { device: event.deviceId, heldDevices: this.#held.size, probe }
    return this.#circuit.failed(failure, reported, now, at) ? { _tag: "Disable", reason: "failing" } : none
  }

  /** Three days of attempts for one event have failed. If nothing else was delivered either, the endpoint itself is down. */
  #exhausted(held: HeldDevice, now: number, at: string): Consequence {
    if (held.successes === this.#successes) return { _tag: "Disable", reason: "failing" }
    this.#abandoned++
    held.abandon(now, at, this.#successes)
    return { _tag: "Abandoned" }
  }

  #jittered(millis: number): number {
    return millis * (1 - bounds.retryJitter + 2 * bounds.retryJitter * this.#random())
  }
}

const earlier = (one: number | null, other: number): number => one === null ? other : Math.min(one, other)

const idle: Step = { _tag: "Idle", wakeAt: null }
const none: Consequence = { _tag: "None" }
