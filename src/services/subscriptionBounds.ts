/**
 * The bounds of deliveries to subscriptions, each with its reason. What all of them together may hold in memory is
 * `subscriptionsMax` times a window, and no subscription can take more.
 */
import { Duration } from "effect"

/**
 * Events past the cursor of one subscription that are in memory at a time, and their bytes (or one event). Enough that a
 * fast endpoint is never idle; `subscriptionsMax` times these bytes and those of held devices is what a process must
 * have: some 190 MiB if all endpoints hang at different places of the log.
 */
export const windowEventsMax = 128
export const windowBytesMax = 256 * 1024

/** Requests to one endpoint at a time, each for another device: 160 events/s where an answer takes 50 ms. */
export const concurrencyMax = 8

/** Devices that may be held back at one endpoint. With so many refused, the endpoint is broken and not an event. */
export const heldDevicesMax = 64

/** Events of a held device that are read at a time, and their bytes (or one event): of `concurrencyMax` devices at most. */
export const heldReadMax = 16
export const heldReadBytesMax = 16 * 1024

/**
 * The first retry comes soon, since most failures are a restart; the last ones every half hour, since an endpoint that
 * is back must not wait for hours while its events pile up. With the jitter no two subscriptions stay in step.
 */
const retryDelayBaseMillis = 5_000
const retryDelayFactor = 3
export const retryDelayMaxMillis = 30 * 60_000
export const retryJitter = 0.2

/** What is waited in all, while the process runs, before a subscription is disabled or an event is given up. */
const retriesFor = Duration.days(3)

/** The wait after the failure of this number (1, 2, 3 …), without jitter. */
export const retryDelayMillis = (failures: number): number =>
  Math.min(retryDelayMaxMillis, retryDelayBaseMillis * retryDelayFactor ** Math.min(failures - 1, 10))

/**
 * Failures after which the waits between them add up to three days. Waits are counted and not time: a clock that jumps
 * ahead, and days in which Columba did not run, disable nothing.
 */
export const attemptsMax: number = (() => {
  let waited = 0
  for (let failures = 1;; failures++) {
    if (waited >= Duration.toMillis(retriesFor)) return failures
    waited += retryDelayMillis(failures)
  }
})()

/** Failures of so many devices without a success between them open the circuit: it is the endpoint, not an event. */
export const circuitDevices = 3

/** While fewer devices are held, a probe takes a new event: the held ones may be the only ones that are not taken. */
export const probeHeldMax = 8

/**
 * Retention that is shorter keeps events for a subscription that has not come to them, but no longer than this: the
 * three days of retries, and time to see to a subscription that was disabled. One that is paused or dead for longer
 * goes on with the oldest event that is kept, and says how many numbers it has missed.
 */
export const unconfirmedKeepMax = Duration.days(7)

/** How often position and health are written: a crash repeats what was delivered since. */
export const settleInterval = Duration.seconds(1)

/** Reads of the log at a time for subscriptions that are behind. They share the database with everything else. */
export const catchUpReadsMax = 4

/** Attempts that are kept of each subscription, and for how long. */
export const deliveriesKept = 1_000
export const deliveriesKeptFor = Duration.days(30)

/** Attempts of one subscription that are recorded per second: failures first. All are counted. */
export const deliveriesPerFlush = 20
