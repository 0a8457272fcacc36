/** The client over real sockets: typed answers, typed failures, and streams that outlive the server. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Fiber, Layer, Option, Stream } from "effect"
import { TestClock } from "effect/testing"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import type { ColumbaClientOptions } from "../../src/client/ColumbaClient.ts"
import type { EventsItem } from "../../src/contracts/EventPayloads.ts"
import { beginning, Position, positionAfter } from "../../src/domain/Ids.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import * as MemoryStorage from "../../src/layers/memory/MemoryStorage.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import { makeLogs } from "../support/logsOverOneStore.ts"
import { ScriptedSending } from "../support/scriptedSending.ts"
import { ask, makeScript, makeStorage, messageDraft, services, startServer, stateDraft } from "../support/surface.ts"

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

const device = "dev_00000000000000000000000001" as DeviceId

const transports = { WebSocket: ColumbaClient.layer, HTTP: ColumbaClient.layerHttp }

/** A server that accepts messages to send, behind a network, and one device. */
const startSending = Effect.gen(function*() {
  const script = makeScript()
  Object.assign(script.gateway, { send: new ScriptedSending() })
  const server = yield* startServer({ script })
  const network = yield* FaultProxy.make({ host: "127.0.0.1", port: server.port })
  const { body } = yield* ask(`${server.url}/api/v1/devices`, { method: "POST", json: { name: "desk" } })
  return { ...server, network, direct: server.url, url: `http://127.0.0.1:${network.port}`, id: body.id as DeviceId }
})

const connectTo = (
  layer: typeof ColumbaClient.layer,
  options: ColumbaClientOptions
) => Effect.map(Layer.build(Layer.fresh(layer(options))), (context) => Context.get(context, ColumbaClient))

const append = (log: EventLog["Service"], from: number, to: number) =>
  log.append(numbers(from, to).map((number) => messageDraft(device, number)))

/** Collects the numbers of events, and signals each new one. */
const collecting = Effect.fnUntraced(function*(stream: Stream.Stream<EventsItem, unknown>) {
  const seen: Array<number> = []
  const waiting = new Map<number, Deferred.Deferred<void>>()
  const fiber = yield* stream.pipe(
    Stream.runForEach((item) =>
      Effect.sync(() => {
        if (item._tag !== "Event") return
        seen.push(item.event.seq)
        const waiter = waiting.get(item.event.seq)
        if (waiter !== undefined) Deferred.doneUnsafe(waiter, Effect.void)
      })
    ),
    Effect.forkScoped
  )
  const reach = (seq: number) =>
    Effect.suspend(() => {
      if (seen.includes(seq)) return Effect.void
      const waiter = Deferred.makeUnsafe<void>()
      waiting.set(seq, waiter)
      return Effect.raceFirst(Deferred.await(waiter), Effect.andThen(Fiber.join(fiber), Effect.die("the stream ended")))
    })
  return { seen, reach }
})

/** WebSockets that count the attempts to connect, and report how the last one ended. */
const watchedSockets = () => {
  const watched = { attempts: 0, ended: Promise.resolve(false) }
  class Watched extends WebSocket {
    constructor(url: string) {
      super(url)
      watched.attempts++
      watched.ended = new Promise((resolve) => {
        this.addEventListener("open", () => resolve(true))
        this.addEventListener("close", () => resolve(false))
      })
    }
  }
  return { watched, webSocket: Watched }
}

