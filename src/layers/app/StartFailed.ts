/** Why the process could not come up, in the words of its terminal. */
import { Schema } from "effect"

/** The process could not come up. `hint` says what to do. */
export class StartFailed extends Schema.TaggedError<StartFailed>()("StartFailed", {
  message: Schema.String,
  hint: Schema.NullOr(Schema.String)
}) {
  static of(message: string, hint: string | null): StartFailed {
    return new StartFailed({ message, hint })
  }
}

/** Another module's error, kept in its own words. */
export const startFailed = (error: { readonly message: string }, hint: string | null): StartFailed =>
  StartFailed.of(error.message, hint)
