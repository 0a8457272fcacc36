/** Where the consumer's messages come from: the guaranteed queue of the broker, or the log. */
import type { Effect, Scope } from "effect"
import type { MessageReceived } from "./MessageHandler.ts"
import type { Verdict } from "./MessageInbox.ts"

/** The combined result of all handlers for a message. */
export type Handled =
  | { readonly _tag: "Done" }
  /** `verdict` is what the source must do with it. */
  | { readonly _tag: "Failed"; readonly attempts: number; readonly verdict: Verdict }

export interface MessageSource {
  /** Where from, in words for people. */
  readonly description: string
  /** Whether the source, not the inbox, delivers a failed message again. */
  readonly redelivers: boolean
  /** Reads until the scope closes. Messages of a chat are passed in order; `take` never fails. */
  readonly start: (take: (event: MessageReceived) => Effect.Effect<Handled>) => Effect.Effect<void, never, Scope.Scope>
  /** Its state, in a few words. */
  readonly state: Effect.Effect<string>
}
