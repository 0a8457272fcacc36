/** The meaning of a webhook's body, whatever it contains. */
import { createHmac } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import * as fc from "fast-check"
import { ingest } from "../../../../src/layers/gateways/gowa/GowaWebhook.ts"
import { readControlFrame } from "../../../../src/layers/gateways/gowa/controlFrames.ts"
import { prepare } from "../../../../src/log/PreparedDraft.ts"
import { makeEventId } from "../../../../src/services/EventIdentity.ts"
import type { IngestContext } from "../../../../src/services/GatewayParts.ts"
import { makeSamples } from "../../../../src/simulator/samples.ts"
import { encodeEvent } from "../../../../src/simulator/gowa/events.ts"
import { draftsOf, keyOf } from "../../../conformance/gateway/webhooks.ts"
import { ofKind } from "../../../support/drafts.ts"
import { makeTarget } from "../../../support/gateway.ts"
import { propertyLimits } from "../../../support/propertyLimits.ts"

const own = "6281234567890@s.whatsapp.net"
const peer = "628999000111@s.whatsapp.net"
const now = Date.UTC(2026, 7, 22, 12)
const secret = "s3cret"

const known = makeTarget("tenant-7", own)
const unpaired = makeTarget("tenant-7")

const context = (target = known): IngestContext => ({
  now,
  device: target,
  find: (name) => name === target.upstreamId || name === target.jid ? target : null
})

const take = (body: unknown, target = known) => {
  const text = typeof body === "string" ? body : JSON.stringify(body)
  const signature = createHmac("sha256", secret).update(text).digest("hex")
  return ingest({
    headers: { "x-hub-signature-256": `sha256=${signature}` },
    body: Buffer.from(text),
    secrets: [Redacted.make(secret)]
  }, context(target))
}

const envelope = (event: string, payload: object, change: object = {}) => ({
  event,
  device_id: own,
  session_id: "tenant-7",
  payload,
  ...change
})

/** Any UTF-16 text, lone surrogates too. */
const anyText = fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units))

const message = (change: object = {}) => ({
  id: "3EB0AA",
  timestamp: "2026-08-22T10:00:00Z",
  is_from_me: false,
  chat_id: peer,
  from: peer,
  body: "hello",
  ...change
})

describe("the device of a webhook", () => {
  it("is found by the slot, and by the account only if no slot is named", () => {
    assert.deepInclude(take(envelope("message", message())), { _tag: "Accepted", deviceId: known.deviceId })
    assert.deepStrictEqual(take(envelope("message", message(), { session_id: "other" })), {
      _tag: "UnknownSlot",
      slot: "other"
    })
    assert.deepInclude(take(envelope("message", message(), { session_id: undefined })), { _tag: "Accepted" })
    const foreign = envelope("message", message(), { session_id: undefined, device_id: "62800@s.whatsapp.net" })
    assert.deepStrictEqual(take(foreign), { _tag: "UnknownSlot", slot: "62800@s.whatsapp.net" })
    const nameless = envelope("message", message(), { session_id: undefined, device_id: undefined })
    assert.deepInclude(take(nameless), { _tag: "Accepted" }, "the address of the webhook names the device")
  })

  it("learns the account that the webhook names, which distinguishes its own reads from those of others", () => {
    const read = { ids: ["3EB0A1"], chat_id: peer, from: own, receipt_type: "read" }
    const result = take(envelope("message.ack", read), unpaired)
    assert.isNull(ofKind(draftsOf(result)[0], "message.ack").data.messageId)
    assert.deepInclude(result, { _tag: "Accepted" })
    assert.isTrue(result._tag === "Accepted" && result.events.some(({ _tag }) => _tag === "StatusHint"))
    const again = take(envelope("message.ack", read))
    assert.isFalse(again._tag === "Accepted" && again.events.some(({ _tag }) => _tag === "StatusHint"))
  })
})

