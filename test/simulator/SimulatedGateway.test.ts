import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { WebSocket } from "ws"
import * as SimulatedGateway from "../../src/simulator/SimulatedGateway.ts"
import type { LedgerEntry } from "../../src/simulator/Ledger.ts"
import type { EmitRequest, SimulatorCore } from "../../src/simulator/SimulatorCore.ts"

const fixed = () => Date.UTC(2026, 7, 22, 12)

type Frames = ReadonlyArray<string | Buffer>

interface Client {
  readonly socket: WebSocket
  readonly frames: Array<string | Buffer>
  /** Succeeds once the condition holds for the frames; it is checked after every frame. */
  readonly until: (condition: (frames: Frames) => boolean) => Effect.Effect<Frames>
  /** Succeeds once this many frames have come, without the greeting. */
  readonly received: (count: number) => Effect.Effect<Frames>
  readonly closed: Effect.Effect<number>
}

/** A bare socket: the tests see the frames of the simulator, without Columba's adapter in between. */
const connect = (url: string, device: string) =>
  Effect.acquireRelease(
    Effect.callback<Client>((resume) => {
      const socket = new WebSocket(`${url.replace("http", "ws")}/ws?device_id=${device}`, { perMessageDeflate: false })
      const frames: Array<string | Buffer> = []
      const closed = new Promise<number>((resolve) => socket.on("close", resolve))
      let greeted = false
      socket.on("error", () => {})
      socket.on("message", (data: Buffer, isBinary) => {
        const frame = isBinary ? data : data.toString("utf8")
        if (greeted) frames.push(frame)
        else {
          greeted = true
          resume(Effect.succeed({ socket, frames, until, received, closed: Effect.promise(() => closed) }))
        }
      })
      const until: Client["until"] = (condition) =>
        Effect.callback((done) => {
          const check = () => {
            if (condition(frames)) done(Effect.succeed(frames))
          }
          socket.on("message", check)
          check()
          return Effect.sync(() => socket.off("message", check))
        })
      const received = (count: number) => until((frames) => frames.length >= count)
    }),
    ({ socket }) => Effect.sync(() => socket.terminate())
  )

/** Emits and waits until the simulator has emitted all. */
const emitAll = (core: SimulatorCore, request: EmitRequest): Effect.Effect<void> =>
  Effect.callback((resume) => void core.emit(request, () => resume(Effect.void)))

const start = (options: SimulatedGateway.SimulatorOptions = {}) =>
  SimulatedGateway.start({ devices: 1, seed: "test", now: fixed, ...options })

const ask = (url: string, path: string, init?: RequestInit) =>
  Effect.promise(async () => {
    const response = await fetch(`${url}${path}`, init)
    const text = await response.text()
    const isJson = response.headers.get("content-type") === "application/json"
    return { status: response.status, text, json: isJson ? JSON.parse(text) : undefined }
  })

const post = (url: string, path: string, body: unknown) =>
  ask(url, path, { method: "POST", body: JSON.stringify(body) })

const idIn = (frame: string | Buffer) => {
  const { payload } = JSON.parse(String(frame))
  return String(payload.id ?? payload.ids?.[0] ?? "")
}

