/** What a collector of traces gets to know of requests: no phone numbers. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Tracer } from "effect"
import { ask, startServer } from "../support/surface.ts"

describe("the spans of requests", () => {
  it.live("hold no address of a chat", () => {
    const spans: Array<Tracer.NativeSpan> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return Effect.gen(function*() {
      const { url } = yield* startServer()
      const { body: device } = yield* ask(`${url}/api/v1/devices`, { method: "POST", json: { name: "a" } })
      for (const chat of ["62811@s.whatsapp.net", "62811%40s.whatsapp.net"]) {
        assert.strictEqual((yield* ask(`${url}/api/v1/messages?limit=2&chat=${chat}`)).status, 200)
        assert.strictEqual((yield* ask(`${url}/api/v1/messages?limit=2&%63hat=${chat}`)).status, 200)
        const erased = yield* ask(`${url}/api/v1/devices/${device.id}/chats/${chat}`, { method: "DELETE" })
        assert.strictEqual(erased.status, 200)
      }
      const told = spans.map(({ attributes, events, name }) => JSON.stringify([name, ...attributes, ...events]))
      assert.isTrue(told.some((text) => text.includes("/api/v1/messages")))
      for (const text of told) assert.notInclude(text, "62811")
    }).pipe(Effect.withTracer(tracer))
  })
})
