/**
 * The bounds of deliveries to subscriptions, each with its reason. The memory of all of them together is
 * `subscriptionsMax` times a window, and no subscription can take more.
 */
import { Duration } from "effect"

/**
 * Maximum number of events past the cursor of one subscription that are in memory at a time, and of their bytes (or
 * one event). Enough that a fast endpoint is never idle; a process needs `subscriptionsMax` times these bytes and
 * those of held devices: some 190 MiB if all endpoints hang at different places of the log.
 */
export const windowEventsMax = 128
export const windowBytesMax = 256 * 1024

/** Requests to one endpoint at a time, each for another device: 160 events/s where an answer takes 50 ms. */
export const concurrencyMax = 8

/**
 * Maximum number of devices held back at one endpoint. If that many fail, the endpoint is at fault: the circuit opens.
 */
export const heldDevicesMax = 64

/**
 * Events of a held device that are read at a time, and their bytes (or one event): of `concurrencyMax` devices at
 * most.
 */
export const heldReadMax = 16
export const heldReadBytesMax = 16 * 1024

/**
 * The first retry of an event comes soon, since most failures are a restart; the last ones every half hour, since an
 * event that was refused that often is rarely accepted later. With the jitter no two subscriptions stay in step.
 */
const retryDelayBaseMillis = 5_000
const retryDelayFactor = 3
const retryDelayMaxMillis = 30 * 60_000
export const retryJitter = 0.2

/** Maximum `Retry-After` that is respected; after this time the endpoint is called again. */
export const retryAfterMaxMillis = 30 * 60_000

/**
 * Probes of an endpoint that is down come every minute in the end: one request costs it little, and all events wait
 * until a probe succeeds.
 */
const probeDelayMaxMillis = 60_000

/** The total wait, while the process runs, before a subscription is disabled or an event is abandoned. */
const retriesFor = Duration.days(3)

const delayMillis = (failures: number): number => retryDelayBaseMillis * retryDelayFactor ** Math.min(failures - 1, 10)

/** The wait after the failure of this number (1, 2, 3 …) of one event, without jitter. */
export const retryDelayMillis = (failures: number): number => Math.min(retryDelayMaxMillis, delayMillis(failures))

/** The wait before the next probe after the failure of this number of an endpoint, without jitter. */
export const probeDelayMillis = (failures: number): number => Math.min(probeDelayMaxMillis, delayMillis(failures))

/**
 * Number of failures after which the waits between them add up to three days. Waits are counted, not time, so a clock
 * that jumps ahead, and days in which Columba did not run, disable nothing.
 */
const countAttempts = (waitAfter: (failures: number) => number): number => {
  let waited = 0
  for (let failures = 1;; failures++) {
    if (waited >= Duration.toMillis(retriesFor)) return failures
    waited += waitAfter(failures)
  }
}

/** Attempts of one event before it is abandoned. */
export const attemptsMax: number = countAttempts(retryDelayMillis)

/** Probes of an endpoint before its subscription is disabled. */
export const probesMax: number = countAttempts(probeDelayMillis)

/** Failures of this many devices without a success between them open the circuit: the endpoint fails, not an event. */
export const circuitDevices = 3

/** While fewer devices are held, a probe uses a new event: the held ones may be the only ones that are refused. */
export const probeHeldMax = 8

/**
 * A shorter retention keeps events for a subscription that has not reached them, or that holds their device back, but no
 * longer than this: the three days of retries, and time to repair a disabled subscription. One that is paused or disabled
 * for longer resumes with the oldest stored event, and reports how many numbers it has missed.
 */
export const unconfirmedKeepMax = Duration.days(7)

/** How often position and health are written: a crash repeats what was delivered since. */
export const settleInterval = Duration.seconds(1)

/** Concurrent reads of the log for subscriptions that are behind. They share the database with everything else. */
export const catchUpReadsMax = 4

/** Number of attempts that are kept per subscription, and for how long. */
export const deliveriesKept = 1_000
export const deliveriesKeptFor = Duration.days(30)

/** Attempts of one subscription that are recorded per second: failures first. All are counted. */
export const deliveriesPerFlush = 20
