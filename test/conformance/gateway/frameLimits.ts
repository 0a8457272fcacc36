/** Frames above the size limits: recorded, whatever happens to the session. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { record } from "../../support/gateway.ts"
import { type SessionAdapter, greeted, setup, target } from "./harness.ts"
import { ofKind } from "../../support/drafts.ts"

export const frameLimitConformance = (adapter: SessionAdapter): void => {
  describe(`${adapter.name}: frames above the size limit`, () => {
    const open = Effect.gen(function*() {
      const limits = { frameBytesMax: 64 * 1024, frameBytesHardMax: 256 * 1024 }
      const { core, gateway } = yield* setup(adapter, { gateway: limits })
      const listener = record()
      yield* gateway.open(target, listener)
      yield* greeted(adapter, listener)
      return { core, listener }
    })

    it.live("keeps a truncated frame above the limit, and the session continues", () =>
      Effect.gen(function*() {
        const { core, listener } = yield* open
        core.applyFault({ kind: "huge", bytes: 100 * 1024, times: 1 })
        core.emit({ count: 1 })
        yield* listener.until(() => listener.drafts().length === 2)
        const [rejected, next] = listener.drafts()
        const { data } = ofKind(rejected, "frame.rejected")
        assert.strictEqual(data.reason, "too-large")
        assert.strictEqual(Buffer.byteLength(data.raw), 64 * 1024)
        assert.isAbove(data.rawLength, 100 * 1024)
        assert.notStrictEqual(next!.kind, "frame.rejected")
        assert.strictEqual(listener.ends(), 0)
      }))

    it.live("records a frame beyond the hard limit as rejected before the session ends", () =>
      Effect.gen(function*() {
        const { core, listener } = yield* open
        core.applyFault({ kind: "huge", bytes: 1024 * 1024, times: 1 })
        core.emit({ count: 1 })
        const failure = yield* listener.ended
        assert.deepStrictEqual([failure.class, failure.code], ["transport", "frame-too-large"])
        assert.deepStrictEqual(listener.drafts().map(({ kind }) => kind), ["frame.rejected"])
        const { data } = ofKind(listener.drafts()[0], "frame.rejected")
        assert.deepStrictEqual([data.reason, data.raw], ["too-large", ""])
        assert.isAbove(data.rawLength, 256 * 1024)
        assert.deepStrictEqual([listener.ends(), listener.late()], [1, 0])
      }))
  })
}
