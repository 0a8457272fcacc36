/** A login from end to end, through the whole server, at gateways of every dialect over real sockets. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Logger, Redacted, Stream, Tracer } from "effect"
import { inspect } from "node:util"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import type { LoginStep } from "../../src/domain/Login.ts"
import { readQrImage } from "../../src/layers/gateways/qrImage.ts"
import type { SimulatedDevice } from "../../src/simulator/SimulatedDevice.ts"
import type { SimulatorCore } from "../../src/simulator/SimulatorCore.ts"
import type { SimulatedDialect } from "../../src/simulator/Dialect.ts"
import { asGowa } from "../../src/simulator/gowa/GowaServer.ts"
import * as SimulatedGateway from "../../src/simulator/SimulatedGateway.ts"
import type { WahaOptions, WahaServer } from "../../src/simulator/waha/WahaServer.ts"
import * as RealGateway from "../support/realGateway.ts"
import { freePort } from "../support/servers/ServerHome.ts"
import { ask, makeStorage } from "../support/surface.ts"
import { until, untilSo } from "../support/until.ts"

const dialects: ReadonlyArray<SimulatedDialect> = ["bridge", "gowa", "waha"]

const simulators: Readonly<Record<SimulatedDialect, SimulatedGateway.SimulatorOptions>> = {
  bridge: { dialect: "bridge" },
  gowa: { dialect: "gowa", gowa: { pace: 0.1, webhookPace: 0.1 } },
  waha: { dialect: "waha", waha: { waitMillis: 100, webhookPace: 0.05 } }
}

/** A server with one device, whose slot waits for a login. */
const setup = Effect.fnUntraced(function*(dialect: SimulatedDialect, waha: WahaOptions = {}) {
  const simulator = yield* Effect.orDie(
    SimulatedGateway.start({ ...simulators[dialect], waha: { ...simulators.waha.waha, ...waha }, autoPair: false })
  )
  const port = yield* freePort
  const storage = yield* makeStorage
  const start = RealGateway.start({ dialect, url: simulator.url, user: null, secrets: {} }, { port, storage })
  const server = yield* start
  const id = yield* server.register("tenant-7")
  yield* server.become(id, "AwaitingLogin")
  const device = simulator.core.devices.get("tenant-7")!
  const client = Context.get(yield* Layer.build(ColumbaClient.layer({ url: server.url })), ColumbaClient)
  const follow = Effect.fnUntraced(
    function*(options: { readonly method?: "qr" | "code"; readonly phone?: Redacted.Redacted } = {}) {
      const steps: Array<LoginStep> = []
      const fiber = yield* Effect.forkScoped(Effect.result(
        Stream.runForEach(client.login({ id, ...options }), (step) => Effect.sync(() => steps.push(step)))
      ))
      const reach = (tag: LoginStep["_tag"]) =>
        until(`the login is at ${tag}`, Effect.sync(() => steps.some(({ _tag }) => _tag === tag)))
      return { steps, fiber, reach, last: () => steps.at(-1)! }
    }
  )
  const outcomes = Effect.map(
    server.logged,
    (all) =>
      all.flatMap(({ data, kind }) =>
        kind === "device.login" ? [data.reason === null ? data.outcome : `${data.outcome} ${data.reason}`] : []
      )
  )
  return { ...simulator, server, start, id, device, client, follow, outcomes }
})

/** The text that a phone reads from the picture that Columba serves. */
const scanned = (step: LoginStep): string => {
  if (step._tag === "Code") return Redacted.value(step.code)
  if (step._tag !== "Qr") return step._tag
  const image = readQrImage(Buffer.from(Redacted.value(step.image).split(",")[1]!, "base64"))
  assert.strictEqual(image._tag === "Text" && image.text, step.text === undefined ? "" : Redacted.value(step.text))
  return image._tag === "Text" ? image.text : image._tag
}

