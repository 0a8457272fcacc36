/** Sending over HTTP and RPC: which messages are accepted, which are refused and how, and the rights of a key. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { SendRepository } from "../../src/services/SendRepository.ts"
import { SharedPacing } from "../../src/services/SharedPacing.ts"
import { ScriptedSending } from "../support/scriptedSending.ts"
import { ask, type Key, makeScript, makeStorage, startServer, stateDraft } from "../support/surface.ts"
import type { Json } from "../support/surface.ts"

const to = "+62 812-9876-5432"

const setup = Effect.fnUntraced(
  function*(
    options: {
      readonly sends?: boolean
      readonly keys?: ReadonlyArray<Key>
      readonly sharedPacing?: SharedPacing["Service"]
    } = {}
  ) {
    const script = makeScript()
    if (options.sends !== false) Object.assign(script.gateway, { send: new ScriptedSending() })
    const storage = yield* makeStorage
    const server = yield* startServer({
      script,
      storage,
      ...(options.sharedPacing === undefined ? {} : { sharedPacing: options.sharedPacing }),
      ...(options.keys === undefined ? {} : { keys: options.keys })
    })
    const manager = yield* Effect.provideContext(DeviceManager, server.services)
    const device = yield* Effect.orDie(manager.register({ name: "desk" }))
    const sends = yield* Effect.provideContext(SendRepository, server.services)
    const post = (json: Json, headers: Record<string, string> = {}, id: DeviceId = device.id) =>
      ask(`${server.url}/api/v1/devices/${id}/messages`, { method: "POST", json, headers })
    const get = (path: string, headers: Record<string, string> = {}) => ask(`${server.url}/api/v1${path}`, { headers })
    const remove = (id: string, headers: Record<string, string> = {}) =>
      ask(`${server.url}/api/v1/messages/${id}`, { method: "DELETE", headers })
    return { script, server, manager, device, sends, post, get, remove }
  }
)

describe("sending over HTTP", () => {
  it.live("answers 202 with the stored message, which lists and reads show", () =>
    Effect.gen(function*() {
      const { device, get, post } = yield* setup()
      const { body, status } = yield* post({ to, text: "Yes, until six." })
      assert.strictEqual(status, 202)
      assert.deepInclude(body, {
        deviceId: device.id,
        direction: "out",
        chat: "6281298765432@s.whatsapp.net",
        type: "text",
        body: "Yes, until six.",
        status: "pending",
        waId: null
      })
      const waiting = { ...body, sending: { ...body.sending, waitsFor: { reason: "device", until: null } } }
      assert.deepStrictEqual((yield* get(`/messages/${body.id}`)).body, waiting)
      assert.deepStrictEqual((yield* get(`/messages?device=${device.id}&status=pending`)).body.items, [waiting])
      const at = new Date(Date.now() + 3_600_000).toISOString()
      const later = yield* post({ to, text: "later", scheduledAt: at })
      assert.deepStrictEqual([later.status, later.body.status, later.body.sending.scheduledAt], [202, "scheduled", at])
      assert.strictEqual((yield* get("/messages?status=scheduled")).body.items.length, 1)
    }))

  it.live("refuses texts with half characters, wherever a message has a text, and stores nothing", () =>
    Effect.gen(function*() {
      const { device, get, post, server } = yield* setup()
      const file = { url: "https://example.com/x" }
      for (const text of ["a\0b", "\ud83d", "\udc4d then", "cut \ud83d"]) {
        const messages: ReadonlyArray<Json> = [
          { text },
          { location: { latitude: 1, longitude: 1, name: text } },
          { contact: { name: text, phone: "+6281298765432" } },
          { poll: { question: text, options: ["a", "b"] } },
          { poll: { question: "which", options: ["a", text] } },
          { image: { ...file, caption: text } },
          { document: { ...file, fileName: text } }
        ]
        for (const message of messages) {
          const { body, status } = yield* post({ to, ...message as object })
          assert.deepStrictEqual([status, body._tag], [400, "RequestInvalid"], JSON.stringify(message))
          assert.include(body.message, "whole characters")
        }
        const url = `${server.url}/api/v1`
        const again = { device: device.id, message: { to, text }, cron: "0 9 * * *", zone: "UTC" }
        const edit = `${url}/messages/msg_${"0".repeat(25)}1/edit`
        for (const [path, json] of [[`${url}/schedules`, again], [edit, { text }]] as const) {
          assert.strictEqual((yield* ask(path, { method: "POST", json })).body._tag, "RequestInvalid", path)
        }
      }
      assert.strictEqual((yield* post({ to, text: "👍🏽 whole, and a \u200d joiner" })).status, 202)
      assert.lengthOf((yield* get("/messages")).body.items, 1)
    }))

  it.live("accepts a time only with its date and its zone, so that no message is sent at an unintended time", () =>
    Effect.gen(function*() {
      const { get, post } = yield* setup()
      const day = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10)
      const wrong = [
        "5",
        "2026",
        day,
        "05/12/2026",
        `${day} 09:00`,
        `${day}T09:00:00`,
        `${day}T09`,
        `${day}T25:00:00Z`,
        "2026-02-30T09:00:00Z",
        `${day}T09:00:00+0700 (WIB)`,
        "tomorrow",
        ""
      ]
      for (const scheduledAt of wrong) {
        const { body, status } = yield* post({ to, text: "x", scheduledAt })
        assert.deepStrictEqual([status, body._tag], [400, "ScheduleInvalid"], scheduledAt)
      }
      assert.deepStrictEqual((yield* get("/messages")).body.items, [])
      const right: ReadonlyArray<readonly [given: string, stored: string]> = [
        [`${day}T09:00:00Z`, `${day}T09:00:00.000Z`],
        [`${day}T09:00:00.123456Z`, `${day}T09:00:00.123Z`],
        [`${day}T09:00+07:00`, `${day}T02:00:00.000Z`]
      ]
      for (const [scheduledAt, stored] of right) {
        assert.strictEqual((yield* post({ to, text: "x", scheduledAt })).body.sending?.scheduledAt, stored, scheduledAt)
      }
    }))

  it.live("makes a message wait for the account's other sends if that takes longer", () =>
    Effect.gen(function*() {
      let wait = 0
      const asked = new Set<string>()
      const sharedPacing = SharedPacing.of({
        take: () => Effect.die("looking takes no turn"),
        wait: (account) => Effect.sync(() => (asked.add(account), wait)),
        giveBack: () => Effect.void
      })
      const { device, get, post, server } = yield* setup({ sharedPacing })
      yield* ask(`${server.url}/api/v1/devices/${device.id}`, { method: "PATCH", json: { pacing: "1/min" } })
      const { body } = yield* post({ to, text: "x" })
      const waitsFor = Effect.map(get(`/messages/${body.id}`), ({ body: { sending } }) => sending.waitsFor)
      assert.deepStrictEqual(yield* waitsFor, { reason: "device", until: null })
      const jid = "628111222333@s.whatsapp.net"
      const online = { _tag: "Online", jid, since: "2026-01-01T00:00:00.000Z" } as const
      yield* Context.get(server.services, EventLog).append([
        stateDraft(device.id, "Connecting", online, "status-usable", jid)
      ])
      assert.isUndefined(yield* waitsFor)
      wait = 90_000
      const { reason, until } = yield* waitsFor
      assert.strictEqual(reason, "rate")
      assert.closeTo(Date.parse(until) - Date.now(), wait, 10_000)
      assert.strictEqual((yield* get(`/devices/${device.id}/explain`)).body.sending.waitsFor.reason, "rate")
      assert.isTrue(asked.has(jid), "the account, not the device, is what others know")
    }))

  it.live("sets, shows and removes a device's pacing, and refuses a senseless one", () =>
    Effect.gen(function*() {
      const { device, get, server } = yield* setup()
      const patch = (json: Json) => ask(`${server.url}/api/v1/devices/${device.id}`, { method: "PATCH", json })
      const line = "20/min, 500/day, quiet 21:00-07:00 Asia/Jakarta"
      const pacing = { rate: "20/min", perDay: 500, quiet: { from: "21:00", to: "07:00", zone: "Asia/Jakarta" } }
      assert.isNull((yield* get(`/devices/${device.id}`)).body.pacing)
      for (const given of [line, pacing]) {
        const { body, status } = yield* patch({ pacing: given })
        assert.deepStrictEqual([status, body.pacing, body.name], [200, pacing, "desk"])
      }
      assert.deepStrictEqual((yield* patch({ name: "desk 2" })).body.pacing, pacing, "what is left out stays")
      assert.strictEqual((yield* get(`/devices/${device.id}/explain`)).body.sending.pacing, line)
      for (
        const given of ["fast", { rate: "0/min" }, { burst: 3 }, { perDay: 0 }, {
          quiet: { ...pacing.quiet, zone: "X" }
        }]
      ) {
        const { body, status } = yield* patch({ pacing: given as Json })
        assert.deepStrictEqual([status, body._tag], [400, "RequestInvalid"], JSON.stringify(given))
      }
      assert.deepStrictEqual((yield* patch({ pacing: "off" })).body.pacing, {})
      assert.isNull((yield* patch({ pacing: null })).body.pacing)
    }))

  it.live("explains why a request is invalid, and stores nothing", () =>
    Effect.gen(function*() {
      const { device, get, manager, post } = yield* setup()
      const wrong: ReadonlyArray<readonly [request: Json, status: number, tag: string, reason?: string]> = [
        [{ to: "081298765432", text: "x" }, 400, "RecipientInvalid", "leading-zero"],
        [{ to: "62812", text: "x" }, 400, "RecipientInvalid", "length"],
        [{ to: "status@broadcast", text: "x" }, 400, "RecipientInvalid", "kind"],
        [{ to }, 400, "ContentInvalid"],
        [{ to, text: "x", location: { latitude: 1, longitude: 2 } }, 400, "ContentInvalid"],
        [{ to, text: "" }, 400, "RequestInvalid"],
        [{ to, text: "x", mentions: ["everyone"] }, 400, "ContentInvalid"],
        [{ to, poll: { question: "?", options: ["a", "b"], choices: 3 } }, 400, "ContentInvalid"],
        [{ to, poll: { question: "?", options: ["a", "a"] } }, 400, "RequestInvalid"],
        [{ to, text: "x", scheduledAt: "tomorrow" }, 400, "ScheduleInvalid"],
        [{ to, text: "x", scheduledAt: "2226-01-01T00:00:00Z" }, 400, "ScheduleInvalid"],
        [{ to, text: "x", replyTo: "msg_01K5ZQ9D3B7C8E5F6G1H2J4K00" }, 404, "MessageNotFound"],
        [{ to, location: { latitude: 1, longitude: 2 } }, 422, "ContentUnsupported"],
        [{ to, text: "x", colour: "red" }, 400, "RequestInvalid"]
      ]
      for (const [request, status, tag, reason] of wrong) {
        const answer = yield* post(request)
        assert.deepStrictEqual([answer.status, answer.body._tag, answer.body.reason], [status, tag, reason], tag)
        assert.notInclude(answer.body.message, "98765432")
      }
      assert.strictEqual((yield* post({ to, text: "x" }, {}, `dev_${"0".repeat(25)}1` as DeviceId)).status, 404)
      yield* Effect.orDie(manager.deactivate(device.id))
      assert.strictEqual((yield* post({ to, text: "x" })).status, 409)
      assert.deepStrictEqual((yield* get("/messages")).body.items, [])
    }))

  it.live("reports that a gateway cannot send before anything is stored", () =>
    Effect.gen(function*() {
      const { get, post } = yield* setup({ sends: false })
      const { body, status } = yield* post({ to, text: "x" })
      assert.deepStrictEqual([status, body._tag, body.supported], [422, "ContentUnsupported", []])
      assert.deepStrictEqual((yield* get("/messages")).body.items, [])
    }))

  it.live("answers a thousand concurrent requests with one key alike, byte for byte, with one message", () =>
    Effect.gen(function*() {
      const { get, post } = yield* setup()
      const headers = { "idempotency-key": "order-4711" }
      const answers = yield* Effect.forEach(
        Array.from({ length: 1000 }, () => post({ to, text: "once" }, headers)),
        (answer) => answer,
        { concurrency: 100 }
      )
      assert.strictEqual(new Set(answers.map(({ body, status }) => JSON.stringify([status, body]))).size, 1)
      assert.strictEqual(answers[0]?.status, 202)
      const other = yield* post({ to, text: "another" }, headers)
      assert.deepStrictEqual([other.status, other.body._tag], [422, "IdempotencyKeyReused"])
      assert.strictEqual((yield* post({ to, text: "x" }, { "idempotency-key": "a b" })).status, 400)
      assert.strictEqual((yield* get("/messages")).body.items.length, 1)
    }))

  it.live("cancels a waiting message once, and states the truth about every other", () =>
    Effect.gen(function*() {
      const { get, post, remove } = yield* setup()
      const { body } = yield* post({ to, text: "take it back" })
      const cancelled = yield* remove(body.id)
      assert.deepStrictEqual([cancelled.status, cancelled.body.status], [200, "cancelled"])
      const again = yield* remove(body.id)
      assert.deepStrictEqual([again.status, again.body._tag, again.body.status], [
        409,
        "MessageNotCancellable",
        "cancelled"
      ])
      assert.strictEqual((yield* remove("msg_01K5ZQ9D3B7C8E5F6G1H2J4K00")).status, 404)
      const events = (yield* get("/events?after=0&kind=message.status")).body.items
      assert.deepStrictEqual(events.map(({ data }: Json) => [data.messageId, data.status]), [[body.id, "cancelled"]])
    }))

  it.live("lets only a key with the scope send send, for its own devices only", () =>
    Effect.gen(function*() {
      const other = `dev_${"Z".repeat(26)}` as DeviceId
      const { get, post, remove } = yield* setup({
        keys: [
          ["reader", ["read"], "key-read"],
          ["sender", ["send"], "key-send"],
          ["limited", ["send", "read"], "key-limited", [other]]
        ]
      })
      const as = (key: string) => ({ authorization: `Bearer ${key}` })
      assert.strictEqual((yield* post({ to, text: "x" })).status, 401)
      assert.strictEqual((yield* post({ to, text: "x" }, as("key-read"))).status, 403)
      assert.strictEqual((yield* post({ to, text: "x" }, as("key-limited"))).status, 404)
      const { body, status } = yield* post({ to, text: "x" }, as("key-send"))
      assert.strictEqual(status, 202)
      assert.strictEqual((yield* get(`/messages/${body.id}`, as("key-limited"))).status, 404)
      assert.strictEqual((yield* remove(body.id, as("key-limited"))).status, 404)
      assert.deepStrictEqual((yield* get("/messages", as("key-limited"))).body.items, [])
      assert.strictEqual((yield* remove(body.id, as("key-read"))).status, 403)
      assert.strictEqual((yield* remove(body.id, as("key-send"))).status, 200)
    }))

  it.live("has the same operations in the typed client", () =>
    Effect.gen(function*() {
      const { device, server } = yield* setup()
      yield* Effect.gen(function*() {
        const columba = yield* ColumbaClient
        const request = { id: device.id, to, text: "by RPC", idempotencyKey: "k" }
        const message = yield* columba.messages.send(request)
        assert.deepStrictEqual(yield* columba.messages.send(request), message)
        assert.strictEqual((yield* columba.messages.cancel({ id: message.id })).status, "cancelled")
        const refused = yield* Effect.flip(columba.messages.send({ ...request, text: "other" }))
        assert.strictEqual(refused._tag, "IdempotencyKeyReused")
      }).pipe(Effect.provide(ColumbaClient.layerHttp({ url: server.url })), Effect.orDie)
    }))
})
