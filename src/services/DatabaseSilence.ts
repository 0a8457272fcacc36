/**
 * Connections to the database on which a statement is under way and nothing comes back. A network that lost packets for a while
 * may answer on a new connection and not on those of before, or only after some time: then it carries out what was given up long ago.
 */
import { Context } from "effect"

export interface DatabaseSilence {
  /** The longest silence of all connections, in milliseconds. */
  readonly millis: () => number
  /** Ends the connections that have been silent for so long. What was under way on them is not carried out later. */
  readonly end: (millis: number) => void
}

/** A database without connections is never silent. */
export const DatabaseSilence = Context.Reference<DatabaseSilence>("columba/services/DatabaseSilence", {
  defaultValue: () => ({ millis: () => 0, end: () => {} })
})
