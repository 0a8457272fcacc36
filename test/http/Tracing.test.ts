/** What spans and log lines tell of requests: no phone numbers. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Tracer } from "effect"
import * as MemoryStorage from "../../src/layers/memory/MemoryStorage.ts"
import { EventLog } from "../../src/services/EventLog.ts"
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

describe("the log line of a defect", () => {
  it.live("names the request without the address of a chat", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => {
      lines.push(String(message))
    })
    const broken = Layer.effect(
      EventLog,
      Effect.map(EventLog, (log) => EventLog.of({ ...log, eraseChat: () => Effect.die(new Error("broken")) }))
    ).pipe(Layer.provideMerge(MemoryStorage.layerMemory)) as typeof MemoryStorage.layerMemory
    return Effect.gen(function*() {
      const { url } = yield* startServer({ storage: broken })
      const { body: device } = yield* ask(`${url}/api/v1/devices`, { method: "POST", json: { name: "a" } })
      for (const chat of ["62811@s.whatsapp.net", "62811%40s.whatsapp.net"]) {
        const erased = yield* ask(`${url}/api/v1/devices/${device.id}/chats/${chat}`, { method: "DELETE" })
        assert.strictEqual(erased.status, 500)
      }
      assert.lengthOf(lines.filter((line) => line.includes(`DELETE /api/v1/devices/${device.id}/chats/`)), 2)
      for (const line of lines) assert.notInclude(line, "62811")
    }).pipe(Effect.provide(Logger.layer([logger])))
  })
})
