/**
 * How long a stop in order may take, part by part. They come one after the other, so their sum must stay
 * below what an operator gives the process before SIGKILL. A part that does not end in its time is left behind
 * with a warning: nothing that was acknowledged depends on it.
 */
import { Duration } from "effect"

/** The bound of a whole stop, below the 30 s that orchestrators usually give. Then the process ends as it is. */
export const shutdownMax = Duration.seconds(26)

export const shutdownBudget = {
  /** Sockets are closed, and nothing is waited for. */
  fleet: Duration.seconds(2),
  /** The log may be waiting for a database that is away: then what is in memory is lost, and was never acknowledged. */
  flush: Duration.seconds(4),
  /** The relays hand over what was committed last. What misses it is delivered at the next start. */
  deliver: Duration.seconds(3),
  /** What is in flight to a sink is confirmed. Confirms take milliseconds; a sink that needs longer is in trouble. */
  relayDrain: Duration.seconds(1),
  /** The last move of a sink's cursor. Without it some events are published twice, none is lost. */
  relayCursor: Duration.seconds(1),
  /** The broker's connection is closed. */
  broker: Duration.seconds(2),
  /** Requests in flight. Streams end at once. */
  http: Duration.seconds(3),
  /** The database's connections: statements that run may end, then they are cut. */
  foundation: Duration.seconds(3)
} as const satisfies Readonly<Record<string, Duration.Duration>>

/**
 * A node keeps the connections of its devices open for so long after it has given its shards away, for the other nodes to
 * open theirs: they notice within two seconds, and connect 500 devices per second each.
 */
export const passMax = Duration.seconds(6)

/**
 * What a device that moves to another node gave to the log is committed first: the next owner's claim refuses what comes
 * after it.
 */
export const handOverMax = Duration.seconds(2)

/**
 * A node of a cluster ends its relays within this, before it gives its shards away. What its sinks do not take in time is
 * delivered by the next node, so it does not wait as long as a process alone (`deliver`).
 */
export const nodeDeliverMax = Duration.seconds(1)
