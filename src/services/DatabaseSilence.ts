/**
 * For how long a statement has been under way to the database without a byte from it: the longest of all connections, in
 * milliseconds. A network that lost packets for a while may answer on a new connection and never on those of before.
 */
import { Context } from "effect"

/** A database without connections is never silent. */
export const DatabaseSilence = Context.Reference<() => number>("columba/services/DatabaseSilence", {
  defaultValue: () => () => 0
})