describe("the simulator", () => {
  it.live("sends the same bytes for the same seed", () =>
    Effect.gen(function*() {
      const run = Effect.scoped(Effect.gen(function*() {
        const { core, url } = yield* start()
        const client = yield* connect(url, "sim-1")
        core.emit({ count: 300 })
        return (yield* client.received(300)).join("\n")
      }))
      assert.strictEqual(yield* run, yield* run)
    }))

  it.live("records when each socket opened and closed, and at which of its addresses", () =>
    Effect.gen(function*() {
      const { port, url } = yield* start({ devices: 2, host: "0.0.0.0" })
      const here = `http://127.0.0.1:${port}`
      const first = yield* connect(here, "sim-1")
      yield* connect(`http://127.0.0.2:${port}`, "sim-2")
      first.socket.terminate()
      yield* first.closed
      const read = Effect.map(ask(here, "/__sim/sockets"), ({ text }) => text.trim().split("\n"))
      const lines = yield* Effect.repeat(read, { until: (found) => found.length === 3 })
      assert.deepStrictEqual(lines.map((line) => JSON.parse(line)), [
        { n: 1, socket: 1, device: "sim-1", at: "127.0.0.1", open: true, time: fixed() },
        { n: 2, socket: 2, device: "sim-2", at: "127.0.0.2", open: true, time: fixed() },
        { n: 3, socket: 1, device: "sim-1", at: "127.0.0.1", open: false, time: fixed() }
      ])
      assert.strictEqual((yield* ask(here, "/__sim/sockets?after=1&limit=1")).text, `${lines[1]}\n`)
      assert.include(url, "0.0.0.0")
    }))

  it.live("writes every event to the ledger before it is sent, in order, also to a file", () =>
    Effect.gen(function*() {
      const folder = mkdtempSync(join(tmpdir(), "ledger-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true })))
      const ledgerFile = join(folder, "ledger.ndjson")
      const { url } = yield* start({ devices: 3, ledgerFile })
      const client = yield* connect(url, "sim-2")
      const stats = yield* post(url, "/__sim/emit", { count: 300, wait: true })
      assert.strictEqual(stats.json.events, 300)
      yield* client.received(100)
      const { text } = yield* ask(url, "/__sim/ledger")
      assert.strictEqual(readFileSync(ledgerFile, "utf8"), text)
      const entries = text.trim().split("\n").map((line) => JSON.parse(line) as LedgerEntry)
      assert.deepStrictEqual(entries.map(({ n }) => n), Array.from({ length: 300 }, (_, index) => index + 1))
      const heard = entries.filter(({ device }) => device === "sim-2")
      assert.deepStrictEqual(heard.map(({ seq }) => seq), Array.from({ length: 100 }, (_, index) => index + 1))
      assert.deepStrictEqual(heard.map(({ id }) => id), client.frames.map(idIn))
      assert.isTrue(heard.every(({ sockets }) => sockets === 1))
      assert.isTrue(entries.every(({ device, sockets }) => device === "sim-2" || sockets === 0))
      const page = yield* ask(url, "/__sim/ledger?after=290&limit=5")
      assert.deepStrictEqual(page.text.trim().split("\n").map((line) => JSON.parse(line).n), [291, 292, 293, 294, 295])
    }))

  it.live("keeps the requested rate", () =>
    Effect.gen(function*() {
      let now = fixed()
      const { core } = yield* start({ devices: 2, now: () => now })
      core.emit({ count: 200, rate: 1000 })
      const emittedAfter = (millis: number) => {
        now = fixed() + millis
        core.emitter.tick()
        return core.ledger.count
      }
      assert.deepStrictEqual([0, 1, 100, 199, 200, 1000].map(emittedAfter), [0, 1, 100, 199, 200, 200])
    }))

  it.live("runs an account's clock at a multiple of the real speed", () =>
    Effect.gen(function*() {
      let now = fixed()
      const { core } = yield* start({ now: () => now })
      const due = core.devices.get("sim-1")!.scenario.nextAt()
      core.emit({ speed: 10 })
      now += due / 10 - 1
      core.emitter.tick()
      assert.strictEqual(core.ledger.count, 0)
      now += 101
      core.emitter.tick()
      assert.isAbove(core.ledger.count, 0)
      const before = core.ledger.count
      // Ten minutes of the account's time: no pause in a conversation is longer.
      now += 60_000
      core.emitter.tick()
      assert.isAbove(core.ledger.count, before)
      assert.isAtMost(core.devices.get("sim-1")!.scenario.at(), (now - fixed()) * 10)
    }))

  it.live("answers about slots and history as gateways do", () =>
    Effect.gen(function*() {
      const auth = { user: "u", password: "p" }
      const { core, url } = yield* start({ auth })
      const authorization = `Basic ${Buffer.from("u:p").toString("base64")}`
      const signed = (path: string, init: RequestInit = {}) =>
        ask(url, path, { ...init, headers: { authorization, "x-device-id": "sim-1" } })
      assert.deepStrictEqual((yield* ask(url, "/health")).text, "OK")
      const refused = yield* ask(url, "/devices")
      assert.deepStrictEqual([refused.status, refused.text], [401, "Unauthorized"])
      assert.strictEqual((yield* signed("/devices")).json.results.length, 1)
      assert.strictEqual((yield* signed("/devices/nobody")).status, 500)
      const status = yield* signed("/devices/sim-1/status")
      assert.deepStrictEqual(status.json.results, { device_id: "sim-1", is_connected: true, is_logged_in: true })
      const again = yield* signed("/devices", { method: "POST", body: "{\"device_id\":\"sim-1\"}" })
      assert.include(again.json.message, "already exists")

      yield* emitAll(core, { count: 400 })
      const chats = yield* signed("/chats?limit=100")
      assert.isAbove(chats.json.results.data.length, 3)
      let rows = 0
      for (const { jid } of chats.json.results.data) {
        const page = yield* signed(`/chat/${encodeURIComponent(jid)}/messages?limit=100`)
        rows += page.json.results.pagination.total
      }
      const revoked = core.ledger.entries().filter(({ event }) => event === "message.revoked").length
      const messages = core.ledger.entries().filter(({ event }) => event === "message").length
      assert.strictEqual(rows, messages - revoked)
      assert.strictEqual((yield* ask(url, "/chats", { headers: { authorization, "x-device-id": "x" } })).status, 404)
    }))

  it.live("shows a QR code to a slot that is not paired, and reports when it is paired", () =>
    Effect.gen(function*() {
      const { core, url } = yield* start({ autoPair: false })
      const client = yield* connect(url, "sim-1")
      assert.strictEqual((yield* post(url, "/__sim/pair", { device: "sim-1" })).status, 200)
      const [connected] = yield* client.received(1)
      assert.deepStrictEqual(JSON.parse(String(connected)), {
        event: "connected",
        device_id: "sim-1",
        payload: { jid: core.devices.get("sim-1")!.jid }
      })
    }))

  it.live("refuses unreadable requests on its control surface", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      assert.strictEqual((yield* post(url, "/__sim/faults", { kind: "earthquake" })).status, 400)
      assert.strictEqual((yield* post(url, "/__sim/emit", { count: -1 })).status, 400)
      assert.strictEqual((yield* post(url, "/__sim/raw", { device: "nobody", text: "" })).status, 404)
      assert.strictEqual((yield* ask(url, "/__sim/nothing")).status, 404)
    }))

  it.live("reports the address on which it could not listen", () =>
    Effect.gen(function*() {
      const { port } = yield* start()
      const error = yield* Effect.flip(start({ port }))
      assert.include(error.message, "EADDRINUSE")
    }))
})

