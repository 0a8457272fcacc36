/**
 * A WhatsApp gateway of a simulated world, as a port: it has the parts that its shape says, and everything behind them
 * fails as gateways and networks do. It knows what it has emitted; the ledger of that is the outside truth.
 *
 * The bounds that callers rely on are kept: a dead connection is noticed within 30 s, an event is on its way for two
 * seconds at most, a gateway stores a message within two seconds, questions are answered or fail within 5 s, and a webhook
 * is tried for 30 s.
 */
import { Effect, Redacted, Scope } from "effect"
import { GatewayUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { Failure } from "../../src/domain/DeviceState.ts"
import type { GatewayName, UpstreamId } from "../../src/domain/Ids.ts"
import { SessionRefused } from "../../src/services/GatewayParts.ts"
import type {
  History,
  Ingest,
  LinkListener,
  Session,
  SessionEvent,
  SessionListener
} from "../../src/services/GatewayParts.ts"
import type { IncomingWebhook } from "../../src/services/WebhookIngest.ts"
import type { WebhookOutcome } from "../../src/services/webhookOutcomes.ts"
import { webhookOutcomes } from "../../src/services/webhookOutcomes.ts"
import type { WhatsAppGateway } from "../../src/services/WhatsAppGateway.ts"
import type { Seeded } from "../../src/simulator/Seeded.ts"
import type { Emission } from "./silence.ts"
import { SimulatedLink } from "./SimulatedLink.ts"
import { SimulatedSession } from "./SimulatedSession.ts"
import { toDraft } from "./SimulatedPhone.ts"
import type { Fact, SimulatedPhone } from "./SimulatedPhone.ts"
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
  /** Of each request, that it fails or is never answered. */
  readonly request: number
  /** Of each event on its way. */
  readonly repeated: number
  readonly reordered: number
  /** Of each answer to a webhook, that the gateway does not get it. */
  readonly answerLost: number
  readonly latencyMax: number
}

/** A process that runs now: its front takes webhooks. */
export interface Front {
  readonly machine: Machine
  readonly take: (webhook: Omit<IncomingWebhook, "startedAt">, answered: (outcome: WebhookOutcome) => void) => void
}

/** What a request waits for at most before it fails; longer than pages of a history are waited for is not needed. */
const requestMax = 5000
const handshakeMax = 10_000

/** GOWA's waits between the tries of one webhook, within so much time in all. */
const webhookWaits = [1000, 2000, 4000, 8000]
const webhookTime = 30_000

/** How long a gateway takes at most to store a message, in milliseconds. */
const storedWithin = 1500

const signature = "x-signature"

/** A message whose time is so much before its coming proves no deafness of now. */
const lateAfter = 5000

interface Address {
  readonly url: string
  readonly secret: string
}

interface Post {
  readonly slot: UpstreamId
  readonly fact: Fact
}

interface Outgoing {
  readonly phone: SimulatedPhone
  readonly fact: Fact
  readonly emission: Emission
  readonly begun: number
}

