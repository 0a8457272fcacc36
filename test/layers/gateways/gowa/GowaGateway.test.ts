import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { MessageId, UpstreamId } from "../../../../src/domain/Ids.ts"
import { MediaKind } from "../../../../src/domain/OutgoingFile.ts"
import { listParts } from "../../../../src/services/WhatsAppGateway.ts"
import { asGowa } from "../../../../src/simulator/gowa/GowaServer.ts"
import * as AnsweringServer from "../../../support/answeringServer.ts"
import { makeTarget } from "../../../support/gateway.ts"
import { setup, target } from "../../../conformance/gateway/harness.ts"
import { loginConformance, passkeyConformance } from "../../../conformance/gateway/login.ts"
import { mediaConformance } from "../../../conformance/gateway/media.ts"
import { sendingConformance } from "../../../conformance/gateway/sending.ts"
import { actionsConformance } from "../../../conformance/gateway/actions.ts"
import { sendingFilesConformance } from "../../../conformance/gateway/sendingFiles.ts"
import { webhookGatewayConformance } from "../../../conformance/gateway/index.ts"
import { adapter } from "./adapter.ts"

webhookGatewayConformance(adapter)
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
passkeyConformance(adapter)

// Files that GOWA has not downloaded by itself: it gets them from WhatsApp on request.
mediaConformance({
  ...adapter,
  name: "gowa without its own downloads",
  simulator: { dialect: "gowa", gowa: { pace: 0, autoDownload: false } }
})

const jid = (device: { readonly jid: string | null }) => device.jid

