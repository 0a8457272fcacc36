/**
 * How long an orderly stop may take, part by part. The parts run one after the other, so their sum must stay below the
 * time that an operator allows before SIGKILL. A part that does not end in its time is abandoned with a warning:
 * nothing that was acknowledged depends on it.
 */
import { Duration } from "effect"

/** Maximum time of a whole stop, below the 30 s that orchestrators usually allow. Then the process ends as it is. */
export const shutdownMax = Duration.seconds(26)

export const shutdownBudget = {
  /** Sockets are closed, and nothing is waited for. */
  fleet: Duration.seconds(2),
  /**
   * The log may be waiting for an unavailable database: then the drafts in memory are lost, but were never
   * acknowledged.
   */
  flush: Duration.seconds(4),
  /** The relays deliver the last commits. Events that miss this are delivered at the next start. */
  deliver: Duration.seconds(3),
  /** Batches in flight to a sink are confirmed. Confirms take milliseconds; a sink that needs longer is in trouble. */
  relayDrain: Duration.seconds(1),
  /** The last move of a sink's cursor. Without it some events are published twice, none is lost. */
  relayCursor: Duration.seconds(1),
  /** The broker's connection is closed. */
  broker: Duration.seconds(2),
  /** Requests in flight. Streams end at once. */
  http: Duration.seconds(3),
  /** The database's connections: running statements may end, then the connections are cut. */
  foundation: Duration.seconds(3)
} as const satisfies Readonly<Record<string, Duration.Duration>>

/**
 * After giving its shards away, a node keeps the connections of its devices open for this time, so that the other
 * nodes can open theirs: they notice within two seconds, and connect 500 devices per second each.
 */
export const passMax = Duration.seconds(6)

/** The drafts of a device that moves to another node are committed first: the next owner's claim refuses later ones. */
export const handOverMax = Duration.seconds(2)

/**
 * A node of a cluster ends its relays within this, before it gives its shards away. The next node delivers the rest,
 * so the wait is shorter than for a process alone (`deliver`).
 */
export const nodeDeliverMax = Duration.seconds(1)
