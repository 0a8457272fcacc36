/**
 * A gap: an interval in which a device could not hear, or in which what it heard may not have reached the log. Every
 * gap is written down when it is found, and stays written down until the gateway's history has been read for all of it
 * (`closed`) or until it is known that this cannot be done (`unprovable`).
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
 * `open`: it lasts, or the history has not been read yet. `closed`: the gateway's history was read for all of it.
 * `unprovable`: nothing can tell whether something is missing.
 */
export const GapStatus = Schema.Literals(["open", "closed", "unprovable"]).annotate({
  description: "How far the gap is accounted for"
})
export type GapStatus = typeof GapStatus.Type

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
  description: "How many events the gateway's history brought that had not come live"
})

export const Gap = Schema.Struct({
  id: GapId,
  deviceId: DeviceId,
  cause: GapCause,
  status: GapStatus,
  openedAt,
  endedAt: Schema.NullOr(endedAt).annotate({ description: "When reception was proven again; null while it lasts" }),
  closedAt: Schema.NullOr(Timestamp).annotate({ description: "When it was accounted for; null while it is open" }),
  recovered,
  detail
}).annotate({ identifier: "Gap", description: "An interval in which a device could not hear" })
export type Gap = typeof Gap.Type

/** How a device's gaps are accounted for. */
export const GapCounts = Schema.Struct({
  open: Schema.Int,
  closed: Schema.Int,
  unprovable: Schema.Int,
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
    description: "`closed`: the history was read for all of it. `unprovable`: nothing can tell what is missing"
  }),
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
