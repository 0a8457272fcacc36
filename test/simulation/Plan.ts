/**
 * What a seed decides before anything happens: which gateways with how many phones there are, how many events they emit, the
 * settings of the fleet, and which faults strike how often. Each seed omits some faults and lets others strike often:
 * worlds in which everything fails at once hide what one fault alone would show.
 */
import { Duration, Effect } from "effect"
import { FleetSettings } from "../../src/services/FleetSettings.ts"
import { seeded } from "../../src/simulator/Seeded.ts"
import type { BrokerFaults } from "./SimulatedBroker.ts"
import type { DatabaseFaults } from "./SimulatedDatabase.ts"
import type { EndpointFaults, EndpointShape } from "./SimulatedEndpoint.ts"
import type { GatewayFaults, GatewayShape } from "./SimulatedGateway.ts"

/** Faults that strike at random moments. */
export const strikes = [
  "kill",
  "stop",
  "database-crash",
  "database-stall",
  "broker-cut",
  "broker-block",
  "broker-stall",
  "queue-deleted",
  "gateway-crash",
  "gateway-stall",
  "session-drop",
  "session-freeze",
  "session-deaf",
  "mute",
  "link-lost",
  "ingress-cut",
  "webhook-forgotten",
  "upstream-offline",
  "logged-out",
  "clock-step",
  "database-fallback",
  "freeze",
  "shard-moved",
  "upstream-away",
  "endpoint-down",
  "endpoint-hangs",
  "endpoint-throttles",
  "endpoint-refuses",
  "endpoint-gone",
  "subscription-paused",
  "subscription-replayed"
] as const
export type Strike = (typeof strikes)[number]

export interface Plan {
  readonly seed: string
  readonly shuffles: boolean
  readonly preempts: boolean
  readonly gateways: ReadonlyArray<{ readonly shape: GatewayShape; readonly phones: number }>
  /** Between two events of one phone, on average, in milliseconds. */
  readonly eventPause: number
  readonly settings: FleetSettings
  readonly database: DatabaseFaults
  readonly broker: BrokerFaults
  readonly gateway: GatewayFaults
  /** Processes that share the devices; one has them alone. */
  readonly nodes: number
  readonly endpoints: ReadonlyArray<EndpointPlan>
  readonly endpoint: EndpointFaults
  /** How long events are kept, in milliseconds; null: for ever. */
  readonly retention: number | null
  /** The maximum by which the clock of a machine is set, in milliseconds. */
  readonly clockStepMax: number
  /** Between two strikes, on average, in milliseconds. Absent: it never strikes. */
  readonly pauses: ReadonlyMap<Strike, number>
}

/** `devices`: how many of the phones it selects, from the first on; null: all. */
export interface EndpointPlan extends Omit<EndpointShape, "devices"> {
  readonly devices: number | null
}

const minute = 60_000
const hour = 60 * minute

/** A strike that is in the plan comes about this often, one of these. */
const strikePauses = [4 * minute, 15 * minute, 60 * minute, 240 * minute]

