/**
 * How often a device may fail, how long it waits, and when it is taken out of service. Every number of supervision
 * is here with its reason; the decisions that use them are in `device/DeviceBehaviour.ts`.
 */
import { Duration, Schedule } from "effect"
import type { Failure, FailureClass } from "../domain/DeviceState.ts"

/**
 * The first wait is at most half a second, so a short interruption causes no visible outage. The random part spreads
 * devices that lost their connections together. Measured: it costs no more than retrying at once.
 */
const reconnectDelayBase = Duration.millis(500)

/** The longest wait of a device before it tries a gateway again. */
export const reconnectDelayMax = Duration.seconds(30)

const delayBaseMillis = Duration.toMillis(reconnectDelayBase)
const delayMaxMillis = Duration.toMillis(reconnectDelayMax)

/**
 * The wait before a device's next attempt, by the number of failures in a row: exponential, capped, with full jitter
 * (between zero and the step), so that devices do not retry in lockstep. `chance` is between 0 and 1. Only a stable
 * connection resets the count of failures, see `stableAfter`.
 */
export const reconnectDelay = (failuresInRow: number, chance: number): number => {
  const step = delayBaseMillis * 2 ** Math.max(0, failuresInRow - 1)
  return Math.min(delayMaxMillis, step) * chance
}

/** Probes of a gateway that is down: soon at first, because most are restarts; later four per minute at most. */
export const incidentProbeSchedule = Schedule.min([
  Schedule.exponential(Duration.millis(500), 2),
  Schedule.spaced(Duration.seconds(15))
]).pipe(Schedule.jittered)

/**
 * After a connection of this length, the device's failure counts start from zero. A shorter time would let a flapping
 * device escape the backoff.
 */
export const stableAfter = Duration.seconds(60)

/**
 * Retrying does not fix rejected credentials: at most twelve attempts per hour, enough to notice that an operator has fixed
 * them.
 */
export const authProbeDelay = Duration.minutes(5)

/**
 * Another client took the session. Taking it back at once would start a fight between the two; a minute gives a person time
 * to look.
 */
export const conflictDelay = Duration.minutes(1)

/** More than `intensity` failures within `period` take the device out of service for `quarantine`. */
export interface RestartBudget {
  readonly intensity: number
  readonly period: Duration.Duration
  readonly quarantine: Duration.Duration
}

/**
 * Budgets by class. `transport`: ten losses in ten minutes is flapping, not chance; with the waits above that keeps a
 * flapping device near ninety attempts per hour. `conflict`: two clients are fighting over one account, and a person must
 * decide. `ours`: the usual intensity of a supervisor. `auth` and `upstreamDown` burn no budget: the first has a slow probe
 * of its own, the second is the gateway's incident and not the device's fault.
 */
export const restartBudgets: Readonly<Record<Extract<FailureClass, "transport" | "conflict" | "ours">, RestartBudget>> =
  {
    transport: { intensity: 10, period: Duration.minutes(10), quarantine: Duration.minutes(5) },
    conflict: { intensity: 3, period: Duration.minutes(10), quarantine: Duration.minutes(15) },
    ours: { intensity: 5, period: Duration.seconds(60), quarantine: Duration.minutes(5) }
  }

/**
 * Failures that do not reflect on the device's connection: an oversized frame in one of its chats, and the loss of a link
 * that the device shares with all others of its gateway. A deaf device would receive even less in quarantine: its history
 * is read while it is online. The waits of the reconnect schedule still apply.
 */
const freeCodes: ReadonlySet<string> = new Set(["frame-too-large", "link-lost", "deaf"])

/** The failure code of a device that makes its process end. */
export const processKilled = "process-killed"

/** No failure is allowed: the next attempt may take down every other device of a node. A person has to look. */
const killerBudget: RestartBudget = {
  intensity: 0,
  period: Duration.minutes(10),
  quarantine: Duration.hours(6)
}

/** The budget that a failure burns, or null if it burns none. */
export const findBudget = (failure: Pick<Failure, "class" | "code">): RestartBudget | null =>
  failure.class === "auth" || failure.class === "upstreamDown" || freeCodes.has(failure.code)
    ? null
    : failure.code === processKilled
    ? killerBudget
    : restartBudgets[failure.class]

/**
 * A loss at most this long before an incident is part of it: the longest wait before the next attempt, plus the timeout of
 * the handshake.
 */
export const firstSignMax = Duration.sum(reconnectDelayMax, Duration.seconds(10))

/** Failures older than the longest period are forgotten. */
export const failureMemory = Duration.minutes(10)
