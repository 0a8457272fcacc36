/** How messages are sent. The defaults suit a gateway that sends one message within some hundred milliseconds. */
import { Context, Duration } from "effect"
import { pacingOff } from "../domain/Pacing.ts"
import type { Pacing } from "../domain/Pacing.ts"

export interface SendSettings {
  /** Chats of one device that are sent to at once: a slow answer for one recipient does not delay the others. */
  readonly chatsAtOnce: number
  /** Messages of all devices that are being sent at once: each holds a request. */
  readonly inFlightMax: number
  /** How often due and missed messages are looked for. */
  readonly tick: Duration.Duration
  /** The same while nothing waits. A new message wakes it at once. */
  readonly idleTick: Duration.Duration
  /** The pause of a device whose account or gateway could not send, doubled by each such answer. */
  readonly pauseMin: Duration.Duration
  readonly pauseMax: Duration.Duration
  /**
   * A claim that is older when its request is about to begin is released: a process that was suspended in between may
   * have lost the device meanwhile.
   */
  readonly freshMax: Duration.Duration
  /** How long after its time a message may still be sent. */
  readonly grace: Duration.Duration
  /**
   * When a message in doubt is looked for. After the last of these, a history that is read completely and does not
   * have it proves that it was not sent: gateways abandon a send after 45 s and store what they sent within 15 s.
   */
  readonly looks: ReadonlyArray<Duration.Duration>
  /** The pacing of a device without its own. */
  readonly pacing: Pacing
  /** Maximum difference of the gateway's time of a message from its claim, before and after. */
  readonly matchBefore: Duration.Duration
  readonly matchAfter: Duration.Duration
}

export const SendSettings = Context.Reference<SendSettings>("columba/services/SendSettings", {
  defaultValue: () => ({
    chatsAtOnce: 4,
    inFlightMax: 64,
    tick: Duration.seconds(1),
    idleTick: Duration.seconds(15),
    pauseMin: Duration.seconds(2),
    pauseMax: Duration.seconds(60),
    freshMax: Duration.seconds(10),
    grace: Duration.hours(24),
    looks: [Duration.seconds(5), Duration.seconds(20), Duration.seconds(90)],
    pacing: pacingOff,
    matchBefore: Duration.minutes(1),
    matchAfter: Duration.minutes(3)
  })
})
