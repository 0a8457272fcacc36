/** How a WAHA session gets the address for its posts, without overwriting the settings of others. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { createHmac } from "node:crypto"
import { wantedEvents } from "../../../../src/layers/gateways/waha/WahaWebhook.ts"
import * as AnsweringServer from "../../../support/answeringServer.ts"
import { makeTarget } from "../../../support/gateway.ts"
import { makeGateway, setup, target } from "./bench.ts"

const url = "https://columba.example/webhooks/default?device=dev_1"
const secret = Redacted.make("a secret of this device")

describe("the webhook of a WAHA session", () => {
  it.live("is added to the settings, whose other values stay unchanged", () =>
    Effect.gen(function*() {
      const { device, gateway, waha } = yield* setup()
      const other = { url: "https://elsewhere.example/hook", events: ["message"] }
      const before = { metadata: { tenant: "7" }, proxy: { server: "p" }, webhooks: [other] }
      waha.session(device).config = before
      assert.strictEqual(yield* gateway.webhook.ensure(target, { url, secret }), "set")
      const { webhooks, ...rest } = waha.session(device).config
      assert.deepStrictEqual(rest, { metadata: before.metadata, proxy: before.proxy })
      assert.deepStrictEqual(webhooks, [other, {
        url,
        events: wantedEvents,
        hmac: { key: "a secret of this device" },
        retries: { policy: "exponential", delaySeconds: 2, attempts: 15 }
      }])
      // Another query is another address of Columba, and replaces it.
      assert.strictEqual(yield* gateway.webhook.ensure(target, { url: `${url}2`, secret }), "renewed")
      assert.deepStrictEqual(
        (waha.session(device).config.webhooks as ReadonlyArray<{ readonly url: string }>).map((one) => one.url),
        [
          other.url,
          `${url}2`
        ]
      )
    }))

  it.live("that is set is not written again, since a write restarts the session", () =>
    Effect.gen(function*() {
      const { gateway, waha } = yield* setup()
      yield* gateway.webhook.ensure(target, { url, secret })
      for (let look = 0; look < 3; look++) {
        assert.strictEqual(yield* gateway.webhook.ensure(target, { url, secret }), "unchanged")
      }
      assert.strictEqual(waha.requests.filter((line) => line.startsWith("PUT")).length, 1)
    }))

  it.live("that the server does not keep is written once and then reported as unsupported", () =>
    Effect.gen(function*() {
      const server = yield* AnsweringServer.start({
        status: 200,
        body: JSON.stringify({ name: "sim-1", status: "WORKING", config: {} })
      })
      const gateway = yield* makeGateway(server.url)
      const ensure = gateway.webhook.ensure(target, { url, secret })
      assert.deepStrictEqual([yield* ensure, yield* ensure, yield* ensure], ["set", "unsupported", "unsupported"])
    }))

  it.live("whose key the server hides counts as set", () =>
    Effect.gen(function*() {
      const webhooks = [{ url, events: wantedEvents, hmac: { key: null } }]
      const server = yield* AnsweringServer.start({
        status: 200,
        body: JSON.stringify({ name: "sim-1", status: "WORKING", config: { webhooks } })
      })
      const gateway = yield* makeGateway(server.url)
      assert.strictEqual(yield* gateway.webhook.ensure(target, { url, secret }), "unchanged")
    }))

  it.live("of an unknown session cannot be set", () =>
    Effect.gen(function*() {
      const { gateway } = yield* setup()
      const failed = yield* Effect.flip(gateway.webhook.ensure(makeTarget("nobody"), { url, secret }))
      assert.strictEqual(failed._tag, "GatewayUnavailable")
      assert.include(gateway.webhook.instructions(url), "WHATSAPP_HOOK_HMAC_KEY")
    }))

  it.live("is not accepted with another algorithm, an empty secret, or half a signature", () =>
    Effect.gen(function*() {
      const { gateway } = yield* setup()
      const body = Buffer.from(JSON.stringify({ event: "x", session: "sim-1", payload: {} }))
      const sign = (key: string, algorithm = "sha512") => createHmac(algorithm, key).update(body).digest("hex")
      const context = { find: () => target, now: 0, device: null }
      const answer = (headers: Record<string, string>, key = "k") =>
        gateway.ingest({ headers, body, secrets: [Redacted.make(key)] }, context)._tag
      assert.strictEqual(answer({ "x-webhook-hmac": sign("k") }), "Accepted")
      assert.strictEqual(answer({ "x-webhook-hmac": sign("k"), "x-webhook-hmac-algorithm": "SHA512" }), "Accepted")
      assert.strictEqual(answer({ "x-webhook-hmac": sign("k"), "x-webhook-hmac-algorithm": "sha256" }), "Refused")
      assert.strictEqual(answer({ "x-webhook-hmac": sign("k", "sha256") }), "Refused")
      assert.strictEqual(answer({ "x-webhook-hmac": sign("") }, ""), "Refused")
      assert.strictEqual(answer({ "x-webhook-hmac": sign("k").slice(0, 64) }), "Refused")
      assert.strictEqual(answer({ "x-webhook-hmac": "" }), "Refused")
    }))
})
