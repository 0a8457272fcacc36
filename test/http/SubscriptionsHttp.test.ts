import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { Webhook } from "standardwebhooks"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { formatCursorName, SubscriptionRepository } from "../../src/services/SubscriptionRepository.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import * as Subscriber from "../support/subscriber.ts"
import { ask, messageDraft, startServer } from "../support/surface.ts"
import type { Json } from "../support/surface.ts"

const [mine, other] = ["1", "2"].map((digit) => `dev_${digit.repeat(26)}` as DeviceId) as [DeviceId, DeviceId]
const all = ["read", "send", "manage"] as const

const setup = Effect.fnUntraced(function*(options: Parameters<typeof startServer>[0] = {}) {
  const { services, url } = yield* startServer({
    keys: [["all", all, "all-devices"], ["limited", all, "one-device", [mine]]],
    ...options
  })
  const as = (key: string) => (method: string, path = "", json?: object) =>
    ask(`${url}/api/v1/subscriptions${path}`, {
      method,
      headers: { authorization: `Bearer ${key}` },
      ...(json === undefined ? {} : { json })
    })
  return { url, services, call: as("all-devices"), limited: as("one-device") }
})

const hook = "http://127.0.0.1:9/hook"

describe("subscriptions over HTTP", () => {
  it.live("are added, listed, changed and removed; a secret is shown once and headers never", () =>
    Effect.gen(function*() {
      const { call } = yield* setup()
      const made = yield* call("POST", "", {
        url: hook,
        name: "Orders",
        kinds: ["message.received"],
        headers: { "X-Api-Key": "header-canary" },
        rateLimit: 10
      })
      assert.strictEqual(made.status, 201)
      assert.match(made.body.secret, /^whsec_[A-Za-z0-9+/]{43}=$/)
      const { secret, ...shown } = made.body
      assert.deepInclude(shown, { url: hook, name: "Orders", headers: ["X-Api-Key"], state: "active", behind: 0 })
      // The log has an event more by then: that this one was created.
      const seen = { ...shown, behind: 1 }
      assert.deepStrictEqual((yield* call("GET")).body, { items: [seen], next: null })
      const path = `/${shown.id}`
      assert.deepStrictEqual((yield* call("GET", path)).body, seen)
      const paused = yield* call("PATCH", path, { paused: true, kinds: null, rateLimit: null, name: null })
      assert.deepInclude(paused.body, { state: "paused", kinds: null, rateLimit: null, name: null, url: hook })
      const cleared = yield* call("PATCH", path, { headers: null, paused: false })
      assert.deepInclude(cleared.body, { state: "active", headers: [] })
      const rotated = yield* call("POST", `${path}/rotate`, { keepSeconds: 60 })
      assert.notStrictEqual(rotated.body.secret, secret)
      assert.isNotNull(rotated.body.previousSecretUntil)
      for (const { body } of [paused, cleared, yield* call("GET", path), yield* call("GET", `${path}/deliveries`)]) {
        for (const hidden of [secret, rotated.body.secret, "header-canary", "v1."]) {
          assert.notInclude(JSON.stringify(body), hidden)
        }
      }
      assert.strictEqual((yield* call("DELETE", path)).status, 204)
      for (
        const [method, rest, json] of [
          ["GET", ""],
          ["PATCH", "", {}],
          ["DELETE", ""],
          ["POST", "/enable"],
          ["POST", "/replay", { after: "0" }],
          ["POST", "/rotate", {}],
          ["POST", "/test"],
          ["GET", "/deliveries"]
        ] as const
      ) {
        const { body, status } = yield* call(method, `${path}${rest}`, json)
        assert.deepStrictEqual([status, body._tag], [404, "SubscriptionNotFound"], rest)
      }
    }))

  it.live("refuse senseless URLs, headers, secrets, kinds and rates, each with its reason", () =>
    Effect.gen(function*() {
      const { call } = yield* setup()
      const refused: ReadonlyArray<readonly [json: object, tag: string]> = [
        [{ url: "http://2130706433/" }, "SubscriptionUrlRefused"],
        [{ url: "http://user:url-canary@127.0.0.1/" }, "SubscriptionUrlRefused"],
        [{ url: "file:///etc/passwd" }, "SubscriptionUrlRefused"],
        [{ url: hook, headers: { "Webhook-Signature": "v1,x" } }, "HeaderRefused"],
        [{ url: hook, headers: { Host: "other" } }, "HeaderRefused"],
        [{ url: hook, headers: { "content-length": "1" } }, "HeaderRefused"],
        [{ url: hook, headers: { "x y": "1" } }, "HeaderRefused"],
        [{ url: hook, headers: { x: "header-canary\r\nhost: other" } }, "HeaderRefused"],
        [{ url: hook, secret: "whsec_secret-canary" }, "SecretInvalid"],
        [{ url: hook, kinds: ["message.receved"] }, "RequestInvalid"],
        [{ url: hook, kinds: [] }, "RequestInvalid"],
        [{ url: hook, devices: ["dev_x"] }, "RequestInvalid"],
        [{ url: hook, rateLimit: 0 }, "RequestInvalid"],
        [{ url: hook, rate: 5 }, "RequestInvalid"]
      ]
      for (const [json, tag] of refused) {
        const { body } = yield* call("POST", "", json)
        assert.strictEqual(body._tag, tag, JSON.stringify(json))
        assert.notInclude(JSON.stringify(body), "canary")
      }
      assert.deepStrictEqual((yield* call("GET")).body.items, [])
    }))

  it.live("refuse private addresses unless the server allows them", () =>
    Effect.gen(function*() {
      const { call } = yield* setup({ allowPrivate: false })
      for (const url of [hook, "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "https://10.0.0.1/"]) {
        const { body, status } = yield* call("POST", "", { url })
        assert.deepStrictEqual([status, body._tag], [422, "SubscriptionUrlRefused"], url)
      }
    }))

  it.live("keep headers for the server that they were given for", () =>
    Effect.gen(function*() {
      const { call } = yield* setup()
      const { body: { id } } = yield* call("POST", "", { url: hook, headers: { authorization: "Bearer a" } })
      const moved = yield* call("PATCH", `/${id}`, { url: "http://127.0.0.2:9/hook" })
      assert.deepStrictEqual([moved.status, moved.body._tag], [422, "HeaderRefused"])
      assert.strictEqual((yield* call("PATCH", `/${id}`, { url: "http://127.0.0.1:9/other" })).status, 200)
      assert.strictEqual((yield* call("PATCH", `/${id}`, { url: "http://127.0.0.2:9/", headers: null })).status, 200)
    }))

  it.live("are refused without a key to seal their secrets with", () =>
    Effect.gen(function*() {
      const { call } = yield* setup({ secretKeys: [] })
      const { body, status } = yield* call("POST", "", { url: hook })
      assert.deepStrictEqual([status, body._tag], [422, "SecretKeyMissing"])
    }))

  it.live("are enabled and replayed from a position of this log, and from no other", () =>
    Effect.gen(function*() {
      const { call, services } = yield* setup()
      const log = Context.get(services, EventLog)
      const repository = Context.get(services, SubscriptionRepository)
      const { body: { id } } = yield* call("POST", "", { url: hook })
      yield* log.append([messageDraft(mine, 1), messageDraft(mine, 2)])
      const claim = (yield* log.resumeCursor(formatCursorName(id)))!
      // In addition to these, the event that the subscription was created.
      yield* log.moveCursor(claim, 3)
      yield* repository.disable(id, claim.epoch, "failing")
      assert.deepInclude((yield* call("GET", `/${id}`)).body, { state: "disabled", behind: 0 })
      assert.deepInclude((yield* call("POST", `/${id}/enable`)).body, { state: "active", disabled: null })
      assert.deepInclude((yield* call("POST", `/${id}/replay`, { after: "0" })).body, { position: "0", behind: 4 })
      assert.strictEqual((yield* call("POST", `/${id}/replay`, { after: "9" })).body._tag, "LogReset")
      assert.strictEqual((yield* call("POST", `/${id}/replay`, { after: "1-00000000" })).body._tag, "LogReset")
      assert.strictEqual((yield* call("POST", `/${id}/replay`, { after: "x" })).body._tag, "PositionInvalid")
    }))

  it.live("can be tried by a test event, which is signed like any other", () =>
    Effect.gen(function*() {
      const { call, url } = yield* setup()
      const subscriber = yield* Subscriber.start()
      const client = Context.get(
        yield* Layer.build(ColumbaClient.layer({ url, apiKey: "all-devices" })),
        ColumbaClient
      )
      const { id, secret } = yield* client.subscriptions.create({
        url: Redacted.make(subscriber.url),
        kinds: ["message.ack"],
        headers: { "x-tenant": Redacted.make("7") }
      })
      assert.deepInclude(yield* client.subscriptions.test({ id }), { outcome: "delivered", status: 204, detail: null })
      const [received] = subscriber.received
      const event = new Webhook(Redacted.value(secret)).verify(received!.text, received!.headers as never) as Json
      assert.deepInclude(event, { kind: "subscription.test", seq: "0", id: received!.id, data: { subscriptionId: id } })
      assert.strictEqual(received!.headers["x-tenant"], "7")
      subscriber.answer = Subscriber.status(500)
      assert.deepInclude((yield* call("POST", `/${id}/test`)).body, { outcome: "failed", status: 500 })
      const { body: { id: nobody } } = yield* call("POST", "", { url: hook })
      assert.deepInclude((yield* call("POST", `/${nobody}/test`)).body, { outcome: "connection", status: null })
    }))
})

describe("a key that is limited to some devices", () => {
  it.live("creates, sees and changes only subscriptions that are limited to devices of its own", () =>
    Effect.gen(function*() {
      const { call, limited } = yield* setup()
      const { body: everything } = yield* call("POST", "", { url: hook })
      const { body: both } = yield* call("POST", "", { url: hook, devices: [mine, other] })
      const { body: shared } = yield* call("POST", "", { url: hook, devices: [mine] })
      const own = yield* limited("POST", "", { url: hook })
      assert.deepStrictEqual([own.status, own.body.devices], [201, [mine]])
      const ids = (yield* limited("GET")).body.items.map(({ id }: Json) => id)
      assert.deepStrictEqual(ids, [shared.id, own.body.id])
      for (const { id } of [everything, both]) {
        for (
          const [method, rest, json] of [
            ["GET", ""],
            ["PATCH", "", { paused: true }],
            ["DELETE", ""],
            ["POST", "/enable"],
            ["POST", "/replay", { after: "0" }],
            ["POST", "/rotate", {}],
            ["POST", "/test"],
            ["GET", "/deliveries"]
          ] as const
        ) {
          const { body, status } = yield* limited(method, `/${id}${rest}`, json)
          assert.deepStrictEqual([status, body._tag], [404, "SubscriptionNotFound"], `${method} ${rest}`)
        }
      }
      const widened = yield* limited("PATCH", `/${own.body.id}`, { devices: [mine, other] })
      assert.deepStrictEqual([widened.status, widened.body._tag], [404, "DeviceNotFound"])
      const foreign = yield* limited("POST", "", { url: hook, devices: [other] })
      assert.deepStrictEqual([foreign.status, foreign.body._tag], [404, "DeviceNotFound"])
      // No filter means its own devices, not all.
      assert.deepStrictEqual((yield* limited("PATCH", `/${own.body.id}`, { devices: null })).body.devices, [mine])
      assert.strictEqual((yield* call("GET")).body.items.length, 4)
    }))
})