/** A phone uses the code shown. A gateway may have replaced it a moment ago; then a person tries the next one. */
const use = (
  { core, device }: { readonly core: SimulatorCore; readonly device: SimulatedDevice },
  login: { readonly last: () => LoginStep },
  passkey = false
) =>
  until(
    "the phone has used a code",
    Effect.sync(() => ["paired", "passkey"].includes(core.pairings.scan(device, scanned(login.last()), passkey)))
  )

/** All log lines and spans during this effect, with all their attributes. */
const overhear = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const spans: Array<Tracer.NativeSpan> = []
    const lines: Array<unknown> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return effect.pipe(
      Effect.withTracer(tracer),
      Effect.provide(
        Logger.layer([Logger.make(({ cause, message }) => void lines.push([message, Cause.pretty(cause)]))])
      ),
      Effect.map((value) => ({ value, heard: inspect([lines, spans.map(describeSpan)], everything) }))
    )
  })

const everything = { depth: 8, maxArrayLength: null, maxStringLength: null }

const describeSpan = ({ attributes, events, name, status }: Tracer.NativeSpan) => [
  name,
  [...attributes],
  events,
  status._tag === "Ended" && Exit.isFailure(status.exit) ? Cause.pretty(status.exit.cause) : ""
]

describe("a login", () => {
  it.live.each([...dialects])(
    "at %s: register, scan, online, and a message arrives",
    (dialect) =>
      Effect.gen(function*() {
        const { core, device, follow, id, outcomes, server } = yield* setup(dialect)
        const login = yield* follow()
        yield* login.reach("Qr")
        yield* use({ core, device }, login)
        yield* login.reach("LoggedIn")
        const { jid } = device
        assert.deepStrictEqual(login.last(), { _tag: "LoggedIn", jid, phone: `+${jid!.split("@")[0]}` })
        assert.strictEqual((yield* Fiber.join(login.fiber))._tag, "Success", "the stream ends")
        const { body } = yield* ask(`${server.url}/api/v1/devices/${id}`)
        assert.deepInclude(body, { jid, phone: `+${jid!.split("@")[0]}` })
        assert.strictEqual(body.state._tag, "Online", "and the account is recorded by then")
        assert.deepStrictEqual(yield* outcomes, ["begun", "succeeded"])

        if (dialect === "gowa") {
          const gowa = asGowa(core)
          yield* until(
            "its webhook is set",
            Effect.sync(() => gowa.slotOf(device).webhook.webhook_url.includes(`device=${id}`))
          )
        }
        core.emitter.emit(device, "message", {
          id: "FIRST",
          chat_id: "628999000111@s.whatsapp.net",
          from: "628999000111@s.whatsapp.net",
          timestamp: new Date().toISOString(),
          body: "hello"
        })
        yield* untilSo("it has arrived", server.logged, (all) => all.some(({ data }) => data.waId === "FIRST"))
      })
  )

  it.live.each([...dialects])("at %s by pairing code", (dialect) =>
    Effect.gen(function*() {
      const { core, device, follow, server } = yield* setup(dialect)
      const login = yield* follow({ method: "code", phone: Redacted.make("+62 812-3456-7890") })
      yield* login.reach("Code")
      assert.match(scanned(login.last()), /^[0-9A-Z]{4}-[0-9A-Z]{4}$/)
      yield* use({ core, device }, login)
      yield* login.reach("LoggedIn")
      yield* until("nothing is left", Effect.map(server.logged, (all) => all.length > 0))
    }))

  it.live.each(["gowa", "waha"] as const)("at %s with a passkey", (dialect) =>
    Effect.gen(function*() {
      const { core, device, follow, id, server } = yield* setup(dialect)
      const url = `${server.url}/api/v1/devices/${id}/login/passkey`
      const login = yield* follow()
      yield* login.reach("Qr")
      const early = yield* ask(url, { method: "POST", json: { assertion: {} } })
      assert.deepStrictEqual([early.status, early.body._tag], [409, "LoginFailed"])
      yield* use({ core, device }, login, true)
      yield* login.reach("Passkey")
      const current = (yield* ask(`${server.url}/api/v1/devices/${id}/login`)).body
      assert.deepInclude(current.challenge, { rpId: "whatsapp.com" })
      assert.strictEqual((yield* ask(url, { method: "POST", json: { assertion: { id: "x" } } })).status, 200)
      const compared = yield* untilSo(
        "a code is to be compared",
        Effect.sync(() => login.last()),
        (step) => step._tag === "Passkey" && step.code !== null
      )
      assert.strictEqual(compared._tag === "Passkey" && Redacted.value(compared.code!), "4711")
      assert.strictEqual((yield* ask(`${url}/confirm`, { method: "POST" })).status, 200)
      yield* login.reach("LoggedIn")
    }))

  it.live("follows the gateway: a code that WAHA has replaced is replaced", () =>
    Effect.gen(function*() {
      const { core, device, follow } = yield* setup("waha", { codePace: 0.05 })
      const login = yield* follow()
      yield* login.reach("Qr")
      const first = scanned(login.last())
      const second = yield* untilSo(
        "there is another code",
        Effect.sync(() => scanned(login.last())),
        (text) => text !== first
      )
      // The newest by now.
      const newest = core.pairings.current(device, "qr")?.text
      if (newest !== second) {
        yield* untilSo(
          "it is shown",
          Effect.sync(() => scanned(login.last())),
          (text) => text !== second
        )
      }
    }))

  it.live("continues after the last code of a WAHA session, which is started again", () =>
    Effect.gen(function*() {
      const { core, device, follow } = yield* setup("waha")
      const waha = core.dialect as WahaServer
      waha.setStatus(device, "FAILED")
      const login = yield* follow()
      yield* login.reach("Qr")
      assert.strictEqual(waha.session(device).status, "SCAN_QR_CODE")
      yield* use({ core, device }, login)
      yield* login.reach("LoggedIn")
    }))

  it.live("keeps the first code of a WAHA session that restarts when its webhook is set", () =>
    Effect.gen(function*() {
      const { core, device, follow } = yield* setup("waha")
      const session = (core.dialect as WahaServer).session(device)
      const login = yield* follow()
      yield* login.reach("Qr")
      assert.lengthOf(session.webhooks, 1, "it was set before the code was asked for")
      yield* use({ core, device }, login)
      yield* login.reach("LoggedIn")
      assert.deepStrictEqual(login.steps.flatMap((step) => step._tag === "Qr" ? [step.attempt] : []), [1])
    }))

  it.live("ends with the process that ran it, and the next process starts a new one", () =>
    Effect.gen(function*() {
      const { core, device, follow, id, server, start } = yield* setup("bridge")
      const login = yield* follow()
      yield* login.reach("Qr")
      const before = scanned(login.last())
      yield* server.stop
      const next = yield* start
      const none = yield* ask(`${next.url}/api/v1/devices/${id}/login`)
      const refused = none.body._tag === "DeviceElsewhere"
        ? yield* untilSo(
          "its actor runs",
          ask(`${next.url}/api/v1/devices/${id}/login`),
          ({ status }) => status !== 421
        )
        : none
      assert.deepStrictEqual([refused.status, refused.body._tag], [404, "LoginNotFound"])
      const { body } = yield* ask(`${next.url}/api/v1/devices/${id}/login`, { method: "POST", json: {} })
      assert.strictEqual(body._tag, "Qr")
      assert.notStrictEqual(body.text, before)
      assert.strictEqual(core.pairings.scan(device, before, false), "another code")
      assert.strictEqual(core.pairings.scan(device, body.text, false), "paired")
      yield* next.become(id, "Online")
    }))
})