export const makePlan = (seed: string): Plan => {
  const random = seeded(`${seed}/plan`)
  const shapes = Array.from({ length: random.between(1, 2) }, (): GatewayShape => {
    const liveEvents = random.chance(0.6) ? "session" : "webhook"
    return {
      liveEvents,
      posts: liveEvents === "webhook" || random.chance(0.3),
      history: random.chance(0.85),
      lists: random.chance(0.5),
      pageSize: random.pick([3, 20, 100])
    }
  })
  const defaults = Effect.runSync(FleetSettings)
  const calm = random.chance(0.15)
  const rate = (values: ReadonlyArray<number>) => calm ? 0 : random.pick(values)
  // A long pause between events, and few strikes: hours of such a world cost little.
  const quiet = random.chance(0.2)
  const nodes = random.pick([1, 1, 2, 3])
  const endpoints = Array.from({ length: random.pick([0, 0, 1, 2]) }, (): EndpointPlan => ({
    kinds: random.chance(0.7) ? null : ["message.received", "message.revoked"],
    devices: random.chance(0.7) ? null : 1,
    rateLimit: random.chance(0.8) ? null : random.pick([1, 5]),
    from: random.chance(0.7) ? "beginning" : "now"
  }))
  const pauses = new Map(
    strikes.flatMap((strike): ReadonlyArray<readonly [Strike, number]> =>
      calm || random.chance(quiet ? 0.8 : 0.6) ||
        (/^(endpoint|subscription)-/.test(strike) && endpoints.length === 0) ||
        (strike === "shard-moved" && nodes === 1)
        ? []
        : [[strike, quiet ? strikePauses.at(-1)! : random.pick(strikePauses)]]
    )
  )
  return {
    seed,
    shuffles: random.chance(0.7),
    preempts: random.chance(0.5),
    gateways: shapes.map((shape) => ({ shape, phones: random.between(1, 2) })),
    eventPause: quiet ? random.pick([30 * minute, hour]) : random.pick([15_000, minute, 3 * minute, 10 * minute]),
    settings: {
      ...defaults,
      // Most of a quiet hour is looks at what is due: fewer of them, and the hour costs less.
      tick: Duration.seconds(random.pick([5, 15, 15])),
      heartbeatInterval: Duration.seconds(random.pick([5, 30, 60])),
      historyInterval: Duration.minutes(random.pick([10, 30, 30])),
      historyConcurrency: random.pick([1, 4]),
      // A message that WhatsApp delivers hours late is found by a sweep, and here within a few hours.
      historySweepInterval: Duration.hours(1.5),
      historyAgeMax: null
    },
    database: {
      failure: rate([0, 0.001, 0.02]),
      latencyMax: random.pick([3, 50, 800]),
      // Others write in a cluster, and where a suspended process is replaced.
      shared: nodes > 1 || pauses.has("freeze") || random.chance(0.1)
    },
    broker: {
      refusal: rate([0, 0, 0.002]),
      confirmLost: rate([0, 0, 0.002]),
      consumerCrash: rate([0, 0.001, 0.02]),
      latencyMax: random.pick([3, 50, 800])
    },
    gateway: {
      request: rate([0, 0.01, 0.1]),
      repeated: rate([0, 0.01, 0.2]),
      reordered: rate([0, 0.01, 0.2]),
      answerLost: rate([0, 0.01, 0.2]),
      latencyMax: random.pick([3, 50, 800])
    },
    nodes,
    endpoints,
    endpoint: {
      failed: rate([0, 0.01, 0.2]),
      answerLost: rate([0, 0.01, 0.2]),
      latencyMax: random.pick([3, 50, 800])
    },
    retention: random.chance(0.6) ? null : random.pick([hour, 3 * hour, 6 * hour]),
    clockStepMax: random.pick([hour, hour, 30 * 24 * hour]),
    pauses
  }
}

/** One line, for people. */
export const describePlan = (
  { endpoints, eventPause, gateways, nodes, pauses, preempts, retention, shuffles }: Plan
): string => {
  const shapes = gateways.map(({ phones, shape }) =>
    `${phones} × ${shape.liveEvents}${shape.posts && shape.liveEvents === "session" ? "+webhook" : ""}${
      shape.history ? "" : " without history"
    }`
  )
  const struck = [...pauses].map(([strike, pause]) => `${strike} ${Math.round(pause / minute)}m`)
  if (nodes > 1) shapes.push(`${nodes} nodes`)
  if (endpoints.length > 0) shapes.push(`${endpoints.length} subscriptions`)
  if (retention !== null) shapes.push(`kept ${retention / hour} h`)
  return `${shapes.join(", ")}; an event each ${eventPause / 1000} s; ${shuffles ? "shuffled" : "in order"}${
    preempts ? ", preempted" : ""
  }; ${struck.join(", ")}`
}
