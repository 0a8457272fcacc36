/**
 * One WhatsApp account of a simulated world: the events of its chats, and what its gateway keeps of them. Facts become
 * drafts when they travel, under the same identity on every path.
 */
import type { EventDraft } from "../../src/domain/Event.ts"
import type { DeviceId, UpstreamId } from "../../src/domain/Ids.ts"
import type { Via } from "../../src/domain/Via.ts"
import { deriveMessageId, makeEventId } from "../../src/services/EventIdentity.ts"
import type { SessionTarget } from "../../src/services/GatewayParts.ts"
import type { Seeded } from "../../src/simulator/Seeded.ts"

export interface Fact {
  readonly kind:
    | "message.received"
    | "message.sent"
    | "message.ack"
    | "message.reaction"
    | "message.edited"
    | "message.revoked"
  readonly waId: string
  readonly chat: string
  readonly sender: string
  readonly fromMe: boolean
  /** Of a message as its gateway keeps it now. */
  body: string | null
  readonly target: string | null
  readonly status: (typeof ranks)[number] | null
  /** When it happened, by the gateway's clock. */
  readonly at: number
}

export interface Kept {
  /** 1, 2, 3 …: where a page ends, whatever is removed or stored meanwhile. */
  readonly number: number
  readonly fact: Fact
  /** When the gateway stored it. */
  readonly storedAt: number
}

/** Messages that may still be acknowledged, edited, revoked or reacted to: the newest. */
const recentMax = 20

/** The status of its message that an ack reports. */
const ranks = ["delivered", "read"] as const

export class SimulatedPhone {
  readonly deviceId: DeviceId
  readonly upstreamId: UpstreamId
  readonly jid: string
  loggedIn = true
  /** Its gateway is connected to WhatsApp for it. */
  connected = true
  /** The messages that its gateway keeps, in their current form, in the order in which it stored them. */
  readonly history: Array<Kept> = []
  #kept = 0
  readonly revoked = new Set<string>()
  readonly #random: Seeded
  readonly #contacts: ReadonlyArray<string>
  readonly #groups: ReadonlyArray<string>
  #recent: Array<Fact> = []
  readonly #messages = new Map<string, Fact>()
  /** The acknowledged status, by message and participant. */
  readonly #acked = new Map<string, number>()
  #ids = 0

  constructor(number: number, random: Seeded) {
    this.#random = random
    this.deviceId = `dev_${String(number).padStart(26, "0")}` as DeviceId
    this.upstreamId = `slot-${number}` as UpstreamId
    this.jid = `62811${String(number).padStart(6, "0")}@s.whatsapp.net`
    this.#contacts = Array.from({ length: 5 }, (_, n) => `62822${number}${String(n).padStart(5, "0")}@s.whatsapp.net`)
    this.#groups = [`12036${number}0001@g.us`]
  }

  get target(): SessionTarget {
    return { deviceId: this.deviceId, upstreamId: this.upstreamId, jid: this.jid }
  }

  /** The next event of its chats. */
  happen(at: number): Fact {
    const random = this.#random
    const others = this.#recent.filter(({ fromMe }) => !fromMe)
    const own = this.#recent.filter(({ fromMe }) => fromMe)
    const chance = random.next()
    if (chance < 0.2 && own.length > 0) {
      const ack = this.#acknowledge(random.pick(own), at)
      if (ack !== null) return ack
    }
    if (chance < 0.25 && others.length > 0) {
      return this.#act("message.reaction", random.pick(others), `👍${this.#ids}`, at)
    }
    if (chance < 0.29 && others.length > 0) {
      const message = random.pick(others)
      return this.#act("message.edited", message, `text ${this.#ids}, edited`, at)
    }
    if (chance < 0.32 && others.length > 0) {
      const message = random.pick(others)
      this.#recent = this.#recent.filter((one) => one !== message)
      return this.#act("message.revoked", message, null, at)
    }
    return this.#message(chance < 0.45, at)
  }

  /** Its gateway receives an edit or a revocation, and changes what it keeps. */
  learn({ body, kind, target }: Fact): void {
    if (target === null) return
    const message = this.#messages.get(target)
    if (kind === "message.edited" && message !== undefined) message.body = body
    if (kind !== "message.revoked") return
    this.revoked.add(target)
    const kept = this.history.findIndex(({ fact }) => fact === message)
    if (kept !== -1) this.history.splice(kept, 1)
  }

  /** Its gateway stores the message, unless it was revoked meanwhile. */
  keep(fact: Fact, storedAt: number): void {
    if (!this.revoked.has(fact.waId)) this.history.push({ number: ++this.#kept, fact, storedAt })
  }

  #message(fromMe: boolean, at: number): Fact {
    const random = this.#random
    const inGroup = random.chance(0.25)
    const chat = random.pick(inGroup ? this.#groups : this.#contacts)
    const fact: Fact = {
      kind: fromMe ? "message.sent" : "message.received",
      waId: `M${this.upstreamId}-${++this.#ids}`,
      chat,
      sender: fromMe ? this.jid : inGroup ? random.pick(this.#contacts) : chat,
      fromMe,
      body: `text ${this.#ids}`,
      target: null,
      status: null,
      at
    }
    this.#recent = [...this.#recent.slice(1 - recentMax), fact]
    this.#messages.set(fact.waId, fact)
    return fact
  }

  #acknowledge(message: Fact, at: number): Fact | null {
    const participant = message.chat.endsWith("@g.us") ? this.#random.pick(this.#contacts) : message.chat
    const key = `${message.waId} ${participant}`
    const reached = this.#acked.get(key) ?? -1
    if (reached === ranks.length - 1) return null
    const rank = reached + 1
    this.#acked.set(key, rank)
    return {
      kind: "message.ack",
      waId: message.waId,
      chat: message.chat,
      sender: participant,
      fromMe: true,
      body: null,
      target: null,
      status: ranks[rank]!,
      at
    }
  }

  #act(
    kind: "message.reaction" | "message.edited" | "message.revoked",
    to: Fact,
    body: string | null,
    at: number
  ): Fact {
    return {
      kind,
      waId: `A${this.upstreamId}-${++this.#ids}`,
      chat: to.chat,
      sender: to.sender,
      fromMe: false,
      body,
      target: to.waId,
      status: null,
      at
    }
  }
}

/** WhatsApp's times have whole seconds. */
const formatSeconds = (at: number): string => `${new Date(at).toISOString().slice(0, 19)}Z`

/** The fact as an adapter would pass it on. */
export const toDraft = (fact: Fact, deviceId: DeviceId, via: Via, now: number): EventDraft => {
  const { at, body, chat, fromMe, kind, sender, status, target, waId } = fact
  const draft = {
    id: makeEventId(now),
    deviceId,
    occurredAt: formatSeconds(at),
    via,
    identity: { chat, sender, fromMe, waId, rank: status ?? "" },
    aliases: []
  }
  switch (kind) {
    case "message.received":
    case "message.sent": {
      const messageId = deriveMessageId(deviceId, { fromMe, chat, sender, waId })
      return { ...draft, kind, data: { messageId, waId, chat, sender, fromMe, type: "text", body } }
    }
    case "message.ack": {
      const messageId = deriveMessageId(deviceId, { fromMe, chat, sender, waId })
      return { ...draft, kind, data: { messageId, waId, chat, participant: sender, status: status! } }
    }
    default:
      return { ...draft, kind, data: { waId, targetWaId: target!, chat, sender, fromMe, body } }
  }
}
