/**
 * How long a statement has been waiting for a byte from the database: the longest of all connections, in milliseconds.
 * A network that lost packets for a while may work for a new connection and never again for earlier ones.
 */
import { Context } from "effect"

/** A database without connections is never silent. */
export const DatabaseSilence = Context.Reference<() => number>("columba/services/DatabaseSilence", {
  defaultValue: () => () => 0
})
