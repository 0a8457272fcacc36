/** Incoming messages that could not be handled, until somebody has them handled after all, or drops them. */
import { Schema } from "effect"
import { Seq, Timestamp } from "./Ids.ts"

/** Of an event its id; `sha256-` and the digest of its bytes for what is no event. */
export const DeadLetterId = Schema.String.check(Schema.isBetweenLength(1, 128)).annotate({
  description: "The id of the event; for what is no event, `sha256-` and the digest of its bytes"
})

const HandlerFailureView = Schema.Struct({
  handler: Schema.String,
  attempts: Schema.Int,
  message: Schema.String.annotate({ description: "What the handler said of its last attempt" }),
  at: Timestamp
}).annotate({ identifier: "HandlerFailure" })

export const DeadLetter = Schema.Struct({
  id: DeadLetterId,
  kind: Schema.NullOr(Schema.String),
  deviceId: Schema.NullOr(Schema.String).annotate({
    description: "Null if who keeps the dead letter does not know it"
  }),
  seq: Schema.NullOr(Seq).annotate({ description: "The number of the event in the log" }),
  reason: Schema.String.annotate({
    description:
      "In the words of the broker: `rejected` by its consumer (Columba's rejects after ten attempts, and what it cannot " +
      "read), `delivery_limit` where processes died with it, `expired` or `maxlen` by a policy of the operator. " +
      "`attempts` without a broker. `unknown` if it was put there by hand"
  }),
  queue: Schema.NullOr(Schema.String).annotate({ description: "Where it was before; null without a broker" }),
  diedAt: Schema.NullOr(Timestamp),
  failures: Schema.Array(HandlerFailureView).annotate({
    description: "Of Columba's own consumer; a consumer of somebody else's leaves none"
  })
}).annotate({ identifier: "DeadLetter", description: "An incoming message that could not be handled" })
export type DeadLetter = typeof DeadLetter.Type

/** What keeps them does not answer. Nothing was lost. */
export class DeadLettersUnavailable extends Schema.TaggedError<DeadLettersUnavailable>()("DeadLettersUnavailable", {
  message: Schema.String
}, { httpApiStatus: 503 }) {
  static of(detail: string): DeadLettersUnavailable {
    return new DeadLettersUnavailable({ message: `The dead letters are out of reach: ${detail}` })
  }
}