describe("a gowa gateway", () => {
  it.live("has its parts and promises no live events by its link", () =>
    Effect.map(adapter.make({ url: "http://gateway/base/" }), (gateway) => {
      assert.deepStrictEqual(
        listParts(gateway),
        ["statuses", "link", "ingest", "webhook", "start", "history", "media", "send", "login"]
      )
      assert.deepStrictEqual([gateway.dialect, gateway.description], ["gowa", "gowa at http://gateway/base"])
      assert.strictEqual(gateway.capabilities.liveEvents, "webhook")
    }))

  it.live("does not treat an account as connected because the list of slots says logged in", () =>
    Effect.gen(function*() {
      const { core, device, gateway } = yield* setup(adapter, { simulator: { devices: 2, autoPair: true } })
      core.disconnect(device)
      const unpaired = core.devices.get("sim-2")!
      core.logOut(unpaired)
      const listed = yield* gateway.statuses
      assert.deepStrictEqual(listed.get("sim-1" as UpstreamId), {
        status: { isConnected: true, isLoggedIn: true, jid: jid(device) },
        proven: false
      })
      assert.deepStrictEqual(listed.get("sim-2" as UpstreamId), {
        status: { isConnected: false, isLoggedIn: false, jid: null },
        proven: true
      })
      assert.isUndefined(listed.get("nobody" as UpstreamId))
      const status = yield* gateway.status(target)
      assert.deepStrictEqual(status, { isConnected: false, isLoggedIn: true, jid: jid(device) })
    }))

  it.live("has no slots if the list is null, and fails if it is no list", () =>
    Effect.gen(function*() {
      const { gateway } = yield* setup(adapter, { simulator: { devices: 1 } })
      assert.strictEqual((yield* gateway.statuses).size, 1)
      const empty = yield* AnsweringServer.start({
        status: 200,
        body: "{\"code\":\"SUCCESS\",\"message\":\"\",\"results\":null}"
      })
      assert.strictEqual((yield* (yield* adapter.make({ url: empty.url })).statuses).size, 0)
      empty.answer = { status: 200, body: "[]" }
      const other = yield* adapter.make({ url: empty.url })
      assert.strictEqual((yield* Effect.flip(other.statuses))._tag, "GatewayUnavailable")
    }))

  it.live("distinguishes a slot that is paired and offline after a restart from one that was never paired", () =>
    Effect.gen(function*() {
      const { device, gateway, simulator } = yield* setup(adapter, { simulator: { gowa: { pace: 1000 } } })
      yield* simulator.crash
      yield* simulator.revive
      assert.deepStrictEqual(
        yield* gateway.status(target),
        { isConnected: false, isLoggedIn: false, jid: jid(device) }
      )
    }))

  it.live("asks once for a status, and again in the general way if the answer lacks the account", () =>
    Effect.gen(function*() {
      const envelope = (results: object) => ({
        status: 200,
        body: JSON.stringify({ code: "SUCCESS", message: "", results })
      })
      const flags = { is_connected: true, is_logged_in: true }
      const account = "6281234567890@s.whatsapp.net"
      const server = yield* AnsweringServer.start(() => envelope({ ...flags, jid: account }))
      const gateway = yield* adapter.make({ url: server.url })
      const usable = { isConnected: true, isLoggedIn: true, jid: account }
      // The slot has been paired with another account since.
      assert.deepStrictEqual(yield* gateway.status({ ...target, jid: "62800@s.whatsapp.net" }), usable)
      assert.deepStrictEqual(server.asked, ["/app/status"])
      server.answer = (path) => envelope(path === "/devices/sim-1" ? { jid: account } : flags)
      assert.deepStrictEqual(yield* gateway.status(target), usable)
    }))

  it.live("starts a slot that is paired and offline, and leaves others unchanged", () =>
    Effect.gen(function*() {
      const { core, device, gateway } = yield* setup(adapter, { simulator: { devices: 2 } })
      core.disconnect(device)
      yield* gateway.start(target)
      assert.isTrue((yield* gateway.status(target)).isConnected)
      const slot = asGowa(core).slotOf(device)
      slot.everConnected = false
      yield* gateway.start(target)
      assert.isFalse(slot.everConnected, "a slot that is connected was reconnected")
      core.logOut(device)
      yield* gateway.start(target)
      yield* gateway.start(makeTarget("nobody"))
      assert.isFalse((yield* gateway.status(target)).isConnected)
    }))

  it.live("returns no file while the account is offline and GOWA does not have it, and states why", () =>
    Effect.gen(function*() {
      const { core, device, gateway } = yield* setup(adapter, { simulator: { gowa: { pace: 0, autoDownload: false } } })
      core.disconnect(device)
      const message = {
        messageId: "msg_0" as MessageId,
        waId: "3EB0AA",
        chat: "628999000111@s.whatsapp.net",
        sender: "628999000111@s.whatsapp.net",
        fromMe: false,
        type: "image",
        body: null,
        media: { kind: "image" }
      }
      const failure = yield* Effect.flip(gateway.media(target, message))
      assert.deepStrictEqual([failure._tag, failure.message.includes("AUTHENTICATION_ERROR")], [
        "GatewayUnavailable",
        true
      ])
    }).pipe(Effect.scoped))

  it.live("keeps an operator's choice about certificates", () =>
    Effect.gen(function*() {
      const { core, device, gateway } = yield* setup(adapter)
      const slot = asGowa(core).slotOf(device)
      slot.webhook = { ...slot.webhook, webhook_insecure_skip_verify: true }
      const address = { url: "https://columba/webhooks/default", secret: Redacted.make("secret of the device") }
      assert.strictEqual(yield* gateway.webhook.ensure(target, address), "set")
      assert.deepInclude(slot.webhook, { webhook_url: address.url, webhook_insecure_skip_verify: true })
      assert.strictEqual(yield* gateway.webhook.ensure(target, address), "unchanged")
    }))

  it.live("reports that a gateway before 8.10 cannot be given a webhook address", () =>
    Effect.gen(function*() {
      const old = yield* AnsweringServer.start({ status: 404, body: "Cannot GET /devices/sim-1/webhook" })
      const gateway = yield* adapter.make({ url: old.url })
      const address = { url: "http://columba/webhooks/default", secret: Redacted.make("secret of the device") }
      assert.strictEqual(yield* gateway.webhook.ensure(target, address), "unsupported")
      const { gateway: known } = yield* setup(adapter)
      const failure = yield* Effect.flip(known.webhook.ensure(makeTarget("nobody"), address))
      assert.include(failure.message, "404 NOT_FOUND")
    }))

  it.live("never requests the login of a slot when asking for its status, which would create it", () =>
    Effect.gen(function*() {
      const answering = yield* AnsweringServer.start({ status: 200, body: "{\"code\":\"SUCCESS\",\"message\":\"\"}" })
      const gateway = yield* adapter.make({ url: answering.url })
      const nobody = makeTarget("nobody")
      yield* Effect.ignore(gateway.status(nobody))
      yield* Effect.ignore(gateway.statuses)
      yield* Effect.ignore(gateway.ensureSlot(nobody.upstreamId))
      yield* Effect.ignore(gateway.start(nobody))
      assert.isNotEmpty(answering.asked)
      for (const path of answering.asked) assert.notInclude(path, "login")
    }))
})
