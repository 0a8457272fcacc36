/** Incoming messages that could not be handled, until somebody has them handled again or drops them. */
import { Schema } from "effect"
import { Seq, Timestamp } from "./Ids.ts"

/** The id of an event; `sha256-` and the digest of the bytes for a message that is no event. */
export const DeadLetterId = Schema.String.check(Schema.isBetweenLength(1, 128)).annotate({
  description: "The id of the event; for a message that is no event, `sha256-` and the digest of its bytes"
})

const HandlerFailureView = Schema.Struct({
  handler: Schema.String,
  attempts: Schema.Int,
  message: Schema.String.annotate({ description: "The handler's error at its last attempt" }),
  at: Timestamp
}).annotate({ identifier: "HandlerFailure" })

export const DeadLetter = Schema.Struct({
  id: DeadLetterId,
  kind: Schema.NullOr(Schema.String),
  deviceId: Schema.NullOr(Schema.String).annotate({
    description: "Null if it was not stored with the dead letter"
  }),
  seq: Schema.NullOr(Seq).annotate({ description: "The number of the event in the log" }),
  reason: Schema.String.annotate({
    description:
      "The broker's reason: `rejected` by its consumer (Columba's rejects after ten attempts, and what it cannot " +
      "read), `delivery_limit` where processes died with it, `expired` or `maxlen` by a policy of the operator. " +
      "`attempts` without a broker. `unknown` if it was put there by hand"
  }),
  queue: Schema.NullOr(Schema.String).annotate({
    description: "The queue that it was in before; null without a broker"
  }),
  diedAt: Schema.NullOr(Timestamp),
  failures: Schema.Array(HandlerFailureView).annotate({
    description: "Recorded by Columba's own consumer; other consumers record none"
  })
}).annotate({ identifier: "DeadLetter", description: "An incoming message that could not be handled" })
export type DeadLetter = typeof DeadLetter.Type

/** The store of the dead letters does not answer. Nothing was lost. */
export class DeadLettersUnavailable extends Schema.TaggedError<DeadLettersUnavailable>()("DeadLettersUnavailable", {
  message: Schema.String
}, { httpApiStatus: 503 }) {
  static of(detail: string): DeadLettersUnavailable {
    return new DeadLettersUnavailable({ message: `The dead letters are out of reach: ${detail}` })
  }
}
