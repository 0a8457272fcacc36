import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { GatewayName } from "../../../../src/domain/Ids.ts"
import * as GowaGateway from "../../../../src/layers/gateways/gowa/GowaGateway.ts"
import { listParts } from "../../../../src/services/WhatsAppGateway.ts"
import type { Adapter } from "../../../conformance/gateway/harness.ts"
import { webhookGatewayConformance } from "../../../conformance/gateway/index.ts"

const adapter: Adapter<GowaGateway.GowaGateway> = {
  name: "gowa",
  make: ({ password, ...options }) =>
    GowaGateway.make({
      name: "default" as GatewayName,
      ...options,
      ...(password === undefined ? undefined : { password: Redacted.make(password) })
    }),
  simulator: { dialect: "gowa", gowa: { pace: 0 } }
}

webhookGatewayConformance(adapter)

describe("a gowa gateway", () => {
  it.live("has its parts and promises no live events by its link", () =>
    Effect.map(adapter.make({ url: "http://gateway/base/" }), (gateway) => {
      assert.deepStrictEqual(
        listParts(gateway),
        ["statuses", "link", "ingest", "webhook", "start", "history"]
      )
      assert.deepStrictEqual([gateway.dialect, gateway.description], ["gowa", "gowa at http://gateway/base"])
      assert.strictEqual(gateway.capabilities.liveEvents, "webhook")
    }))
})
