/**
 * The type of the default export of a module named in `COLUMBA_HANDLERS`: a handler of incoming messages, in plain
 * promises. Its package needs nothing of Columba but this type.
 */
import type { Event } from "../domain/Event.ts"

export type IncomingMessage = Extract<(typeof Event)["Encoded"], { readonly kind: "message.received" }>

/** Runs a statement in the transaction of the commit and returns its rows. Parameters are `$1`, `$2`, … */
export type Query = (
  statement: string,
  parameters?: ReadonlyArray<string | number | boolean | null>
) => Promise<ReadonlyArray<Readonly<Record<string, unknown>>>>

export interface HandlerModule {
  /** Handled messages are recorded under this name: 1 to 64 of `a-z0-9-`. It must never change. */
  readonly name: string
  /**
   * Handles a message. It may be called again for the same message. The function it returns is called in one
   * transaction with the record that the message is handled: what that function writes through `query` is there
   * exactly once. If `handle` throws, the message comes again, at first a second later; an error with `permanent:
   * true` makes it a dead letter at once. `signal` aborts when the result is no longer awaited: the process stops, or
   * the time is over (`COLUMBA_HANDLER_TIMEOUT`, two minutes). The returned function has eight seconds.
   */
  readonly handle: (
    message: IncomingMessage,
    context: { readonly signal: AbortSignal }
  ) => Promise<((query: Query) => Promise<void>) | void>
}
