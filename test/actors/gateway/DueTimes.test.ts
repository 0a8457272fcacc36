/** Keys with due times against a model: a map that is searched from end to end. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { DueTimes } from "../../../src/actors/gateway/DueTimes.ts"

type Step =
  | { readonly _tag: "set"; readonly key: number; readonly at: number }
  | { readonly _tag: "delete"; readonly key: number }
  | { readonly _tag: "take"; readonly now: number }

const keys = fc.integer({ min: 0, max: 12 })
const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    _tag: fc.constant("set" as const),
    key: keys,
    at: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.constant(Number.POSITIVE_INFINITY))
  }),
  fc.record({ _tag: fc.constant("delete" as const), key: keys }),
  fc.record({ _tag: fc.constant("take" as const), now: fc.integer({ min: 0, max: 50 }) })
)

describe("keys with due times", () => {
  it("return the time of each key, and the due ones, earliest first, after any changes", () => {
    fc.assert(fc.property(fc.array(steps, { maxLength: 300 }), (script) => {
      const times = new DueTimes<number>()
      const model = new Map<number, number>()
      for (const step of script) {
        switch (step._tag) {
          case "set":
            times.set(step.key, step.at)
            if (Number.isFinite(step.at)) model.set(step.key, step.at)
            else model.delete(step.key)
            break
          case "delete":
            assert.strictEqual(times.delete(step.key), model.delete(step.key))
            break
          case "take": {
            const first = Math.min(...model.values())
            const taken = times.takeDue(step.now)
            if (first > step.now) assert.isUndefined(taken)
            else {
              assert.strictEqual(model.get(taken!), first)
              model.delete(taken!)
            }
          }
        }
        assert.strictEqual(times.size, model.size)
        assert.strictEqual(times.first, Math.min(...model.values()))
        for (let key = 0; key <= 12; key++) {
          assert.strictEqual(times.at(key), model.get(key) ?? Number.POSITIVE_INFINITY)
          assert.strictEqual(times.has(key), model.has(key))
        }
      }
    }))
  })
})
