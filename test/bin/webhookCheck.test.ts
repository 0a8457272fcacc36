/** The doctor's check of webhooks, with the settings to change. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { checkWebhooks } from "../../src/bin/webhookCheck.ts"
import type { WhatsAppGateway } from "../../src/services/WhatsAppGateway.ts"
import { ScriptedGateway } from "../support/scriptedGateway.ts"
import { startServer } from "../support/surface.ts"

const webhook: WhatsAppGateway["webhook"] = {
  events: [],
  ensure: () => Effect.succeed("unchanged"),
  instructions: (url) => `set HOOK=${url}`
}

const gatewayWith = (liveEvents: "webhook" | "session"): WhatsAppGateway =>
  Object.assign(new ScriptedGateway(), {
    webhook,
    capabilities: { ...new ScriptedGateway().capabilities, liveEvents }
  })

const check = (
  settings: { readonly publicUrl?: string; readonly keys?: number },
  secret: string | null = null,
  gateway: WhatsAppGateway = gatewayWith("webhook")
) =>
  checkWebhooks(gateway, {
    settings: {
      publicUrl: settings.publicUrl ?? null,
      secretKeys: Array.from({ length: settings.keys ?? 0 }, () => Redacted.make<Uint8Array>(new Uint8Array(32))),
      database: { _tag: "Postgres", url: Redacted.make("postgres://db/columba") }
    },
    webhookSecret: secret === null ? null : Redacted.make(secret)
  })

describe("the doctor", () => {
  it.effect("reports nothing on webhooks that do not exist", () =>
    Effect.gen(function*() {
      assert.isNull(yield* check({}, null, new ScriptedGateway()))
      assert.strictEqual((yield* check({}, null, gatewayWith("session")))?.state, "ok")
    }))

  it.effect("names the settings to change while no gateway has a webhook address", () =>
    Effect.gen(function*() {
      const found = yield* check({})
      assert.strictEqual(found?.state, "warning")
      for (const words of ["COLUMBA_PUBLIC_URL", "HOOK=", "/webhooks/default", "WHATSAPP_WEBHOOK_SECRET"]) {
        assert.include(found?.fix, words)
      }
      assert.strictEqual((yield* check({}, "of my own"))?.state, "ok")
    }))

  it.effect("warns of the publicly known secret, and of a missing key", () =>
    Effect.gen(function*() {
      assert.include((yield* check({}, "secret"))?.detail, "anyone can forge it")
      assert.include((yield* check({ publicUrl: "https://columba.example" }))?.fix, "COLUMBA_SECRET_KEY")
    }))

  it.live("checks whether the address leads to Columba", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ webhookSecret: "of the gateway" })
      assert.strictEqual((yield* check({ publicUrl: url, keys: 1 }))?.state, "ok")
      assert.include((yield* check({ publicUrl: `${url}/elsewhere`, keys: 1 }))?.detail, "status 404")
      const closed = yield* check({ publicUrl: "http://127.0.0.1:9", keys: 1 })
      assert.include(closed?.detail, "does not answer")
    }))
})
