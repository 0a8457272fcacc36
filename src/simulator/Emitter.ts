/**
 * Emits events: takes the next event of a device's scenario, writes it to the ledger and the history, and sends it
 * according to the fault plan. One timer drives all jobs; there is no timer per socket.
 */
import type { Dialect, Payload } from "./Dialect.ts"
import type { FaultOf, FaultPlan } from "./FaultPlan.ts"
import type { Ledger, LedgerEntry } from "./Ledger.ts"
import { type Seeded, seeded } from "./Seeded.ts"
import type { SimulatedDevice } from "./SimulatedDevice.ts"

export interface EmitJob {
  /** The devices, which emit in this order. */
  readonly devices: ReadonlyArray<SimulatedDevice>
  /** Total number of events; `null`: until stopped. */
  readonly count: number | null
  /** Events per second over all devices; `null`: as fast as the sockets accept them. */
  readonly rate: number | null
  /**
   * Instead of a rate: each account's own time runs this many times faster than real time, so that pauses and receipts
   * have realistic proportions.
   */
  readonly speed: number | null
}

interface Running extends EmitJob {
  readonly id: number
  readonly startedAt: number
  readonly done: () => void
  emitted: number
  /** With a speed: each account's own time at the start of the job. */
  readonly origins: ReadonlyMap<SimulatedDevice, number>
  lookAt: number
}

interface Outgoing {
  readonly device: SimulatedDevice
  readonly text: string
}

export interface EmitterOptions {
  readonly seed: string
  readonly ledger: Ledger
  readonly faults: FaultPlan
  /** Returns the dialect, which encodes and sends events. */
  readonly dialect: () => Dialect
  readonly now: () => number
}

/** Short enough that 100 events per second are evenly spread, long enough that an idle timer costs nothing. */
const tickMillis = 5
/**
 * Maximum number of events per tick, so that sockets are served in between. 20,000 events per second, the target, are 100 per tick.
 */
const burstMax = 500
/**
 * Checking which of 10,000 accounts is due takes a millisecond, and a delay of 0.1 s does not matter in a conversation.
 */
const lookMillis = 100
/** Texts have whole seconds: this many consecutive events of a device span more than one. */
const textsMax = 64
/** Maximum number of frames that `reorder` or `slow` hold back, over all devices. Further ones are sent at once. */
const heldMax = 100_000

export class Emitter {
  readonly #options: EmitterOptions
  readonly #random: Seeded
  readonly #jobs = new Map<number, Running>()
  readonly #reordered = new Map<SimulatedDevice, Array<string>>()
  #late: Array<Outgoing & { readonly due: number }> = []
  /** The time of the last delayed frame of a device. Later frames must not overtake it. */
  readonly #lastDue = new Map<SimulatedDevice, number>()
  /** The newest texts of events without an id, for which a repeat looks the same. */
  readonly #texts = new WeakMap<SimulatedDevice, Array<string>>()
  #held = 0
  #timer: NodeJS.Timeout | undefined
  #ids = 0

  constructor(options: EmitterOptions) {
    this.#options = options
    this.#random = seeded(`${options.seed}/emitter`)
  }

