/** Webhooks over real sockets: who may post, the answers, and the events that are in the log afterwards. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Redacted } from "effect"
import type { Scope } from "effect"
import { request } from "node:http"
import { connect } from "node:net"
import { gzipSync } from "node:zlib"
import type { DeviceId, GatewayName, UpstreamId } from "../../src/domain/Ids.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { webhookBodyMax } from "../../src/services/webhookOutcomes.ts"
import { WebhookSecrets } from "../../src/services/WebhookSecrets.ts"
import { stateDraft } from "../support/drafts.ts"
import { post } from "../support/postWebhook.ts"
import { sign, signatureHeader } from "../support/scriptedWebhooks.ts"
import { ask, makeScript, makeStorage, startServer } from "../support/surface.ts"
import type { Key, RunningServer } from "../support/surface.ts"
import { until } from "../support/until.ts"

const secret = "a secret of the gateway"

interface Bench {
  readonly server: RunningServer
  readonly script: ReturnType<typeof makeScript>
  readonly device: DeviceId
  readonly other: DeviceId
  /** A device's own secret, under the first key. */
  readonly secretOf: (device: DeviceId) => string
  readonly events: Effect.Effect<
    ReadonlyArray<{ readonly kind: string; readonly deviceId: string; readonly data: Record<string, unknown> }>
  >
}

const key = (byte: number) => Redacted.make<Uint8Array>(new Uint8Array(32).fill(byte))

/** A server with two devices, in the slots `slot-1` and `slot-2`. */
const start = Effect.fnUntraced(function*(
  options: Parameters<typeof startServer>[0] = {}
): Effect.fn.Return<Bench, never, Scope.Scope> {
  const script = options.script ?? makeScript()
  const server = yield* startServer({ webhookSecret: secret, secretKeys: [key(1)], ...options, script })
  const manager = Context.get(server.services, DeviceManager)
  const log = Context.get(server.services, EventLog)
  const register = (upstreamId: string) =>
    manager.register({ name: upstreamId, upstreamId: upstreamId as UpstreamId }).pipe(
      Effect.map(({ id }) => id),
      Effect.catchTag("UpstreamIdTaken", ({ deviceId }) => Effect.succeed(deviceId as DeviceId))
    )
  const [device, other] = yield* Effect.orDie(Effect.all([register("slot-1"), register("slot-2")]))
  const secrets = Context.get(server.services, WebhookSecrets)
  return {
    server,
    script,
    device,
    other,
    secretOf: (id) => Redacted.value(secrets.of("default" as GatewayName, id)[0]!),
    events: log.read({ after: 0, limit: 1000 }).pipe(
      Effect.map(({ events }) =>
        events.map(({ data, deviceId, kind }) => ({
          kind,
          deviceId,
          data: JSON.parse(data) as Record<string, unknown>
        }))
      ),
      Effect.orDie
    )
  }
})

const metricsOf = (server: RunningServer) => Effect.map(ask(`${server.url}/metrics`), ({ body }) => String(body))

/** The number of webhooks counted with these labels, in this process as a whole. */
const counted = (server: RunningServer, labels: RegExp) =>
  Effect.map(metricsOf(server), (text) => {
    const lines = text.split("\n").filter((line) => line.startsWith("columba_webhooks_total{") && labels.test(line))
    return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0)
  })

