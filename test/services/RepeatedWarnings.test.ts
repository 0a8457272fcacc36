/** How often a warning that strangers can cause is logged. */
import { assert, it } from "@effect/vitest"
import { Effect, Logger, References } from "effect"
import { TestClock } from "effect/testing"
import { RepeatedWarnings } from "../../src/services/RepeatedWarnings.ts"

it.effect("logs a warning at once, and then at most once in ten seconds with the number of omitted ones", () =>
  Effect.gen(function*() {
    const lines: Array<string> = []
    const logger = Logger.make(({ fiber, message }) => {
      lines.push(`${String(message)} ${JSON.stringify(fiber.getRef(References.CurrentLogAnnotations))}`)
    })
    const warnings = new RepeatedWarnings()
    const warn = (key: string) => warnings.warn(key, "refused", { key })
    yield* Effect.gen(function*() {
      for (let times = 0; times < 1000; times++) yield* warn("a")
      yield* warn("b")
      yield* TestClock.adjust("11 seconds")
      yield* warn("a")
      for (let key = 0; key < 5000; key++) yield* warn(`made up ${key}`)
    }).pipe(Effect.provide(Logger.layer([logger])))
    assert.strictEqual(lines[0], `refused {"key":"a"}`)
    assert.strictEqual(lines[1], `refused {"key":"b"}`)
    assert.strictEqual(lines[2], `refused {"key":"a","leftOut":999}`)
  }))
