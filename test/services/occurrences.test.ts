/** When recurring sends occur: by local time, over days on which the clocks change, and after downtime. */
import { assert, describe, it } from "@effect/vitest"
import fc from "fast-check"
import { parseCron, planOccurrence } from "../../src/services/occurrences.ts"
import type { Rule } from "../../src/services/occurrences.ts"
import { propertyLimits } from "../support/propertyLimits.ts"

const rule = (cron: string, change: Partial<Rule> = {}): Rule => ({
  cron,
  zone: "Europe/Berlin",
  until: null,
  graceMillis: 3_600_000,
  ...change
})

const at = (iso: string): number => Date.parse(iso)

/** Like a scheduler that always runs: it looks when an occurrence is due. */
const follow = (from: string, count: number, of: Rule): ReadonlyArray<string> => {
  const times: Array<string> = []
  let last: number | null = null
  for (let now = at(from); times.length < count;) {
    const plan = planOccurrence(of, last, now)
    if (plan._tag === "Ended") return [...times, plan.reason]
    assert.strictEqual(plan.skipped, 0)
    times.push(new Date(plan.at).toISOString())
    last = now = plan.at
  }
  return times
}

describe("the occurrences of a schedule", () => {
  it("stay at their local time when the clocks change; a skipped time is an hour later, a doubled time occurs once", () => {
    assert.deepStrictEqual(follow("2026-03-28T12:00:00Z", 3, rule("0 9 * * *")), [
      "2026-03-29T07:00:00.000Z",
      "2026-03-30T07:00:00.000Z",
      "2026-03-31T07:00:00.000Z"
    ])
    assert.deepStrictEqual(follow("2026-03-28T00:00:00Z", 3, rule("30 2 * * *")), [
      "2026-03-28T01:30:00.000Z",
      "2026-03-29T01:30:00.000Z",
      "2026-03-30T00:30:00.000Z"
    ])
    assert.deepStrictEqual(follow("2026-10-24T12:00:00Z", 2, rule("30 2 * * *")), [
      "2026-10-25T00:30:00.000Z",
      "2026-10-26T01:30:00.000Z"
    ])
    assert.deepStrictEqual(follow("2026-10-24T22:59:00Z", 3, rule("30 2 * * *", { zone: "Asia/Jakarta" })), [
      "2026-10-25T19:30:00.000Z",
      "2026-10-26T19:30:00.000Z",
      "2026-10-27T19:30:00.000Z"
    ])
  })

  it("continue every few minutes through the hour that occurs twice, and through the one that is skipped", () => {
    assert.deepStrictEqual(follow("2026-10-24T23:45:00Z", 4, rule("30 * * * *")), [
      "2026-10-25T00:30:00.000Z",
      "2026-10-25T01:30:00.000Z",
      "2026-10-25T02:30:00.000Z",
      "2026-10-25T03:30:00.000Z"
    ])
    assert.deepStrictEqual(follow("2026-03-29T00:00:00Z", 3, rule("30 * * * *")), [
      "2026-03-29T00:30:00.000Z",
      "2026-03-29T01:30:00.000Z",
      "2026-03-29T02:30:00.000Z"
    ])
  })

  it("stop at their end, or when no time is left", () => {
    const until = at("2026-06-02T09:00:00Z")
    assert.deepStrictEqual(follow("2026-06-01T00:00:00Z", 9, rule("0 9 * * *", { until, zone: "UTC" })), [
      "2026-06-01T09:00:00.000Z",
      "2026-06-02T09:00:00.000Z",
      "until"
    ])
    assert.deepStrictEqual(planOccurrence(rule("0 0 30 2 *"), null, until), { _tag: "Ended", reason: "never" })
  })

  it("are skipped if missed, except for the newest if it is within the grace", () => {
    const minutely = rule("* * * * *", { zone: "UTC" })
    const last = at("2026-06-01T12:00:00Z")
    assert.deepStrictEqual(planOccurrence(minutely, last, last + 30.5 * 60_000), {
      _tag: "Next",
      at: last + 30 * 60_000,
      skipped: 29
    })
    const daily = rule("0 12 * * *", { zone: "UTC" })
    assert.deepStrictEqual(planOccurrence(daily, last, at("2026-06-03T12:59:00Z")), {
      _tag: "Next",
      at: at("2026-06-03T12:00:00Z"),
      skipped: 1
    })
    assert.deepStrictEqual(planOccurrence(daily, last, at("2026-06-03T13:01:00Z")), {
      _tag: "Next",
      at: at("2026-06-04T12:00:00Z"),
      skipped: 2
    })
    const year = planOccurrence(minutely, last - 365 * 86_400_000, last + 1)
    assert.deepStrictEqual(year, { _tag: "Next", at: last, skipped: 100 })
  })

  it("are planned alike by every process, only forward, and never in the past", () => {
    const crons = fc.constantFrom(
      "* * * * *",
      "*/7 * * * *",
      "30 2 * * *",
      "0 */3 * * *",
      "15 1,2,3 * * 0",
      "0 0 1 * *"
    )
    const zones = fc.constantFrom("Europe/Berlin", "America/New_York", "Asia/Jakarta", "Australia/Lord_Howe")
    const start = at("2026-01-01T00:00:00Z")
    const offset = fc.integer({ min: 0, max: 365 * 86_400 }).map((seconds) => start + seconds * 1000)
    fc.assert(
      fc.property(crons, zones, offset, fc.integer({ min: 0, max: 100_000_000 }), (cron, zone, last, passed) => {
        const [of, now] = [rule(cron, { zone }), last + passed]
        const plan = planOccurrence(of, last, now)
        assert.deepStrictEqual(plan, planOccurrence(of, last, now))
        assert(plan._tag === "Next")
        assert.isAbove(plan.at, last)
        assert.isAtLeast(plan.at, now - of.graceMillis)
        const next = planOccurrence(of, plan.at, Math.max(now, plan.at))
        assert(next._tag === "Next")
        assert.isAbove(next.at, now, "after a catch-up of one, it goes on from now")
      }),
      propertyLimits(150)
    )
  })

  it("require an expression of five fields that can occur", () => {
    for (const cron of ["", "* * * *", "0 * * * * *", "61 * * * *", "a b c d e", "0 0 30 2 *"]) {
      assert.isString(parseCron(cron, "UTC", 0), cron)
    }
    assert.isNotString(parseCron(" 0  9 * *  1-5 ", "UTC", 0))
  })
})
