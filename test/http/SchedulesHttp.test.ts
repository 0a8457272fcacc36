/** Recurring sends over HTTP: which are accepted, which are refused and how, and the rights of a key. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import { ScheduleId } from "../../src/domain/Schedule.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { ScheduleRepository } from "../../src/services/ScheduleRepository.ts"
import { ScriptedSending } from "../support/scriptedSending.ts"
import { ask, makeScript, makeStorage, startServer } from "../support/surface.ts"
import type { Json, Key } from "../support/surface.ts"

const message = { to: "+62 812-9876-5432", text: "We open at nine." }
const wanted = { message, cron: "30 8 * * 1-6", zone: "Asia/Jakarta" }

const setup = Effect.fnUntraced(function*(keys?: (device: string) => ReadonlyArray<Key>) {
  const script = makeScript()
  Object.assign(script.gateway, { send: new ScriptedSending() })
  const storage = yield* makeStorage
  const first = yield* startServer({ script, storage })
  const manager = yield* Effect.provideContext(DeviceManager, first.services)
  const device = yield* Effect.orDie(manager.register({ name: "desk" }))
  const server = keys === undefined ? first : yield* startServer({ script, storage, keys: keys(device.id) })
  const call = (method: string, path: string, json?: Json, headers: Record<string, string> = {}) =>
    ask(`${server.url}/api/v1${path}`, { method, headers, ...(json === undefined ? {} : { json }) })
  return { device, server, manager, call }
})

describe("recurring sends over HTTP", () => {
  it.live("are stored with their next occurrence, which is a scheduled message", () =>
    Effect.gen(function*() {
      const { call, device } = yield* setup()
      const { body, status } = yield* call("POST", "/schedules", { device: device.id, ...wanted })
      assert.strictEqual(status, 201)
      assert.deepInclude(body, {
        deviceId: device.id,
        message: { to: "6281298765432@s.whatsapp.net", text: "We open at nine.", onUnknown: "report" },
        cron: "30 8 * * 1-6",
        zone: "Asia/Jakarta",
        paused: false,
        graceSeconds: 3600,
        ended: null
      })
      const next = (yield* call("GET", `/messages/${body.next.messageId}`)).body
      assert.deepStrictEqual([next.status, next.sending.scheduledAt, next.body], [
        "scheduled",
        body.next.at,
        message.text
      ])
      assert.deepStrictEqual(next.sending.waitsFor, { reason: "scheduled", until: body.next.at })
      assert.strictEqual(new Date(body.next.at).getUTCHours(), 1, "half past eight in Jakarta")
      assert.deepStrictEqual((yield* call("GET", `/schedules?device=${device.id}`)).body, { items: [body], next: null })
      const paused = (yield* call("PATCH", `/schedules/${body.id}`, { paused: true })).body
      assert.deepStrictEqual([paused.paused, paused.next], [true, null])
      assert.strictEqual((yield* call("GET", `/messages/${body.next.messageId}`)).body.status, "cancelled")
      const resumed = (yield* call("PATCH", `/schedules/${body.id}`, { paused: false, zone: "UTC", until: null })).body
      assert.strictEqual(new Date(resumed.next.at).getUTCHours(), 8)
      const removed = yield* call("DELETE", `/schedules/${body.id}`)
      assert.deepStrictEqual([removed.status, removed.body.id], [200, body.id])
      assert.strictEqual((yield* call("GET", `/messages/${resumed.next.messageId}`)).body.status, "cancelled")
      assert.strictEqual((yield* call("GET", `/schedules/${body.id}`)).status, 404)
    }))

  it.live("are one for repeated requests under one key, and each is answered like the first", () =>
    Effect.gen(function*() {
      const { call, device } = yield* setup()
      const request = { device: device.id, ...wanted, until: new Date(Date.now() + 86_400_000 * 30).toISOString() }
      const key = { "idempotency-key": "opening-hours" }
      const ask = (json: Json, headers: Record<string, string> = key) => call("POST", "/schedules", json, headers)
      const answers = yield* Effect.forEach(Array.from({ length: 50 }), () => ask(request), {
        concurrency: "unbounded"
      })
      const [first] = answers
      assert.strictEqual(first?.status, 201)
      for (const answer of answers) {
        assert.deepStrictEqual([answer.status, JSON.stringify(answer.body)], [201, JSON.stringify(first!.body)])
      }
      const path = `/schedules/${first!.body.id}`
      assert.deepStrictEqual((yield* call("GET", path)).body, first!.body)
      assert.lengthOf((yield* call("GET", "/messages")).body.items, 1, "one occurrence waits")
      const { cron, message: { text }, zone } = wanted
      const reordered = { until: request.until, zone, cron, message: { text, to: "6281298765432" }, device: device.id }
      assert.deepStrictEqual((yield* ask(reordered)).body, first!.body, "it says the same")
      for (const change of [{ cron: "0 9 * * *" }, { message: { ...message, text: "other" } }, { graceSeconds: 60 }]) {
        const other = yield* ask({ ...request, ...change })
        assert.deepStrictEqual([other.status, other.body._tag], [422, "IdempotencyKeyReused"], JSON.stringify(change))
      }
      yield* call("PATCH", path, { paused: true, cron: "0 9 * * *" })
      assert.deepStrictEqual((yield* ask(request)).body, first!.body, "whatever has become of it")
      yield* call("DELETE", path)
      assert.deepStrictEqual((yield* ask(request)).body, first!.body, "a late repeat does not bring it back")
      assert.deepStrictEqual((yield* call("GET", "/schedules")).body.items, [])
      assert.notStrictEqual((yield* ask(request, { "idempotency-key": "another" })).body.id, first!.body.id)
      assert.notStrictEqual((yield* ask(request, {})).body.id, first!.body.id)
      assert.strictEqual((yield* ask(request, { "idempotency-key": "a b" })).status, 400)
    }))

  it.live("are listed whatever texts they hold that were stored before such texts were refused", () =>
    Effect.gen(function*() {
      const { call, device, server } = yield* setup()
      const schedules = yield* Effect.provideContext(ScheduleRepository, server.services)
      const id = ScheduleId.make(`sch_${"0".repeat(25)}1`)
      yield* Effect.orDie(schedules.insert({
        id,
        deviceId: device.id,
        chat: "6281298765432@s.whatsapp.net",
        body: { content: { type: "text", text: "a\0b \ud83d" }, replyTo: null, mentions: [] },
        onUnknown: "report",
        cron: "0 9 * * *",
        zone: "UTC",
        until: null,
        graceSeconds: 3600,
        paused: true
      }))
      for (const path of ["/schedules", `/schedules/${id}`]) assert.strictEqual((yield* call("GET", path)).status, 200)
      assert.strictEqual((yield* call("GET", `/schedules/${id}`)).body.message.text, "a\ufffdb \ufffd")
      assert.strictEqual((yield* call("DELETE", `/schedules/${id}`)).status, 200)
    }))

  it.live("are refused with the reason if they are invalid, and nothing is stored", () =>
    Effect.gen(function*() {
      const { call, device, manager } = yield* setup()
      const wrong: ReadonlyArray<readonly [change: Json, status: number, tag: string]> = [
        [{ cron: "0 0 30 2 *" }, 400, "CronInvalid"],
        [{ cron: "0 9 * * * *" }, 400, "CronInvalid"],
        [{ cron: "99 9 * * *" }, 400, "CronInvalid"],
        [{ zone: "Mars/Olympus" }, 400, "RequestInvalid"],
        [{ until: "2020-01-01T00:00:00Z" }, 400, "CronInvalid"],
        [{ until: "soon" }, 400, "CronInvalid"],
        [{ graceSeconds: 1 }, 400, "RequestInvalid"],
        [{ message: { to: "0812", text: "x" } }, 400, "RecipientInvalid"],
        [{ message: { to: message.to } }, 400, "ContentInvalid"],
        [{ message: { ...message, scheduledAt: "2030-01-01T00:00:00Z" } }, 400, "RequestInvalid"],
        [{ message: { to: message.to, location: { latitude: 1, longitude: 2 } } }, 422, "ContentUnsupported"],
        [{ device: `dev_${"0".repeat(25)}1` }, 404, "DeviceNotFound"]
      ]
      for (const [change, status, tag] of wrong) {
        const answer = yield* call("POST", "/schedules", { device: device.id, ...wanted, ...change as object })
        assert.deepStrictEqual([answer.status, answer.body._tag], [status, tag], JSON.stringify(change))
      }
      yield* Effect.orDie(manager.deactivate(device.id))
      assert.strictEqual((yield* call("POST", "/schedules", { device: device.id, ...wanted })).status, 409)
      assert.deepStrictEqual((yield* call("GET", "/schedules")).body.items, [])
      assert.deepStrictEqual((yield* call("GET", "/messages")).body.items, [])
    }))

  it.live("belong to their device: a key that is limited to others sees none of them", () =>
    Effect.gen(function*() {
      const other = `dev_${"0".repeat(25)}9` as never
      const { call, device } = yield* setup((id) => [
        ["all", ["read", "send"], "all-key-0123456789abc"],
        ["mine", ["read", "send"], "mine-key-0123456789ab", [id as never]],
        ["other", ["read", "send"], "other-key-0123456789a", [other]]
      ])
      const as = (key: string) => ({ authorization: `Bearer ${key}` })
      const request = { device: device.id, ...wanted }
      const refused = yield* call("POST", "/schedules", request, as("other-key-0123456789a"))
      assert.deepStrictEqual([refused.status, refused.body._tag], [404, "DeviceNotFound"])
      const { body } = yield* call("POST", "/schedules", request, as("mine-key-0123456789ab"))
      const path = `/schedules/${body.id}`
      for (const [method, json] of [["GET"], ["PATCH", { paused: true }], ["DELETE"]] as const) {
        assert.strictEqual((yield* call(method, path, json, as("other-key-0123456789a"))).status, 404, method)
      }
      assert.deepStrictEqual((yield* call("GET", "/schedules", undefined, as("other-key-0123456789a"))).body.items, [])
      assert.strictEqual((yield* call("GET", path, undefined, as("all-key-0123456789abc"))).status, 200)
    }))

  it.live("have the same operations in the typed client", () =>
    Effect.gen(function*() {
      const { device, server } = yield* setup()
      yield* Effect.gen(function*() {
        const client = yield* ColumbaClient
        const created = yield* client.schedules.create({ device: device.id, ...wanted })
        assert.strictEqual((yield* client.schedules.edit({ id: created.id, paused: true })).paused, true)
        assert.lengthOf((yield* client.schedules.list({})).items, 1)
        yield* client.schedules.remove({ id: created.id })
        assert.strictEqual((yield* Effect.flip(client.schedules.get({ id: created.id })))._tag, "ScheduleNotFound")
      }).pipe(Effect.provide(ColumbaClient.layerHttp({ url: server.url })), Effect.orDie)
    }))
})
