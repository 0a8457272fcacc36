/** A device's life over the API, from its registration to its end, with the changes of its account on the way. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as SimulatedGateway from "../../src/simulator/SimulatedGateway.ts"
import * as RealGateway from "../support/realGateway.ts"
import { freePort } from "../support/servers/ServerHome.ts"
import { ask } from "../support/surface.ts"
import type { Json } from "../support/surface.ts"
import { untilSo } from "../support/until.ts"

const setup = Effect.fnUntraced(function*(autoPair = true) {
  const simulator = yield* Effect.orDie(SimulatedGateway.start({ dialect: "bridge", autoPair }))
  const server = yield* RealGateway.start({ dialect: "bridge", url: simulator.url, user: null, secrets: {} }, {
    port: yield* freePort
  })
  const id = yield* server.register("tenant-7")
  yield* server.become(id, autoPair ? "Online" : "AwaitingLogin")
  const device = simulator.core.devices.get("tenant-7")!
  const at = `${server.url}/api/v1/devices/${id}`
  const get = (path = ""): Effect.Effect<Json> => Effect.map(ask(`${at}${path}`), ({ body }) => body)
  const post = (path: string) => ask(`${at}${path}`, { method: "POST" })
  const rules = Effect.map(
    server.logged,
    (all) => all.flatMap(({ data, kind }) => kind === "device.state" ? [data.rule as string] : [])
  )
  return { ...simulator, server, id, device, at, get, post, rules }
})

describe("a device", () => {
  it.live("is registered, found, and not found under another id", () =>
    Effect.gen(function*() {
      const { device, get, id, server } = yield* setup()
      const found = yield* get()
      assert.deepInclude(found, { id, name: "tenant-7", upstreamId: "tenant-7", active: true, jid: device.jid })
      const unknown = yield* ask(`${server.url}/api/v1/devices/dev_${"0".repeat(26)}`)
      assert.deepStrictEqual([unknown.status, unknown.body._tag], [404, "DeviceNotFound"])
    }))

  it.live("gets a QR code to log in with", () =>
    Effect.gen(function*() {
      const { at, core, device, get, server, id } = yield* setup(false)
      const { body } = yield* ask(`${at}/login`, { method: "POST", json: {} })
      assert.strictEqual(body._tag, "Qr")
      assert.match(body.image, /^data:image\/png;base64,/)
      core.pairings.scan(device, body.text, false)
      yield* server.become(id, "Online")
      assert.deepInclude(yield* get(), { jid: device.jid, phone: `+${device.jid!.split("@")[0]}` })
    }))

  it.live("is synchronised with its gateway: connected, then not, then logged out", () =>
    Effect.gen(function*() {
      const { core, device, get, server, id } = yield* setup()
      const connected = yield* get("/status")
      assert.deepStrictEqual(connected.upstream, { isConnected: true, isLoggedIn: true, jid: device.jid })
      assert.deepInclude(connected.device, { jid: device.jid, phone: `+${device.jid!.split("@")[0]}` })

      // Nothing reports the change; the status question finds it.
      device.connected = false
      const lost = yield* get("/status")
      assert.deepStrictEqual(lost.upstream, { isConnected: false, isLoggedIn: true, jid: device.jid })
      assert.deepInclude(lost.device.state, { _tag: "Connecting", sessionOpen: true })
      assert.strictEqual((yield* get("/explain")).rule, "upstream-offline")

      device.connected = true
      assert.strictEqual((yield* get("/status")).device.state._tag, "Online")
      device.logOut()
      const out = yield* get("/status")
      assert.deepInclude(out.device, { jid: null, phone: null })
      assert.deepInclude(out.device.state, { _tag: "LoggedOut", reason: "the gateway holds no login for this slot" })
      core.pair(device)
      yield* server.become(id, "Online")
    }))

  it.live("is recorded as waiting for its gateway, with the reason, if a status question finds the gateway down", () =>
    Effect.gen(function*() {
      const { core, get, post, server, id } = yield* setup()
      // The socket stays open, and every question fails.
      core.applyFault({ kind: "half-open" })
      core.applyFault({ kind: "http", status: 503 })
      const failed = yield* ask(`${server.url}/api/v1/devices/${id}/status`)
      assert.deepStrictEqual([failed.status, failed.body._tag], [502, "GatewayUnavailable"])
      const { state } = yield* get()
      assert.strictEqual(state._tag, "Backoff")
      assert.deepInclude(state.reason, { class: "upstreamDown", code: "no-status" })
      assert.include(state.reason.detail, "503")
      const incomplete = yield* post("/login/complete")
      assert.strictEqual(incomplete.status, 502)
      core.clearFaults()
      yield* server.become(id, "Online")
    }))

  it.live("stays online if only one question to its gateway failed", () =>
    Effect.gen(function*() {
      const { core, get, server, id } = yield* setup()
      // The fault may hit a question that the actor asks by itself.
      const asked = Effect.suspend(() => {
        core.applyFault({ kind: "http", status: 500, times: 1 })
        return ask(`${server.url}/api/v1/devices/${id}/status`)
      })
      yield* untilSo("one question failed", asked, ({ status }) => status === 502)
      assert.strictEqual((yield* get()).state._tag, "Online")
    }))

  it.live("is logged out, deactivated and reactivated", () =>
    Effect.gen(function*() {
      const { at, core, device, get, id, post, server } = yield* setup()
      const out = yield* post("/disconnect")
      assert.deepInclude(out.body, { jid: null, phone: null })
      assert.deepInclude(out.body.state, { _tag: "LoggedOut" })
      assert.strictEqual((yield* post("/disconnect")).status, 200, "twice is harmless")
      assert.isFalse((yield* ask(at, { method: "DELETE" })).body.active)
      yield* server.become(id, "Inactive")
      const refused = yield* ask(`${at}/login`, { method: "POST", json: {} })
      assert.deepInclude(refused.body, { _tag: "DeviceStateConflict", state: "Inactive" })
      assert.isTrue((yield* post("/reactivate")).body.active)
      // At once: the fleet need not have noticed yet.
      const { body } = yield* ask(`${at}/login`, { method: "POST", json: {} })
      core.pairings.scan(device, body.text, false)
      yield* server.become(id, "Online")
      assert.strictEqual((yield* get()).jid, device.jid)
    }))

  it.live("shows its connection", () =>
    Effect.gen(function*() {
      const { get, id } = yield* setup()
      const connection = yield* get("/connection")
      assert.deepInclude(connection, { deviceId: id, active: true, node: "test-node" })
      assert.deepInclude(connection.hosted, { restarts: 0, paused: false })
    }))
})

describe("the account of a device", () => {
  it.live("ends in LoggedOut, with its reason, after a logout on the phone", () =>
    Effect.gen(function*() {
      const { core, device, get, id, server } = yield* setup()
      core.logOut(device)
      yield* server.become(id, "LoggedOut")
      assert.deepInclude(yield* get(), { jid: null, phone: null })
      assert.include((yield* get("/explain")).howToFix, "devices login")
    }))

  it.live("a ban ends in LoggedOut, with its reason", () =>
    Effect.gen(function*() {
      const { core, device, get, id, server } = yield* setup()
      core.ban(device)
      yield* server.become(id, "LoggedOut")
      assert.deepInclude((yield* get()).state, { reason: "the account was banned" })
    }))

  it.live("takes no session back from another client, and waits a minute, as a conflict", () =>
    Effect.gen(function*() {
      const { core, device, get, id, rules, server } = yield* setup()
      core.replace(device)
      yield* server.become(id, "Backoff")
      const { state } = yield* get()
      assert.deepInclude(state.reason, { class: "conflict", code: "session-replaced", detail: "stream replaced" })
      assert.isAbove(Date.parse(state.retryAt) - Date.now(), 50_000)
      assert.strictEqual((yield* rules).at(-1), "conflict-failure")
      assert.isFalse(device.connected)
      assert.include((yield* get("/explain")).howToFix, "other program")
      yield* untilSo("its session is closed", Effect.sync(() => device.sockets.size), (size) => size === 0)
    }))
})