describe("the client over WebSocket", () => {
  it.live("opens its streams as soon as it is connected again, without a further delay", () =>
    Effect.gen(function*() {
      const storage = yield* makeStorage
      const log = Context.get(yield* Layer.build(services({ storage })), EventLog)
      const server = yield* startServer({ storage })
      // The client's clock.
      const clock = yield* TestClock.make()
      const withClock = Effect.provideService(Clock.Clock, clock)
      const { watched, webSocket } = watchedSockets()
      let failures = 0
      const options = { url: server.url, webSocket, onReconnect: () => void failures++ }
      const client = yield* withClock(connectTo(ColumbaClient.layer, options))
      const { reach } = yield* withClock(collecting(client.events.follow({ after: beginning })))
      yield* append(log, 1, 1)
      yield* reach(1)
      yield* server.stop
      /** Lets a little time pass, and waits for the end of an attempt to connect that starts in it. */
      const pass = Effect.gen(function*() {
        const before = watched.attempts
        yield* clock.adjust("100 millis")
        for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
        return yield* Effect.promise(async () => watched.attempts > before && (await watched.ended))
      })
      while (failures < 15) yield* pass
      yield* startServer({ storage, port: server.port })
      while (!(yield* pass));
      yield* append(log, 2, 2)
      // No more time passes for the client.
      yield* reach(2)
    }))
})