describe("the content of a webhook", () => {
  const [draft] = draftsOf(take(envelope("message", message())))

  it("with an ack has its time next to the payload", () => {
    const ack = envelope("message.ack", { ids: ["A"], chat_id: peer, from: peer, receipt_type: "delivered" }, {
      timestamp: "2026-08-22T10:00:05Z"
    })
    assert.strictEqual(draftsOf(take(ack))[0]!.occurredAt, "2026-08-22T10:00:05Z")
    assert.strictEqual(draft!.occurredAt, "2026-08-22T10:00:00Z")
  })

  it("with a file has its kind, caption and name, and no more than is given", () => {
    const mediaOf = (content: object) =>
      ofKind(draftsOf(take(envelope("message", message({ body: undefined, ...content }))))[0], "message.received").data
        .media
    assert.deepStrictEqual(mediaOf({ image: "statics/media/1-a.jpe" }), { kind: "image" })
    assert.deepStrictEqual(mediaOf({ image: { path: "statics/media/1-a.jpe", caption: "look" } }), {
      kind: "image",
      caption: "look"
    })
    assert.deepStrictEqual(mediaOf({ document: { url: "https://mmg/x.enc", filename: "prices.pdf" } }), {
      kind: "document",
      fileName: "prices.pdf"
    })
    assert.deepStrictEqual(mediaOf({ video: { url: "https://mmg/x.enc", caption: "" } }), { kind: "video" })
    assert.isUndefined(mediaOf({ location: { degreesLatitude: 1 } }))
    assert.isUndefined(mediaOf({ image: null }))
  })

  it("with a reaction or a call is identified by fields that a history has too", () => {
    const reaction = (change: object) =>
      keyOf(
        draftsOf(take(envelope("message.reaction", {
          ...message({ body: undefined }),
          reaction: "👍",
          reacted_message_id: "3EB0BB",
          ...change
        })))[0]!
      )
    assert.strictEqual(reaction({ id: "other action" }), reaction({}))
    assert.notStrictEqual(reaction({ reaction: "" }), reaction({}))
    assert.notStrictEqual(reaction({ timestamp: "2026-08-22T10:00:01Z" }), reaction({}))
    const call = (change: object) => keyOf(draftsOf(take(envelope("call.offer", { call_id: "5F2A", ...change })))[0]!)
    assert.strictEqual(call({ from: peer }), call({ remote_platform: "android" }))
    assert.notStrictEqual(call({ call_id: "5F2B" }), call({}))
  })

  it("joins the two spellings of an account if it has both", () => {
    const [hidden] = draftsOf(take(envelope("message", message({ from_lid: "99887766@lid" }))))
    assert.deepStrictEqual(hidden!.aliases, [{ lid: "99887766@lid", jid: peer }])
  })

  it("that is far too large is kept as a reject", () => {
    const deep = `{"event":"message","session_id":"tenant-7","payload":{"id":"X","v":${"[".repeat(5000)}${
      "]".repeat(5000)
    }}}`
    assert.deepInclude(ofKind(draftsOf(take(deep))[0], "frame.rejected").data, { reason: "unreadable" })
    const ids = Array.from({ length: 5000 }, (_, index) => `ID${index}`)
    const many = envelope("message.ack", { ids, chat_id: peer, from: peer, receipt_type: "read" })
    assert.deepInclude(ofKind(draftsOf(take(many))[0], "frame.rejected").data, { reason: "too-large" })
    const nothing = envelope("message", { body: "no id" })
    assert.deepInclude(ofKind(draftsOf(take(nothing))[0], "frame.rejected").data, { reason: "unreadable" })
  })
})

describe("any body", () => {
  const writable = (result: ReturnType<typeof take>): void => {
    if (result._tag !== "Accepted") return
    for (const draft of draftsOf(result)) {
      assert.isNotNull(draft.identity)
      const prepared = prepare(draft, () => makeEventId(now))
      assert.isNotNull(prepared.key ?? (prepared.kind === "frame.rejected" ? "" : null))
      JSON.parse(prepared.data)
    }
  }

  it("that is signed gives events that can be stored, and never throws", () => {
    fc.assert(fc.property(fc.json(), (text) => writable(take(text))), propertyLimits(500))
    fc.assert(fc.property(anyText, (text) => writable(take(text))), propertyLimits(500))
    const events = [
      "message",
      "message.ack",
      "message.reaction",
      "message.edited",
      "message.revoked",
      "call.offer",
      "x"
    ]
    fc.assert(
      fc.property(fc.constantFrom(...events), fc.dictionary(fc.string(), fc.jsonValue()), (event, payload) => {
        writable(take(envelope(event, { ...payload })))
        writable(take(envelope(event, { ...message(), ids: ["A"], receipt_type: "read", ...payload })))
      }),
      propertyLimits(500)
    )
  })

  it("with one field of another type is never decoded as something else", () => {
    const samples = makeSamples(own, now).map(({ event, payload }) => ({ event, payload }))
    fc.assert(
      fc.property(fc.constantFrom(...samples), fc.jsonValue(), fc.nat(), ({ event, payload }, value, pick) => {
        const keys = Object.keys(payload)
        const key = keys[pick % Math.max(1, keys.length)]
        const changed = key === undefined ? payload : { ...payload, [key]: value }
        writable(take(encodeEvent(own, "tenant-7", event, changed, true)))
      }),
      propertyLimits(500)
    )
  })

  it("as a frame of the link gives news or nothing, and never throws", () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), anyText), (text) => {
        const news = readControlFrame(text)
        assert.isTrue(news === null || news._tag === "Paired" || news._tag === "Slot")
      }),
      propertyLimits(500)
    )
  })
})
