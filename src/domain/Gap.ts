/**
 * A gap: an interval in which a device could not hear, or in which what it heard may not have reached the log. Every
 * gap is written down when it is found, and stays written down until it is proven that the log has all messages and acks
 * of that time (`closed`) or until it is known that this cannot be proven (`unprovable`).
 */
import { Schema } from "effect"
import { DeviceId, Timestamp } from "./Ids.ts"

/** `gap_` and 26 Crockford characters. Ids of later gaps sort after those of earlier ones. */
export const GapId = Schema.String.check(Schema.isPattern(/^gap_[0-9A-Z]{26}$/u, {
  message: "Expected a gap id like gap_01K…"
})).pipe(Schema.brand("GapId")).annotate({
  description: "The id of a gap"
})
export type GapId = typeof GapId.Type

export const gapCauses = [
  "socket-down",
  "process-down",
  "gateway-down",
  "deaf",
  "webhook-refused",
  "quarantine",
  "paused",
  "logged-out",
  "log-reset"
] as const

/**
 * `socket-down`: the device had no session. `process-down`: no process of ours was running. `gateway-down`: the gateway
 * did not answer. `deaf`: the session was open and did not deliver. `webhook-refused`: webhooks were not accepted.
 * `quarantine`: the device was taken out of service. `paused`: the socket was not read. `logged-out`: no account was
 * logged in. `log-reset`: an older database has taken the log's place, without what came in between.
 */
export const GapCause = Schema.Literals(gapCauses).annotate({ description: "Why the device could not hear" })
export type GapCause = typeof GapCause.Type

/**
 * `open`: it lasts, or the history has not been read yet. `closed`: the gateway's history was read for all of it, and
 * proves that no message and no ack is missing. `unprovable`: nothing can tell whether some are; what is proven all the
 * same is in `proven`.
 */
export const GapStatus = Schema.Literals(["open", "closed", "unprovable"]).annotate({
  description: "How far the gap is accounted for. `closed`: no message and no ack of that time is missing. " +
    "`unprovable`: some may be missing, and `proven` says what is not"
})
export type GapStatus = typeof GapStatus.Type

export const provables = ["messages", "other-messages", "acks", "reactions"] as const

/**
 * `messages`: those with a text or a file. `other-messages`: those with neither. `acks`: those of messages that were sent
 * in the gap or in the day before it.
 */
export const Provable = Schema.Literals(provables).annotate({
  description: "A kind of events whose presence the history of some gateways proves. What is edited, revoked, or no " +
    "message at all is proven by none"
})
export type Provable = typeof Provable.Type

/** What makes a gap `closed`: nothing that a reader of the table of messages could see is missing. */
const neededForClosed: ReadonlyArray<Provable> = ["messages", "other-messages", "acks"]

/** What becomes of a gap of which this much was proven. */
export const statusOf = (proven: ReadonlyArray<Provable>): "closed" | "unprovable" =>
  neededForClosed.every((one) => proven.includes(one)) ? "closed" : "unprovable"

/** The longest detail that is kept. It is a sentence or two for people. */
export const gapDetailMax = 1000

const openedAt = Timestamp.annotate({
  description: "From when on reception is not proven, by the database's clock. The real loss may begin later"
})
const endedAt = Timestamp.annotate({ description: "When reception was proven again, by the database's clock" })
const detail = Schema.String.check(Schema.isMaxLength(gapDetailMax)).annotate({
  description: "What is known about it, in a sentence or two: no address and no text of a message"
})
const recovered = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)).annotate({
  description:
    "How many events the gateway's history brought that had not come live, at least: what a process had read " +
    "when it was killed is not counted"
})
const proven = Schema.Array(Provable).annotate({
  description: "Of which kinds of events the log is proven to have all; empty while the gap is open"
})

export const Gap = Schema.Struct({
  id: GapId,
  deviceId: DeviceId,
  cause: GapCause,
  status: GapStatus,
  openedAt,
  endedAt: Schema.NullOr(endedAt).annotate({ description: "When reception was proven again; null while it lasts" }),
  closedAt: Schema.NullOr(Timestamp).annotate({ description: "When it was accounted for; null while it is open" }),
  proven,
  recovered,
  detail
}).annotate({ identifier: "Gap", description: "An interval in which a device could not hear" })
export type Gap = typeof Gap.Type

/** How a device's gaps are accounted for. */
export const GapCounts = Schema.Struct({
  open: Schema.Int,
  closed: Schema.Int,
  unprovable: Schema.Int,
  /** Of those that are unprovable: in how many even messages may be missing. */
  messagesUnproven: Schema.Int.annotate({
    description: "Of those that are unprovable: in how many even messages with a text or a file may be missing"
  }),
  /** The beginning of the oldest gap that is open; null without any. */
  openSince: Schema.NullOr(Timestamp)
}).annotate({
  identifier: "GapCounts",
  description: "A device's gaps by status, as far as they are kept: the newest 10,000 and all that are open"
})
export type GapCounts = typeof GapCounts.Type

/** Of `gap.opened`. */
export const GapOpenedData = Schema.Struct({ gapId: GapId, cause: GapCause, openedAt, detail })
export type GapOpenedData = typeof GapOpenedData.Type

/** Of `gap.closed`. It says all of the gap, so that it needs no `gap.opened` before it. */
export const GapClosedData = Schema.Struct({
  gapId: GapId,
  cause: GapCause,
  openedAt,
  endedAt,
  status: Schema.Literals(["closed", "unprovable"]).annotate({
    description: "`closed`: no message and no ack of that time is missing. `unprovable`: some may be missing, and " +
      "`proven` says what is not"
  }),
  proven,
  recovered,
  detail
})
export type GapClosedData = typeof GapClosedData.Type

/** Until when a device's reception is accounted for. */
export interface Watermark {
  readonly deviceId: DeviceId
  /** Null where it lies in the future of the database's clock, which was set back since: then it proves nothing. */
  readonly through: Timestamp | null
  /** The end of the last wider sweep; null before the first. */
  readonly sweptAt: Timestamp | null
}