describe("a webhook", () => {
  it.live("signed with the gateway's secret is answered once its events are in the log", () =>
    Effect.gen(function*() {
      const { device, events, other, script, server } = yield* start()
      const accepted = counted(server, /gateway="default".*outcome="accepted"/)
      const before = yield* accepted
      const answer = yield* post(server.url, { slot: "slot-1", ids: ["A", "B"] }, { secret })
      assert.deepStrictEqual([answer.status, answer.body], [200, { status: "accepted" }])
      yield* post(server.url, { slot: "slot-2", ids: ["C"] }, { secret })
      assert.deepStrictEqual(
        (yield* events).map(({ data, deviceId }) => [deviceId, data["waId"]]),
        [[device, "A"], [device, "B"], [other, "C"]]
      )
      assert.deepStrictEqual(script.heard.map(([id, heard]) => [id, heard.length]), [[device, 2], [other, 1]])
      assert.strictEqual(yield* accepted, before + 2)
    }))

  it.live("that is repeated is accepted and changes nothing, also if it brings one more event", () =>
    Effect.gen(function*() {
      const { events, script, server } = yield* start()
      yield* post(server.url, { slot: "slot-1", ids: ["A"] }, { secret })
      const again = yield* post(server.url, { slot: "slot-1", ids: ["A"] }, { secret })
      assert.deepStrictEqual([again.status, again.body], [200, { status: "repeated" }])
      assert.deepStrictEqual(script.heard.map(([, news, repeats]) => [news.length, repeats]), [[1, 0], [0, 1]])
      const more = yield* post(server.url, { slot: "slot-1", ids: ["A", "B"] }, { secret })
      assert.deepStrictEqual(more.body, { status: "accepted" })
      assert.deepStrictEqual((yield* events).map(({ data }) => data["waId"]), ["A", "B"])
      assert.deepStrictEqual([script.heard[2]![1].length, script.heard[2]![2]], [1, 1])
    }))

  it.live("without a valid signature changes nothing, and gets the same answer whatever is wrong with it", () =>
    Effect.gen(function*() {
      const { device, events, server } = yield* start()
      const unsigned = counted(server, /outcome="unsigned"/)
      const before = yield* unsigned
      const body = { slot: "slot-1", ids: ["A"] }
      const good = sign(JSON.stringify(body), secret)
      const answers = yield* Effect.all([
        post(server.url, body, { secret: null }),
        post(server.url, body, { secret: "another" }),
        post(server.url, body, { secret: null, headers: { [signatureHeader]: good.slice(0, -1) } }),
        post(server.url, body, { secret: null, headers: { [signatureHeader]: good.slice("sha256=".length) } }),
        post(server.url, body, { secret: null, headers: { [signatureHeader]: `${good}, ${good}` } }),
        post(server.url, { ...body, ids: ["B"] }, { secret: null, headers: { [signatureHeader]: good } }),
        post(server.url, body, { secret: "another", device }),
        post(server.url, body, { secret: "another", device: "dev_00000000000000000000000000" as DeviceId }),
        post(server.url, body, { secret: "another", device: "'; drop table devices" as DeviceId })
      ])
      for (const { body, headers, status } of answers) {
        assert.deepStrictEqual([status, body._tag], [401, "WebhookUnsigned"])
        assert.deepStrictEqual(body, answers[0].body)
        assert.strictEqual(headers.get("www-authenticate"), "Signature")
      }
      assert.deepStrictEqual(yield* events, [])
      assert.strictEqual(yield* unsigned, before + 9)
    }))

  it.live("signed with a device's own secret is valid for that device only", () =>
    Effect.gen(function*() {
      const { device, events, other, secretOf, server } = yield* start({ webhookSecret: undefined as never })
      const own = { device, secret: secretOf(device) }
      assert.strictEqual((yield* post(server.url, { slot: "slot-1", ids: ["A"] }, own)).status, 200)
      const wrong = yield* Effect.all([
        // About another device, named by its slot, or by its slot and then any account.
        post(server.url, { slot: "slot-2", ids: ["B"] }, own),
        post(server.url, { slot: "slot-2", account: "628@s.whatsapp.net", ids: ["C"] }, own),
        // To the address of another device.
        post(server.url, { slot: "slot-2", ids: ["D"] }, { device: other, secret: secretOf(device) }),
        post(server.url, { slot: "slot-1", ids: ["E"] }, { device: other, secret: secretOf(device) }),
        // Without naming the device of the secret.
        post(server.url, { slot: "slot-1", ids: ["F"] }, { secret: secretOf(device) })
      ])
      assert.deepStrictEqual(wrong.map(({ status }) => status), [401, 401, 401, 401, 401])
      assert.deepStrictEqual((yield* events).map(({ data, deviceId }) => [deviceId, data["waId"]]), [[device, "A"]])
    }))

  it.live("signed with a device's own secret identifies the account before it is known", () =>
    Effect.gen(function*() {
      const { device, events, secretOf, server } = yield* start()
      const account = "6281234567890:12@s.whatsapp.net"
      assert.strictEqual((yield* post(server.url, { account, ids: ["A"] }, { secret })).status, 404)
      const own = { device, secret: secretOf(device) }
      assert.strictEqual((yield* post(server.url, { account, ids: ["A"] }, own)).status, 200)
      assert.deepStrictEqual((yield* events).map(({ deviceId }) => deviceId), [device])
    }))

  it.live("is verified by the secrets of older keys too, and by none of a removed key", () =>
    Effect.gen(function*() {
      const old = yield* start({ secretKeys: [key(1)] })
      const before = old.secretOf(old.device)
      for (const [secretKeys, status] of [[[key(2), key(1)], 200], [[key(2)], 401]] as const) {
        const { server } = yield* start({ secretKeys })
        const manager = Context.get(server.services, DeviceManager)
        // The same id on another server: the derived secret depends on nothing else.
        const devices = Context.get(server.services, DeviceRepository)
        yield* devices.insert({
          id: old.device,
          name: "same",
          gateway: "default" as GatewayName,
          upstreamId: "slot-9" as UpstreamId
        })
        assert.isTrue((yield* manager.get(old.device)).active)
        const answer = yield* post(server.url, { slot: "slot-9", ids: ["A"] }, { device: old.device, secret: before })
        assert.strictEqual(answer.status, status)
      }
    }))

  it.live("about a slot without a device is refused, until a device has it", () =>
    Effect.gen(function*() {
      const { events, server } = yield* start()
      const posted = () => post(server.url, { slot: "slot-3", ids: ["A"] }, { secret })
      assert.deepStrictEqual([(yield* posted()).status, (yield* posted()).body._tag], [404, "WebhookSlotUnknown"])
      yield* Context.get(server.services, DeviceManager).register({ name: "3", upstreamId: "slot-3" as UpstreamId })
      yield* until("the slot's device is found", Effect.map(posted(), ({ status }) => status === 200))
      assert.lengthOf(yield* events, 1)
    }))

  it.live("for a device that is deactivated is refused", () =>
    Effect.gen(function*() {
      const { device, events, secretOf, server } = yield* start()
      const manager = Context.get(server.services, DeviceManager)
      const posted = () => post(server.url, { slot: "slot-1", ids: ["A"] }, { device, secret: secretOf(device) })
      yield* manager.deactivate(device)
      assert.deepStrictEqual([(yield* posted()).status, (yield* posted()).body._tag], [404, "WebhookDeviceInactive"])
      assert.deepStrictEqual(yield* events, [])
      yield* manager.reactivate(device)
      yield* until("the device is found to be active", Effect.map(posted(), ({ status }) => status === 200))
    }))

  it.live("that names only its account finds the device that is logged in to it, and no device if two are", () =>
    Effect.gen(function*() {
      const storage = yield* makeStorage
      const { device, other, server } = yield* start({ storage })
      const log = Context.get(server.services, EventLog)
      const account = "6281234567890@s.whatsapp.net"
      yield* log.append([stateDraft(device, "Inactive", account)])
      const posted = (id: string) => post(server.url, { account: "6281234567890@c.us", ids: [id] }, { secret })
      assert.strictEqual((yield* posted("A")).status, 200)
      yield* log.append([stateDraft(other, "Inactive", account)])
      // Another process, with nothing in memory.
      const another = (yield* start({ storage })).server.url
      assert.strictEqual((yield* post(another, { account, ids: ["B"] }, { secret })).status, 404)
      yield* Context.get(server.services, DeviceManager).deactivate(other)
      yield* until(
        "the account has one device",
        Effect.map(post(another, { account, ids: ["B"] }, { secret }), ({ status }) => status === 200)
      )
    }))

  it.live("that is signed and unreadable is kept for the device that the address names, once", () =>
    Effect.gen(function*() {
      const { device, events, secretOf, server } = yield* start()
      const own = { device, secret: secretOf(device) }
      const kept = [yield* post(server.url, "{ no", own), yield* post(server.url, "{ no", own)]
      assert.deepStrictEqual(kept.map(({ body, status }) => [status, body.status]), [[200, "accepted"], [
        200,
        "repeated"
      ]])
      const lost = yield* post(server.url, "{ no", { secret })
      assert.deepStrictEqual([lost.status, lost.body._tag], [422, "WebhookUnreadable"])
      assert.deepStrictEqual((yield* events).map(({ data, kind }) => [kind, data["raw"]]), [["frame.rejected", "{ no"]])
    }))

  it.live("that is only a hint is passed to the actor and leaves nothing in the log", () =>
    Effect.gen(function*() {
      const { device, events, script, server } = yield* start()
      assert.strictEqual((yield* post(server.url, { slot: "slot-1" }, { secret })).status, 200)
      assert.deepStrictEqual(script.heard, [[device, [{ _tag: "LoggedOut", reason: "a hint" }], 0]])
      assert.deepStrictEqual(yield* events, [])
    }))

  it.live("to a gateway that is unknown, or sends no webhooks, is refused", () =>
    Effect.gen(function*() {
      const { script, server } = yield* start()
      const unknown = counted(server, /gateway="unknown".*outcome="gateway-unknown"/)
      const before = yield* unknown
      const body = { slot: "slot-1", ids: ["A"] }
      for (const gateway of ["nobody", "No%20Name", "..%2f..", "a".repeat(64)]) {
        const answer = yield* post(server.url, body, { gateway, secret })
        assert.deepStrictEqual([answer.status, answer.body._tag], [404, "WebhookGatewayUnknown"], gateway)
      }
      delete script.gateway.ingest
      const without = yield* post(server.url, body, { secret })
      assert.deepStrictEqual([without.status, without.body._tag], [404, "WebhookGatewayUnknown"])
      assert.strictEqual(yield* unknown, before + 4)
      assert.notInclude(yield* metricsOf(server), "nobody")
      const read = yield* ask(`${server.url}/webhooks/default`)
      assert.deepStrictEqual([read.status, read.headers.get("allow")], [405, "POST"])
    }))

  it.live("needs no API key, whatever its Host and Origin, on a server with keys or without", () =>
    Effect.gen(function*() {
      const keys: ReadonlyArray<Key> = [["a", ["read"], "a-key-of-the-api"]]
      for (const options of [{ keys }, {}]) {
        const { server } = yield* start(options)
        const body = JSON.stringify({ slot: "slot-1", ids: ["A"] })
        const status = yield* raw(server, {
          path: "/webhooks/default",
          body,
          headers: {
            host: "columba.example",
            origin: "https://gateway.example",
            "X-HUB-Signature-256": sign(body, secret)
          }
        })
        assert.strictEqual(status, 200)
      }
    }))

  it.live("does not bypass the checks of other paths", () =>
    Effect.gen(function*() {
      const { server } = yield* start()
      for (
        const path of [
          "/webhooks/../api/v1/devices",
          "/webhooks/%2e%2e/api/v1/devices",
          "/webhooks/..%2fapi/v1/devices",
          "/webhooks/default/../../api/v1/devices",
          "//webhooks/..//api/v1/devices",
          "http://columba.example/webhooks/../api/v1/devices",
          "http://columba.example/webhooks/%2e%2e/api/v1/devices",
          "/webhooks/x;/../../api/v1/devices",
          "/webhooks\\..\\api\\v1\\devices"
        ]
      ) {
        const status = yield* raw(server, {
          path,
          body: JSON.stringify({ name: "planted" }),
          headers: { host: "evil.example", "content-type": "application/json" }
        })
        assert.include([400, 403, 404], status, path)
      }
      const { body } = yield* ask(`${server.url}/api/v1/devices`)
      assert.notInclude(JSON.stringify(body), "planted")
    }))

  it.live("is for the slot of its own gateway, and follows that gateway's changed secret", () =>
    Effect.gen(function*() {
      const { events, server } = yield* start()
      const gateways = `${server.url}/api/v1/gateways`
      const added = yield* ask(gateways, {
        method: "POST",
        json: { name: "second", dialect: "bridge", url: "http://second", webhookSecret: "first" }
      })
      assert.strictEqual(added.status, 201)
      const { body: device } = yield* ask(`${server.url}/api/v1/devices`, {
        method: "POST",
        json: { name: "x", gateway: "second", upstreamId: "slot-1" }
      })
      const posted = (id: string, secret: string) =>
        Effect.map(
          post(server.url, { slot: "slot-1", ids: [id] }, { gateway: "second", secret }),
          ({ status }) => status
        )
      assert.deepStrictEqual([yield* posted("A", "first"), yield* posted("B", secret)], [200, 401])
      assert.deepStrictEqual((yield* events).map(({ deviceId }) => deviceId), [device.id], "not the other slot-1")
      yield* ask(`${gateways}/second`, { method: "PATCH", json: { webhookSecret: "changed" } })
      assert.deepStrictEqual([yield* posted("B", "first"), yield* posted("B", "changed")], [401, 200])
      yield* ask(`${gateways}/second`, { method: "PATCH", json: { webhookSecret: null } })
      assert.strictEqual(yield* posted("C", "changed"), 401)
      yield* ask(`${gateways}/second`, { method: "PATCH", json: { active: false } })
      assert.strictEqual(yield* posted("C", "changed"), 503)
    }))
})

