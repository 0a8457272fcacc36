/** The log over HTTP: pages, and streams that are cut and resumed. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Queue, Stream } from "effect"
import fc from "fast-check"
import { connect } from "node:net"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import { Position, positionAfter } from "../../src/domain/Ids.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { openStreamsMax } from "../../src/http/OpenStreams.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import * as GroupCommit from "../../src/log/GroupCommit.ts"
import * as MemoryDatabase from "../../src/layers/memory/MemoryDatabase.ts"
import * as MemoryLogStore from "../../src/layers/memory/MemoryLogStore.ts"
import * as MemoryStorage from "../../src/layers/memory/MemoryStorage.ts"
import { makeLogs } from "../support/logsOverOneStore.ts"
import type { SseReader } from "../support/sse.ts"
import { openSse } from "../support/sse.ts"
import type { Json } from "../support/surface.ts"
import { ask, messageDraft, startServer } from "../support/surface.ts"
import { propertyLimits } from "../support/propertyLimits.ts"
import { until } from "../support/until.ts"

const makeDeviceId = (number: number) => `dev_${String(number).padStart(26, "0")}` as DeviceId
const one = makeDeviceId(1)

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

const append = (log: EventLog["Service"], from: number, to: number, body?: string) =>
  log.append(numbers(from, to).map((number) => messageDraft(makeDeviceId(1 + number % 2), number, body)))

const total = 12_000

/** 48 MiB: far more than sockets and pages hold. */
const appendLarge = Effect.fnUntraced(function*(log: EventLog["Service"]) {
  const body = "x".repeat(4096)
  for (let from = 1; from <= total; from += 250) yield* append(log, from, from + 249, body)
})

/** By the time a second reader has everything, a slow one was offered all that it would take. */
const readAll = Effect.fnUntraced(function*(url: string) {
  const reader = yield* openSse(`${url}/api/v1/events?after=0`)
  for (let seq = 1; seq <= total; seq++) assert.strictEqual((yield* reader.next).seq, String(seq))
})

/** Counts the events passed to readers with a filter by kind. */
const countingStorage = () => {
  let pulled = 0
  const storage = Layer.effect(
    EventLog,
    Effect.map(EventLog, (log) =>
      EventLog.of({
        ...log,
        follow: (options) =>
          options.kinds === undefined
            ? log.follow(options)
            : Stream.tap(log.follow(options), ({ events }) =>
              Effect.sync(() => {
                pulled += events.length
              }))
      }))
  ).pipe(Layer.provideMerge(MemoryStorage.layerMemory)) as typeof MemoryStorage.layerMemory
  return { storage, pulled: () => pulled }
}

/** Streams over one socket, in raw protocol messages: a thousand are requested at once. */
const openRpc = Effect.fnUntraced(function*(url: string) {
  const messages = yield* Queue.unbounded<Json>()
  let opened = 0
  const socket = yield* Effect.acquireRelease(
    Effect.callback<WebSocket>((resume) => {
      const opening = new WebSocket(`${url.replace("http", "ws")}/rpc/ws`)
      opening.addEventListener("message", ({ data }) => {
        for (const line of String(data).split("\n").filter((text) => text !== "")) {
          const message = JSON.parse(line) as Json
          if (message._tag === "Chunk" || message._tag === "Exit") Queue.offerUnsafe(messages, message)
        }
      })
      opening.addEventListener("open", () => resume(Effect.succeed(opening)))
    }),
    (opening) => Effect.sync(() => opening.close())
  )
  const say = (message: unknown) => Effect.sync(() => socket.send(`${JSON.stringify(message)}\n`))
  return {
    follow: (id: number, tag = "Events") =>
      say({ _tag: "Request", id: String(id), tag, headers: [], payload: tag === "Events" ? {} : null }),
    cancel: (id: number) => say({ _tag: "Interrupt", requestId: String(id) }),
    /** Waits until this many streams have sent their first message. */
    opened: Effect.fnUntraced(function*(count: number) {
      for (; opened < count; opened++) assert.strictEqual((yield* Queue.take(messages))._tag, "Chunk")
    }),
    /** The next stream that has ended. */
    ended: Queue.take(messages).pipe(Effect.repeat({ until: (message: Json) => message._tag === "Exit" })),
    close: Effect.sync(() => socket.close())
  }
})

/** Waits until this many streams find a place. The server notices a little later than its client that one is closed. */
const untilRoom = (url: string, count: number) =>
  until(
    `${count} streams find a place`,
    Effect.map(
      Effect.scoped(Effect.forEach(numbers(1, count), () => openSse(`${url}/api/v1/events`))),
      (streams) => streams.every(isStream)
    )
  )