export class SimulatedGateway {
  readonly name: GatewayName
  readonly shape: GatewayShape
  faults: GatewayFaults
  readonly phones: ReadonlyArray<SimulatedPhone>
  readonly emitted: Array<Emission> = []
  /** Its process is gone. */
  downUntil = 0
  /** Its process says nothing. */
  stalledUntil = 0
  /** Nothing reaches our address. */
  ingressDownUntil = 0
  /** Until when a phone's events are only kept; by phone. */
  readonly mutedUntil = new Map<SimulatedPhone, number>()
  /** The processes that run now: each takes webhooks. */
  fronts: () => ReadonlyArray<Front> = () => []
  readonly #addresses = new Map<UpstreamId, Address>()
  readonly #sessions = new Set<SimulatedSession>()
  readonly #links = new Set<SimulatedLink>()
  /** What WhatsApp keeps for phones that are not connected. */
  readonly #withheld = new Map<SimulatedPhone, Array<Fact>>()
  readonly #time: VirtualTime
  readonly #random: Seeded
  readonly #trace: Trace

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
    this.#time = world.time
    this.#random = world.random
    this.#trace = world.trace
  }

  // What happens

  emit(phone: SimulatedPhone): void {
    const fact = phone.happen(this.#time.wall)
    if (!phone.connected || !phone.loggedIn || this.#time.now < this.downUntil) {
      this.#withheld.set(phone, [...this.#withheld.get(phone) ?? [], fact])
    } else {
      this.#tell(phone, fact)
    }
  }

  /** WhatsApp delivers what it kept while the account had no connection. */
  release(phone: SimulatedPhone): void {
    const facts = this.#withheld.get(phone) ?? []
    this.#withheld.delete(phone)
    for (const fact of facts) this.#tell(phone, fact)
  }

  #tell(phone: SimulatedPhone, fact: Fact): void {
    const muted = this.#time.now < (this.mutedUntil.get(phone) ?? 0)
    const sessions = [...this.#sessions].filter((session) => session.phone === phone && session.hears)
    const hearing = muted ? [] : sessions.filter((session) => !session.deaf)
    const live = this.shape.liveEvents === "session"
    // By its time it is one of those that were heard long ago.
    const isLate = this.#time.wall - fact.at > lateAfter
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
      at: this.#time.wall,
      silent: muted || (live && !posts && sessions.length > 0 && hearing.length === 0),
      isTelling: () =>
        this.shape.history && fact.kind === "message.received" && !phone.revoked.has(fact.waId) && !isLate
    }
    this.emitted.push(emission)
    this.#trace.add(`${phone.upstreamId} emits ${fact.kind} ${fact.waId} to ${hearing.length}${muted ? ", muted" : ""}`)
    phone.learn(fact)
    if (fact.kind === "message.received" || fact.kind === "message.sent") {
      this.#time.after(this.#random.next() * storedWithin, () => phone.keep(fact))
    }
    if (muted) return
    // What is on its way says what was so when it was sent.
    const said = { ...fact }
    if (live) { for (const session of hearing) this.#send(session, said) }
    if (posts) this.#post({ phone, fact: said, emission, begun: this.#time.now }, 0)
  }

  #send(session: SimulatedSession, fact: Fact): void {
    const { repeated, reordered } = this.faults
    const draft = (): SessionEvent => ({
      _tag: "Record",
      draft: toDraft(fact, session.phone.deviceId, "live", this.#time.wall)
    })
    session.carry(draft, this.#delay(), this.#random.chance(reordered))
    if (this.#random.chance(repeated)) session.carry(draft, this.#delay(), this.#random.chance(reordered))
  }

  // Webhooks

  #post(outgoing: Outgoing, tries: number): void {
    const { begun, emission, fact, phone } = outgoing
    const address = this.#addresses.get(phone.upstreamId)
    const left = begun + webhookTime - this.#time.now
    const giveUp = () => {
      // What a session was given is lost with that session, if at all, and then something broke.
      emission.silent ||= emission.sockets === 0 || this.shape.liveEvents === "webhook"
      this.#trace.add(`${phone.upstreamId} gives up ${fact.waId}`)
    }
    if (address === undefined || left <= 0 || this.#time.now < this.downUntil) return giveUp()
    let settled = false
    const again = () => {
      if (settled) return
      settled = true
      cancel()
      const wait = webhookWaits[tries]
      if (wait === undefined) return giveUp()
      this.#time.after(wait, () => this.#post(outgoing, tries + 1))
    }
    const cancel = this.#time.after(Math.min(10_000, left), again)
    const fronts = this.fronts()
    const front = fronts.length < 2 ? fronts[0] : this.#random.pick(fronts)
    this.#time.after(this.#delay(), () => {
      if (front === undefined || !front.machine.alive || this.#time.now < this.ingressDownUntil) return again()
      const body = Buffer.from(JSON.stringify({ slot: phone.upstreamId, fact } satisfies Post))
      const device = new URL(address.url).searchParams.get("device")
      front.take({ gateway: this.name, device, headers: { [signature]: address.secret }, body }, (outcome) => {
        if (this.#random.chance(this.faults.answerLost)) return
        this.#time.after(this.#delay(), () => {
          if (webhookOutcomes[outcome].status >= 300) {
            this.#trace.add(`${phone.upstreamId} ${fact.waId} is answered ${outcome}`)
            return again()
          }
          if (settled) return
          settled = true
          cancel()
          if (this.#random.chance(this.faults.repeated)) {
            this.#time.after(this.#random.next() * 5000, () => this.#post(outgoing, tries))
          }
        })
      })
    })
  }

  /** An operator or a restart has undone where it posts to. */
  forgetWebhook(phone: SimulatedPhone): void {
    this.#addresses.delete(phone.upstreamId)
  }

  // Faults of connections

  /** Connections of this phone that are open now, or of all. */
  sessions(phone?: SimulatedPhone): ReadonlyArray<SimulatedSession> {
    return [...this.#sessions].filter((session) => session.open && (phone === undefined || session.phone === phone))
  }

  /** Its process ends, and is back after a time. Withheld events come then. */
  crash(downFor: number): void {
    this.downUntil = Math.max(this.downUntil, this.#time.now + downFor)
    for (const session of this.sessions()) session.lose({ class: "transport", code: "socket-closed", detail: "gone" })
    for (const link of [...this.#links]) link.lose("gone")
    this.#time.after(downFor + 1, () => {
      if (this.#time.now < this.downUntil) return
      for (const phone of this.phones) if (phone.connected && phone.loggedIn) this.release(phone)
    })
  }

  /** It says nothing for a time. Connections that are silent for 30 s are given up by their other side. */
  stall(millis: number): void {
    this.stalledUntil = Math.max(this.stalledUntil, this.#time.now + millis)
    if (millis < 20_000) return
    for (const session of this.sessions()) session.freeze(20_000 + this.#random.next() * 10_000)
    for (const link of [...this.#links]) link.freeze(20_000 + this.#random.next() * 10_000)
  }

  /** The gateway loses an account's connection to WhatsApp, says so or not, and has it again after a time. */
  disconnect(phone: SimulatedPhone, millis: number): void {
    phone.connected = false
    this.#hint(phone, { _tag: "UpstreamDisconnected", reason: null })
    this.#time.after(millis, () => this.#reconnect(phone))
  }

  /** The account is logged out, and somebody logs it in again after a time. */
  logOut(phone: SimulatedPhone, millis: number): void {
    phone.loggedIn = false
    this.#hint(phone, { _tag: "LoggedOut", reason: "by the phone" })
    this.#time.after(millis, () => this.#reconnect(phone))
  }

  #reconnect(phone: SimulatedPhone): void {
    phone.connected = true
    phone.loggedIn = true
    this.#hint(phone, { _tag: "UpstreamConnected", jid: phone.jid })
    if (this.#time.now >= this.downUntil) this.release(phone)
  }

  #hint(phone: SimulatedPhone, event: SessionEvent): void {
    if (this.#random.chance(0.3)) return
    for (const session of this.sessions(phone)) session.carry(() => event, this.#delay(), false)
    for (const link of this.#links) link.tell(phone.deviceId, event)
  }

  heal(): void {
    const { now } = this.#time
    this.faults = { request: 0, repeated: 0, reordered: 0, answerLost: 0, latencyMax: 3 }
    this.downUntil = this.stalledUntil = this.ingressDownUntil = now
    this.mutedUntil.clear()
    for (const session of this.#sessions) session.deaf = false
    for (const phone of this.phones) this.#reconnect(phone)
  }

  /** A process is gone, and its connections with it. */
  forgetMachine(machine: Machine): void {
    for (const session of this.#sessions) if (session.machine === machine) session.close()
    for (const link of [...this.#links]) if (link.machine === machine) link.close()
  }

  /** It ends the connections of a process that does not answer. */
  giveUp(machine: Machine): void {
    for (const session of this.sessions()) {
      if (session.machine === machine) session.lose({ class: "transport", code: "socket-closed", detail: "given up" })
    }
    for (const link of [...this.#links]) if (link.machine === machine) link.lose("given up")
  }

  loseLink(): void {
    for (const link of [...this.#links]) link.lose("lost")
  }

  // The port

  /** The gateway as one process sees it. */
  open(machine: Machine): WhatsAppGateway {
    const { shape } = this
    const unavailable = (operation: string) => GatewayUnavailable.of(this.name, operation, "simulated")
    const ask = <A>(operation: string, answer: () => A, most = requestMax): Effect.Effect<A, GatewayUnavailable> =>
      this.#request(machine, most, answer, () => unavailable(operation))
    const readStatus = (phone: SimulatedPhone) => ({
      isConnected: phone.connected && phone.loggedIn,
      isLoggedIn: phone.loggedIn,
      jid: phone.loggedIn ? phone.jid : null
    })
    const find = (upstreamId: UpstreamId) => this.phones.find((phone) => phone.upstreamId === upstreamId)
    const history: History = {
      covers: new Set(["messages", "other-messages"]),
      read: (target, window, page) =>
        ask("read a history", () => {
          const phone = find(target.upstreamId)
          const [from, to] = [Date.parse(window.from), Date.parse(window.to)]
          const after = Number(page ?? 0)
          const rows = (phone?.history ?? []).filter(({ fact: { at }, number }) =>
            number > after && at >= from - 1000 && at <= to
          )
          const some = rows.slice(0, shape.pageSize)
          return {
            drafts: some.map(({ fact }) => toDraft(fact, target.deviceId, "backfill", this.#time.wall)),
            next: rows.length > some.length ? String(some.at(-1)!.number) : null
          }
        })
    }
    return {
      name: this.name,
      dialect: shape.liveEvents === "webhook" ? "gowa" : shape.posts ? "waha" : "bridge",
      description: "simulated",
      capabilities: {
        liveEvents: shape.liveEvents,
        history: shape.history ? "time" : null,
        ackLevels: ["delivered", "read"],
        qrRefresh: false,
        passkey: false
      },
      status: ({ upstreamId }) =>
        ask("read a status", () => {
          const phone = find(upstreamId)
          return phone === undefined ? { isConnected: false, isLoggedIn: false, jid: null } : readStatus(phone)
        }),
      ensureSlot: () => ask("create a slot", () => {}),
      probe: ask("answer a probe", () => {}, 3000),
      ...(shape.lists
        ? {
          statuses: ask(
            "list slots",
            () => new Map(this.phones.map((phone) => [phone.upstreamId, { status: readStatus(phone), proven: true }]))
          )
        }
        : undefined),
      ...(shape.liveEvents === "session"
        ? { open: (target, listener) => this.#openSession(machine, find(target.upstreamId), listener) }
        : { link: (listener) => this.#openLink(machine, listener) }),
      ...(shape.history ? { history } : undefined),
      ...(shape.liveEvents === "webhook" || shape.posts
        ? {
          ingest: this.#ingest,
          webhook: {
            events: ["*"],
            instructions: (url) => url,
            ensure: ({ upstreamId }, { secret, url }) =>
              ask("set a webhook", () => {
                const known = this.#addresses.get(upstreamId)
                const address = { url, secret: Redacted.value(secret) }
                if (known?.url === url && known.secret === address.secret) return "unchanged"
                this.#addresses.set(upstreamId, address)
                this.#trace.add(`${upstreamId} posts to us`)
                return "set"
              })
          }
        }
        : undefined)
    } satisfies WhatsAppGateway
  }

  #delay(): number {
    return 0.2 + this.#random.next() ** 4 * this.faults.latencyMax
  }

  /** Answers when the question has arrived; fails, or does so late, where faults want it. */
  #request<A, E>(machine: Machine, most: number, answer: () => A, failure: () => E): Effect.Effect<A, E> {
    return Effect.callback<A, E>((resume) => {
      if (!machine.alive) return
      const { now } = this.#time
      const fail = (after: number) => machine.postAfter(after, () => resume(Effect.fail(failure())))
      if (now < this.downUntil) return void fail(this.#delay())
      if (now < this.stalledUntil) return void fail(most)
      if (this.#random.chance(this.faults.request)) {
        return void fail(this.#random.chance(0.5) ? this.#delay() : most)
      }
      this.#time.after(this.#delay(), () => {
        const found = answer()
        machine.postAfter(this.#delay(), () => resume(Effect.succeed(found)))
      })
    })
  }

  readonly #ingest: Ingest = ({ body, headers, secrets }, { find, now }) => {
    const given = headers[signature]
    if (!secrets.some((secret) => Redacted.value(secret) === given)) {
      return { _tag: "Refused", reason: "signature", detail: "no secret verifies" }
    }
    const { fact, slot } = JSON.parse(Buffer.from(body).toString()) as Post
    const target = find(slot)
    if (target === null) return { _tag: "UnknownSlot", slot }
    return {
      _tag: "Accepted",
      deviceId: target.deviceId,
      events: [{ _tag: "Record", draft: toDraft(fact, target.deviceId, "webhook", now) }]
    }
  }

  #refusal(): SessionRefused | null {
    const refuse = (failureClass: Failure["class"], code: string) =>
      new SessionRefused({ message: "simulated", class: failureClass, code, retryAfter: null })
    if (this.#time.now < this.downUntil) return refuse("upstreamDown", "connection-refused")
    if (this.#time.now < this.stalledUntil) return refuse("upstreamDown", "handshake-timeout")
    return this.#random.chance(this.faults.request) ? refuse("transport", "handshake-refused") : null
  }

  #handshake<A>(machine: Machine, open: () => A, close: (opened: A) => void): Effect.Effect<A, SessionRefused> {
    return Effect.callback<A, SessionRefused>((resume) => {
      if (!machine.alive) return
      let wanted = true
      const refusal = this.#refusal()
      if (refusal !== null) {
        machine.postAfter(
          refusal.code === "handshake-timeout" ? handshakeMax : this.#delay(),
          () => resume(Effect.fail(refusal))
        )
        return
      }
      this.#time.after(this.#delay(), () =>
        machine.post(() => {
          if (!wanted) return
          const opened = open()
          resume(Effect.succeed(opened))
          // Interrupted in the same step: nobody has it.
          if (!wanted) close(opened)
        }))
      return Effect.sync(() => {
        wanted = false
      })
    })
  }

  #openSession(
    machine: Machine,
    phone: SimulatedPhone | undefined,
    listener: SessionListener
  ): Effect.Effect<Session, SessionRefused, Scope.Scope> {
    if (phone === undefined) {
      return new SessionRefused({ message: "unknown", class: "transport", code: "unknown-slot", retryAfter: null })
    }
    const open = () => {
      const session = new SimulatedSession(phone, machine, this.#time, listener, () => this.#sessions.delete(session))
      this.#sessions.add(session)
      this.#trace.add(`${phone.upstreamId} session opened`)
      return session
    }
    return Effect.acquireRelease(
      this.#handshake(machine, open, (session) => session.close()),
      (session) => Effect.sync(() => session.close())
    )
  }

  #openLink(machine: Machine, listener: LinkListener): Effect.Effect<void, SessionRefused, Scope.Scope> {
    const open = () => {
      const link = new SimulatedLink(machine, listener, () => this.#links.delete(link))
      this.#links.add(link)
      this.#trace.add(`${this.name} link opened`)
      return link
    }
    return Effect.asVoid(Effect.acquireRelease(
      this.#handshake(machine, open, (link) => link.close()),
      (link) => Effect.sync(() => link.close())
    ))
  }
}
