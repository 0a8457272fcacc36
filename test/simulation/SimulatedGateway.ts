/**
 * A WhatsApp gateway of a simulated world: its events, and the faults of its connections. Its ledger of emitted events is
 * the outside truth. A process accesses it by its port (`gatewayPort.ts`).
 *
 * The bounds that callers rely on are kept: a dead connection is noticed within 30 s, an event is on its way for two
 * seconds at most, a gateway stores a message within two seconds, questions are answered or fail within 5 s, and a webhook
 * is tried for 30 s.
 */
import type { GatewayName } from "../../src/domain/Ids.ts"
import type { SessionEvent } from "../../src/services/GatewayParts.ts"
import type { Seeded } from "../../src/simulator/Seeded.ts"
import type { Emission } from "./silence.ts"
import type { SimulatedLink } from "./SimulatedLink.ts"
import type { SimulatedSession } from "./SimulatedSession.ts"
import { toDraft } from "./SimulatedPhone.ts"
import type { Fact, SimulatedPhone } from "./SimulatedPhone.ts"
import { SimulatedWebhooks } from "./SimulatedWebhooks.ts"
import type { Trace } from "./Trace.ts"
import type { Machine, VirtualTime } from "./VirtualTime.ts"

export interface GatewayShape {
  readonly liveEvents: "session" | "webhook"
  /** Also posts events where they come by session. */
  readonly posts: boolean
  readonly history: boolean
  /** Answers for all slots at once. */
  readonly lists: boolean
  readonly pageSize: number
}

export interface GatewayFaults {
  /** Probability per request that it fails or is never answered. */
  readonly request: number
  /** Per event on its way. */
  readonly repeated: number
  readonly reordered: number
  /** Probability per answer to a webhook that the gateway does not get it. */
  readonly answerLost: number
  readonly latencyMax: number
}

/** The maximum time until a gateway stores a message, in milliseconds. */
const storedWithin = 1500

/** A message that is this much older than its arrival proves no current deafness. */
const lateAfter = 5000

export class SimulatedGateway {
  readonly name: GatewayName
  readonly shape: GatewayShape
  faults: GatewayFaults
  readonly phones: ReadonlyArray<SimulatedPhone>
  readonly emitted: Array<Emission> = []
  /** Its process is gone. */
  downUntil = 0
  /** Its process gives no answer. */
  stalledUntil = 0
  /** Until when a phone's events are only kept; by phone. */
  readonly mutedUntil = new Map<SimulatedPhone, number>()
  readonly webhooks: SimulatedWebhooks
  readonly #sessions = new Set<SimulatedSession>()
  readonly #links = new Set<SimulatedLink>()
  /** Messages that WhatsApp keeps for phones that are not connected. */
  readonly #withheld = new Map<SimulatedPhone, Array<Fact>>()
  readonly time: VirtualTime
  readonly random: Seeded
  readonly trace: Trace

  constructor(
    name: string,
    shape: GatewayShape,
    phones: ReadonlyArray<SimulatedPhone>,
    world: { readonly time: VirtualTime; readonly random: Seeded; readonly trace: Trace },
    faults: GatewayFaults
  ) {
    this.name = name as GatewayName
    this.shape = shape
    this.phones = phones
    this.faults = faults
    this.time = world.time
    this.random = world.random
    this.trace = world.trace
    this.webhooks = new SimulatedWebhooks(this)
  }

  // What happens

  emit(phone: SimulatedPhone): void {
    const fact = phone.happen(this.time.wall)
    if (!phone.connected || !phone.loggedIn || this.isDown) {
      this.#withheld.set(phone, [...this.#withheld.get(phone) ?? [], fact])
    } else {
      this.#tell(phone, fact)
    }
  }

  /** WhatsApp delivers the messages that it kept while the account had no connection. */
  release(phone: SimulatedPhone): void {
    const facts = this.#withheld.get(phone) ?? []
    this.#withheld.delete(phone)
    for (const fact of facts) this.#tell(phone, fact)
  }

  #tell(phone: SimulatedPhone, fact: Fact): void {
    const muted = this.time.now < (this.mutedUntil.get(phone) ?? 0)
    const sessions = [...this.#sessions].filter((session) => session.phone === phone && session.hears)
    const hearing = muted ? [] : sessions.filter((session) => !session.deaf)
    const live = this.shape.liveEvents === "session"
    // By its time it is one of those that were received long ago.
    const isLate = this.time.wall - fact.at > lateAfter
    const posts = !live || this.shape.posts
    const emission: Emission = {
      n: this.emitted.length + 1,
      device: phone.upstreamId,
      seq: this.emitted.length + 1,
      event: fact.kind === "message.received" || fact.kind === "message.sent" ? "message" : fact.kind,
      id: fact.waId,
      ...(fact.target === null ? undefined : { target: fact.target }),
      ...(fact.status === null ? undefined : { status: fact.status }),
      ...(fact.kind === "message.reaction" || fact.body === null ? undefined : { text: fact.body }),
      sockets: live ? hearing.length : 1,
      at: this.time.wall,
      silent: muted || (live && !posts && sessions.length > 0 && hearing.length === 0),
      isTelling: () =>
        this.shape.history && fact.kind === "message.received" && !phone.revoked.has(fact.waId) && !isLate
    }
    this.emitted.push(emission)
    this.trace.add(`${phone.upstreamId} emits ${fact.kind} ${fact.waId} to ${hearing.length}${muted ? ", muted" : ""}`)
    phone.learn(fact)
    if (fact.kind === "message.received" || fact.kind === "message.sent") {
      this.time.after(this.random.next() * storedWithin, () => phone.keep(fact, this.time.wall))
    }
    if (muted) return
    // An answer in flight has the state of the time at which it was sent.
    const said = { ...fact }
    if (live) { for (const session of hearing) this.#send(session, said) }
    if (posts) this.webhooks.post(phone, said, emission)
  }

  #send(session: SimulatedSession, fact: Fact): void {
    const { repeated, reordered } = this.faults
    const draft = (): SessionEvent => ({
      _tag: "Record",
      draft: toDraft(fact, session.phone.deviceId, "live", this.time.wall)
    })
    session.carry(draft, this.delay(), this.random.chance(reordered))
    if (this.random.chance(repeated)) session.carry(draft, this.delay(), this.random.chance(reordered))
  }

