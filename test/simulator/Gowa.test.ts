/** The simulated GOWA without Columba's adapter: the traps for a client that expects too much of it. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { WebSocket } from "ws"
import * as SimulatedGateway from "../../src/simulator/SimulatedGateway.ts"
import { asGowa } from "../../src/simulator/gowa/GowaServer.ts"
import type { Outcome } from "../../src/simulator/gowa/GowaWebhooks.ts"
import * as WebhookReceiver from "../support/webhookReceiver.ts"

const start = Effect.fnUntraced(function*(options: SimulatedGateway.SimulatorOptions = {}) {
  const handle = yield* SimulatedGateway.start({ dialect: "gowa", devices: 1, ...options })
  const gowa = asGowa(handle.core)
  const device = handle.core.devices.get("sim-1")
  const ask = (path: string, init: RequestInit = {}) =>
    Effect.promise(async () => {
      const response = await fetch(`${handle.url}${path}`, init)
      const text = await response.text()
      return { status: response.status, text, type: response.headers.get("content-type") ?? "" }
    })
  const answer = (path: string, init: RequestInit = {}) =>
    Effect.map(ask(path, init), ({ status, text }) => {
      const { code, results } = JSON.parse(text) as { readonly code: string; readonly results?: unknown }
      return { status, code, results }
    })
  return { ...handle, gowa, device: device!, ask, answer }
})

const json = (body: unknown, method = "POST"): RequestInit => ({
  method,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body)
})

const connect = (url: string, query = "?device_id=sim-1") =>
  Effect.acquireRelease(
    Effect.callback<{ readonly socket: WebSocket; readonly frames: Array<string> }>((resume) => {
      const frames: Array<string> = []
      const socket = new WebSocket(`${url.replace("http", "ws")}/ws${query}`)
      socket.on("error", () => {})
      socket.on("message", (data: Buffer) => frames.push(data.toString("utf8")))
      socket.once("open", () => resume(Effect.succeed({ socket, frames })))
    }),
    ({ socket }) => Effect.sync(() => socket.terminate())
  )

const closed = (socket: WebSocket) =>
  Effect.callback<number>((resume) => {
    socket.once("close", (code) => resume(Effect.succeed(code)))
  })

describe("requests to the simulated GOWA", () => {
  it.live("about a slot fail in another way for each way of naming it", () =>
    Effect.gen(function*() {
      const { answer, ask } = yield* start({ devices: 2 })
      const named = (name: string) => ({ headers: { "x-device-id": name } })
      assert.deepInclude(yield* answer("/devices/nobody"), { status: 500, code: "INTERNAL_SERVER_ERROR" })
      assert.deepInclude(yield* answer("/devices/nobody/status"), { status: 500, code: "INTERNAL_SERVER_ERROR" })
      assert.deepInclude(yield* answer("/devices/nobody/webhook"), { status: 404, code: "NOT_FOUND" })
      assert.deepInclude(yield* answer("/devices/nobody", { method: "DELETE" }), { status: 200, code: "SUCCESS" })
      assert.deepEqual(yield* answer("/app/status", named("nobody")), {
        status: 404,
        code: "DEVICE_NOT_FOUND",
        results: { device_id: "nobody" }
      })
      assert.deepInclude(yield* answer("/app/status"), { status: 400, code: "DEVICE_ID_REQUIRED" })
      assert.deepInclude(yield* answer("/nothing"), { status: 400, code: "DEVICE_ID_REQUIRED" })
      assert.strictEqual((yield* ask("/nothing", named("sim-1"))).type, "text/plain")
      assert.strictEqual((yield* ask("/ws", named("sim-1"))).status, 426)
    }))

  it.live("name a slot by its id, its account or its companion, and a plus in the header is a space", () =>
    Effect.gen(function*() {
      const { answer, core, device } = yield* start({ devices: 2 })
      const idOf = (name: string) =>
        Effect.map(
          answer("/app/status", { headers: { "x-device-id": name } }),
          ({ results }) => (results as { readonly device_id: string } | undefined)?.device_id
        )
      assert.strictEqual(yield* idOf(device.jid!), "sim-1")
      assert.strictEqual(yield* idOf(encodeURIComponent(device.jid!.replace("@", ":12@"))), "sim-1")
      core.addDevice("a b")
      assert.strictEqual(yield* idOf("a+b"), "a b")
    }))

  it.live("need JSON with its content type, and name what is missing", () =>
    Effect.gen(function*() {
      const { answer } = yield* start()
      const bare = { method: "POST", body: "{}" }
      assert.deepInclude(yield* answer("/devices", bare), { status: 400, code: "BAD_REQUEST" })
      assert.deepInclude(yield* answer("/devices", json({ device_id: "sim-1" })), { status: 500 })
      assert.deepInclude(yield* answer("/devices/sim-1/webhook", json({}, "PATCH")), { status: 400 })
      assert.deepInclude(yield* answer("/chats?limit=101", { headers: { "x-device-id": "sim-1" } }), {
        status: 400,
        code: "VALIDATION_ERROR"
      })
      assert.deepInclude(yield* answer("/chat/x/messages?start_time=yesterday"), { status: 500 })
    }))

  it.live("without the right credentials are answered in plain text, and files need none", () =>
    Effect.gen(function*() {
      const { ask, gowa } = yield* start({ auth: { user: "u", password: "p" } })
      const basic = (text: string) => ({ headers: { authorization: `Basic ${btoa(text)}` } })
      for (
        const [init, status] of [[{}, 401], [basic("u:x"), 401], [basic("nothing"), 400], [basic("u:p"), 200]] as const
      ) {
        assert.strictEqual((yield* ask("/devices", init)).status, status)
      }
      assert.strictEqual((yield* ask("/health")).text, "OK")
      assert.strictEqual((yield* ask("/statics/media/1-a.jpe")).type, "image/jpeg")
      assert.strictEqual((yield* ask(`/${gowa.files.addQr("code", 60_000)}`)).type, "image/png")
      assert.strictEqual(
        (yield* ask(`/${gowa.files.addQr("code", -1)}`)).status,
        401,
        "a QR code that is gone is no file"
      )
    }))

  it.live("for a login of an unknown slot create it, and such a slot does not outlive the process", () =>
    Effect.gen(function*() {
      const { answer, core, crash, revive } = yield* start()
      assert.deepInclude(yield* answer("/devices/typo/login"), { status: 200 })
      assert.isDefined(core.devices.get("typo"))
      yield* crash
      yield* revive
      assert.isUndefined(core.devices.get("typo"))
    }))

  it.live("show a forgotten login only in the status of the slot", () =>
    Effect.gen(function*() {
      const { answer, core, device } = yield* start()
      core.disconnect(device)
      const [slot] = (yield* answer("/devices")).results as ReadonlyArray<{ readonly state: string }>
      assert.strictEqual(slot!.state, "logged_in")
      const status = yield* answer("/devices/sim-1/status")
      assert.deepEqual(status.results, { device_id: "sim-1", is_connected: false, is_logged_in: true })
      assert.deepInclude(yield* answer("/app/login"), { status: 400, code: "ALREADY_LOGGED_IN" })
    }))

  it.live("to send may post the receipt before the answer is there, and never post the message itself", () =>
    Effect.gen(function*() {
      const receiver = yield* WebhookReceiver.start
      const { answer, core } = yield* start({ gowa: { webhooks: { urls: [receiver.url] } } })
      const sent = yield* answer("/send/message", json({ phone: "628999000111", message: "hi" }))
      const { message_id: id } = sent.results as { readonly message_id: string }
      yield* receiver.until(({ length }) => length > 0)
      assert.deepStrictEqual(receiver.received.map(({ body }) => JSON.parse(body.toString()).event), ["message.ack"])
      assert.deepInclude(core.ledger.entries()[0], { event: "message", id, sockets: 0 })
      for (
        const [body, status] of [
          [{ phone: "0812", message: "hi" }, 400],
          [{ phone: "62800123456", message: "hi" }, 400],
          [{ phone: 7 }, 500]
        ] as const
      ) assert.strictEqual((yield* answer("/send/message", json(body))).status, status)
    }))
})

describe("the simulated GOWA's socket", () => {
  it.live("needs an existing slot, and sends every frame to every client whatever slot they named", () =>
    Effect.gen(function*() {
      const { core, url } = yield* start({ devices: 2, gowa: { pace: 0 } })
      const [one, two] = [yield* connect(url), yield* connect(url, "?device_id=sim-2")]
      core.logOut(core.devices.get("sim-2")!)
      one.socket.send("{\"code\":\"FETCH_DEVICES\"}")
      yield* Effect.callback<void>((resume) => {
        two.socket.on("message", () => {
          if (two.frames.length === 2) resume(Effect.void)
        })
      })
      assert.deepStrictEqual(one.frames, two.frames)
      assert.deepStrictEqual(two.frames.map((frame) => JSON.parse(frame).code), ["DEVICE_LOGGED_OUT", "LIST_DEVICES"])
    }))

  it.live("drops a client that sends text that is no object, without a close frame", () =>
    Effect.gen(function*() {
      const { url } = yield* start()
      const { socket } = yield* connect(url)
      socket.send("{\"code\":\"NOOP\"}")
      socket.send("ping")
      assert.strictEqual(yield* closed(socket), 1006)
    }))

  it.live("is blocked by one client that does not read, and a logout with it", () =>
    Effect.gen(function*() {
      const { answer, gowa, url } = yield* start()
      const [stalled, other] = [yield* connect(url), yield* connect(url)]
      stalled.socket.pause()
      const padding = "x".repeat(512 * 1024)
      for (let number = 0; number < 40; number++) {
        void gowa.hub.broadcast({ code: "NOOP", message: padding, result: null })
      }
      const loggingOut = yield* Effect.forkChild(answer("/devices/sim-1/logout", { method: "POST" }))
      // Other requests are answered meanwhile; 20 MB are more than the buffers of a connection hold.
      for (let number = 0; number < 20; number++) yield* answer("/devices")
      assert.isBelow(other.frames.length, 40)
      assert.isUndefined(loggingOut.pollUnsafe())
      stalled.socket.terminate()
      const done = yield* Fiber.join(loggingOut)
      assert.strictEqual(done.status, 200)
      assert.strictEqual(gowa.hub.waiting, 0)
    }))
})

describe("the simulated GOWA's webhooks", () => {
  const outcomes = (gowa: ReturnType<typeof asGowa>, count: number) => {
    const seen: Array<Outcome> = []
    const all = Deferred.makeUnsafe<ReadonlyArray<Outcome>>()
    gowa.webhooks.onOutcome = (outcome) => {
      if (seen.push(outcome) === count) Deferred.doneUnsafe(all, Effect.succeed(seen))
    }
    return Deferred.await(all)
  }

  const setup = Effect.fnUntraced(function*(options: SimulatedGateway.SimulatorOptions["gowa"] = {}) {
    const receiver = yield* WebhookReceiver.start
    const bench = yield* start({ gowa: { webhooks: { urls: [receiver.url] }, ...options } })
    return { ...bench, receiver }
  })

  const say = (id: string) => ({
    id,
    chat_id: "628999000111@s.whatsapp.net",
    from: "628999000111@s.whatsapp.net",
    body: id
  })

  it.live("are tried five times with growing pauses, and are then gone", () =>
    Effect.gen(function*() {
      const { core, device, gowa, receiver } = yield* setup({ webhookPace: 0.05 })
      receiver.status = 503
      const done = outcomes(gowa, 1)
      core.emitter.emit(device, "message", say("A"))
      const [outcome] = yield* done
      assert.deepInclude(outcome, { delivered: false, attempts: 5, status: 503 })
      const times = receiver.received.map(({ at }) => at)
      const pauses = times.slice(1).map((at, index) => at - times[index]!)
      // 1, 2, 4 and 8 s, twenty times as fast.
      for (const [index, pause] of pauses.entries()) assert.isAtLeast(pause, 50 * 2 ** index - 5)
      receiver.status = 200
      assert.deepStrictEqual([gowa.webhooks.dropped, gowa.webhooks.delivered], [1, 0])
    }))

  it.live("come in no order: a retried one is overtaken", () =>
    Effect.gen(function*() {
      const { core, device, gowa, receiver } = yield* setup({ webhookPace: 0.05 })
      const done = outcomes(gowa, 2)
      receiver.status = 503
      core.emitter.emit(device, "message", say("A"))
      yield* receiver.until(({ length }) => length === 1)
      receiver.status = 200
      core.emitter.emit(device, "message", say("B"))
      const all = yield* done
      assert.deepStrictEqual(all.map(({ body }) => JSON.parse(String(body)).payload.id), ["B", "A"])
    }))

  it.live("of a slot replace those of the process, but not before its account was connected", () =>
    Effect.gen(function*() {
      const { answer, core, device, gowa, receiver } = yield* setup()
      const own = { webhook_url: `${receiver.url}/own`, webhook_secret: "own", webhook_events: "message" }
      yield* answer("/devices/sim-1/webhook", json(own, "PATCH"))
      gowa.slotOf(device).everConnected = false
      core.emitter.emit(device, "message", say("A"))
      yield* receiver.until(({ length }) => length === 1)
      gowa.connect(device)
      core.emitter.emit(device, "message", say("B"))
      core.emitter.emit(device, "chat_presence", { from: "628999000111@s.whatsapp.net", state: "composing" })
      yield* receiver.until(({ length }) => length === 2)
      assert.deepStrictEqual(receiver.received.map(({ path }) => path), ["/webhooks/default", "/webhooks/default/own"])
      assert.strictEqual(core.ledger.entries().at(-1)!.sockets, 0, "an event that the slot did not ask for was posted")
    }))

  it.live("in flight are lost with the process, and the history is not", () =>
    Effect.gen(function*() {
      const { answer, core, crash, device, gowa, receiver, revive } = yield* setup({ webhookPace: 0.1 })
      receiver.status = null
      core.emitter.emit(device, "message", { ...say("A"), timestamp: "2026-08-22T10:00:00Z" })
      yield* receiver.until(({ length }) => length === 1)
      yield* crash
      yield* revive
      assert.deepStrictEqual([gowa.webhooks.delivered, receiver.received.length], [0, 1])
      const { results } = yield* answer("/chat/628999000111@s.whatsapp.net/messages")
      assert.strictEqual((results as { readonly data: ReadonlyArray<unknown> }).data.length, 1)
    }))
})
