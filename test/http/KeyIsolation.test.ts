/** A key that is limited to some devices: the others look as if they did not exist, in every kind of request. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Stream } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import { operations } from "../../src/contracts/Operations.ts"
import { beginning } from "../../src/domain/Ids.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { Readiness } from "../../src/services/Readiness.ts"
import { gapOpened } from "../../src/services/GapDrafts.ts"
import { opened } from "../conformance/gapRepository.ts"
import { openSse } from "../support/sse.ts"
import type { Json } from "../support/surface.ts"
import { ask, makeScript, messageDraft, makeStorage, services, startServer, stateDraft } from "../support/surface.ts"

const all = ["read", "send", "manage"] as const

/** Valid payloads of operations that need one. */
const bodies: Readonly<Record<string, { readonly json: unknown }>> = {
  "Devices.EditAutoReply": { json: { enabled: true } },
  "Messages.Typing": { json: { active: true } },
  "Messages.Send": { json: { to: "6281298765432", text: "hello" } },
  "Devices.InitiateLogin": { json: {} },
  "Devices.AnswerPasskey": { json: { assertion: {} } }
}

/** Two devices with two messages each; one key for everything, and one for the first device only. */
const setUp = Effect.gen(function*() {
  const storage = yield* makeStorage
  const context = yield* Layer.build(services({ storage }))
  const manager = Context.get(context, DeviceManager)
  const log = Context.get(context, EventLog)
  const mine = (yield* manager.register({ name: "mine" })).id
  const other = (yield* manager.register({ name: "other" })).id
  yield* log.append([
    messageDraft(other, 1),
    messageDraft(mine, 2),
    messageDraft(other, 3),
    messageDraft(mine, 4),
    stateDraft(mine, "Inactive", { _tag: "Connecting", attempt: 1, sessionOpen: false }),
    stateDraft(other, "Inactive", { _tag: "Connecting", attempt: 1, sessionOpen: false })
  ])
  for (const device of [other, mine]) yield* log.append([gapOpened(device, opened(), 0)])
  const script = makeScript()
  const { services: running, url } = yield* startServer({
    storage,
    script,
    keys: [["all", all, "all-devices"], ["limited", all, "one-device", [mine]]]
  })
  const as = (key: string) => (path: string, init: Json = {}) =>
    ask(`${url}${path}`, { ...init, headers: { authorization: `Bearer ${key}`, ...init.headers } })
  return { log, mine, other, running, script, url, limited: as("one-device"), unlimited: as("all-devices") }
})

const deviceIds = (page: { readonly body: Json }): ReadonlyArray<string> => [
  ...new Set<string>(page.body.items.map((item: Json) => item.deviceId ?? item.id))
]

