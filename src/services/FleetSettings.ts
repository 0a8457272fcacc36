/** The load that the fleet may put on a gateway. The defaults suit one gateway process on its own machine. */
import { Context, Duration } from "effect"

export interface FleetSettings {
  /**
   * Handshakes under way at once per gateway. Measured: from 16 to 256 makes no difference in time, beyond that only
   * memory grows.
   */
  readonly handshakesInFlight: number
  /** New connections per second and gateway: ten thousand devices are connected after twenty seconds. */
  readonly connectsPerSecond: number
  /** Each device's status is asked about once in this time, anywhere between half and one and a half of it. */
  readonly statusInterval: Duration.Duration
  /**
   * The same if the gateway announces no lost connection, so that only asking detects it. A gateway that answers for
   * all its slots at once is asked far less often than it has devices.
   */
  readonly statusIntervalUnannounced: Duration.Duration
  /** The same for devices whose account is not usable: people wait for them to come online. */
  readonly statusIntervalWaiting: Duration.Duration
  /** Status requests in flight per gateway: a slow gateway does not delay another. */
  readonly statusConcurrency: number
  /**
   * A webhook that is set at the gateway is checked once in this time, anywhere between half and one and a half of it.
   * An operator who changes it by hand, or a gateway that loses it, costs at most this much live traffic.
   */
  readonly webhookInterval: Duration.Duration
  /**
   * One wake-up handles everything due within one tick, and metrics are updated once per tick at most. While nothing
   * is due and nothing changes, nothing runs.
   */
  readonly tick: Duration.Duration
  /**
   * Changed rows are read when a notice names them. The whole table is compared with the actors this often, in case a
   * notice was lost.
   */
  readonly reconcileInterval: Duration.Duration
  /**
   * Requests per second for the history of one gateway. These gateways keep it in one SQLite file, where a page takes
   * some milliseconds: at 50 per second most of its time is left for the live traffic. A thousand devices of two requests
   * each are read in 40 s.
   */
  readonly historyRequestsPerSecond: number
  /** Histories under way at once per gateway: a device with a long one does not hold up all others. */
  readonly historyConcurrency: number
  /**
   * Each device's history is compared with the log once in this time, anywhere between half and one and a half of it, also
   * if nothing seems wrong: webhooks can be lost without any connection noticing.
   */
  readonly historyInterval: Duration.Duration
  /**
   * How far before the watermark a reading begins: messages carry the time at which they were sent, and most of those that
   * WhatsApp delivers late are late by seconds or minutes.
   */
  readonly historyOverlap: Duration.Duration
  /**
   * How far before a gap a reading begins where the history has acks: a message of the day before may have been read in
   * the gap. Most acks come within a day, and a busy account has some thousand messages of a day, which is some ten pages.
   */
  readonly historyAckReach: Duration.Duration
  /** Once in this time a reading reaches back `historySweep`, for what was delivered hours late. */
  readonly historySweepInterval: Duration.Duration
  readonly historySweep: Duration.Duration
  /**
   * Nothing older is taken from a history, because the log no longer has its identities. Null: the log keeps
   * everything.
   */
  readonly historyAgeMax: Duration.Duration | null
  /**
   * When a device is silent for three times its usual pause between messages, its newest messages are requested: no
   * sooner than `lookMin`, so that ordinary pauses cost nothing, and no later than `lookMax`.
   */
  readonly lookMin: Duration.Duration
  readonly lookMax: Duration.Duration
  /**
   * How often the process records that it is alive, which is the uncertainty of each device's reception after a kill.
   * A heartbeat is one small query and one row in the next batch of the log.
   */
  readonly heartbeatInterval: Duration.Duration
  /** Minimum age of a message that proves deafness, whatever the clocks of gateway and machine show. */
  readonly deafGrace: Duration.Duration
  /**
   * A message that the gateway has stored is on the session within milliseconds, so one that has not arrived this long
   * after it was found was not sent. If events come by webhook, `webhookTries` counts.
   */
  readonly deafArrival: Duration.Duration
  /**
   * How long a gateway tries to deliver one event by webhook: GOWA stops after 30 s. Older undelivered events are
   * lost; younger ones may still arrive.
   */
  readonly webhookTries: Duration.Duration
  /** How far the clocks of WhatsApp and the database may differ where a message's time is compared with a gap's. */
  readonly clockSkew: Duration.Duration
}

export const FleetSettings = Context.Reference<FleetSettings>("columba/services/FleetSettings", {
  defaultValue: () => ({
    handshakesInFlight: 128,
    connectsPerSecond: 500,
    statusInterval: Duration.minutes(5),
    statusIntervalUnannounced: Duration.seconds(20),
    statusIntervalWaiting: Duration.seconds(20),
    statusConcurrency: 16,
    webhookInterval: Duration.minutes(10),
    tick: Duration.seconds(1),
    reconcileInterval: Duration.minutes(3),
    historyRequestsPerSecond: 50,
    historyConcurrency: 4,
    historyInterval: Duration.minutes(30),
    historyOverlap: Duration.minutes(10),
    historyAckReach: Duration.hours(24),
    historySweepInterval: Duration.hours(24),
    historySweep: Duration.hours(48),
    historyAgeMax: Duration.days(90),
    lookMin: Duration.seconds(15),
    lookMax: Duration.minutes(15),
    heartbeatInterval: Duration.seconds(5),
    deafGrace: Duration.seconds(30),
    deafArrival: Duration.seconds(10),
    webhookTries: Duration.seconds(35),
    clockSkew: Duration.seconds(5)
  })
})
