/** Why the process could not start, as its terminal shows it. */
import { Schema } from "effect"

/** The process could not start. `hint` is advice for the operator. */
export class StartFailed extends Schema.TaggedError<StartFailed>()("StartFailed", {
  message: Schema.String,
  hint: Schema.NullOr(Schema.String)
}) {
  static of(message: string, hint: string | null): StartFailed {
    return new StartFailed({ message, hint })
  }
}

/** Wraps another module's error and keeps its message. */
export const startFailed = (error: { readonly message: string }, hint: string | null): StartFailed =>
  StartFailed.of(error.message, hint)