interface RawPost {
  readonly path: string
  readonly body: string | Uint8Array
  readonly headers: Readonly<Record<string, string>>
}

/** `fetch` chooses some headers itself; this does not. */
const raw = ({ port }: RunningServer, { body, headers, path }: RawPost): Effect.Effect<number> =>
  Effect.callback<number>((resume) => {
    const call = request({ host: "127.0.0.1", port, path, method: "POST", headers }, (response) => {
      response.resume()
      response.on("end", () => resume(Effect.succeed(response.statusCode!)))
    })
    call.on("error", (error) => resume(Effect.die(error)))
    call.end(body)
  })

/** Sends bytes on a new connection and returns everything that is received until it is closed. */
const speak = ({ port }: RunningServer, send: (write: (text: string | Uint8Array) => boolean) => void) =>
  Effect.callback<string>((resume) => {
    const socket = connect({ host: "127.0.0.1", port })
    let heard = ""
    socket.on("data", (chunk) => (heard += chunk.toString()))
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(heard)))
    socket.on("connect", () => send((text) => !socket.destroyed && socket.write(text)))
    return Effect.sync(() => socket.destroy())
  })

describe("a post of a stranger to the webhooks", () => {
  it.live("is refused above 4 MiB, with or without a length, and is not kept", () =>
    Effect.gen(function*() {
      const { events, server } = yield* start()
      const tooLarge = counted(server, /outcome="too-large"/)
      const before = yield* tooLarge
      const announced = yield* speak(server, (write) => {
        write("POST /webhooks/default HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n")
        const chunk = Buffer.alloc(64 * 1024)
        const more = () => write(chunk) && setImmediate(more)
        more()
      })
      assert.match(announced, /^HTTP\/1\.1 413 /)
      const chunked = yield* ask(`${server.url}/webhooks/default`, {
        method: "POST",
        body: new Blob([new Uint8Array(webhookBodyMax + 1)]).stream(),
        duplex: "half"
      } as RequestInit)
      assert.deepStrictEqual([chunked.status, chunked.body._tag], [413, "WebhookTooLarge"])
      assert.strictEqual((yield* post(server.url, { slot: "slot-1", ids: ["A"] }, { secret })).status, 200)
      assert.lengthOf(yield* events, 1)
      assert.strictEqual(yield* tooLarge, before + 2)
      assert.match(yield* metricsOf(server), /columba_webhooks_in_flight 0/)
    }))

  it.live("of just 4 MiB is accepted", () =>
    Effect.gen(function*() {
      const { events, server } = yield* start()
      const empty = JSON.stringify({ slot: "slot-1", ids: ["A"], text: "" })
      const text = "x".repeat(webhookBodyMax - empty.length)
      assert.strictEqual((yield* post(server.url, { slot: "slot-1", ids: ["A"], text }, { secret })).status, 200)
      assert.lengthOf(yield* events, 1)
    }))

  it.live("that is too slow is refused in time, and delays nobody", () =>
    Effect.gen(function*() {
      const { server } = yield* start({ webhookBodyTimeout: Duration.seconds(1) })
      const slow = yield* Effect.forkChild(speak(server, (write) => {
        write("POST /webhooks/default HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        const drip = setInterval(() => write("x") || clearInterval(drip), 100)
      }))
      assert.strictEqual((yield* post(server.url, { slot: "slot-1", ids: ["A"] }, { secret })).status, 200)
      const heard = yield* Fiber.join(slow)
      assert.match(heard, /^HTTP\/1\.1 408 /)
    }))

  it.live("that never ends makes room for complete posts, also when such posts fill all room", () =>
    Effect.gen(function*() {
      const { server } = yield* start({ webhookBodyTimeout: Duration.infinity })
      const held = 4_000_000
      const parts = Math.ceil(64 * 1024 * 1024 / held) + 3
      const strangers = yield* Effect.forEach(
        Array.from({ length: parts }),
        () =>
          Effect.forkChild(speak(server, (write) => {
            write(`POST /webhooks/default HTTP/1.1\r\nHost: x\r\nContent-Length: ${webhookBodyMax}\r\n\r\n`)
            write(Buffer.alloc(held))
          }))
      )
      const first = yield* Effect.raceAllFirst(strangers.map((stranger) => Fiber.join(stranger)))
      assert.match(first, /^HTTP\/1\.1 503 /)
      assert.strictEqual((yield* post(server.url, { slot: "slot-1", ids: ["A"] }, { secret })).status, 200)
      yield* Fiber.interruptAll(strangers)
      yield* until(
        "nothing is held of those who have left",
        Effect.map(metricsOf(server), (metrics) => /columba_webhooks_in_flight 0/.test(metrics))
      )
    }))

  it.live("that is compressed is refused, since the signature covers other bytes", () =>
    Effect.gen(function*() {
      const { server } = yield* start()
      const body = gzipSync(JSON.stringify({ slot: "slot-1", ids: ["A"] }))
      const headers = { [signatureHeader]: sign(body, secret) }
      const path = "/webhooks/default"
      for (const encoding of ["gzip", "br", "GZIP", "identity, gzip"]) {
        const status = yield* raw(server, { path, body, headers: { ...headers, "content-encoding": encoding } })
        assert.strictEqual(status, 415, encoding)
      }
      const plain = JSON.stringify({ slot: "slot-1", ids: ["A"] })
      const identity = { [signatureHeader]: sign(plain, secret), "Content-Encoding": "identity" }
      assert.strictEqual(yield* raw(server, { path, body: plain, headers: identity }), 200)
    }))

  it.live("in another form of the same request has the same outcome", () =>
    Effect.gen(function*() {
      const { device, events, other, secretOf, server } = yield* start()
      const bodyOf = (id: string) => JSON.stringify({ slot: "slot-1", ids: [id] })
      const own = (id: string) => ({ [signatureHeader]: sign(bodyOf(id), secretOf(device)) })
      const paths = [
        `/webhooks/default?device=${device}`,
        `/webhooks/default/?device=${device}`,
        `//webhooks//default?device=${device}`,
        `/webhooks/d%65fault?device=${device}`,
        `/webhooks/default?a=1&device=${device}&b=%20`,
        `/webhooks/default?device=${device}&device=${other}`
      ]
      for (const [index, path] of paths.entries()) {
        const status = yield* raw(server, { path, body: bodyOf(`A${index}`), headers: own(`A${index}`) })
        assert.strictEqual(status, 200, path)
      }
      const elsewhere = { path: `/x/webhooks/default?device=${device}`, body: bodyOf("B"), headers: own("B") }
      assert.strictEqual(yield* raw(server, elsewhere), 404)
      assert.lengthOf(yield* events, paths.length)
    }))

  it.live("is answered in order among several on one connection", () =>
    Effect.gen(function*() {
      const { events, server } = yield* start()
      const requestOf = (id: string, signedWith: string) => {
        const body = JSON.stringify({ slot: "slot-1", ids: [id] })
        return `POST /webhooks/default HTTP/1.1\r\nHost: x\r\nx-hub-signature-256: ${sign(body, signedWith)}\r\n` +
          `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
      }
      const heard = yield* speak(server, (write) => {
        write(requestOf("A", secret) + requestOf("B", "another") + requestOf("C", secret))
        write("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      })
      assert.deepStrictEqual(
        Array.from(heard.matchAll(/HTTP\/1\.1 (\d+)/g), ([, status]) => status),
        ["200", "401", "200", "403"]
      )
      assert.sameMembers((yield* events).map(({ data }) => data["waId"]), ["A", "C"])
    }))

  it.live("with two lengths, or a length in two ways, is refused before any of its body is read", () =>
    Effect.gen(function*() {
      const { events, server } = yield* start()
      const body = JSON.stringify({ slot: "slot-1", ids: ["A"] })
      const head = `POST /webhooks/default HTTP/1.1\r\nHost: x\r\nx-hub-signature-256: ${sign(body, secret)}\r\n`
      for (
        const lengths of [
          `Content-Length: ${body.length}\r\nContent-Length: 1\r\n`,
          `Content-Length: ${body.length}\r\nTransfer-Encoding: chunked\r\n`
        ]
      ) {
        const heard = yield* speak(server, (write) => write(`${head}${lengths}\r\n${body}`))
        assert.match(heard, /^HTTP\/1\.1 400 /, lengths)
      }
      assert.deepStrictEqual(yield* events, [])
    }))

  it.live("is accepted once each, also with a thousand at once", () =>
    Effect.gen(function*() {
      const { events, server } = yield* start()
      const count = 1000
      const statuses = yield* Effect.forEach(
        Array.from({ length: count }),
        (_, index) =>
          Effect.map(
            post(server.url, { slot: "slot-1", ids: [`A${index % (count / 2)}`] }, { secret }),
            ({ status }) => status
          ),
        { concurrency: 500 }
      )
      assert.deepStrictEqual([...new Set(statuses)], [200])
      assert.lengthOf(yield* events, count / 2)
      assert.strictEqual((yield* Effect.orDie(Context.get(server.services, EventLog).bounds)).head, count / 2)
    }))

  it.live("whose sender leaves before the answer is accepted all the same", () =>
    Effect.gen(function*() {
      const { events, server } = yield* start()
      const body = JSON.stringify({ slot: "slot-1", ids: ["A"] })
      yield* Effect.callback<void>((resume) => {
        const socket = connect({ host: "127.0.0.1", port: server.port })
        socket.on("connect", () => {
          socket.write(
            `POST /webhooks/default HTTP/1.1\r\nHost: x\r\nx-hub-signature-256: ${sign(body, secret)}\r\n` +
              `Content-Length: ${body.length}\r\n\r\n${body}`,
            () => socket.destroy()
          )
        })
        socket.on("close", () => resume(Effect.void))
      })
      yield* until("the event is in the log", Effect.map(events, (all) => all.length > 0))
    }))
})