describe("a login over HTTP", () => {
  it.live("starts, serves its pictures with no-store, and is followed by polling", () =>
    Effect.gen(function*() {
      const { core, device, id, outcomes, server } = yield* setup("gowa")
      const at = `${server.url}/api/v1/devices/${id}`
      assert.strictEqual((yield* ask(`${at}/login`)).body._tag, "LoginNotFound")
      assert.deepStrictEqual((yield* ask(`${at}/qr.png`)).status, 404)
      const begun = yield* ask(`${at}/login`, { method: "POST", json: { method: "qr" } })
      assert.strictEqual(begun.status, 200)
      assert.match(begun.headers.get("cache-control") ?? "", /no-store/)
      assert.deepInclude(begun.body, { _tag: "Qr", attempt: 1 })
      assert.isAbove(Date.parse(begun.body.expiresAt), Date.now())
      const again = yield* ask(`${at}/login`, { method: "POST", json: {} })
      assert.deepStrictEqual(again.body, begun.body, "a second caller joins")

      const png = yield* Effect.promise(() => fetch(`${at}/qr.png`))
      assert.deepStrictEqual([png.status, png.headers.get("content-type")], [200, "image/png"])
      assert.match(png.headers.get("cache-control") ?? "", /no-store/)
      const image = readQrImage(new Uint8Array(yield* Effect.promise(() => png.arrayBuffer())))
      assert.deepStrictEqual(image, { _tag: "Text", text: begun.body.text })
      const svg = yield* ask(`${at}/qr.svg`)
      assert.match(svg.body, /^<svg /)
      assert.match(svg.headers.get("cache-control") ?? "", /no-store/)

      const early = yield* ask(`${at}/login/complete`, { method: "POST" })
      assert.deepStrictEqual([early.status, early.body._tag], [409, "LoginIncomplete"])
      assert.strictEqual(core.pairings.scan(device, begun.body.text, false), "paired")
      yield* untilSo("it is logged in", ask(`${at}/login`), ({ body }) => body._tag === "LoggedIn")
      const complete = yield* ask(`${at}/login/complete`, { method: "POST" })
      assert.deepInclude(complete.body, { jid: device.jid, phone: `+${device.jid!.split("@")[0]}` })
      assert.deepStrictEqual((yield* ask(`${at}/qr.png`)).status, 404)
      const online = yield* ask(`${at}/login`, { method: "POST", json: {} })
      assert.deepStrictEqual([online.status, online.body._tag], [409, "DeviceStateConflict"])
      assert.deepStrictEqual(yield* outcomes, ["begun", "succeeded"])
    }))

  it.live("can be repeated after a logout at the gateway", () =>
    Effect.gen(function*() {
      const { core, device, id, server } = yield* setup("bridge")
      const at = `${server.url}/api/v1/devices/${id}`
      core.pair(device)
      yield* server.become(id, "Online")
      const { body, status } = yield* ask(`${at}/disconnect`, { method: "POST" })
      assert.strictEqual(status, 200)
      assert.deepInclude(body, { jid: null, phone: null })
      assert.strictEqual(body.state._tag, "LoggedOut")
      assert.isNull(device.jid)
      const begun = yield* ask(`${at}/login`, { method: "POST", json: {} })
      assert.strictEqual(core.pairings.scan(device, begun.body.text, false), "paired")
      yield* server.become(id, "Online")
    }))

  it.live.each(
    [
      [{ method: "code" }, 422, "PhoneInvalid"],
      [{ method: "code", phone: "0812 3456 7890" }, 422, "PhoneInvalid"],
      [{ method: "code", phone: "12345" }, 422, "PhoneInvalid"],
      [{ method: "code", phone: "8".repeat(40) }, 400, "RequestInvalid"],
      [{ method: "sms" }, 400, "RequestInvalid"],
      [{ methd: "qr" }, 400, "RequestInvalid"]
    ] as const
  )("refuses %o", ([json, status, tag]) =>
    Effect.gen(function*() {
      const { id, outcomes, server } = yield* setup("bridge")
      const refused = yield* ask(`${server.url}/api/v1/devices/${id}/login`, { method: "POST", json })
      assert.deepStrictEqual([refused.status, refused.body._tag], [status, tag])
      if ("phone" in json) assert.notInclude(JSON.stringify(refused.body), json.phone)
      assert.isEmpty(yield* outcomes)
    }))

  it.live("is only for keys that may manage the device", () =>
    Effect.gen(function*() {
      const simulator = yield* Effect.orDie(SimulatedGateway.start({ dialect: "bridge", autoPair: false }))
      const key = (
        name: string,
        scopes: ReadonlyArray<"read" | "send" | "manage">,
        devices?: ReadonlyArray<never>
      ) => ({
        name,
        scopes,
        devices,
        key: Redacted.make(name)
      })
      const server = yield* RealGateway.start({ dialect: "bridge", url: simulator.url, user: null, secrets: {} }, {
        port: yield* freePort,
        keys: [key("reader", ["read", "send"]), key("stranger", ["read", "manage"], []), key("manager", ["manage"])]
      })
      const id = yield* server.register("tenant-7")
      yield* server.become(id, "AwaitingLogin")
      const as = (name: string, path: string, method = "GET") =>
        ask(`${server.url}/api/v1/devices/${id}${path}`, {
          method,
          headers: { authorization: `Bearer ${name}` },
          ...(method === "POST" ? { json: {} } : {})
        })
      assert.strictEqual((yield* as("manager", "/login", "POST")).body._tag, "Qr")
      for (
        const [path, method] of [["/login", "POST"], ["/login", "GET"], ["/qr.png", "GET"], ["/qr.svg", "GET"]] as const
      ) {
        assert.strictEqual((yield* as("reader", path, method)).status, 403, path)
        const hidden = yield* as("stranger", path, method)
        assert.deepStrictEqual([hidden.status, hidden.body._tag], [404, "DeviceNotFound"], path)
        assert.strictEqual((yield* as("manager", path, method)).status, 200, path)
      }
      for (const name of ["reader", "stranger"]) {
        const client = Context.get(
          yield* Layer.build(ColumbaClient.layer({ url: server.url, apiKey: name })),
          ColumbaClient
        )
        const refused = yield* Effect.flip(Stream.runDrain(client.login({ id })))
        assert.strictEqual(refused._tag, name === "reader" ? "Forbidden" : "DeviceNotFound")
      }
    }))
})