const isStream = ({ headers }: SseReader) => headers.get("content-type")!.startsWith("text/event-stream")

describe("events over HTTP", () => {
  it.live("refuses a page after the end of the log, like a stream", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer()
      yield* append(Context.get(services, EventLog), 1, 3)
      for (const headers of [{}, { accept: "text/event-stream" }]) {
        const beyond = yield* ask(`${url}/api/v1/events?after=4`, { headers })
        assert.deepStrictEqual([beyond.status, beyond.body._tag], [410, "LogReset"])
      }
      const end = yield* ask(`${url}/api/v1/events?after=3`)
      assert.deepStrictEqual([end.status, end.body.items, end.body.next], [200, [], null])
    }))

  it.live("refuses a position from before a reset of the log everywhere, though its number exists again", () =>
    Effect.gen(function*() {
      const { goBack, other, ours, process } = yield* makeLogs
      yield* append(ours, 1, 15)
      const { url } = yield* startServer({ storage: Layer.merge(MemoryStorage.layerMemory, process) })
      const sse = yield* openSse(`${url}/api/v1/events?after=0`)
      for (const _ of numbers(1, 15)) yield* sse.next
      const { next } = (yield* ask(`${url}/api/v1/events?limit=15`)).body
      assert.strictEqual(sse.lastEventId(), next)
      yield* sse.close
      const early = (yield* ask(`${url}/api/v1/events?limit=10`)).body.next

      // No server notices the reset: the server that is asked next never saw the old log.
      goBack(10)
      yield* append(other, 16, 35)
      const restarted = yield* startServer({ storage: Layer.merge(MemoryStorage.layerMemory, process) })
      const events = `${restarted.url}/api/v1/events`
      const { through: head } = (yield* ask(`${events}?limit=1000`)).body
      const answers = yield* Effect.all([
        ask(`${events}?after=${next}`),
        ask(`${events}?after=${next}&device=${one}&kind=message.ack`),
        ask(`${events}?after=${next}`, { headers: { accept: "text/event-stream" } }),
        ask(events, { headers: { accept: "text/event-stream", "last-event-id": next } })
      ])
      for (const { body, status } of answers) {
        assert.deepStrictEqual([status, body._tag, body.head], [410, "LogReset", head])
      }
      const client = Context.get(yield* Layer.build(ColumbaClient.layer(restarted)), ColumbaClient)
      const ended = yield* Effect.flip(Stream.runDrain(client.events.follow({ after: Position.make(next) })))
      assert.deepInclude(ended, { _tag: "LogReset", head })
      const refused = yield* Effect.flip(client.events.page({ after: Position.make(next) }))
      assert.deepInclude(refused, { _tag: "LogReset", head })

      assert.strictEqual((yield* ask(`${events}?after=${early}`)).body.items[0].seq, "11")
      assert.deepStrictEqual((yield* ask(`${events}?after=${head}`)).body.items, [])
      const resumed = yield* openSse(events, { "last-event-id": early })
      assert.strictEqual((yield* resumed.next).seq, "11")
    }))

  it.live("refuses a position that no answer contained, wherever it is given", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      for (
        const position of ["nonsense", "-1", "1.5", "00", "9".repeat(16), "1e3", "0-1234abcd", "1-1234ABCD", "1-123"]
      ) {
        for (
          const [path, headers] of [
            [`?after=${position}`, {}],
            [`?after=${position}`, { accept: "text/event-stream" }],
            ["", { accept: "text/event-stream", "last-event-id": position }]
          ] as const
        ) {
          const { body, status } = yield* ask(`${url}/api/v1/events${path}`, { headers })
          assert.deepStrictEqual([status, body._tag, body.position], [400, "PositionInvalid", position])
        }
      }
    }))

  it.live("refuses an impossible kind, and accepts a gateway's own kind", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      for (const kind of ["message.recieved", "message", "gateway.", "gateway", "device.status"]) {
        const answer = yield* ask(`${url}/api/v1/events?kind=${kind}`)
        assert.deepStrictEqual([answer.status, answer.body._tag], [400, "RequestInvalid"], kind)
        assert.include(answer.body.message, "message.received", kind)
      }
      for (const kind of ["message.received", "gap.closed", "gateway.presence"]) {
        assert.strictEqual((yield* ask(`${url}/api/v1/events?kind=${kind}`)).status, 200, kind)
      }
    }))

  it.live("leads through the whole log page by page, and returns the position to continue from later", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer()
      yield* append(Context.get(services, EventLog), 1, 25)
      const seen: Array<string> = []
      let next: string | null = "0"
      let last: Json
      while (next !== null) {
        last = (yield* ask(`${url}/api/v1/events?limit=10&after=${next}`)).body
        seen.push(...last.items.map((event: Json) => event.seq))
        next = last.next
      }
      assert.deepStrictEqual(seen, numbers(1, 25).map(String))
      const [newest] = yield* Context.get(services, EventLog).latest({ limit: 1 })
      assert.strictEqual(last.through, positionAfter(25, newest!.id))
      const filtered = (yield* ask(`${url}/api/v1/events?device=${one}&kind=message.received&kind=message.ack`)).body
      assert.deepStrictEqual(filtered.items.map((event: Json) => Number(event.seq) % 2), numbers(1, 12).map(() => 0))
      assert.strictEqual((yield* ask(`${url}/api/v1/events?kind=message.ack`)).body.items.length, 0)
    }))

  it.live("gives an event the same shape on a page and on a stream", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer()
      yield* append(Context.get(services, EventLog), 1, 1, "line\nbreak \"quoted\" \u2028 ü")
      const [event] = (yield* ask(`${url}/api/v1/events`)).body.items
      assert.hasAllKeys(event, ["seq", "id", "kind", "deviceId", "occurredAt", "recordedAt", "via", "data"])
      assert.strictEqual(event.data.body, "line\nbreak \"quoted\" \u2028 ü")
      const stream = yield* openSse(`${url}/api/v1/events?after=0`)
      assert.match(stream.headers.get("content-type")!, /^text\/event-stream/)
      assert.deepStrictEqual(yield* stream.next, event)
    }))

  it.live("starts a stream without a position now, and sends new events", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer()
      const log = Context.get(services, EventLog)
      yield* append(log, 1, 5)
      const stream = yield* openSse(`${url}/api/v1/events`)
      yield* append(log, 6, 7)
      assert.strictEqual((yield* stream.next).seq, "6")
      const seventh = yield* stream.next
      assert.strictEqual(seventh.seq, "7")
      assert.strictEqual(stream.lastEventId(), positionAfter(7, seventh.id))
    }))

  it.live("misses and repeats nothing when a stream is cut anywhere and resumed while events are written", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer()
      const log = Context.get(services, EventLog)
      let appended = 0
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.array(fc.tuple(fc.nat(20), fc.nat(30)), { minLength: 1, maxLength: 5 }), (cuts) =>
            Effect.runPromise(Effect.scoped(Effect.gen(function*() {
              const start = appended
              let lastEventId = String(start)
              const seen: Array<number> = []
              for (const [before, during] of cuts) {
                yield* append(log, appended + 1, appended + before)
                appended += before
                const stream = yield* openSse(`${url}/api/v1/events`, { "last-event-id": lastEventId })
                const from = appended + 1
                appended += during
                const racing = yield* Effect.forkChild(append(log, from, appended))
                const readable = appended - start - seen.length
                for (let count = 0; count < Math.ceil(readable / 2); count++) {
                  seen.push(Number((yield* stream.next).seq))
                }
                yield* stream.close
                // Events that the reader had buffered but not returned count as not received.
                lastEventId = String(seen.at(-1) ?? start)
                yield* Fiber.join(racing)
              }
              const rest = yield* openSse(`${url}/api/v1/events`, { "last-event-id": lastEventId })
              while (seen.length < appended - start) {
                seen.push(Number((yield* rest.next).seq))
              }
              assert.deepStrictEqual(seen, numbers(start + 1, appended))
            })))),
          propertyLimits(25)
        )
      )
    }))

  it.live("reports a position that is no longer in this log, by page and by stream", () =>
    Effect.gen(function*() {
      // Two processes over one database: the second has none of the first's events in memory.
      const tables = Layer.succeedContext(yield* Layer.build(MemoryDatabase.layer))
      const process = Layer.fresh(GroupCommit.layer).pipe(
        Layer.provide(Layer.fresh(MemoryLogStore.layer)),
        Layer.provide(tables)
      )
      const log = Context.get(yield* Layer.build(process), EventLog)
      yield* append(log, 1, 10)
      yield* log.deleteOlderThan(Duration.zero, { stepMax: Duration.days(1) })
      yield* append(log, 11, 11)
      const { url } = yield* startServer({ storage: Layer.merge(MemoryStorage.layerMemory, process) })
      const page = yield* ask(`${url}/api/v1/events?after=3`)
      assert.deepStrictEqual([page.status, page.body._tag], [410, "EventsExpired"])
      const stream = yield* ask(`${url}/api/v1/events`, {
        headers: { accept: "text/event-stream", "last-event-id": "3" }
      })
      assert.deepStrictEqual([stream.status, stream.body._tag], [410, "EventsExpired"])
      assert.strictEqual((yield* ask(`${url}/api/v1/events`)).body.items[0].seq, "10", "the newest event stays")
      const ahead = yield* ask(`${url}/api/v1/events?after=12`, { headers: { accept: "text/event-stream" } })
      assert.deepStrictEqual([ahead.status, ahead.body._tag, ahead.body.head], [
        410,
        "LogReset",
        (yield* ask(`${url}/api/v1/events`)).body.through
      ])
      const pageAhead = yield* ask(`${url}/api/v1/events?after=12`)
      assert.deepStrictEqual([pageAhead.status, pageAhead.body._tag], [410, "LogReset"])
    }))

  it.live(
    "delays no one because of a client that does not read, holds a bounded amount for it, and sends it everything later",
    () =>
      Effect.gen(function*() {
        const { pulled, storage } = countingStorage()
        const { port, services, url } = yield* startServer({ storage })
        yield* appendLarge(Context.get(services, EventLog))

        const slow = yield* Effect.acquireRelease(
          Effect.callback<ReturnType<typeof connect>>((resume) => {
            const socket = connect(port, "127.0.0.1", () => {
              socket.write(
                `GET /api/v1/events?after=0&kind=message.received HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n` +
                  "Accept: text/event-stream\r\n\r\n"
              )
              socket.once("readable", () => resume(Effect.succeed(socket)))
            })
          }),
          (socket) => Effect.sync(() => socket.destroy())
        )
        yield* readAll(url)
        assert.isBelow(pulled(), total / 2)

        const seen = yield* Effect.callback<number>((resume) => {
          let text = ""
          let count = 0
          slow.on("data", (chunk) => {
            text += chunk
            const lines = text.split("\n")
            text = lines.pop()!
            for (const line of lines) {
              if (!line.startsWith("data: ")) continue
              count++
              assert.strictEqual(/"seq":"(\d+)"/.exec(line)![1], String(count))
            }
            if (count === total) resume(Effect.succeed(count))
          })
        })
        assert.strictEqual(seen, total)
      })
  )

  it.live("bounds the open streams of HTTP and RPC together, and frees the place of an ended one", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      const http = yield* openSse(`${url}/api/v1/events`)
      const rpc = yield* openRpc(url)
      for (let id = 2; id <= openStreamsMax; id++) yield* rpc.follow(id)
      yield* rpc.opened(openStreamsMax - 1)
      for (const tag of ["Events", "WatchDevices"]) {
        yield* rpc.follow(openStreamsMax + 1, tag)
        const [refusal] = (yield* rpc.ended).exit.cause
        assert.deepInclude(refusal.error, { _tag: "TooManyStreams", max: openStreamsMax })
      }
      const refused = yield* ask(`${url}/api/v1/events`, { headers: { accept: "text/event-stream" } })
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(refused.body._tag, "TooManyStreams")
      assert.strictEqual((yield* ask(`${url}/api/v1/events`)).status, 200)

      yield* rpc.cancel(2)
      yield* rpc.ended
      const another = yield* openSse(`${url}/api/v1/events`)
      assert.isTrue(isStream(another))
      yield* http.close
      yield* another.close
      yield* untilRoom(url, 2)
      yield* rpc.close
      yield* untilRoom(url, 20)
    }))

  it.live("sends an RPC client that acknowledges nothing one chunk and waits", () =>
    Effect.gen(function*() {
      const { pulled, storage } = countingStorage()
      const { services, url } = yield* startServer({ storage })
      yield* appendLarge(Context.get(services, EventLog))
      let received = 0
      const socket = yield* Effect.acquireRelease(
        Effect.callback<WebSocket>((resume) => {
          const opening = new WebSocket(`${url.replace("http", "ws")}/rpc/ws`)
          opening.addEventListener("message", ({ data }) => {
            received += String(data).length
          })
          opening.addEventListener("open", () => resume(Effect.succeed(opening)))
        }),
        (opened) => Effect.sync(() => opened.close())
      )
      const say = (message: unknown) => socket.send(`${JSON.stringify(message)}\n`)
      say({
        _tag: "Request",
        id: "1",
        tag: "Events",
        payload: { after: "0", kinds: ["message.received"] },
        headers: []
      })
      // The first item is the heartbeat with the stream's start; the client takes this item and nothing after it.
      say({ _tag: "Ack", requestId: "1" })
      yield* readAll(url)
      assert.isAtMost(pulled(), 500)
      assert.isBelow(received, 1024 * 1024)
      assert.isAbove(received, 0)
    }))
})
