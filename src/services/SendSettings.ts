/** How messages are sent. The defaults suit a gateway that sends one message within some hundred milliseconds. */
import { Context, Duration } from "effect"
import { pacingOff } from "../domain/Pacing.ts"
import type { Pacing } from "../domain/Pacing.ts"

export interface SendSettings {
  /** Chats of one device that are sent to at once: a slow answer for one recipient holds up no other. */
  readonly chatsAtOnce: number
  /** Messages of all devices that are on their way at once: each holds a request. */
  readonly inFlightMax: number
  /** How often it is looked for what has become due or was missed. */
  readonly tick: Duration.Duration
  /** The same while nothing waits. A new message wakes it at once. */
  readonly idleTick: Duration.Duration
  /** A device whose account or gateway could not send waits this long, doubled by each such answer. */
  readonly pauseMin: Duration.Duration
  readonly pauseMax: Duration.Duration
  /**
   * A claim that is older when its request is about to begin is given back: a process that was frozen in between may have
   * lost the device meanwhile.
   */
  readonly freshMax: Duration.Duration
  /** How long after its time a message may still be sent. */
  readonly grace: Duration.Duration
  /**
   * After how long a message in doubt is looked for. After the last of these, a history that is read completely and does not
   * have it proves that it was not sent: gateways give up a send after 45 s and store what they sent within 15 s.
   */
  readonly looks: ReadonlyArray<Duration.Duration>
  /** How fast a device may send that has no pacing of its own. */
  readonly pacing: Pacing
  /** How far the gateway's time of a message may be before and after its claim. */
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
