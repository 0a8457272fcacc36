import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { GatewayName } from "../../../../src/domain/Ids.ts"
import { MediaKind } from "../../../../src/domain/OutgoingFile.ts"
import * as BridgeGateway from "../../../../src/layers/gateways/bridge/BridgeGateway.ts"
import { listParts } from "../../../../src/services/WhatsAppGateway.ts"
import {
  type Adapter,
  enveloped,
  greeted,
  type Having,
  json,
  listIds,
  say,
  type SessionAdapter,
  setup,
  target
} from "../../../conformance/gateway/harness.ts"
import { gatewayConformance } from "../../../conformance/gateway/index.ts"
import { everything, isMessage, makeClock, pagesConformance, readAll } from "../../../conformance/gateway/history.ts"
import { sendingConformance } from "../../../conformance/gateway/sending.ts"
import { actionsConformance } from "../../../conformance/gateway/actions.ts"
import { sendingFilesConformance } from "../../../conformance/gateway/sendingFiles.ts"
import { loginConformance } from "../../../conformance/gateway/login.ts"
import { keyOf } from "../../../conformance/gateway/webhooks.ts"
import * as AnsweringServer from "../../../support/answeringServer.ts"
import { record } from "../../../support/gateway.ts"

const adapter: Omit<SessionAdapter, "make"> & Adapter<Having<"open" | "history" | "send" | "login">> = {
  name: "bridge",
  make: ({ password, ...options }) =>
    BridgeGateway.make({
      name: "default" as GatewayName,
      ...options,
      ...(password === undefined ? undefined : { password: Redacted.make(password) })
    }),
  simulator: { dialect: "bridge" },
  ...enveloped({ dialect: "bridge" }),
  greets: true,
  refusesUnknownSlot: true,
  refusals: [[{ status: 401, json: true }, "transport session-not-ready"]],
  closes: [[{ code: 1008 }, "auth policy"]],
  handshakes: [
    [
      "the gateway's unknown slot",
      json(404, { code: "DEVICE_NOT_FOUND", message: "device sim-1 not found" }),
      "transport unknown-slot"
    ],
    [
      "the gateway's lost session",
      json(401, { code: "AUTHENTICATION_ERROR", message: "you are not logged in" }),
      "transport session-not-ready"
    ]
  ],
  encode: (slot, event, payload) => `{"event":"${event}","device_id":"${slot}","payload":${payload}}`
}

gatewayConformance(adapter)
sendingConformance(adapter, {
  offline: "SendRefused not-connected",
  recipients: [
    ["6280012345678@s.whatsapp.net", "SendRefused not-on-whatsapp"],
    ["6280112345678@s.whatsapp.net", "SendRefused reach-out-limit"]
  ]
})
actionsConformance(adapter, { echoes: false })
sendingFilesConformance(adapter, MediaKind.literals)
loginConformance(adapter, { renews: true })
pagesConformance(adapter)

describe("a bridge gateway", () => {
  it.live("has sessions, and no part that the dialect lacks", () =>
    Effect.map(adapter.make({ url: "http://gateway/base/" }), (gateway) => {
      assert.deepStrictEqual(listParts(gateway), ["open", "history", "send", "login"])
      assert.deepStrictEqual([gateway.dialect, gateway.description], ["bridge", "bridge at http://gateway/base"])
    }))

  it.live("has in its history every message that its session delivered, under the same identity", () =>
    Effect.gen(function*() {
      const { core, gateway } = yield* setup(adapter, { simulator: { dialect: "bridge", now: makeClock() } })
      const listener = record()
      yield* gateway.open(target, listener)
      yield* greeted(adapter, listener)
      yield* Effect.callback<void>((resume) => void core.emit({ count: 600 }, () => resume(Effect.void)))
      yield* listener.until(({ events }) => events.length > 600)
      const heard = listener.drafts()
      const revoked = new Set(heard.flatMap((draft) => draft.kind === "message.revoked" ? [draft.data.targetWaId] : []))
      const keys = new Set((yield* readAll(gateway, everything)).map(keyOf))
      const kept = heard.filter((draft) =>
        isMessage(draft) && !revoked.has((draft.data as { readonly waId: string }).waId)
      )
      assert.isAbove(kept.length, 200)
      for (const draft of kept) assert.isTrue(keys.has(keyOf(draft)), JSON.stringify(draft.data))
    }))

  it.live("reports that the server at its address keeps no history", () =>
    Effect.gen(function*() {
      const server = yield* AnsweringServer.start({ status: 404, body: "Cannot GET /chats" })
      const gateway = yield* adapter.make({ url: server.url })
      assert.strictEqual((yield* Effect.flip(gateway.history.read(target, everything, null)))._tag, "HistoryAbsent")
    }))

  it.live("authenticates and names the device in header and query", () =>
    Effect.gen(function*() {
      const auth = { user: "columba", password: "päss:word" }
      const { device, gateway } = yield* setup(adapter, {
        simulator: { auth },
        gateway: { user: auth.user, password: auth.password }
      })
      const listener = record()
      yield* gateway.open(target, listener)
      assert.deepStrictEqual(device.handshake, { header: "sim-1", query: "sim-1", user: "columba" })
      yield* greeted(adapter, listener)
      assert.deepStrictEqual(listener.events, [{ _tag: "UpstreamConnected", jid: device.jid }])
      assert.notInclude(gateway.description, "word")
    }))

  it.live("lets a running session read frames that name the account, once a status has returned it", () =>
    Effect.gen(function*() {
      const { core, device, gateway } = yield* setup(adapter, { simulator: { autoPair: false } })
      const listener = record()
      yield* gateway.open(target, listener)
      yield* greeted(adapter, listener)
      device.pair()
      yield* gateway.status(target)
      core.emitter.sendRaw(
        device,
        JSON.stringify({ event: "message", device_id: device.jid!.replace("@", ":7@"), payload: say(1) })
      )
      yield* listener.until(() => listener.drafts().length > 0)
      assert.deepStrictEqual(listIds(listener), ["ID1"])
    }))
})
