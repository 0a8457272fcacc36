/**
 * The faults, as data. A fault is added once and then applies to some or all devices, for a time or a number of times,
 * always or with a probability; the same seed makes the same choices. The gateway consults the plan at each point at which
 * a fault can occur.
 */
import { Schema } from "effect"
import { type Seeded, seeded } from "./Seeded.ts"

const common = {
  /** The slots to which it applies. All by default. */
  devices: Schema.optionalKey(Schema.Array(Schema.String)),
  /** The probability that it strikes at each opportunity. 1 by default. */
  probability: Schema.optionalKey(Schema.Finite),
  /** It ends after it has struck this many times. */
  times: Schema.optionalKey(Schema.Int),
  /** It ends after this many milliseconds. */
  forMillis: Schema.optionalKey(Schema.Finite)
}

/** A fault of one kind, with its own settings in addition to the common ones. */
const fault = <const Kind extends string, Fields extends Schema.Struct.Fields>(kind: Kind, fields: Fields) =>
  Schema.Struct({ kind: Schema.Literal(kind), ...fields, ...common })

export const Fault = Schema.Union([
  /**
   * Closes the sockets that are open now: with a close code, by RST, or by ending TCP without a close frame. It then
   * ends.
   */
  fault("drop", { code: Schema.optionalKey(Schema.Int), reset: Schema.optionalKey(Schema.Boolean) }),
  /**
   * The sockets that are open now stay open in TCP, but are not read or written, as when a NAT has dropped their state.
   */
  fault("half-open", {}),
  /** Sockets are accepted and pings answered, but events are only added to the history. */
  fault("mute", {}),
  /**
   * Answers the upgrade with this status. `json`: with the envelope of a gateway that has no WhatsApp session. `code`: the
   * upgrade is accepted instead, and the socket closed at once with this code.
   */
  fault("refuse", {
    status: Schema.Int,
    code: Schema.optionalKey(Schema.Int),
    retryAfter: Schema.optionalKey(Schema.String),
    json: Schema.optionalKey(Schema.Boolean)
  }),
  /** Accepts the TCP connection and never answers the upgrade. */
  fault("hang", {}),
  /** Requests are answered late, or with this status. `devices` are those of the header `X-Device-Id`. */
  fault("http", { status: Schema.optionalKey(Schema.Int), millis: Schema.optionalKey(Schema.Finite) }),
  /**
   * The request to send a message is answered with this status, or not at all: the connection is reset, or stays silent.
   * `before`: the message is not sent; `after`: it is sent, and nobody is notified.
   */
  fault("send", {
    when: Schema.Literals(["before", "after"]),
    status: Schema.optionalKey(Schema.Int),
    answer: Schema.optionalKey(Schema.Literals(["reset", "none"]))
  }),
  /** A frame that is not an event is sent before the event. */
  fault("junk", {}),
  /** A binary frame is sent before the event. */
  fault("binary", {}),
  /** A frame of this many bytes is sent before the event. */
  fault("huge", { bytes: Schema.Int }),
  /** The event is sent this many times in all. */
  fault("duplicate", { copies: Schema.Int }),
  /** Events are held back until the window is full, then sent in a seeded order. */
  fault("reorder", { window: Schema.Int }),
  /** Each event is sent this many milliseconds late, in order. */
  fault("slow", { millis: Schema.Finite }),
  /** The event names another device: one that does not exist, or this slot. */
  fault("wrong-device", { as: Schema.optionalKey(Schema.String) }),
  /** The event claims another time: a year ahead, the beginning of 1970, none, or one that is no time. */
  fault("dated", { as: Schema.Literals(["future", "ancient", "missing", "text"]) }),
  /** A message is sent once more, under the same id and with another text. */
  fault("poison", {}),
  /** Before a page of a chat's history is answered, this many of the device's newest messages are revoked. */
  fault("shrink", { rows: Schema.Int })
])
export type Fault = typeof Fault.Type
export type FaultKind = Fault["kind"]
export type FaultOf<Kind extends FaultKind> = Extract<Fault, { readonly kind: Kind }>

export interface ActiveFault {
  readonly id: number
  readonly fault: Fault
  readonly strikes: number
}

interface Entry {
  readonly id: number
  readonly fault: Fault
  readonly devices: ReadonlySet<string> | null
  readonly until: number
  strikes: number
}

export class FaultPlan {
  readonly #entries = new Map<FaultKind, Array<Entry>>()
  readonly #random: Seeded
  #ids = 0

  constructor(seed: string) {
    this.#random = seeded(`${seed}/faults`)
  }

  get quiet(): boolean {
    return this.#entries.size === 0
  }

  /** `now` in milliseconds, by the same clock as in later calls. */
  add(fault: Fault, now: number): number {
    const id = ++this.#ids
    const entry = {
      id,
      fault,
      devices: fault.devices === undefined ? null : new Set(fault.devices),
      until: fault.forMillis === undefined ? Infinity : now + fault.forMillis,
      strikes: 0
    }
    const entries = this.#entries.get(fault.kind)
    if (entries === undefined) this.#entries.set(fault.kind, [entry])
    else entries.push(entry)
    return id
  }

  remove(id: number): void {
    for (const entries of this.#entries.values()) {
      const index = entries.findIndex((entry) => entry.id === id)
      if (index !== -1) this.#drop(entries, index)
    }
  }

  clear(): void {
    this.#entries.clear()
  }

  active(now: number): ReadonlyArray<ActiveFault> {
    return [...this.#entries.values()].flat()
      .filter((entry) => entry.until > now)
      .map(({ fault, id, strikes }) => ({ id, fault, strikes }))
  }

  /** The fault of this kind that strikes the device now, if there is one. Counts the strike. */
  strike<Kind extends FaultKind>(kind: Kind, device: string, now: number): FaultOf<Kind> | undefined {
    const entry = this.#find(kind, device, now)
    if (entry === undefined) return undefined
    if (entry.fault.probability !== undefined && !this.#random.chance(entry.fault.probability)) return undefined
    entry.strikes++
    if (entry.fault.times !== undefined && entry.strikes >= entry.fault.times) this.remove(entry.id)
    return entry.fault as FaultOf<Kind>
  }

  #find(kind: FaultKind, device: string, now: number): Entry | undefined {
    const entries = this.#entries.get(kind)
    if (entries === undefined) return undefined
    for (let index = 0; index < entries.length; index++) {
      const entry = entries[index]!
      if (entry.until <= now) {
        this.#drop(entries, index)
        return this.#find(kind, device, now)
      }
      if (entry.devices === null || entry.devices.has(device)) return entry
    }
    return undefined
  }

  #drop(entries: Array<Entry>, index: number): void {
    const [entry] = entries.splice(index, 1)
    if (entries.length === 0) this.#entries.delete(entry!.fault.kind)
  }
}