describe("codes and numbers of a login", () => {
  it.live.each([...dialects])(
    "at %s appear in no log line, no span, no event and no error",
    (dialect) =>
      Effect.gen(function*() {
        const secrets: Array<string> = []
        const { heard, value } = yield* overhear(Effect.scoped(Effect.gen(function*() {
          const { core, follow, id, server } = yield* setup(dialect)
          const at = `${server.url}/api/v1/devices/${id}`
          for (const options of [{}, { method: "code" as const, phone: Redacted.make("6281277700099") }]) {
            const login = yield* follow(options)
            yield* login.reach(options.method === "code" ? "Code" : "Qr")
            secrets.push(scanned(login.last()))
            yield* ask(`${at}/qr.png`)
            yield* ask(`${at}/login`)
            // The gateway fails in the middle of it.
            core.applyFault({ kind: "http", status: 500 })
            yield* ask(`${at}/login/complete`, { method: "POST" })
            yield* ask(`${at}/disconnect`, { method: "POST" })
            core.clearFaults()
            // The caller over HTTP is still there.
            assert.strictEqual((yield* ask(`${at}/login`, { method: "DELETE" })).body.reason, "cancelled")
            yield* login.reach("Failed")
          }
          return yield* server.logged
        })))
        const said = `${heard}\n${JSON.stringify(value)}`
        assert.include(said, "Login.begin", "spans are heard")
        for (const secret of [...secrets, "6281277700099", "linked_devices", "base64,"]) assert.notInclude(said, secret)
      })
  )
})