describe("a fault", () => {
  const setup = Effect.gen(function*() {
    const { core, url } = yield* start({ devices: 2 })
    const client = yield* connect(url, "sim-1")
    const other = yield* connect(url, "sim-2")
    const emit = (count: number) => emitAll(core, { devices: ["sim-1"], count })
    return { core, url, client, other, emit }
  })

  it.live("drop closes with the given code, and only the devices it names", () =>
    Effect.gen(function*() {
      const { client, core, other } = yield* setup
      core.applyFault({ kind: "drop", code: 1012, devices: ["sim-1"] })
      assert.strictEqual(yield* client.closed, 1012)
      assert.deepStrictEqual([core.stats().sockets, core.stats().faults.length], [1, 0])
      core.applyFault({ kind: "drop" })
      assert.strictEqual(yield* other.closed, 1006)
    }))

  it.live("half-open swallows pings and frames, and thaws when it is cleared", () =>
    Effect.gen(function*() {
      const { client, core, emit } = yield* setup
      core.applyFault({ kind: "half-open", devices: ["sim-1"] })
      client.socket.ping()
      yield* emit(5)
      assert.isTrue(core.ledger.entries().every(({ sockets }) => sockets === 0))
      assert.deepStrictEqual([core.stats().sockets, core.stats().frozen], [1, 1])
      const pong = new Promise<void>((resolve) => client.socket.once("pong", () => resolve()))
      core.clearFaults()
      yield* Effect.promise(() => pong)
      assert.strictEqual(client.frames.length, 0)
    }))

  it.live("mute keeps events in the history only", () =>
    Effect.gen(function*() {
      const { client, core, emit } = yield* setup
      const id = core.applyFault({ kind: "mute" })
      yield* emit(10)
      core.clearFaults(id)
      yield* emit(1)
      yield* client.received(1)
      assert.strictEqual(client.frames.length, 1)
      assert.strictEqual(idIn(client.frames[0]!), core.ledger.entries().at(-1)!.id)
      assert.isNotEmpty(core.devices.get("sim-1")!.history)
    }))

  it.live("duplicate sends each event that many times", () =>
    Effect.gen(function*() {
      const { client, core, emit } = yield* setup
      core.applyFault({ kind: "duplicate", copies: 3 })
      yield* emit(4)
      const frames = yield* client.received(12)
      assert.deepStrictEqual(frames.map(idIn), core.ledger.entries().flatMap(({ id }) => [id, id, id]))
    }))

  it.live("reorder changes the order within its window and loses nothing", () =>
    Effect.gen(function*() {
      const { client, core, emit } = yield* setup
      core.applyFault({ kind: "reorder", window: 10 })
      yield* emit(25)
      yield* client.received(20)
      core.clearFaults()
      const received = (yield* client.received(25)).map(idIn)
      const emitted = core.ledger.entries().map(({ id }) => id)
      assert.notDeepEqual(received, emitted)
      assert.deepStrictEqual([...received].sort(), [...emitted].sort())
      assert.deepStrictEqual(received.slice(0, 10).sort(), emitted.slice(0, 10).sort())
    }))

  it.live("slow delays and keeps the order", () =>
    Effect.gen(function*() {
      let now = fixed()
      const { core, url } = yield* start({ now: () => now })
      const client = yield* connect(url, "sim-1")
      core.applyFault({ kind: "slow", millis: 60, times: 5 })
      yield* emitAll(core, { count: 20 })
      now += 59
      core.emitter.tick()
      assert.strictEqual(core.stats().frames, 0)
      now += 1
      core.emitter.tick()
      const frames = yield* client.received(20)
      assert.deepStrictEqual(frames.map(idIn), core.ledger.entries().map(({ id }) => id))
    }))

  it.live("junk, binary, huge and wrong-device send as many frames as requested", () =>
    Effect.gen(function*() {
      const { client, core, emit } = yield* setup
      core.applyFault({ kind: "junk", times: 2 })
      core.applyFault({ kind: "binary", times: 1 })
      core.applyFault({ kind: "huge", bytes: 100_000, times: 1 })
      core.applyFault({ kind: "wrong-device", times: 1 })
      yield* emit(10)
      const frames = yield* client.received(14)
      assert.strictEqual(frames.filter((frame) => typeof frame !== "string").length, 1)
      assert.strictEqual(frames.filter((frame) => frame.length > 100_000).length, 1)
      assert.strictEqual(frames.filter((frame) => String(frame).includes("somebody-else")).length, 1)
      assert.isTrue(core.faults.quiet)
    }))

  it.live("http answers requests with its status, late or both, and leaves sockets alone", () =>
    Effect.gen(function*() {
      const { client, core, emit, url } = yield* setup
      core.applyFault({ kind: "http", status: 503, times: 1 })
      assert.strictEqual((yield* ask(url, "/devices")).status, 503)
      assert.strictEqual((yield* ask(url, "/devices")).status, 200)
      core.applyFault({ kind: "http", millis: 80, times: 1 })
      const before = performance.now()
      assert.strictEqual((yield* ask(url, "/devices")).status, 200)
      assert.isAtLeast(performance.now() - before, 75)
      core.applyFault({ kind: "http", status: 500, devices: ["sim-2"] })
      assert.strictEqual((yield* ask(url, "/chats", { headers: { "x-device-id": "sim-1" } })).status, 200)
      assert.strictEqual((yield* ask(url, "/chats", { headers: { "x-device-id": "sim-2" } })).status, 500)
      yield* emit(1)
      yield* client.received(1)
    }))

  it.live("by chance strikes about as often as configured, at the same times for the same seed", () =>
    Effect.gen(function*() {
      const run = Effect.scoped(Effect.gen(function*() {
        const { client, core, emit } = yield* setup
        core.applyFault({ kind: "duplicate", copies: 2, probability: 0.3 })
        yield* emit(200)
        core.clearFaults()
        core.emitter.sendRaw(core.devices.get("sim-1")!, "{\"payload\":{\"id\":\"last\"}}")
        return (yield* client.until((frames) => frames.length > 0 && idIn(frames.at(-1)!) === "last")).length
      }))
      const count = yield* run
      assert.isAbove(count, 230)
      assert.isBelow(count, 300)
      assert.strictEqual(yield* run, count)
    }))

  it.live("with a duration ends by itself", () =>
    Effect.gen(function*() {
      let now = fixed()
      const { core, url } = yield* start({ now: () => now })
      core.applyFault({ kind: "refuse", status: 503, forMillis: 30 })
      now += 29
      assert.strictEqual(core.stats().faults.length, 1)
      now += 1
      assert.strictEqual(core.stats().faults.length, 0)
      yield* connect(url, "sim-1")
    }))
})
