/** The contract of every store of refused webhooks. */
import { assert, layer } from "@effect/vitest"
import { Effect, Stream } from "effect"
import type { Layer } from "effect"
import { WebhookRefusals } from "../../src/services/WebhookRefusals.ts"
import { freshDevice } from "../support/drafts.ts"

export const webhookRefusalsConformance = (name: string, storage: Layer.Layer<WebhookRefusals>): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`webhook refusals ${name}`, (it) => {
    it.effect("keeps one interval per device, widens it, and deletes it once it is accounted for", () =>
      Effect.gen(function*() {
        const refusals = yield* WebhookRefusals
        const [one, two] = [freshDevice(), freshDevice()]
        const found = Effect.map(refusals.list, (all) => all.filter(({ deviceId }) => [one, two].includes(deviceId)))
        yield* refusals.report([
          { deviceId: one, firstAgo: 60_000, lastAgo: 50_000 },
          { deviceId: two, firstAgo: 10_000, lastAgo: 10_000 }
        ])
        const first = yield* found
        assert.sameMembers(first.map(({ deviceId }) => deviceId), [one, two])
        const of = (all: typeof first) => all.find(({ deviceId }) => deviceId === one)!
        const seconds = ({ firstAt, lastAt }: (typeof first)[number]) =>
          (Date.parse(lastAt) - Date.parse(firstAt)) / 1000
        assert.closeTo(seconds(of(first)), 10, 0.1)
        yield* refusals.report([{ deviceId: one, firstAgo: 55_000, lastAgo: 0 }])
        const wider = of(yield* found)
        assert.strictEqual(wider.firstAt, of(first).firstAt)
        assert.closeTo(seconds(wider), 60, 5)
        // Read before it was widened.
        yield* refusals.remove(first)
        assert.deepStrictEqual(yield* found, [wider])
        yield* refusals.remove([wider])
        assert.deepStrictEqual(yield* found, [])
      }))

    it.effect("pulses at once, and after a report", () =>
      Effect.gen(function*() {
        const refusals = yield* WebhookRefusals
        yield* Stream.runDrain(Stream.take(refusals.changes, 1))
        yield* refusals.report([{ deviceId: freshDevice(), firstAgo: 0, lastAgo: 0 }])
      }))
  })
}