for (const [transport, layer] of Object.entries(transports)) {
  describe(`the client over ${transport}`, () => {
    it.live("ends a stream with LogReset when the log was reset, or resumes it at the head of the log", () =>
      Effect.gen(function*() {
        const server = yield* startServer()
        const log = Context.get(server.services, EventLog)
        yield* append(log, 1, 3)
        const client = yield* connectTo(layer, server)
        const after = positionAfter(99)
        const { head, headId } = yield* log.bounds
        const now = positionAfter(head, headId)
        const ended = yield* Effect.flip(Stream.runDrain(client.events.follow({ after })))
        assert.deepInclude(ended, { _tag: "LogReset", head: now })
        // The first item states from where the stream was resumed.
        const begun = yield* Deferred.make<EventsItem>()
        const resumed = yield* collecting(
          Stream.tap(client.events.follow({ after, onReset: "resume" }), (item) => Deferred.succeed(begun, item))
        )
        assert.deepStrictEqual(yield* Deferred.await(begun), { _tag: "Heartbeat", through: now })
        yield* append(log, 4, 4)
        yield* resumed.reach(4)
        assert.deepStrictEqual(resumed.seen, [4])
      }))

    it.live("resumes a stream that was cut while the log was reset at the last common event, and misses nothing", () =>
      Effect.gen(function*() {
        const { goBack, other, ours, process } = yield* makeLogs
        yield* append(ours, 1, 40)
        const storage = Layer.merge(MemoryStorage.layerMemory, process)
        const first = yield* startServer({ storage })
        const client = yield* connectTo(layer, first)
        const resumed = yield* collecting(client.events.follow({ after: beginning, onReset: "resume" }))
        const ended = yield* Effect.forkChild(
          Effect.flip(Stream.runDrain(client.events.follow({ after: beginning })))
        )
        yield* resumed.reach(40)
        yield* first.stop
        goBack(33)
        yield* append(other, 41, 60)
        yield* startServer({ storage, port: first.port })
        yield* resumed.reach(53)
        // 34 to 40 again, as other events, perhaps after some known ones; and nothing twice apart from those.
        const again = resumed.seen.slice(40)
        assert.isAtMost(again[0]!, 34)
        assert.isAbove(again[0]!, 0)
        assert.deepStrictEqual(again, numbers(again[0]!, 53))
        assert.strictEqual((yield* Fiber.join(ended))._tag, "LogReset")
      }))

    it.live("answers calls with typed values and typed errors", () =>
      Effect.gen(function*() {
        const { url } = yield* startServer()
        const client = yield* connectTo(layer, { url: `${url}/` })
        const created = yield* client.devices.create({ name: "Shop" })
        assert.deepStrictEqual(yield* client.devices.get({ id: created.id }), created)
        assert.deepStrictEqual((yield* client.devices.list()).items, [created])
        assert.strictEqual((yield* client.devices.edit({ id: created.id, name: "Store" })).name, "Store")
        assert.strictEqual((yield* client.devices.explain({ id: created.id })).state, "Inactive")
        assert.strictEqual((yield* client.server.info()).node, "test-node")
        assert.deepStrictEqual((yield* client.events.page({ after: beginning })).items, [])
        const missing = yield* Effect.flip(client.devices.get({ id: device }))
        assert.strictEqual(missing._tag, "DeviceNotFound")
        const conflict = yield* Effect.flip(client.devices.release({ id: created.id }))
        assert.strictEqual(conflict._tag, "DeviceStateConflict")
      }))

    it.live("sends the key with every call; a missing key ends a stream instead of repeating it", () =>
      Effect.gen(function*() {
        const { url } = yield* startServer({ keys: [["reader", ["read"], "secret"]] })
        const reader = yield* connectTo(layer, { url, apiKey: "secret" })
        assert.deepStrictEqual((yield* reader.devices.list()).items, [])
        assert.strictEqual((yield* Effect.flip(reader.devices.create({ name: "a" })))._tag, "Forbidden")
        const stranger = yield* connectTo(layer, { url })
        assert.strictEqual((yield* Effect.flip(stranger.devices.list()))._tag, "Unauthorized")
        assert.strictEqual((yield* Effect.flip(Stream.runDrain(stranger.events.follow())))._tag, "Unauthorized")
        assert.strictEqual((yield* Effect.flip(Stream.runDrain(stranger.watchDevices)))._tag, "Unauthorized")
      }))

    it.live("ends a stream whose position is invalid instead of repeating it, and resumes after an item's position", () =>
      Effect.gen(function*() {
        const { services, url } = yield* startServer()
        yield* append(Context.get(services, EventLog), 1, 3)
        const client = yield* connectTo(layer, { url })
        const after = Position.make("nonsense")
        assert.strictEqual((yield* Effect.flip(client.events.page({ after })))._tag, "PositionInvalid")
        const failure = yield* Effect.flip(Stream.runDrain(client.events.follow({ after })))
        assert.strictEqual(failure._tag, "PositionInvalid")
        const events = (stream: typeof client.events.follow extends (...args: never) => infer S ? S : never) =>
          stream.pipe(Stream.filter((item) => item._tag === "Event"), Stream.take(1), Stream.runCollect)
        const [first] = yield* events(client.events.follow({ after: beginning }))
        const [second] = yield* events(client.events.follow({ after: first!.position }))
        assert.deepStrictEqual([first!.event.seq, second!.event.seq], [1, 2])
      }))

    it.live("continues event streams over restarts of the server, without missing or repeated events", () =>
      Effect.gen(function*() {
        const storage = yield* makeStorage
        const log = Context.get(yield* Layer.build(services({ storage })), EventLog)
        yield* append(log, 1, 50)
        let server = yield* startServer({ storage })
        const client = yield* connectTo(layer, { url: server.url })
        const replayed = yield* collecting(client.events.follow({ after: positionAfter(10) }))
        const live = yield* collecting(client.events.follow())
        yield* replayed.reach(50)
        yield* append(log, 51, 60)
        // The live stream may have started with any of these; only the events after its first one count.
        yield* replayed.reach(60)
        yield* append(log, 61, 61)
        yield* live.reach(61)
        let appended = 61
        for (let restart = 0; restart < 3; restart++) {
          const { port } = server
          yield* Effect.all([server.stop, append(log, appended + 1, appended + 20)], { concurrency: 2 })
          appended += 20
          yield* append(log, appended + 1, appended + 20)
          appended += 20
          server = yield* startServer({ storage, port })
          yield* append(log, appended + 1, appended + 20)
          appended += 20
          yield* Effect.all([replayed.reach(appended), live.reach(appended)])
        }
        assert.deepStrictEqual(replayed.seen, numbers(11, appended))
        assert.deepStrictEqual(live.seen, numbers(live.seen[0]!, appended))
      }))

    it.live(
      "continues event streams over a network that breaks connections in the middle of a frame",
      () =>
        Effect.gen(function*() {
          const server = yield* startServer()
          const log = Context.get(server.services, EventLog)
          const network = yield* FaultProxy.make({ host: "127.0.0.1", port: server.port })
          const client = yield* connectTo(layer, { url: `http://127.0.0.1:${network.port}` })
          const { reach, seen } = yield* collecting(client.events.follow({ after: beginning }))
          let appended = 0
          // Each connection lets more bytes through than the one before, and breaks at any point.
          for (let round = 0; round < 4; round++) {
            const remove = network.add("downstream", { type: "limit_data", bytes: 2000 + round * 20_011 })
            yield* append(log, appended + 1, appended + 300)
            appended += 300
            yield* network.drained
            remove()
          }
          yield* reach(appended)
          assert.deepStrictEqual(seen, numbers(1, appended))
        })
    )

    it.live("returns an event that this version cannot decode as it is stored, by streams and pages", () =>
      Effect.gen(function*() {
        const { ours, process, tables } = yield* makeLogs
        yield* append(ours, 1, 4)
        // As a later version, or somebody with SQL, might have written them.
        tables.events[1] = { ...tables.events[1]!, kind: "message.starred" as never, data: "{\"star\":true}" }
        tables.events[2] = { ...tables.events[2]!, data: "{\"no\":\"message\"}", via: "carrier-pigeon" as never }
        const { url } = yield* startServer({ storage: Layer.merge(MemoryStorage.layerMemory, process) })
        const client = yield* connectTo(layer, { url })
        const read = yield* client.events.follow({ after: beginning }).pipe(
          Stream.filter((item) => item._tag === "Event"),
          Stream.take(4),
          Stream.runCollect
        )
        const kinds = ["message.received", "event.unreadable", "event.unreadable", "message.received"]
        assert.deepStrictEqual(read.map(({ event }) => event.kind), kinds)
        assert.deepStrictEqual(read.map(({ event }) => event.seq), [1, 2, 3, 4])
        const page = yield* client.events.page({ after: beginning })
        assert.deepStrictEqual(page.items, read.map(({ event }) => event))
        // Its kind and all its fields, as any HTTP client gets them.
        const { body } = yield* ask(`${url}/api/v1/events`)
        const unreadable = page.items.flatMap((event) => event.kind === "event.unreadable" ? [event.data.stored] : [])
        assert.deepStrictEqual(unreadable, body.items.slice(1, 3))
        assert.deepInclude(unreadable[0], { kind: "message.starred", data: { star: true } })
        // A stream that is resumed after it continues.
        const rest = yield* client.events.follow({ after: read[1]!.position }).pipe(Stream.take(2), Stream.runCollect)
        assert.strictEqual(rest[1]!._tag, "Event")
      }))

    it.live("shows a watcher new names, and survives a transition that this version cannot decode", () =>
      Effect.gen(function*() {
        const { services, url } = yield* startServer()
        const log = Context.get(services, EventLog)
        const client = yield* connectTo(layer, { url })
        const { id } = yield* client.devices.create({ name: "a" })
        const rename = (name: string) => Effect.orDie(Effect.asVoid(client.devices.edit({ id, name })))
        const change = Effect.orDie(Effect.asVoid(log.append([
          stateDraft(id, "Inactive", { _tag: "Hibernating" } as never),
          stateDraft(id, "Inactive", { _tag: "Connecting", attempt: 1, sessionOpen: false })
        ])))
        const names: Array<string> = []
        const watched = yield* client.watchDevices.pipe(
          Stream.tap((item) => {
            switch (item._tag) {
              case "Device":
                names.push(item.device.name)
                return Effect.void
              case "Synced":
                return rename("b")
              case "Renamed":
                names.push(item.name)
                return item.name === "b" ? rename("c") : change
              default:
                return Effect.void
            }
          }),
          Stream.takeUntil(({ _tag }) => _tag === "Changed"),
          Stream.runLast
        )
        assert.deepStrictEqual(names, ["a", "b", "c"])
        assert.deepInclude(Option.getOrThrow(watched), { _tag: "Changed", seq: 2, deviceId: id })
      }))

    it.live("lets a read wait for a server that restarts", () =>
      Effect.gen(function*() {
        const storage = yield* makeStorage
        const server = yield* startServer({ storage })
        const client = yield* connectTo(layer, { url: server.url })
        const { id } = yield* client.devices.create({ name: "Shop" })
        yield* server.stop
        const waiting = yield* Effect.forkChild(client.devices.get({ id }), { startImmediately: true })
        yield* startServer({ storage, port: server.port })
        assert.strictEqual((yield* Fiber.join(waiting)).name, "Shop")
      }))

    it.live("repeats the request for a message whose answer is lost, and the message exists once", () =>
      Effect.gen(function*() {
        const { direct, id, network, url } = yield* startSending
        const client = yield* connectTo(layer, { url })
        yield* client.server.ping()
        const remove = network.add("downstream", { type: "timeout", millis: 0 })
        const sending = yield* Effect.forkChild(client.messages.send({ id, to: "6281298765432", text: "once" }))
        yield* network.swallowed(/once/g, 1)
        yield* network.disable
        remove()
        yield* network.enable
        const sent = yield* Fiber.join(sending)
        const { body } = yield* ask(`${direct}/api/v1/messages`)
        assert.deepStrictEqual(body.items.map((message: { id: string }) => message.id), [sent.id])
      }))

    it.live("fails a command whose answer is lost, and does not repeat it", () =>
      Effect.gen(function*() {
        const { direct, network, url } = yield* startSending
        const client = yield* connectTo(layer, { url })
        yield* client.server.ping()
        const remove = network.add("downstream", { type: "timeout", millis: 0 })
        const creating = yield* Effect.forkChild(Effect.flip(client.devices.create({ name: "second" })))
        yield* network.swallowed(/second/g, 1)
        yield* network.disable
        remove()
        yield* network.enable
        assert.strictEqual((yield* Fiber.join(creating))._tag, "RpcClientError")
        const { body } = yield* ask(`${direct}/api/v1/devices`)
        assert.deepStrictEqual(body.items.map(({ name }: { name: string }) => name).toSorted(), ["desk", "second"])
      }))

    it.live("fails calls with typed errors while the server is down, and works again when it is up", () =>
      Effect.gen(function*() {
        const storage = yield* makeStorage
        const server = yield* startServer({ storage })
        const client = yield* connectTo(layer, { url: server.url, retryFor: 0 })
        assert.deepStrictEqual((yield* client.devices.list()).items, [])
        yield* server.stop
        assert.strictEqual((yield* Effect.flip(client.devices.list()))._tag, "RpcClientError")
        yield* startServer({ storage, port: server.port })
        // A stream waits for the server; once it has started, the connection works again.
        yield* Stream.runHead(client.watchDevices)
        assert.deepStrictEqual((yield* client.devices.list()).items, [])
      }))

    it.live("sends a watcher of devices every device again after a restart", () =>
      Effect.gen(function*() {
        const storage = yield* makeStorage
        const server = yield* startServer({ storage })
        const log = Context.get(server.services, EventLog)
        const client = yield* connectTo(layer, { url: server.url })
        const { id } = yield* client.devices.create({ name: "a" })
        const items: Array<string> = []
        const restarted = yield* Deferred.make<void>()
        const watching = yield* client.watchDevices.pipe(
          Stream.tap((item) => {
            if (item._tag === "Heartbeat") return Effect.void
            items.push(item._tag === "Device" ? `Device ${item.device.state._tag}` : item._tag)
            if (item._tag === "Synced" && items.filter((tag) => tag === "Synced").length === 1) {
              return log.append([stateDraft(id, "Inactive", { _tag: "Connecting", attempt: 1, sessionOpen: false })])
            }
            return item._tag === "Changed" ? Deferred.succeed(restarted, undefined) : Effect.void
          }),
          Stream.takeUntil(() => items.filter((tag) => tag === "Synced").length === 2),
          Stream.runDrain,
          Effect.forkScoped
        )
        yield* Deferred.await(restarted)
        yield* server.stop
        yield* startServer({ storage, port: server.port })
        yield* Fiber.join(watching)
        assert.deepStrictEqual(items, ["Device Inactive", "Synced", "Changed", "Device Connecting", "Synced"])
      }))
  })
}
