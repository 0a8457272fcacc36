/**
 * How often a device may fail, how long it waits, and when it is taken out of service. Every number of supervision
 * is here with its reason; the decisions that use them are in `device/DeviceBehaviour.ts`.
 */
import { Duration, Schedule } from "effect"
import type { Failure, FailureClass } from "../domain/DeviceState.ts"

/**
 * The first wait is at most half a second, so a blip causes no visible outage. The random part spreads devices that lost
 * their connections together. Measured: it costs no more than retrying at once.
 */
const reconnectDelayBase = Duration.millis(500)

/** No device waits longer than this for a gateway that takes it back. */
export const reconnectDelayMax = Duration.seconds(30)

/**
 * The wait before a device tries again after so many failures in a row: exponential, capped, with full jitter (anywhere from
 * nothing to the step), so that devices do not retry in step. `chance` is from 0 to 1. The failures in a row are counted anew
 * only after a connection was stable, see `stableAfter`.
 */
export const reconnectDelay = (failuresInRow: number, chance: number): number => {
  const step = Duration.toMillis(reconnectDelayBase) * 2 ** Math.max(0, failuresInRow - 1)
  return Math.min(Duration.toMillis(reconnectDelayMax), step) * chance
}

/** Probes of a gateway that is down: soon at first, because most are restarts; later four per minute at most. */
export const incidentProbeSchedule = Schedule.min([
  Schedule.exponential(Duration.millis(500), 2),
  Schedule.spaced(Duration.seconds(15))
]).pipe(Schedule.jittered)

/** A connection that lasted this long earns a fresh start. Shorter, and flapping would defeat the backoff. */
export const stableAfter = Duration.seconds(60)

/**
 * Rejected credentials do not get better by trying again: at most twelve attempts per hour, enough to notice that an
 * operator has fixed them.
 */
export const authProbeDelay = Duration.minutes(5)

/** Another client took the session. Taking it back at once would begin a fight; a minute lets a person look. */
export const conflictDelay = Duration.minutes(1)

/** More than `intensity` failures within `period` take the device out of service for `quarantine`. */
export interface RestartBudget {
  readonly intensity: number
  readonly period: Duration.Duration
  readonly quarantine: Duration.Duration
}

/**
 * Budgets by class. `transport`: ten losses in ten minutes is flapping, not chance; with the waits above that keeps a
 * flapping device near ninety attempts per hour. `conflict`: two clients are fighting over one account, a person must
 * decide. `ours`: the classic supervisor's intensity. `auth` and `upstreamDown` burn none: the first has its own slow
 * probe, the second is the gateway's incident and no fault of the device.
 */
export const restartBudgets: Readonly<Record<Extract<FailureClass, "transport" | "conflict" | "ours">, RestartBudget>> =
  {
    transport: { intensity: 10, period: Duration.minutes(10), quarantine: Duration.minutes(5) },
    conflict: { intensity: 3, period: Duration.minutes(10), quarantine: Duration.minutes(15) },
    ours: { intensity: 5, period: Duration.seconds(60), quarantine: Duration.minutes(5) }
  }

/**
 * Failures that say nothing about the device's connection: an enormous frame in one of its chats, and the loss of a link
 * that the device shares with all others of its gateway. A device that is deaf would hear less in quarantine: its
 * history is read while it is online. The waits of the reconnect schedule still apply.
 */
const freeCodes: ReadonlySet<string> = new Set(["frame-too-large", "link-lost", "deaf"])

/** Of a device whose handling ends the whole process. */
export const processKilled = "process-killed"

/** The first one is one too many: the next try may take every other device of a node down with it. A person has to look. */
const killerBudget: RestartBudget = {
  intensity: 0,
  period: Duration.minutes(10),
  quarantine: Duration.hours(6)
}

/** The budget that a failure burns, or null where it burns none. */
export const findBudget = (failure: Pick<Failure, "class" | "code">): RestartBudget | null =>
  failure.class === "auth" || failure.class === "upstreamDown" || freeCodes.has(failure.code)
    ? null
    : failure.code === processKilled
    ? killerBudget
    : restartBudgets[failure.class]

/**
 * A loss this long before an incident belongs to it: the longest wait before the next try, and the handshake that then
 * runs into its timeout.
 */
export const firstSignMax = Duration.sum(reconnectDelayMax, Duration.seconds(10))

/** Failures older than the longest period are forgotten. */
export const failureMemory = Duration.minutes(10)