  // Faults of connections

  /** Connections of this phone that are open now, or of all. */
  sessions(phone?: SimulatedPhone): ReadonlyArray<SimulatedSession> {
    return [...this.#sessions].filter((session) => session.open && (phone === undefined || session.phone === phone))
  }

  /** Its process ends, and restarts after a time. Withheld events come then. */
  crash(downFor: number): void {
    this.downUntil = Math.max(this.downUntil, this.time.now + downFor)
    for (const session of this.sessions()) session.lose({ class: "transport", code: "socket-closed", detail: "gone" })
    for (const link of [...this.#links]) link.lose("gone")
    this.time.after(downFor + 1, () => {
      if (this.isDown) return
      for (const phone of this.phones) if (phone.connected && phone.loggedIn) this.release(phone)
    })
  }

  /** It is silent for a time. Connections that are silent for 30 s are closed by their other side. */
  stall(millis: number): void {
    this.stalledUntil = Math.max(this.stalledUntil, this.time.now + millis)
    if (millis < 20_000) return
    for (const session of this.sessions()) session.freeze(20_000 + this.random.next() * 10_000)
    for (const link of [...this.#links]) link.freeze(20_000 + this.random.next() * 10_000)
  }

  /** The gateway loses an account's connection to WhatsApp, reports it or not, and has it again after a time. */
  disconnect(phone: SimulatedPhone, millis: number): void {
    phone.connected = false
    this.#hint(phone, { _tag: "UpstreamDisconnected", reason: null })
    this.time.after(millis, () => this.#reconnect(phone))
  }

  /** The account is logged out, and somebody logs it in again after a time. */
  logOut(phone: SimulatedPhone, millis: number): void {
    phone.loggedIn = false
    this.#hint(phone, { _tag: "LoggedOut", reason: "by the phone" })
    this.time.after(millis, () => this.#reconnect(phone))
  }

  #reconnect(phone: SimulatedPhone): void {
    phone.connected = true
    phone.loggedIn = true
    this.#hint(phone, { _tag: "UpstreamConnected", jid: phone.jid })
    if (!this.isDown) this.release(phone)
  }

  #hint(phone: SimulatedPhone, event: SessionEvent): void {
    if (this.random.chance(0.3)) return
    for (const session of this.sessions(phone)) session.carry(() => event, this.delay(), false)
    for (const link of this.#links) link.tell(phone.deviceId, event)
  }

  heal(): void {
    const { now } = this.time
    this.faults = { request: 0, repeated: 0, reordered: 0, answerLost: 0, latencyMax: 3 }
    this.downUntil = this.stalledUntil = this.webhooks.cutUntil = now
    this.mutedUntil.clear()
    for (const session of this.#sessions) session.deaf = false
    for (const phone of this.phones) this.#reconnect(phone)
  }

  /** A process is gone, and its connections with it. */
  forgetMachine(machine: Machine): void {
    for (const session of this.#sessions) if (session.machine === machine) session.close()
    for (const link of [...this.#links]) if (link.machine === machine) link.close()
  }

  /** It ends the connections of a process that does not answer. A link has no idle timeout of its own, only a proxy may have. */
  giveUp(machine: Machine): void {
    for (const session of this.sessions()) {
      if (session.machine === machine) session.lose({ class: "transport", code: "socket-closed", detail: "given up" })
    }
    for (const link of [...this.#links]) {
      if (link.machine === machine && this.random.chance(0.3)) link.lose("given up")
    }
  }

  loseLink(): void {
    for (const link of [...this.#links]) link.lose("lost")
  }

  // Of its port

  get isDown(): boolean {
    return this.time.now < this.downUntil
  }

  get isStalled(): boolean {
    return this.time.now < this.stalledUntil
  }

  delay(): number {
    return 0.2 + this.random.next() ** 4 * this.faults.latencyMax
  }

  /** A connection of a device was made. */
  connected(make: (onClosed: () => void) => SimulatedSession): SimulatedSession {
    const session: SimulatedSession = make(() => this.#sessions.delete(session))
    this.#sessions.add(session)
    this.trace.add(`${session.phone.upstreamId} session opened`)
    return session
  }

  /** The connection for all devices was made. */
  linked(make: (onClosed: () => void) => SimulatedLink): SimulatedLink {
    const link: SimulatedLink = make(() => this.#links.delete(link))
    this.#links.add(link)
    this.trace.add(`${this.name} link opened`)
    return link
  }
}
