/** Spans and log lines of requests: they identify the request, and contain no phone numbers. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Stream, Tracer } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import { connect } from "../../src/client/promise.ts"
import { beginning } from "../../src/domain/Ids.ts"
import * as MemoryStorage from "../../src/layers/memory/MemoryStorage.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { ask, startServer } from "../support/surface.ts"

/** Lists each span when it begins. */
const collectSpans = (spans: Array<Tracer.NativeSpan>): Tracer.Tracer =>
  Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })

describe("the spans of requests", () => {
  it.live("contain no address of a chat", () => {
    const spans: Array<Tracer.NativeSpan> = []
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
    }).pipe(Effect.withTracer(collectSpans(spans)))
  })
})

describe("the trace of a caller", () => {
  for (const [transport, layer] of Object.entries({ WebSocket: ColumbaClient.layer, HTTP: ColumbaClient.layerHttp })) {
    it.live(`continues in the server, for calls and streams over ${transport}`, () => {
      const spans: Array<Tracer.NativeSpan> = []
      return Effect.gen(function*() {
        const { url } = yield* startServer()
        const client = Context.get(yield* Layer.build(layer({ url })), ColumbaClient)
        const asked = Effect.gen(function*() {
          yield* client.events.page()
          yield* Stream.runHead(client.events.follow({ after: beginning }))
          return (yield* Effect.currentSpan).traceId
        })
        const traceId = yield* Effect.withSpan(asked, "caller")
        const inServer = spans.filter(({ kind, traceId: id }) => kind === "server" && id === traceId)
        assert.includeMembers(inServer.map(({ name }) => name), ["Events.Page", "Events"])
        const work = spans.filter(({ kind, traceId: id }) => kind === "internal" && id === traceId)
        assert.include(work.map(({ name }) => name), "events.readPage", "and so does the work that it does")
      }).pipe(Effect.withTracer(collectSpans(spans)))
    })

    it.live(`is sent by the client for promises as a traceparent, over ${transport}`, () => {
      const spans: Array<Tracer.NativeSpan> = []
      const traceId = "0af7651916cd43dd8448eb211c80319c"
      return Effect.gen(function*() {
        const { url } = yield* startServer()
        const columba = connect({ url, transport: transport === "HTTP" ? "http" : "websocket" })
        yield* Effect.promise(() => columba.devices.list({}, { traceparent: `00-${traceId}-b7ad6b7169203331-01` }))
        yield* Effect.promise(columba.close)
        const inServer = spans.filter(({ kind, traceId: id }) => kind === "server" && id === traceId)
        assert.include(inServer.map(({ name }) => name), "Devices.List")
      }).pipe(Effect.withTracer(collectSpans(spans)))
    })
  }
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