describe("a key that is limited to some devices", () => {
  it.live("sees no trace of another device over HTTP", () =>
    Effect.gen(function*() {
      const { limited, mine, other, unlimited } = yield* setUp
      assert.deepStrictEqual(deviceIds(yield* limited("/api/v1/devices")), [mine])
      assert.deepStrictEqual(deviceIds(yield* limited("/api/v1/messages")), [mine])
      assert.deepStrictEqual(deviceIds(yield* limited("/api/v1/events")), [mine])
      assert.deepStrictEqual(deviceIds(yield* limited(`/api/v1/messages?device=${other}`)), [])
      assert.deepStrictEqual(deviceIds(yield* limited(`/api/v1/events?device=${other}`)), [])
      assert.deepStrictEqual(deviceIds(yield* limited("/api/v1/gaps")), [mine])
      assert.deepStrictEqual(deviceIds(yield* limited("/api/v1/gaps?status=open")), [mine])
      assert.deepStrictEqual(deviceIds(yield* limited(`/api/v1/gaps?device=${other}`)), [])
      assert.lengthOf(deviceIds(yield* unlimited("/api/v1/gaps")), 2)
      assert.lengthOf((yield* limited("/api/v1/devices?limit=1")).body.items, 1)
      assert.isNull((yield* limited("/api/v1/devices?limit=1")).body.next)

      const messages = (yield* unlimited("/api/v1/messages")).body.items
      for (const { deviceId, id } of messages) {
        const { body, status } = yield* limited(`/api/v1/messages/${id}`)
        if (deviceId === mine) assert.strictEqual(status, 200)
        else {
          const unknown = `msg_${"0".repeat(26)}`
          const { body: missing } = yield* limited(`/api/v1/messages/${unknown}`)
          assert.deepStrictEqual([status, body], [404, JSON.parse(JSON.stringify(missing).replaceAll(unknown, id))])
        }
      }
    }))

  it.live("gets the answer of an unknown device from every operation on another one, and changes nothing", () =>
    Effect.gen(function*() {
      const { limited, mine, other, unlimited } = yield* setUp
      const before = (yield* unlimited(`/api/v1/devices/${other}`)).body
      for (const { endpoint, name, reach } of operations) {
        if (reach !== "device") continue
        const call = (id: string) =>
          limited(`/api/v1${endpoint.path.replace(":id", id).replace(":chat", "62811@s.whatsapp.net")}`, {
            method: endpoint.method,
            ...bodies[name] ?? (endpoint.method === "PATCH" ? { json: { name: "changed" } } : {})
          })
        assert.notStrictEqual((yield* call(mine)).status, 404, name)
        const refused = yield* call(other)
        assert.deepStrictEqual([refused.status, refused.body._tag], [404, "DeviceNotFound"], name)
      }
      assert.deepStrictEqual((yield* unlimited(`/api/v1/devices/${other}`)).body, before)
    }))

  it.live("may not change anything that concerns the whole fleet", () =>
    Effect.gen(function*() {
      const { limited, unlimited } = yield* setUp
      const add = { method: "POST", json: { name: "new" } }
      const refused = yield* limited("/api/v1/devices", add)
      assert.deepStrictEqual([refused.status, refused.body._tag], [403, "Forbidden"])
      assert.include(refused.body.message, "limited")
      assert.strictEqual((yield* unlimited("/api/v1/devices", add)).status, 201)
      // Figures of all devices.
      assert.strictEqual((yield* limited("/metrics")).status, 403)
    }))

  it.live("receives no information on the size, the traffic and the gateways of the fleet", () =>
    Effect.gen(function*() {
      const { limited, mine, running, script, unlimited } = yield* setUp
      yield* Context.get(running, Readiness).contribute("fleet", Effect.succeed("4711 devices online"))
      script.incidents = [{
        gateway: script.gateway.name,
        since: "2026-01-01T00:00:00.000Z",
        reason: "connection refused",
        nextProbeAt: "2026-01-01T00:00:10.000Z",
        waiting: 4711
      }]
      const told = yield* Effect.forEach(
        ["explain", "connection"],
        (what) => Effect.all([limited, unlimited].map((call) => call(`/api/v1/devices/${mine}/${what}`)))
      )
      for (const [restricted, full] of told) {
        assert.strictEqual(restricted!.status, 200)
        assert.include(JSON.stringify(restricted!.body), "connection refused")
        assert.notInclude(JSON.stringify(restricted!.body), "4711")
        assert.include(JSON.stringify(full!.body), "4711")
      }

      const server = (yield* limited("/api/v1/server")).body
      assert.deepInclude(server, {
        node: "test-node",
        gateways: [],
        histories: [],
        checks: [{ name: "fleet", ready: true, detail: "" }],
        head: null
      })
      const all = (yield* unlimited("/api/v1/server")).body
      assert.isNotEmpty(all.gateways)
      assert.deepInclude(all, { checks: [{ name: "fleet", ready: true, detail: "4711 devices online" }], head: "8" })
    }))

  it.live("reads streams in which another device does not occur", () =>
    Effect.gen(function*() {
      const { log, mine, other, url } = yield* setUp
      const sse = yield* openSse(`${url}/api/v1/events?after=0`, { authorization: "Bearer one-device" })
      const client = Context.get(
        yield* Layer.build(ColumbaClient.layer({ url, apiKey: "one-device" })),
        ColumbaClient
      )
      yield* log.append([messageDraft(other, 7), messageDraft(mine, 8)])
      for (let count = 0; count < 4; count++) assert.strictEqual((yield* sse.next).deviceId, mine)
      const followed = yield* client.events.follow({ after: beginning }).pipe(
        Stream.filter((item) => item._tag === "Event"),
        Stream.take(4),
        Stream.runCollect
      )
      assert.deepStrictEqual([...new Set(followed.map(({ event }) => event.deviceId))], [mine])
      const watched = yield* client.watchDevices.pipe(
        Stream.takeUntil((item) => item._tag === "Synced"),
        Stream.runCollect
      )
      assert.deepStrictEqual(watched.flatMap((item) => item._tag === "Device" ? [item.device.id] : []), [mine])
      const refused = yield* Effect.flip(client.devices.get({ id: other }))
      assert.strictEqual(refused._tag, "DeviceNotFound")
      assert.deepStrictEqual(
        (yield* client.events.page()).items.map(({ deviceId }) => deviceId as DeviceId).filter(
          (id) => id !== mine
        ),
        []
      )
    }))
})