  get jobs(): ReadonlyArray<{ readonly id: number; readonly emitted: number; readonly count: number | null }> {
    return [...this.#jobs.values()].map(({ count, emitted, id }) => ({ id, emitted, count }))
  }

  /** Starts a job. `done` is called when it has emitted its count, or was stopped. */
  start(job: EmitJob, done: () => void): number {
    const id = ++this.#ids
    if (job.devices.length === 0 || job.count === 0) done()
    else {
      const origins = new Map(job.speed === null ? [] : job.devices.map((device) => [device, device.scenario.at()]))
      this.#jobs.set(id, { ...job, id, done, emitted: 0, startedAt: this.#options.now(), origins, lookAt: 0 })
      this.#run()
    }
    return id
  }

  stop(id?: number): void {
    for (const job of id === undefined ? [...this.#jobs.values()] : [this.#jobs.get(id)]) {
      if (job !== undefined && this.#jobs.delete(job.id)) job.done()
    }
  }

  close(): void {
    this.stop()
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Emits the device's next event now. */
  emitNext(device: SimulatedDevice): void {
    const { event, payload } = device.scenario.next(this.#options.now())
    this.emit(device, event, payload)
  }

  /** Emits any event for the device: to the ledger first, then to its receivers. */
  emit(device: SimulatedDevice, event: string, given: Payload, sent?: LedgerEntry["sent"]): void {
    const { faults } = this.#options
    const now = this.#options.now()
    const payload = event === "message.reaction" ? this.#misdateReaction(device, given, now) : given
    const silent = !faults.quiet && faults.strike("mute", device.id, now) !== undefined
    const dialect = this.#options.dialect()
    const sockets = silent ? 0 : dialect.reach(device, event, payload)
    this.#note(device, event, payload, sockets, sent)
    if (sockets === 0) return
    if (faults.quiet && this.#held === 0) return dialect.send(device, dialect.encode(device, event, payload, device.id))
    this.#distort(device, event, payload, now)
  }

  /** An event that the gateway stores without sending it: in the ledger and the history only. */
  keep(device: SimulatedDevice, event: string, payload: Payload, sent?: LedgerEntry["sent"]): void {
    this.#note(device, event, payload, 0, sent)
  }

  /** Adds the event to the history and the ledger, before anybody can receive it. */
  #note(
    device: SimulatedDevice,
    event: string,
    payload: Payload,
    sockets: number,
    sent: LedgerEntry["sent"] | undefined
  ): void {
    const { ledger } = this.#options
    const dialect = this.#options.dialect()
    device.remember(event, payload)
    dialect.remember?.(device, event, payload)
    const ids = payload.ids as ReadonlyArray<string> | undefined
    const id = dialect.idOf?.(event, payload) ?? String(payload.id ?? ids?.[0] ?? "")
    const implied = dialect.implies?.(event, payload) ?? []
    ledger.add({
      device: device.id,
      seq: ++device.seq,
      event,
      id,
      ...(ids === undefined ? undefined : { ids }),
      ...readTarget(payload),
      ...(typeof payload.receipt_type === "string" ? { status: payload.receipt_type } : undefined),
      ...(implied.length === 0 ? undefined : { implied }),
      ...(event === "message" && dialect.keeps?.(payload) === false ? { kept: false as const } : undefined),
      ...(id === "" && dialect.repeats === true && this.#isAlike(device, event, payload) ? { alike: true } : undefined),
      ...(typeof payload.body === "string" ? { text: payload.body } : undefined),
      ...(sent === undefined ? undefined : { sent }),
      sockets,
      at: this.#options.now()
    })
    ledger.flush()
  }

  #isAlike(device: SimulatedDevice, event: string, payload: Payload): boolean {
    const texts = this.#texts.get(device) ?? []
    this.#texts.set(device, texts)
    const text = this.#options.dialect().encode(device, event, payload, device.id)
    if (texts.includes(text)) return true
    texts.push(text)
    if (texts.length > textsMax) texts.shift()
    return false
  }

  /** Revokes this many of the newest messages of a device, as their senders would. */
  takeBack(device: SimulatedDevice, count: number): void {
    const timestamp = `${new Date(this.#options.now()).toISOString().slice(0, 19)}Z`
    const newest = device.history.slice(-count * 2)
    for (let taken = 0; taken < count && newest.length > 0; taken++) {
      const [row] = newest.splice(Math.floor(this.#random.next() * newest.length), 1)
      this.emit(device, "message.revoked", {
        id: `3EB0${this.#random.hex(16)}`,
        timestamp,
        is_from_me: row!.is_from_me,
        chat_id: row!.chat_jid,
        from: row!.sender_jid,
        revoked_message_id: row!.id,
        revoked_from_me: row!.is_from_me
      })
    }
  }

  /** Sends this text unchanged, without ledger and faults. */
  sendRaw(device: SimulatedDevice, text: string): void {
    this.#options.dialect().send(device, text)
  }

  /** Sends all frames that faults hold back. */
  release(): void {
    for (const [device, texts] of this.#reordered) for (const text of texts) this.#write(device, text)
    this.#reordered.clear()
    for (const { device, text } of this.#late) this.#write(device, text)
    this.#late = []
    this.#lastDue.clear()
    this.#held = 0
  }

  /** A history identifies a reaction by sender, content and time, so it keeps the wrong time of a misdated one. It always has a time. */
  #misdateReaction(device: SimulatedDevice, payload: Payload, now: number): Payload {
    const { faults } = this.#options
    const dated = faults.quiet ? undefined : faults.strike("dated", device.id, now)
    return dated?.as === "future" || dated?.as === "ancient" ? misdate(payload, dated.as, now) : payload
  }

  #distort(device: SimulatedDevice, event: string, payload: Payload, now: number): void {
    const { faults } = this.#options
    const dialect = this.#options.dialect()
    if (faults.strike("junk", device.id, now) !== undefined) this.#write(device, this.#random.pick(dialect.junk))
    if (faults.strike("binary", device.id, now) !== undefined) this.#write(device, Buffer.from([0, 1, 2, 0xff]))
    const huge = faults.strike("huge", device.id, now)
    if (huge !== undefined) {
      this.#write(device, dialect.encode(device, "message", { body: "x".repeat(huge.bytes) }, device.id))
    }
    const wrong = faults.strike("wrong-device", device.id, now)
    const named = wrong === undefined ? device.id : wrong.as ?? "somebody-else"
    const dated = event === "message.reaction" ? undefined : faults.strike("dated", device.id, now)
    const text = dialect.encode(device, event, dated === undefined ? payload : misdate(payload, dated.as, now), named)
    const copies = faults.strike("duplicate", device.id, now)?.copies ?? 1
    for (let copy = 0; copy < copies; copy++) this.#hold(device, text, now)
    if (event === "message" && faults.strike("poison", device.id, now) !== undefined) {
      this.#hold(device, dialect.encode(device, event, { ...payload, body: "something else" }, named), now)
    }
  }

  #hold(device: SimulatedDevice, text: string, now: number): void {
    const { faults } = this.#options
    const reorder = faults.strike("reorder", device.id, now)
    if (reorder !== undefined && this.#held < heldMax) {
      const texts = this.#reordered.get(device) ?? []
      this.#reordered.set(device, texts)
      texts.push(text)
      this.#held++
      if (texts.length < reorder.window) return
      this.#reordered.delete(device)
      this.#held -= texts.length
      while (texts.length > 0) {
        this.#write(device, texts.splice(Math.floor(this.#random.next() * texts.length), 1)[0]!)
      }
      return
    }
    const slow = faults.strike("slow", device.id, now)
    const last = this.#lastDue.get(device)
    if ((slow === undefined && last === undefined) || this.#held >= heldMax) return this.#write(device, text)
    const due = Math.max(last ?? 0, now + (slow?.millis ?? 0))
    this.#late.push({ device, text, due })
    this.#lastDue.set(device, due)
    this.#held++
    this.#run()
  }

  #write(device: SimulatedDevice, data: string | Buffer): void {
    this.#options.dialect().send(device, data)
  }

  #run(): void {
    this.#timer ??= setInterval(() => this.tick(), tickMillis)
  }

  /** One tick. The timer calls it, and so does a test with its own clock. */
  tick(): void {
    const now = this.#options.now()
    if (this.#late.length > 0) {
      const due = this.#late.filter((late) => late.due <= now)
      if (due.length > 0) {
        this.#late = this.#late.filter((late) => late.due > now)
        this.#held -= due.length
        for (const late of due) {
          this.#write(late.device, late.text)
          if (this.#lastDue.get(late.device) === late.due) this.#lastDue.delete(late.device)
        }
      }
    }
    for (const job of this.#jobs.values()) {
      if (job.speed === null) this.#advance(job, now)
      else if (now >= job.lookAt) this.#live(job, job.speed, now)
    }
    if (this.#jobs.size === 0 && this.#late.length === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #advance(job: Running, now: number): void {
    const due = job.rate === null ? Infinity : Math.floor((now - job.startedAt) * job.rate / 1000) - job.emitted
    const left = job.count === null ? Infinity : job.count - job.emitted
    const burst = Math.min(due, left, burstMax)
    for (let index = 0; index < burst; index++) {
      const device = job.devices[job.emitted % job.devices.length]!
      if (job.rate === null && this.#options.dialect().isFull(device)) break
      job.emitted++
      this.emitNext(device)
    }
    if (job.emitted === job.count && this.#jobs.delete(job.id)) job.done()
  }

  #live(job: Running, speed: number, now: number): void {
    job.lookAt = now + lookMillis
    const passed = (now - job.startedAt) * speed
    for (const [device, origin] of job.origins) {
      while (device.scenario.nextAt() - origin <= passed && job.emitted !== job.count) {
        job.emitted++
        this.emitNext(device)
      }
    }
    if (job.emitted === job.count && this.#jobs.delete(job.id)) job.done()
  }
}

const yearMillis = 365 * 24 * 60 * 60_000

const misdate = (payload: Payload, as: FaultOf<"dated">["as"], now: number): Payload => {
  const { timestamp: _, ...rest } = payload
  switch (as) {
    case "future":
      return { ...rest, timestamp: new Date(now + yearMillis).toISOString() }
    case "ancient":
      return { ...rest, timestamp: new Date(0).toISOString() }
    case "missing":
      return rest
    case "text":
      return { ...rest, timestamp: "yesterday" }
  }
}

const readTarget = (payload: Payload): { readonly target?: string } => {
  const target = payload.reacted_message_id ?? payload.original_message_id ?? payload.revoked_message_id ??
    payload.deleted_message_id
  return typeof target === "string" ? { target } : {}
}
