/**
 * Whether an endpoint is taken to be down. It opens when several devices fail without a success between them, when as many
 * devices are held as may be, or by an answer that no other event would change. While it is open, single probes are sent at
 * growing intervals; the first one that is answered closes it. Decides by what it is told, without a clock of its own.
 */
import type { DeviceId } from "../../../domain/Ids.ts"
import type { DeliveryOutcome, SubscriptionHealth } from "../../../domain/Subscription.ts"
import * as bounds from "../../../services/subscriptionBounds.ts"
import type { Reported } from "./deliverySteps.ts"

interface Open {
  readonly since: string
  failures: number
  dueAt: number
  /** The next probe that fails is not counted: it follows a restart and no wait. */
  free: boolean
  outcome: DeliveryOutcome
  status: number | null
  detail: string | null
}

/** Outcomes that no other event would change. */
const endpointWide: ReadonlySet<DeliveryOutcome> = new Set(["throttled", "forbidden", "unsigned"])

export class EndpointCircuit {
  #open: Open | null = null
  /** Devices that have failed since the last success. */
  readonly #failing = new Set<DeviceId>()
  readonly #jittered: (millis: number) => number

  constructor(jittered: (millis: number) => number) {
    this.#jittered = jittered
  }

  /** Open since before this process: the next probe comes at `dueAt`. */
  resume(failing: NonNullable<SubscriptionHealth["failing"]>, dueAt: number): void {
    const { attempts, detail, outcome, since, status } = failing
    this.#open = { since, failures: attempts, dueAt, free: true, outcome, status, detail }
  }

  get isOpen(): boolean {
    return this.#open !== null
  }

  /** When the next probe is due; null while it is closed. */
  get dueAt(): number | null {
    return this.#open?.dueAt ?? null
  }

  get health(): SubscriptionHealth["failing"] {
    if (this.#open === null) return null
    const { detail, failures, outcome, since, status } = this.#open
    return { since, attempts: failures, attemptsMax: bounds.probesMax, outcome, status, detail }
  }

  /** The endpoint is there. Answers whether it was taken to be down until now. */
  close(): boolean {
    this.#failing.clear()
    const wasOpen = this.#open !== null
    this.#open = null
    return wasOpen
  }

  /**
   * An event of the device could not be delivered, for a reason that may be the endpoint's. `heldDevices`: how many devices
   * are held with it. Answers whether as many probes have failed as are made.
   */
  failed(
    { device, heldDevices, probe }: {
      readonly device: DeviceId
      readonly heldDevices: number
      readonly probe: boolean
    },
    { detail, outcome, retryAfterSeconds, status }: Reported,
    now: number,
    at: string
  ): boolean {
    this.#failing.add(device)
    const before = this.#open
    // Sent before the circuit was opened, and so one of the failures that opened it.
    if (before !== null && !probe) return false
    if (before === null && !this.#isEndpointDown(outcome, heldDevices)) return false
    const open = before ?? { since: at, failures: 1, dueAt: 0, free: false, outcome, status, detail }
    if (before !== null) {
      // What is our own fault (a key that is missing) disables nothing.
      if (!before.free && outcome !== "unsigned") before.failures++
      Object.assign(before, { free: false, outcome, status, detail })
    }
    const asked = Math.min((retryAfterSeconds ?? 0) * 1000, bounds.retryAfterMaxMillis)
    open.dueAt = now + Math.max(this.#jittered(bounds.probeDelayMillis(open.failures)), asked)
    this.#open = open
    return open.failures >= bounds.probesMax
  }

  /** With as many devices held as there may be, nothing new is sent in any case, and a probe finds out the sooner. */
  #isEndpointDown(outcome: DeliveryOutcome, heldDevices: number): boolean {
    return this.#failing.size >= bounds.circuitDevices || heldDevices >= bounds.heldDevicesMax ||
      endpointWide.has(outcome)
  }
}
