/** How hard the fleet may work a gateway. The defaults suit one gateway process on a machine of its own. */
import { Context, Duration } from "effect"

export interface FleetSettings {
  /**
   * Handshakes under way at once per gateway. Measured: from 16 to 256 makes no difference in time, beyond that only
   * memory grows.
   */
  readonly handshakesInFlight: number
  /** New connections per second and gateway: ten thousand devices are back after twenty seconds. */
  readonly connectsPerSecond: number
  /** Each device's status is asked about once in this time, anywhere between half and one and a half of it. */
  readonly statusInterval: Duration.Duration
  /**
   * The same where the gateway announces no lost connection, so that only asking finds it. A gateway that answers for all
   * its slots at once is asked far less often than it has devices.
   */
  readonly statusIntervalUnannounced: Duration.Duration
  /** The same for devices whose account is not usable: people wait for them to come online. */
  readonly statusIntervalWaiting: Duration.Duration
  /** Status questions under way at once per gateway: a slow gateway holds up no other. */
  readonly statusConcurrency: number
  /**
   * A webhook that is set at the gateway is checked once in this time, anywhere between half and one and a half of it. An
   * operator who changes it by hand, or a gateway that forgets it, costs at most so much live traffic.
   */
  readonly webhookInterval: Duration.Duration
  /**
   * How often the fleet looks over its devices for what is due, and updates its metrics. Ten thousand are looked over in
   * well under a millisecond.
   */
  readonly tick: Duration.Duration
  /**
   * Changed rows are read when a notice names them. The whole table is compared with the actors this often, in case a
   * notice was lost.
   */
  readonly reconcileInterval: Duration.Duration
}

export const FleetSettings = Context.Reference<FleetSettings>("columba/services/FleetSettings", {
  defaultValue: () => ({
    handshakesInFlight: 128,
    connectsPerSecond: 500,
    statusInterval: Duration.minutes(5),
    statusIntervalUnannounced: Duration.seconds(45),
    statusIntervalWaiting: Duration.seconds(20),
    statusConcurrency: 16,
    webhookInterval: Duration.minutes(10),
    tick: Duration.seconds(1),
    reconcileInterval: Duration.minutes(3)
  })
})
