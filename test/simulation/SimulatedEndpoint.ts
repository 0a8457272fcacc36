/**
 * The server of a subscriber in a simulated world: it accepts posted events, or fails as such servers do. It checks each
 * signature and records the accepted events, in order.
 */
import { Context, Effect, Redacted } from "effect"
import type { DeviceId } from "../../src/domain/Ids.ts"
import type { SubscriptionId } from "../../src/domain/Subscription.ts"
import { OutboundFailed, OutboundHttp } from "../../src/services/OutboundHttp.ts"
import type { OutboundPost, OutboundReply } from "../../src/services/OutboundHttp.ts"
import { readSecret, signHeaders } from "../../src/services/webhookSignature.ts"
import type { Seeded } from "../../src/simulator/Seeded.ts"
import type { Delivered } from "../support/Ledger.ts"
import type { Trace } from "./Trace.ts"
import type { Machine, VirtualTime } from "./VirtualTime.ts"

export interface EndpointFaults {
  /** Probability per request of an error as its answer. */
  readonly failed: number
  /** Probability per answer that it does not arrive. */
  readonly answerLost: number
  readonly latencyMax: number
}

/** The filters of the subscription. */
export interface EndpointShape {
  readonly kinds: ReadonlyArray<string> | null
  readonly devices: ReadonlyArray<DeviceId> | null
  readonly rateLimit: number | null
  readonly from: "beginning" | "now"
}

/** `requestMillisMax` of the real client. */
const requestMax = 15_000

/** A request without an answer in time may yet be accepted, at most this much later. */
const takenLateMax = 20_000

export class SimulatedEndpoint {
  readonly id: SubscriptionId
  readonly url: string
  readonly shape: EndpointShape
  readonly secret: Redacted.Redacted
  faults: EndpointFaults
  readonly taken: Array<Delivered> = []
  /** Deliveries that are not signed with its secret. */
  readonly forged: Array<string> = []
  /** Nothing listens there. */
  downUntil = 0
  /** It accepts posts, and answers too late. */
  hangsUntil = 0
  throttlesUntil = 0
  /** It answers that it is gone. */
  goneUntil = 0
  /** It refuses the events of a device. */
  refuses: { readonly device: DeviceId; readonly until: number } | null = null
  readonly #key: Uint8Array
  readonly #time: VirtualTime
  readonly #random: Seeded
  readonly #trace: Trace

  constructor(
    number: number,
    shape: EndpointShape,
    world: { readonly time: VirtualTime; readonly random: Seeded; readonly trace: Trace },
    faults: EndpointFaults
  ) {
    this.id = `sub_${String(number).padStart(26, "0")}` as SubscriptionId
    this.url = `https://endpoint-${number}.test/`
    this.secret = Redacted.make(`whsec_${Buffer.alloc(32, number).toString("base64")}`)
    this.#key = readSecret(this.secret)!
    this.shape = shape
    this.#time = world.time
    this.#random = world.random
    this.#trace = world.trace
    this.faults = faults
  }

  heal(): void {
    this.faults = { failed: 0, answerLost: 0, latencyMax: 3 }
    this.downUntil =
      this.hangsUntil =
      this.throttlesUntil =
      this.goneUntil =
        this.#time.now
    this.refuses = null
  }

  /** Whether the subscription selects it. */
  wants({ deviceId, kind }: { readonly deviceId: string; readonly kind: string }): boolean {
    const { devices, kinds } = this.shape
    return (kinds === null || kinds.includes(kind)) && (devices === null || devices.some((id) => id === deviceId))
  }

  /** The outcome of one request of this process. */
  receive(machine: Machine, post: OutboundPost, answer: (reply: OutboundReply | OutboundFailed) => void): void {
    let waits = true
    const settle = (reply: OutboundReply | OutboundFailed) => {
      if (!waits) return
      waits = false
      answer(reply)
    }
    machine.postAfter(requestMax, () => settle(OutboundFailed.of("timeout", "simulated")))
    this.#time.after(this.#delay(), () => {
      if (this.#time.now < this.downUntil) {
        if (this.#random.chance(0.8)) machine.post(() => settle(OutboundFailed.of("connection", "simulated")))
        return
      }
      if (this.#time.now < this.hangsUntil) {
        if (this.#random.chance(0.5)) this.#time.after(this.#random.next() * takenLateMax, () => this.#take(post))
        return
      }
      const status = this.#decide(post)
      if (status === 204) this.#take(post)
      else this.#trace.add(`${this.id} answers ${status}`)
      if (this.#random.chance(this.faults.answerLost)) return this.#trace.add(`${this.id}: an answer is lost`)
      const retryAfterSeconds = status === 429 ? this.#random.between(1, 60) : null
      machine.postAfter(this.#delay(), () => settle({ status, retryAfterSeconds }))
    })
  }

  #decide(post: OutboundPost): number {
    const { now } = this.#time
    if (now < this.goneUntil) return 410
    if (now < this.throttlesUntil) return 429
    if (this.refuses !== null && now < this.refuses.until && read(post).deviceId === this.refuses.device) return 422
    return this.#random.chance(this.faults.failed) ? 503 : 204
  }

  #take(post: OutboundPost): void {
    const { body, headers } = post
    const delivery = read(post)
    const id = String(headers["webhook-id"])
    const expected = signHeaders([this.#key], id, Number(headers["webhook-timestamp"]), body)
    if (expected["webhook-signature"] !== headers["webhook-signature"] || id !== delivery.messageId) {
      this.forged.push(`${this.id} ${delivery.seq}`)
    }
    this.#trace.note(`${this.id} takes ${delivery.seq} ${delivery.kind}`)
    this.taken.push(delivery)
  }

  #delay(): number {
    return 0.1 + this.#random.next() ** 4 * this.faults.latencyMax
  }
}

const read = ({ body }: OutboundPost): Delivered => {
  const { deviceId, id, kind, seq } = JSON.parse(Buffer.from(body).toString()) as Readonly<
    Record<"deviceId" | "id" | "kind" | "seq", string>
  >
  return { messageId: id, seq: Number(seq), kind, deviceId, redelivered: false }
}

/** The internet as one process reaches it: these endpoints. */
export const reach = (
  endpoints: ReadonlyArray<SimulatedEndpoint>,
  machine: Machine
): Context.Context<OutboundHttp> =>
  Context.make(
    OutboundHttp,
    OutboundHttp.of({
      check: () => Effect.void,
      post: (post) =>
        Effect.callback((resume) => {
          const endpoint = endpoints.find(({ url }) => url === post.url)
          if (endpoint === undefined) return resume(Effect.fail(OutboundFailed.of("connection", "nothing is there")))
          endpoint.receive(
            machine,
            post,
            (reply) => resume(reply instanceof OutboundFailed ? Effect.fail(reply) : Effect.succeed(reply))
          )
        }),
      fetch: () => Effect.fail(OutboundFailed.of("connection", "no files are there"))
    })
  )
