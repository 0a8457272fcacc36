/**
 * What a module that `COLUMBA_HANDLERS` names must export as its default: a handler of incoming messages, in plain
 * promises. Its package needs nothing of Columba but this type.
 */
import type { Event } from "../domain/Event.ts"

export type IncomingMessage = Extract<(typeof Event)["Encoded"], { readonly kind: "message.received" }>

/** A statement in the transaction of the commit: the rows that it gives. Parameters are `$1`, `$2`, … */
export type Query = (
  statement: string,
  parameters?: ReadonlyArray<string | number | boolean | null>
) => Promise<ReadonlyArray<Readonly<Record<string, unknown>>>>

export interface HandlerModule {
  /** Under this name it is noted what was handled: 1 to 64 of `a-z0-9-`. It must never change. */
  readonly name: string
  /**
   * Handles a message. It may be called again for the same one. What it returns is called in one transaction with the
   * note that the message is handled: what that writes through `query` is there exactly once. To throw is to have the
   * message again, at first a second later; an error with `permanent: true` makes it a dead letter at once. `signal`
   * says that its result is not waited for any longer: the process stops, or the time is over
   * (`COLUMBA_HANDLER_TIMEOUT`, two minutes). What it returns has eight seconds.
   */
  readonly handle: (
    message: IncomingMessage,
    context: { readonly signal: AbortSignal }
  ) => Promise<((query: Query) => Promise<void>) | void>
}
