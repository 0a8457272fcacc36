/** Where the consumer's messages come from: the guaranteed queue of the broker, or the log. */
import type { Effect, Scope } from "effect"
import type { MessageReceived } from "./MessageHandler.ts"
import type { Verdict } from "./MessageInbox.ts"

/** What all handlers together made of a message. */
export type Handled =
  | { readonly _tag: "Done" }
  /** `verdict` is what its source is to do with it. */
  | { readonly _tag: "Failed"; readonly attempts: number; readonly verdict: Verdict }

export interface MessageSource {
  /** Where from, in words for people. */
  readonly description: string
  /** Whether a message that failed is brought again by the source, not by the inbox. */
  readonly redelivers: boolean
  /** Reads until the scope closes. Messages of a chat are given in order; `take` never fails. */
  readonly start: (take: (event: MessageReceived) => Effect.Effect<Handled>) => Effect.Effect<void, never, Scope.Scope>
  /** How it stands, in a few words. */
  readonly state: Effect.Effect<string>
}
