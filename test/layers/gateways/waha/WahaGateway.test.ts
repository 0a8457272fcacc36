import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { GatewayName } from "../../../../src/domain/Ids.ts"
import * as WahaGateway from "../../../../src/layers/gateways/waha/WahaGateway.ts"
import { listParts } from "../../../../src/services/WhatsAppGateway.ts"
import type { WahaOptions } from "../../../../src/simulator/waha/WahaServer.ts"
import { type Adapter, html, json, type SessionAdapter } from "../../../conformance/gateway/harness.ts"
import { completeGatewayConformance } from "../../../conformance/gateway/index.ts"
import { sendingConformance } from "../../../conformance/gateway/sending.ts"
import { actionsConformance } from "../../../conformance/gateway/actions.ts"
import { sendingFilesConformance } from "../../../conformance/gateway/sendingFiles.ts"
import { historyConformance } from "../../../conformance/gateway/history.ts"
import { loginConformance, passkeyConformance } from "../../../conformance/gateway/login.ts"

/** The suite compares identities by their spelling, so the simulator uses one; hidden ids are tested elsewhere. */
const waha: WahaOptions = { waitMillis: 100, hiddenIds: false }

const adapter: SessionAdapter & Adapter<WahaGateway.WahaGateway> = {
  name: "waha",
  make: ({ password, ...options }) =>
    WahaGateway.make({
      name: "default" as GatewayName,
      ...options,
      ...(password === undefined ? undefined : { apiKey: Redacted.make(password) })
    }),
  simulator: { dialect: "waha", waha },
  locked: {
    simulator: { dialect: "waha", waha: { ...waha, apiKey: "the right key" } },
    right: { password: "the right key" }
  },
  signsOfLife: [
    () => json(200, { message: "pong" }),
    () => json(401, { message: "Unauthorized", statusCode: 401 }),
    (path) => path === "/ping" ? html(404) : json(200, [])
  ],
  greets: false,
  refusesUnknownSlot: false,
  refusals: [],
  closes: [
    [{ code: 1001 }, "upstreamDown restarting"],
    [{ code: 1008 }, "auth unauthorized"],
    [{ code: 4001 }, "transport gateway-too-old"]
  ],
  handshakes: [],
  encode: (slot, event, payload) => `{"event":"${event}.any","session":"${slot}","payload":${payload}}`
}

completeGatewayConformance(adapter)
loginConformance(adapter, { renews: false })
passkeyConformance(adapter)
actionsConformance(adapter, { echoes: true })
sendingFilesConformance(adapter, ["image", "document", "voice", "video"])

// The answers differ between engines.
for (const engine of ["GOWS", "NOWEB", "WEBJS"] as const) {
  sendingConformance({
    ...adapter,
    name: `waha with ${engine}`,
    simulator: { dialect: "waha", waha: { ...waha, engine } }
  }, { offline: "SendRefused not-connected", recipients: [] })
}

// Chat by chat, if the engine has no feed over all chats.
historyConformance({
  ...adapter,
  name: "waha with WEBJS",
  simulator: { dialect: "waha", waha: { ...waha, engine: "WEBJS" } }
})

describe("a waha gateway", () => {
  it.live("has its parts", () =>
    Effect.map(adapter.make({ url: "http://gateway/base/" }), (gateway) => {
      assert.deepStrictEqual(
        listParts(gateway),
        ["statuses", "open", "ingest", "webhook", "start", "history", "media", "send", "login"]
      )
      assert.deepStrictEqual([gateway.dialect, gateway.description], ["waha", "waha at http://gateway/base"])
      assert.strictEqual(gateway.capabilities.liveEvents, "session")
    }))
})
