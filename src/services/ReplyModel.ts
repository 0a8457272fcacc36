/** The language model that writes answers: a port. */
import { Context, Schema } from "effect"
import type { Effect } from "effect"

export interface Turn {
  readonly role: "user" | "assistant"
  readonly text: string
}

/**
 * No answer. `rate-limited`: later · `unavailable`: its server does not answer, or ended early · `timeout` ·
 * `credentials`: it refuses the key · `refused`: it will not answer this, however often it is asked · `unreadable`:
 * its answer does not follow its protocol. The message never contains text of the conversation, or the key.
 */
export class ReplyFailed extends Schema.TaggedError<ReplyFailed>()("ReplyFailed", {
  message: Schema.String,
  reason: Schema.Literals(["rate-limited", "unavailable", "timeout", "credentials", "refused", "unreadable"]),
  retryAfter: Schema.NullOr(Schema.DurationFromMillis)
}) {}

/** Longer answers are cut: this is a chat, and WhatsApp shows no more without a tap. */
export const replyLengthMax = 4_096

export class ReplyModel extends Context.Service<ReplyModel, {
  /** The answer to the last turn; never empty, at most `replyLengthMax` characters. Bounded in time. */
  readonly reply: (conversation: {
    readonly prompt: string
    readonly turns: ReadonlyArray<Turn>
  }) => Effect.Effect<string, ReplyFailed>
}>()("columba/services/ReplyModel") {}
