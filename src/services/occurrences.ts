/**
 * When a schedule's next occurrence is. Pure. An occurrence is stored when the one before it is due, so a schedule
 * always has its next one stored. After a time in which nothing ran, the newest missed one is still made if it is
 * within the grace, the older ones are skipped, and the schedule continues from there: never a burst of old ones.
 *
 * Times are local times of the zone. A time that the change to summer time skips is an hour later on that day. A time
 * that occurs twice in autumn counts once, the first time; but if the hours are a wildcard, the schedule is an
 * interval, and both count.
 */
import { Cron, Result } from "effect"
import type { ScheduleEndReason } from "../domain/Schedule.ts"

export interface Rule {
  readonly cron: string
  readonly zone: string
  /** Milliseconds; null: without an end. */
  readonly until: number | null
  readonly graceMillis: number
}

export type Plan =
  | { readonly _tag: "Next"; readonly at: number; readonly skipped: number }
  | { readonly _tag: "Ended"; readonly reason: ScheduleEndReason }

/**
 * Maximum number of skipped occurrences that are counted: those of a minute's schedule that rested for a year are not
 * enumerated.
 */
const countedMax = 100

const fields = 5

/** The parsed expression, or the reason why it is invalid, as text. */
export const parseCron = (line: string, zone: string, now: number): Cron.Cron | string => {
  const words = line.trim().split(/\s+/)
  if (words.length !== fields) return `cron: expected ${fields} fields, as in 0 9 * * 1-5`
  const parsed = Cron.parse(words.join(" "), zone, { onDstOverlap: words[1]?.startsWith("*") ? "both" : "earlier" })
  if (Result.isFailure(parsed)) return `cron: ${parsed.failure.message}`
  return findNext(parsed.success, now) === null ? "cron: this time never comes" : parsed.success
}

/** The first time after this one; null: never. The search ends after some years. */
const findNext = (cron: Cron.Cron, after: number): number | null => {
  try {
    return Cron.next(cron, new Date(after)).getTime()
  } catch {
    return null
  }
}

/** The newest that is not after `now`, of those after `last`. */
const findNewest = (cron: Cron.Cron, first: number, now: number): { readonly at: number; readonly skipped: number } => {
  let [at, skipped] = [first, 0]
  for (; skipped < countedMax; skipped++) {
    const next = findNext(cron, at)
    if (next === null || next > now) return { at, skipped }
    at = next
  }
  return { at: Math.max(at, Cron.prev(cron, new Date(now + 1)).getTime()), skipped }
}

/** `last`: the previous occurrence; null if the schedule is new or was changed. */
export const planOccurrence = (rule: Rule, last: number | null, now: number): Plan => {
  const cron = parseCron(rule.cron, rule.zone, now)
  if (typeof cron === "string") return { _tag: "Ended", reason: "never" }
  const bounded = (at: number | null, skipped: number): Plan => {
    if (at === null) return { _tag: "Ended", reason: "never" }
    return rule.until !== null && at > rule.until ? { _tag: "Ended", reason: "until" } : { _tag: "Next", at, skipped }
  }
  const first = findNext(cron, last ?? now)
  if (first === null || first > now) return bounded(first, 0)
  const newest = findNewest(cron, first, now)
  return now - newest.at <= rule.graceMillis
    ? bounded(newest.at, newest.skipped)
    : bounded(findNext(cron, now), newest.skipped + 1)
}
