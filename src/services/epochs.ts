/**
 * The epochs of claims. Each claim of a device or a cursor has a larger one than the last, and writes under another epoch are refused.
 * An operator or a failover may replace the database by a copy, in which the last claim has another epoch. If epochs only counted, a
 * claim in one copy would sooner or later have the epoch of a claim in another one, and writes that wait for the database would be
 * accepted there. Therefore epochs follow the time of the database's clock. While that clock is behind the last claim, and before 2026,
 * they only count.
 */

/** 2026-01-01, in milliseconds. */
export const epochsBegin = 1_767_225_600_000

/** In milliseconds: an integer holds the time until 2060. */
export const epochLength = 500

/** Less than the maximum of an integer, so that claims can count further. Reached in 2057. */
export const epochMax = 2_000_000_000

/** The epoch of a claim at this time that follows a claim with this epoch. */
export const nextEpoch = (last: number, millis: number): number =>
  Math.max(last + 1, Math.min(Math.floor((millis - epochsBegin) / epochLength), epochMax))
