/** Devices over a real port: requests, answers, and the form of every failure. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import type { Json } from "../support/surface.ts"
import { ask, makeScript, messageDraft, startServer, stateDraft } from "../support/surface.ts"

const quarantined = {
  _tag: "Quarantined",
  reason: { class: "transport", code: "socket-closed", detail: "closed" },
  evidence: ["three in a minute"],
  until: "2026-01-01T01:00:00.000Z"
} as const

describe("devices over HTTP", () => {
  it.live("creates a device with its slot, and finds, renames, deactivates and reactivates it", () =>
    Effect.gen(function*() {
      const script = makeScript()
      const { url } = yield* startServer({ script })
      const devices = `${url}/api/v1/devices`
      const created = yield* ask(devices, { method: "POST", json: { name: "Shop" } })
      assert.strictEqual(created.status, 201)
      assert.match(created.body.id, /^dev_[0-9A-Z]{26}$/)
      assert.deepInclude(created.body, {
        name: "Shop",
        gateway: "default",
        upstreamId: created.body.id,
        active: true,
        state: { _tag: "Inactive" }
      })
      assert.deepStrictEqual(script.gateway.slots, [created.body.id])

      const one = `${devices}/${created.body.id}`
      assert.deepStrictEqual((yield* ask(one)).body, created.body)
      assert.strictEqual((yield* ask(one, { method: "PATCH", json: { name: "Store" } })).body.name, "Store")
      assert.strictEqual((yield* ask(one, { method: "DELETE" })).body.active, false)
      assert.strictEqual((yield* ask(one, { method: "DELETE" })).status, 200)
      assert.strictEqual((yield* ask(`${one}/reactivate`, { method: "POST" })).body.active, true)
      assert.strictEqual((yield* ask(`${one}/reconnect`, { method: "POST" })).status, 200)
    }))

  it.live("pages through all devices once, oldest first", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      const names = ["a", "b", "c", "d", "e"]
      for (const name of names) yield* ask(`${url}/api/v1/devices`, { method: "POST", json: { name } })
      const seen: Array<string> = []
      let cursor: string | null = ""
      while (cursor !== null) {
        const page: Json = yield* ask(`${url}/api/v1/devices?limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`)
        assert.isAtMost(page.body.items.length, 2)
        seen.push(...page.body.items.map((device: Json) => device.name))
        cursor = page.body.next
      }
      assert.deepStrictEqual(seen, names)
    }))

  it.live("gives every failure a status, a tag and a sentence", () =>
    Effect.gen(function*() {
      const script = makeScript()
      script.gateway.answer = null
      const { services, url } = yield* startServer({ script })
      const devices = `${url}/api/v1/devices`
      const { body: device } = yield* ask(devices, { method: "POST", json: { name: "a", upstreamId: "slot" } })
      const unknown = `${devices}/dev_00000000000000000000000000`
      const expect = Effect.fnUntraced(function*(url: string, init: Json, status: number, tag: string) {
        const answer = yield* ask(url, init)
        assert.strictEqual(answer.status, status, tag)
        assert.strictEqual(answer.body._tag, tag)
        assert.isAbove(answer.body.message.length, 10)
        return answer.body
      })
      yield* expect(unknown, {}, 404, "DeviceNotFound")
      yield* expect(unknown, { method: "DELETE" }, 404, "DeviceNotFound")
      const taken = yield* expect(
        devices,
        { method: "POST", json: { name: "b", upstreamId: "slot" } },
        409,
        "UpstreamIdTaken"
      )
      assert.deepStrictEqual([taken.deviceId, taken.message.includes(device.id)], [device.id, true])
      const gateway = yield* expect(
        devices,
        { method: "POST", json: { name: "b", gateway: "none" } },
        422,
        "GatewayUnknown"
      )
      assert.deepStrictEqual(gateway.known, ["default"])
      yield* expect(`${devices}?cursor=nonsense`, {}, 400, "CursorInvalid")
      yield* expect(`${devices}/${device.id}/release`, { method: "POST" }, 409, "DeviceStateConflict")
      yield* ask(`${devices}/${device.id}`, { method: "DELETE" })
      yield* expect(`${devices}/${device.id}/reconnect`, { method: "POST" }, 409, "DeviceStateConflict")
      script.gateway.up = false
      yield* expect(`${devices}/${device.id}/status`, {}, 502, "GatewayUnavailable")

      yield* ask(`${devices}/${device.id}/reactivate`, { method: "POST" })
      yield* Context.get(services, EventLog).append([stateDraft(device.id, "Backoff", quarantined)])
      yield* expect(`${devices}/${device.id}/reconnect`, { method: "POST" }, 409, "DeviceStateConflict")
      assert.strictEqual((yield* ask(`${devices}/${device.id}/release`, { method: "POST" })).status, 200)
    }))

  it.live("answers a status question from the gateway, and only the device's actor records the answer", () =>
    Effect.gen(function*() {
      const script = makeScript()
      const { services, url } = yield* startServer({ script })
      const { body: device } = yield* ask(`${url}/api/v1/devices`, { method: "POST", json: { name: "a" } })
      const jid = "628111222333@s.whatsapp.net"
      script.gateway.answer = { isConnected: true, isLoggedIn: true, jid }
      const elsewhere = yield* ask(`${url}/api/v1/devices/${device.id}/status`)
      assert.deepStrictEqual(elsewhere.body, { device, upstream: script.gateway.answer })
      script.reportStatus = (id, status) =>
        Effect.sync(() => {
          const online = { _tag: "Online", jid: status.jid, since: "2026-01-01T00:00:00.000Z" } as const
          return Context.get(services, EventLog).push(stateDraft(id, "Connecting", online, "status-usable", status.jid))
        })
      const here = yield* ask(`${url}/api/v1/devices/${device.id}/status`)
      assert.deepInclude(here.body.device, { jid, state: { _tag: "Online", jid, since: "2026-01-01T00:00:00.000Z" } })
      assert.deepStrictEqual((yield* ask(`${url}/api/v1/devices/${device.id}`)).body, here.body.device)
    }))

  it.live("shows the recorded state, the rule, the incident and the questions in connection and explanation", () =>
    Effect.gen(function*() {
      const script = makeScript()
      const { services, url } = yield* startServer({ script })
      const { body: device } = yield* ask(`${url}/api/v1/devices`, { method: "POST", json: { name: "a" } })
      yield* Context.get(services, EventLog).append([
        stateDraft(device.id as DeviceId, "Backoff", quarantined, "budget-spent")
      ])
      const explained = (yield* ask(`${url}/api/v1/devices/${device.id}/explain`)).body
      assert.deepInclude(explained, { state: "Quarantined", rule: "budget-spent", nextAt: quarantined.until, seq: "1" })
      assert.include(explained.evidence, "three in a minute")
      assert.include(explained.howToFix, "release")

      const connection = (yield* ask(`${url}/api/v1/devices/${device.id}/connection`)).body
      assert.deepInclude(connection, { node: "test-node", hosted: null, incident: null, sends: [] })
      assert.isTrue(connection.evidence.some((line: string) => line.includes("hosts no actor")))

      script.incidents = [{
        gateway: script.gateway.name,
        since: "2026-01-01T00:00:00.000Z",
        reason: "connection refused",
        nextProbeAt: "2026-01-01T00:00:10.000Z",
        waiting: 3
      }]
      const during = (yield* ask(`${url}/api/v1/devices/${device.id}/explain`)).body
      assert.include(during.why, "connection refused")
      assert.strictEqual(during.nextAt, "2026-01-01T00:00:10.000Z")
    }))

  it.live("removes an erased chat from messages and events, including those still waiting to be written", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer()
      const { body: device } = yield* ask(`${url}/api/v1/devices`, { method: "POST", json: { name: "a" } })
      const one = `${url}/api/v1/devices/${device.id}`
      const log = Context.get(services, EventLog)
      yield* log.append([messageDraft(device.id, 1), stateDraft(device.id, "Inactive", quarantined)])
      const [message] = (yield* ask(`${url}/api/v1/messages`)).body.items
      log.push(messageDraft(device.id, 2))
      const erased = yield* ask(`${one}/chats/6281:7@c.us`, { method: "DELETE" })
      assert.deepStrictEqual([erased.status, erased.body], [200, { erased: 2 }])

      assert.strictEqual((yield* ask(`${url}/api/v1/messages/${message.id}`)).status, 404)
      const events = (yield* ask(`${url}/api/v1/events`)).body.items
      assert.deepStrictEqual(
        events.map((event: Json) => [event.seq, event.kind]),
        [["1", "event.erased"], ["2", "device.state"], ["3", "event.erased"]]
      )
      assert.deepStrictEqual(events[0].data, { erased: true })

      assert.deepStrictEqual((yield* ask(`${one}/history`, { method: "DELETE" })).body, { erased: 0 })
      assert.strictEqual((yield* ask(`${one}/chats/no-chat`, { method: "DELETE" })).status, 400)
      const unknown = `${url}/api/v1/devices/dev_${"0".repeat(26)}/history`
      assert.strictEqual((yield* ask(unknown, { method: "DELETE" })).body._tag, "DeviceNotFound")
    }))

  it.live("erases nothing if no chat is named", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer()
      const { body: device } = yield* ask(`${url}/api/v1/devices`, { method: "POST", json: { name: "a" } })
      yield* Context.get(services, EventLog).append([messageDraft(device.id, 1)])
      for (const path of ["/chats/", "/chats", "/chats/%20", "/chats//"]) {
        const { status } = yield* ask(`${url}/api/v1/devices/${device.id}${path}`, { method: "DELETE" })
        assert.include([400, 404], status, path)
      }
      assert.lengthOf((yield* ask(`${url}/api/v1/messages`)).body.items, 1)
    }))

  it.live("refuses a login in a process that does not run the device, and names the process that does", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer()
      const { body: device } = yield* ask(`${url}/api/v1/devices`, { method: "POST", json: { name: "a" } })
      const at = `${url}/api/v1/devices/${device.id}/login`
      const nobody = yield* ask(at, { method: "POST", json: {} })
      assert.deepStrictEqual([nobody.status, nobody.body._tag, nobody.body.owner], [421, "DeviceElsewhere", null])
      yield* Context.get(services, DeviceRepository).claim("node-1 2026-01-01", [device.id])
      for (const [path, method] of [["", "GET"], ["/complete", "POST"], ["/passkey/confirm", "POST"]] as const) {
        const { body, status } = yield* ask(`${at}${path}`, { method })
        assert.deepStrictEqual([status, body.node, body.owner], [421, "test-node", "node-1 2026-01-01"], path)
      }
    }))
})
