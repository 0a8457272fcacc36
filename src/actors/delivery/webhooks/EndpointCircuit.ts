/**
 * A circuit breaker for one endpoint. It opens when several devices fail without a success between them, when the maximum
 * number of devices is held, or on an answer that any other event would get too. While it is open, single probes are sent
 * at growing intervals; the first one that is answered closes it. It decides by its inputs alone and has no clock.
 */
import type { DeviceId } from "../../../domain/Ids.ts"
import type { DeliveryOutcome, SubscriptionHealth } from "../../../domain/Subscription.ts"
import * as bounds from "../../../services/subscriptionBounds.ts"
import type { Reported } from "./deliverySteps.ts"

interface Open {
  readonly since: string
  failures: number
  dueAt: number
  /** A failure of the next probe is not counted: it follows a restart and not a wait. */
  free: boolean
  outcome: DeliveryOutcome
  status: number | null
  detail: string | null
}

/** Outcomes that any other event would have too. */
const endpointWide: ReadonlySet<DeliveryOutcome> = new Set(["throttled", "forbidden", "unsigned"])

export class EndpointCircuit {
  #open: Open | null = null
  /** Devices that have failed since the last success. */
  readonly #failing = new Set<DeviceId>()
  readonly #jittered: (millis: number) => number

  constructor(jittered: (millis: number) => number) {
    this.#jittered = jittered
  }

  /** Restores a circuit that an earlier process opened: the next probe is due at `dueAt`. */
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

  /** The endpoint is available. Returns whether the circuit was open until now. */
  close(): boolean {
    this.#failing.clear()
    const wasOpen = this.#open !== null
    this.#open = null
    return wasOpen
  }

  /**
   * An event of the device could not be delivered, for a reason that may concern the whole endpoint. `heldDevices`: how
   * many devices are held, this one included. Returns whether the maximum number of probes has failed.
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
    // It was sent before the circuit opened, so it is one of the failures that opened it.
    if (before !== null && !probe) return false
    if (before === null && !this.#isEndpointDown(outcome, heldDevices)) return false
    const open = before ?? { since: at, failures: 1, dueAt: 0, free: false, outcome, status, detail }
    if (before !== null) {
      // A fault on our side (a missing key) disables nothing.
      if (!before.free && outcome !== "unsigned") before.failures++
      Object.assign(before, { free: false, outcome, status, detail })
    }
    const asked = Math.min((retryAfterSeconds ?? 0) * 1000, bounds.retryAfterMaxMillis)
    open.dueAt = now + Math.max(this.#jittered(bounds.probeDelayMillis(open.failures)), asked)
    this.#open = open
    return open.failures >= bounds.probesMax
  }

  /** With the maximum number of held devices nothing new is sent in any case, and a probe detects a recovery sooner. */
  #isEndpointDown(outcome: DeliveryOutcome, heldDevices: number): boolean {
    return this.#failing.size >= bounds.circuitDevices || heldDevices >= bounds.heldDevicesMax ||
      endpointWide.has(outcome)
  }
}
