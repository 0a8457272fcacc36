/**
 * A gap: an interval in which a device could not receive, or in which received events may not have reached the log.
 * Every gap is recorded when it is found, and stays recorded until it is proven that the log has all messages and acks
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
 * `socket-down`: the device had no session. `process-down`: no Columba process was running. `gateway-down`: the
 * gateway did not answer. `deaf`: the session was open and did not deliver. `webhook-refused`: webhooks were not
 * accepted. `quarantine`: the device was taken out of service. `paused`: the socket was not read. `logged-out`: no
 * account was logged in. `log-reset`: the log was replaced by that of an older database, which lacks the events in
 * between.
 */
export const GapCause = Schema.Literals(gapCauses).annotate({ description: "Why the device could not receive" })
export type GapCause = typeof GapCause.Type

/**
 * `open`: it lasts, or the history has not been read yet. `closed`: the gateway's history was read for all of it, and
 * proves that no message and no ack is missing. `unprovable`: it cannot be established whether some are; `proven`
 * lists the kinds that are proven nevertheless.
 */
export const GapStatus = Schema.Literals(["open", "closed", "unprovable"]).annotate({
  description: "How far the gap is accounted for. `closed`: no message and no ack of that time is missing. " +
    "`unprovable`: some may be missing, and `proven` lists what is not"
})
export type GapStatus = typeof GapStatus.Type

export const provables = ["messages", "other-messages", "acks", "reactions"] as const

/**
 * `messages`: those with a text or a file. `other-messages`: those with neither. `acks`: those of messages that were
 * sent in the gap or in the day before it.
 */
export const Provable = Schema.Literals(provables).annotate({
  description:
    "A kind of events whose presence the history of some gateways proves. Edits, revocations and anything that is no " +
    "message are proven by none"
})
export type Provable = typeof Provable.Type

/** The kinds that must be proven for `closed`: nothing that a reader of the table of messages could see is missing. */
const neededForClosed: ReadonlyArray<Provable> = ["messages", "other-messages", "acks"]

/** The status of a gap for which these kinds were proven. */
export const statusOf = (proven: ReadonlyArray<Provable>): "closed" | "unprovable" =>
  neededForClosed.every((one) => proven.includes(one)) ? "closed" : "unprovable"

/** Maximum length of a stored detail, a sentence or two for people. */
export const gapDetailMax = 1000

const openedAt = Timestamp.annotate({
  description: "The time from which reception is not proven, by the database's clock. The real loss may begin later"
})
const endedAt = Timestamp.annotate({ description: "When reception was proven again, by the database's clock" })
const detail = Schema.String.check(Schema.isMaxLength(gapDetailMax)).annotate({
  description: "The known facts in a sentence or two, without any address or text of a message"
})
const recovered = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)).annotate({
  description:
    "How many events the gateway's history brought that had not arrived live, at least: those a process had read " +
    "when it was killed are not counted"
})
const proven = Schema.Array(Provable).annotate({
  description: "The kinds of events of which the log is proven to have all; empty while the gap is open"
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
}).annotate({ identifier: "Gap", description: "An interval in which a device could not receive" })
export type Gap = typeof Gap.Type

/** How a device's gaps are accounted for. */
export const GapCounts = Schema.Struct({
  open: Schema.Int,
  closed: Schema.Int,
  unprovable: Schema.Int,
  /** The number of unprovable gaps in which even messages may be missing. */
  messagesUnproven: Schema.Int.annotate({
    description: "The number of unprovable gaps in which even messages with a text or a file may be missing"
  }),
  /** The beginning of the oldest open gap; null if none is open. */
  openSince: Schema.NullOr(Timestamp)
}).annotate({
  identifier: "GapCounts",
  description: "A device's gaps by status, as far as they are stored: the newest 10,000 and all open ones"
})
export type GapCounts = typeof GapCounts.Type

/** Of `gap.opened`. */
export const GapOpenedData = Schema.Struct({ gapId: GapId, cause: GapCause, openedAt, detail })
export type GapOpenedData = typeof GapOpenedData.Type

/** Of `gap.closed`. It contains the whole gap, so that readers need no earlier `gap.opened`. */
export const GapClosedData = Schema.Struct({
  gapId: GapId,
  cause: GapCause,
  openedAt,
  endedAt,
  status: Schema.Literals(["closed", "unprovable"]).annotate({
    description: "`closed`: no message and no ack of that time is missing. `unprovable`: some may be missing, and " +
      "`proven` lists what is not"
  }),
  proven,
  recovered,
  detail
})
export type GapClosedData = typeof GapClosedData.Type

/** The time through which a device's reception is accounted for. */
export interface Watermark {
  readonly deviceId: DeviceId
  /** Null if it is in the future of the database's clock, which was set back since: then it proves nothing. */
  readonly through: Timestamp | null
  /** The end of the last wider sweep; null before the first. */
  readonly sweptAt: Timestamp | null
}
