/** A pacing in its text form. */
import { assert, describe, it } from "@effect/vitest"
import fc from "fast-check"
import { formatPacing, parsePacing } from "../../src/domain/Pacing.ts"
import type { Pacing } from "../../src/domain/Pacing.ts"
import { propertyLimits } from "../support/propertyLimits.ts"

const optional = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: undefined })

const pacings: fc.Arbitrary<Pacing> = fc.record({
  burst: optional(fc.integer({ min: 1, max: 100 })),
  jitterSeconds: optional(fc.integer({ min: 1, max: 600 })),
  perDay: fc.integer({ min: 1, max: 10_000 }),
  rampDays: optional(fc.integer({ min: 2, max: 365 })),
  recipientSeconds: optional(fc.integer({ min: 1, max: 3600 })),
  quiet: optional(fc.constant({ from: "21:00", to: "07:30", zone: "Asia/Jakarta" }))
}).map((parts) => {
  const entries = Object.entries({ rate: "20/min", ...parts }).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Pacing
})

describe("a pacing in one line", () => {
  it("has the same meaning when it is written and read again", () => {
    fc.assert(
      fc.property(pacings, (pacing) => assert.deepStrictEqual(parsePacing(formatPacing(pacing)), pacing)),
      propertyLimits(300)
    )
    assert.deepStrictEqual(parsePacing("off"), {})
    assert.strictEqual(formatPacing({}), "off")
    const from = "20/min, 9/day, ramp 14d from 2026-01-01T00:00:00Z"
    assert.strictEqual(formatPacing(parsePacing(from)!), from)
  })

  it("is refused if it is not understood, repeats a rule, or contradicts itself", () => {
    const refused = [
      "",
      "fast",
      "0/min",
      "20/day2",
      "2000/s",
      "20/min 5",
      "20/min, 10/min",
      "burst 3",
      "20/min, burst 0",
      "ramp 14d",
      "20/min, ramp 1d, 5/day",
      "recipient 10s",
      "1000/s, recipient 1h",
      "20/min, quiet 21:00-21:00 UTC",
      "20/min, quiet 21:00-25:00 UTC",
      "20/min, quiet 21:00-07:00 Mars/Olympus",
      "20/min, quiet 21:00-07:00",
      "20/min, jitter 20m",
      "20/min,",
      "off, 20/min"
    ]
    for (const line of refused) assert.isNull(parsePacing(line), line)
  })
})
