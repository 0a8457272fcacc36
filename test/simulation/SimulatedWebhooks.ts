/**
 * The webhooks of a simulated gateway: where it posts the events of each slot, and how it retries while none is accepted. It
 * tries for 30 s, as GOWA does, and then abandons the event. Faults strike on the way: the post is refused, or its answer lost.
 */
import { Redacted } from "effect"
import type { UpstreamId } from "../../src/domain/Ids.ts"
import type { Ingest } from "../../src/services/GatewayParts.ts"
import type { IncomingWebhook } from "../../src/services/WebhookIngest.ts"
import type { WebhookOutcome } from "../../src/services/webhookOutcomes.ts"
import { webhookOutcomes } from "../../src/services/webhookOutcomes.ts"
import type { Emission } from "./silence.ts"
import type { SimulatedGateway } from "./SimulatedGateway.ts"
import { toDraft } from "./SimulatedPhone.ts"
import type { Fact, SimulatedPhone } from "./SimulatedPhone.ts"
import type { Machine } from "./VirtualTime.ts"

/** A process that runs now: its front accepts webhooks. */
export interface Front {
  readonly machine: Machine
  readonly take: (webhook: Omit<IncomingWebhook, "startedAt">, answered: (outcome: WebhookOutcome) => void) => void
}

/** GOWA's waits between the tries of one webhook, within so much time in all. */
const webhookWaits = [1000, 2000, 4000, 8000]
const webhookTime = 30_000

const signature = "x-signature"

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
  /** The process that was suspended at every try; null if one ran, or before the first try. */
  stoodStill: Machine | null
  /** A process has accepted it, whether or not its answer came. */
  accepted: boolean
}

/** A process that was suspended records it this long after it runs again, unless the database prevents it. */
const writtenDownWithin = 5 * 60_000

export class SimulatedWebhooks {
  /** Nothing reaches Columba's address. */
  cutUntil = 0
  /** The processes that run now: each accepts webhooks. */
  fronts: () => ReadonlyArray<Front> = () => []
  readonly #addresses = new Map<UpstreamId, Address>()
  readonly #gateway: SimulatedGateway

  constructor(gateway: SimulatedGateway) {
    this.#gateway = gateway
  }

  post(phone: SimulatedPhone, fact: Fact, emission: Emission): void {
    this.#try({ phone, fact, emission, begun: this.#gateway.time.now, stoodStill: null, accepted: false }, 0)
  }

  #try(outgoing: Outgoing, tries: number): void {
    const gateway = this.#gateway
    const { random, time } = gateway
    const { begun, emission, fact, phone } = outgoing
    const address = this.#addresses.get(phone.upstreamId)
    const left = begun + webhookTime - time.now
    const giveUp = () => {
      // An event that was sent to a session is lost only if that session breaks, which shows. That the gateway had no address to
      // post to is noticed when the address is set.
      const isUntold = gateway.shape.liveEvents === "webhook" ? address !== undefined : emission.sockets === 0
      emission.silent ||= isUntold && !outgoing.accepted
      if (outgoing.stoodStill !== null && gateway.shape.liveEvents === "webhook") {
        this.#unanswered(emission, outgoing.stoodStill)
      }
      gateway.trace.add(`${phone.upstreamId} gives up ${fact.waId}`)
    }
    if (address === undefined || left <= 0 || gateway.isDown) return giveUp()
    let settled = false
    const again = () => {
      if (settled) return
      settled = true
      cancel()
      const wait = webhookWaits[tries]
      if (wait === undefined) return giveUp()
      time.after(wait, () => this.#try(outgoing, tries + 1))
    }
    const cancel = time.after(Math.min(10_000, left), again)
    const fronts = this.fronts()
    const front = fronts.length < 2 ? fronts[0] : random.pick(fronts)
    time.after(gateway.delay(), () => {
      const isFirst = tries === 0 || outgoing.stoodStill !== null
      outgoing.stoodStill = isFirst && front?.machine.isFrozen === true ? front.machine : null
      if (front === undefined || !front.machine.alive || time.now < this.cutUntil) return again()
      const body = Buffer.from(JSON.stringify({ slot: phone.upstreamId, fact } satisfies Post))
      const device = new URL(address.url).searchParams.get("device")
      front.take({ gateway: gateway.name, device, headers: { [signature]: address.secret }, body }, (outcome) => {
        outgoing.accepted ||= webhookOutcomes[outcome].status < 300
        if (random.chance(gateway.faults.answerLost)) return
        time.after(gateway.delay(), () => {
          if (webhookOutcomes[outcome].status >= 300) {
            gateway.trace.add(`${phone.upstreamId} ${fact.waId} is answered ${outcome}`)
            return again()
          }
          if (settled) return
          settled = true
          cancel()
          if (random.chance(gateway.faults.repeated)) {
            time.after(random.next() * 5000, () => this.#try(outgoing, tries))
          }
        })
      })
    })
  }

  /** The process notices its suspension, and records it once it runs again. One that dies before leaves no record. */
  #unanswered(emission: Emission, machine: Machine): void {
    const { time } = this.#gateway
    if (machine.isFrozen) return void time.after(writtenDownWithin, () => this.#unanswered(emission, machine))
    time.after(writtenDownWithin, () => {
      if (machine.alive) emission.silent = false
    })
  }

  /** Sets the address for its posts. False: it was set before. */
  set(slot: UpstreamId, url: string, secret: string): boolean {
    const known = this.#addresses.get(slot)
    if (known?.url === url && known.secret === secret) return false
    this.#addresses.set(slot, { url, secret })
    this.#gateway.trace.add(`${slot} posts to us`)
    return true
  }

  /** An operator or a restart has undone the address for its posts. */
  forget(slot: UpstreamId): void {
    this.#addresses.delete(slot)
  }
}

/** The post as an adapter reads it. */
export const ingest: Ingest = ({ body, headers, secrets }, { find, now }) => {
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
