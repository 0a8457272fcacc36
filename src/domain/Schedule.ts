/** A recurring send: a message, and a cron expression in a time zone that decides when it is sent. */
import { Schema } from "effect"
import { DeviceId, MessageId, Timestamp } from "./Ids.ts"
import { Zone } from "./Pacing.ts"
import { ContactContent, LocationContent, messageText, OnUnknown, PollContent, textMax } from "./Send.ts"

/** `sch_` and 26 Crockford characters. */
export const ScheduleId = Schema.String.check(Schema.isPattern(/^sch_[0-9A-Z]{26}$/u, {
  message: "Expected a schedule id like sch_01K…"
})).pipe(Schema.brand("ScheduleId")).annotate({ description: "The id of a schedule" })
export type ScheduleId = typeof ScheduleId.Type

const addressMax = 128

/** Above the number that WhatsApp shows. */
const mentionsMax = 256

/** Exactly one of `text`, `location`, `contact` and `poll`. Content of one moment, such as a reply, cannot recur. */
export const ScheduledMessage = Schema.Struct({
  to: Schema.String.check(Schema.isMaxLength(addressMax)).annotate({
    description: "A phone number with its country code, or the address of a chat as in events"
  }),
  text: Schema.optionalKey(messageText(textMax)),
  location: Schema.optionalKey(LocationContent),
  contact: Schema.optionalKey(ContactContent),
  poll: Schema.optionalKey(PollContent),
  mentions: Schema.optionalKey(
    Schema.Array(Schema.String.check(Schema.isMaxLength(addressMax))).check(Schema.isMaxLength(mentionsMax))
  ),
  onUnknown: Schema.optionalKey(OnUnknown)
}).annotate({
  identifier: "ScheduledMessage",
  description: "The message that is sent each time, in the form of a request for one message"
})
export type ScheduledMessage = typeof ScheduledMessage.Type

/** Five fields in one line; a longer expression is a list that could be written as a range. */
export const CronText = Schema.String.check(Schema.isBetweenLength(9, 200)).annotate({
  description: "Minute, hour, day of the month, month and day of the week, as `0 9 * * 1-5`"
})

export const graceSecondsDefault = 3600
export const GraceSeconds = Schema.Int.check(Schema.isBetween({ minimum: 60, maximum: 86_400 })).annotate({
  description: "How long after its time an occurrence may still be sent; afterwards it has expired. 3600 if omitted"
})

/**
 * `until`: no occurrence is left before it · `never`: the expression matches no later time · `device-deactivated`: the
 * device was deactivated · `erased`: its chat was erased, and the message with it.
 */
export const ScheduleEndReason = Schema.Literals(["until", "never", "device-deactivated", "erased"])
export type ScheduleEndReason = typeof ScheduleEndReason.Type

export const Schedule = Schema.Struct({
  id: ScheduleId,
  deviceId: DeviceId,
  /** Null once erased. */
  message: Schema.NullOr(ScheduledMessage),
  cron: CronText,
  zone: Zone,
  /** The time after which there is no occurrence. */
  until: Schema.NullOr(Timestamp),
  graceSeconds: GraceSeconds,
  paused: Schema.Boolean,
  /** The next occurrence, which is already stored as a scheduled message; null if there is none. */
  next: Schema.NullOr(Schema.Struct({ at: Timestamp, messageId: MessageId })),
  /** The previous occurrence. */
  last: Schema.NullOr(Schema.Struct({ at: Timestamp, messageId: MessageId })),
  /**
   * Occurrences that were skipped, because no process ran that could have stored them. At most 100 of each outage are
   * counted.
   */
  skipped: Schema.Int,
  ended: Schema.NullOr(Schema.Struct({ at: Timestamp, reason: ScheduleEndReason })),
  createdAt: Timestamp,
  updatedAt: Timestamp
}).annotate({ identifier: "Schedule", description: "A recurring send" })
export type Schedule = typeof Schedule.Type
