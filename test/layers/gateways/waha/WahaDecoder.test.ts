import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { EventDraft } from "../../../../src/domain/Event.ts"
import { decodeBody, decodeFrame, decodeRow, parseEnvelope } from "../../../../src/layers/gateways/waha/WahaDecoder.ts"
import { readMessageRef } from "../../../../src/layers/gateways/waha/payloads.ts"
import { deriveKeyParts } from "../../../../src/log/EventKey.ts"
import { deriveKey, deriveMessageId } from "../../../../src/services/EventIdentity.ts"
import type { SessionEvent } from "../../../../src/services/GatewayParts.ts"
import { ofKind } from "../../../support/drafts.ts"
import { makeTarget } from "../../../support/gateway.ts"
import { propertyLimits } from "../../../support/propertyLimits.ts"

const own = "6281234567890@s.whatsapp.net"
const peer = "628999000111@s.whatsapp.net"
const peerHere = "628999000111@c.us"
const lid = "99887766554433@lid"
const group = "120363025246125486@g.us"
const target = makeTarget("tenant-7", own)
const now = Date.UTC(2026, 7, 22, 12)
const seconds = Date.UTC(2026, 7, 22, 10) / 1000

const reading = { target, now, findPhone: () => null }

const frame = (event: string, payload: unknown, envelope: Record<string, unknown> = {}) => ({
  id: "evt_01k3abcdefghjkmnpqrstvwxyz",
  timestamp: 1_787_392_800_000,
  event,
  session: "tenant-7",
  metadata: { tenant: "7" },
  me: { id: "6281234567890@c.us", pushName: "Shop" },
  payload,
  engine: "GOWS",
  environment: { version: "2026.7.1", engine: "GOWS", tier: "CORE" },
  ...envelope
})

const decode = (value: unknown): ReadonlyArray<SessionEvent> =>
  decodeFrame(typeof value === "string" ? value : JSON.stringify(value), reading)

const draftsOf = (events: ReadonlyArray<SessionEvent>): ReadonlyArray<EventDraft> =>
  events.flatMap((event) => event._tag === "Record" ? [event.draft] : [])

const only = (drafts: ReadonlyArray<EventDraft>): EventDraft => {
  assert.strictEqual(drafts.length, 1)
  return drafts[0]!
}

const decodeDraft = (value: unknown): EventDraft => only(draftsOf(decode(value)))

const message = (payload: Record<string, unknown> = {}) => ({
  id: `false_${peerHere}_3EB0AA11`,
  timestamp: seconds,
  from: peerHere,
  to: "6281234567890@c.us",
  fromMe: false,
  body: "hello",
  hasMedia: false,
  media: null,
  ack: 2,
  ackName: "DEVICE",
  ...payload
})

const any = (payload: Record<string, unknown> = {}) => frame("message.any", message(payload))

const messageIn = (draft: EventDraft | undefined) => ofKind(draft, "message.received", "message.sent").data

const keyOf = (draft: EventDraft): string | null => {
  const parts = deriveKeyParts(draft)
  return parts === null ? null : deriveKey(parts)
}

describe("a message id", () => {
  it.each([
    ["true_628@c.us_3EB0", { waId: "3EB0", fromMe: true, chat: "628@c.us", participant: null }],
    ["false_1-2@g.us_3EB0_628@c.us", { waId: "3EB0", fromMe: false, chat: "1-2@g.us", participant: "628@c.us" }],
    ["false_1@g.us_3EB0_9@lid", { waId: "3EB0", fromMe: false, chat: "1@g.us", participant: "9@lid" }],
    ["true_628@c.us_3EB0_out", { waId: "3EB0_out", fromMe: true, chat: "628@c.us", participant: null }],
    ["false_628@c.us_A_B_C", { waId: "A_B_C", fromMe: false, chat: "628@c.us", participant: null }],
    ["3EB0", { waId: "3EB0", fromMe: null, chat: null, participant: null }],
    ["maybe_628@c.us_3EB0", { waId: "maybe_628@c.us_3EB0", fromMe: null, chat: null, participant: null }],
    ["true_nobody_3EB0", { waId: "true_nobody_3EB0", fromMe: null, chat: null, participant: null }]
  ])("%s is read", (text, expected) => {
    assert.deepStrictEqual(readMessageRef(text), expected)
    assert.deepStrictEqual(readMessageRef({ _serialized: text }), expected)
  })

  it("that is invalid gives nothing", () => {
    for (const value of ["", null, undefined, 7, {}, [], "true_628@c.us_"]) assert.isNull(readMessageRef(value))
  })
})

describe("a message", () => {
  it("becomes message.received with the identity by which repeats are recognised", () => {
    const draft = decodeDraft(any({ source: "app", _data: { pushName: "Ayu" } }))
    assert.strictEqual(draft.kind, "message.received")
    assert.strictEqual(draft.occurredAt, "2026-08-22T10:00:00.000Z")
    assert.strictEqual(draft.via, "live")
    assert.deepStrictEqual(draft.data, {
      messageId: deriveMessageId(target.deviceId, { fromMe: false, chat: peer, sender: peer, waId: "3EB0AA11" }),
      waId: "3EB0AA11",
      chat: peer,
      sender: peer,
      fromMe: false,
      type: "text",
      body: "hello",
      extra: { hasMedia: false, ack: 2, ackName: "DEVICE", source: "app", _data: { pushName: "Ayu" } }
    })
    assert.deepStrictEqual(draft.identity, { chat: peer, sender: peer, fromMe: false, waId: "3EB0AA11", rank: "" })
  })

  it("is the same event as `message` and as `message.any`, by socket, by webhook and in the history", () => {
    const text = JSON.stringify(frame("message", message()))
    const drafts = [
      decodeDraft(any()),
      decodeDraft(text),
      only(draftsOf(decodeBody(text, parseEnvelope(text), reading))),
      only(draftsOf(decodeRow(message({ timestamp: seconds + 0.25, ack: 3 }), reading)))
    ]
    assert.strictEqual(new Set(drafts.map(keyOf)).size, 1)
    assert.deepStrictEqual(drafts.map(({ via }) => via), ["live", "live", "webhook", "backfill"])
  })

  it("that the account sent is message.sent, wherever the engine puts the account, with its delivery status", () => {
    const id = `true_${peerHere}_3EB0BB`
    for (const from of ["6281234567890@c.us", peerHere]) {
      const [sent, ack] = draftsOf(decode(any({ id, from, to: peerHere, fromMe: true, ack: 1, ackName: "SERVER" })))
      const data = messageIn(sent)
      assert.deepStrictEqual([sent!.kind, data.chat, data.sender], ["message.sent", peer, own])
      const { messageId, participant, status } = ofKind(ack, "message.ack").data
      assert.deepStrictEqual([messageId, participant, status], [data.messageId, peer, "sent"])
    }
    assert.strictEqual(draftsOf(decode(any({ id, fromMe: true, ack: 0, ackName: "PENDING" }))).length, 1)
  })

  it("that the account sent takes the chat from its id if the rest is missing", () => {
    const { chat } = messageIn(
      decodeDraft(any({ id: `true_${peerHere}_X`, from: null, to: null, fromMe: undefined, ack: 0 }))
    )
    assert.strictEqual(chat, peer)
  })

  it("with a raw id is in the chat that is not the account", () => {
    const me = "6281234567890@c.us"
    for (const [from, to] of [[me, peerHere], [peerHere, me], [peerHere, null]]) {
      assert.strictEqual(messageIn(decodeDraft(any({ id: "3EB0", from, to, fromMe: true, ack: 0 }))).chat, peer)
      const ack = decodeDraft(frame("message.ack", { id: "3EB0", from, to, fromMe: true, ack: 3 }))
      assert.strictEqual(ofKind(ack, "message.ack").data.chat, peer)
    }
    assert.strictEqual(messageIn(decodeDraft(any({ id: "3EB0", from: me, to: me, fromMe: true, ack: 0 }))).chat, own)
  })

  it("in a group has its author as sender", () => {
    const id = `false_${group}_3EB0CC_${peerHere}`
    const { chat, sender } = messageIn(decodeDraft(any({ id, from: group, participant: peerHere })))
    assert.deepStrictEqual([chat, sender], [group, peer])
    assert.strictEqual(messageIn(decodeDraft(any({ id, from: group }))).sender, peer)
    assert.strictEqual(messageIn(decodeDraft(any({ id: `false_${group}_3EB0CC`, from: group }))).sender, "")
  })

  it("keeps fractions of seconds and seconds as text, and takes the envelope's time if it has none", () => {
    const timeOf = (payload: Record<string, unknown>) => decodeDraft(any(payload)).occurredAt
    assert.strictEqual(timeOf({ timestamp: seconds + 0.5 }), "2026-08-22T10:00:00.500Z")
    assert.strictEqual(timeOf({ timestamp: String(seconds) }), "2026-08-22T10:00:00.000Z")
    assert.strictEqual(timeOf({ timestamp: null }), new Date(1_787_392_800_000).toISOString())
    const bare = frame("message.any", message({ timestamp: "yesterday" }), { timestamp: undefined, id: undefined })
    const draft = decodeDraft(bare)
    assert.strictEqual(draft.occurredAt, new Date(now).toISOString())
    assert.strictEqual(messageIn(draft).extra?.timestamp, "yesterday")
  })

  it.each([
    [{ hasMedia: true, media: { url: "u", mimetype: "image/jpeg" }, body: "look" }, "image", "look", {
      kind: "image",
      mimeType: "image/jpeg",
      caption: "look"
    }],
    [{ hasMedia: true, media: { mimetype: "audio/ogg; codecs=opus" }, body: "" }, "audio", null, {
      kind: "audio",
      mimeType: "audio/ogg; codecs=opus"
    }],
    [{ hasMedia: true, media: { mimetype: "video/mp4", filesize: 2048 }, body: null }, "video", null, {
      kind: "video",
      mimeType: "video/mp4",
      size: 2048
    }],
    [{ hasMedia: true, media: { mimetype: "image/webp" } }, "sticker", "hello", {
      kind: "sticker",
      mimeType: "image/webp",
      caption: "hello"
    }],
    [{ hasMedia: true, media: { mimetype: "application/pdf", filename: "a.pdf" }, body: "" }, "document", null, {
      kind: "document",
      mimeType: "application/pdf",
      fileName: "a.pdf"
    }],
    [{ hasMedia: true, media: null, body: "" }, "unknown", null, { kind: "unknown" }],
    [{ location: { description: "Toko", latitude: -6.2, longitude: 106.8 }, body: "" }, "location", null, undefined],
    [{ vCards: ["BEGIN:VCARD"], body: "" }, "contact", null, undefined],
    [{ vCards: [], body: "" }, "unknown", null, undefined]
  ])("with %o has the type of its content", (payload, type, body, media) => {
    const data = messageIn(decodeDraft(any(payload)))
    assert.deepStrictEqual([data.type, data.body, data.media], [type, body, media])
  })

  it("keeps numbers that a double cannot hold as they were written", () => {
    const text = JSON.stringify(any({ _data: { at: 1 } })).replace("\"at\":1", "\"at\":12345678901234567890")
    assert.deepStrictEqual(messageIn(decodeDraft(text)).extra?._data, { at: "12345678901234567890" })
  })
})

describe("hidden ids", () => {
  const spelled = (payload: Record<string, unknown>, known: Record<string, string> = {}, envelope = {}) => {
    const text = JSON.stringify(frame("message.any", message(payload), envelope))
    return only(draftsOf(decodeFrame(text, { target, now, findPhone: (one) => known[one] ?? null })))
  }

  it("stay unchanged while no phone number is known", () => {
    const draft = spelled({ id: `false_${lid}_A`, from: lid })
    assert.strictEqual(messageIn(draft).chat, lid)
    assert.deepStrictEqual(draft.aliases, [])
  })

  it("become the phone number that the gateway has returned, and the pair is kept", () => {
    const draft = spelled({ id: `false_${lid}_A`, from: lid }, { [lid]: peer })
    assert.deepStrictEqual([messageIn(draft).chat, messageIn(draft).sender], [peer, peer])
    assert.deepStrictEqual(draft.aliases, [{ lid, jid: peer }])
    assert.strictEqual(keyOf(draft), keyOf(spelled({ id: `false_${peerHere}_A` })))
  })

  it("are joined with the phone number that another field of the message has", () => {
    const direct = spelled({ id: `false_${lid}_A`, from: peerHere })
    assert.deepStrictEqual([messageIn(direct).chat, direct.aliases], [peer, [{ lid, jid: peer }]])
    const inGroup = spelled({ id: `false_${group}_A_${lid}`, from: group, participant: peerHere })
    assert.deepStrictEqual([messageIn(inGroup).sender, inGroup.aliases], [peer, [{ lid, jid: peer }]])
  })

  it("are not joined with an address of an own message or an ack, whose fields differ between engines", () => {
    const mine = spelled({ id: `true_${lid}_A`, from: lid, to: peerHere, fromMe: true, ack: 0 })
    assert.deepStrictEqual([messageIn(mine).chat, mine.aliases], [lid, []])
    for (const [id, from, to] of [[`true_${lid}_A`, lid, "6281234567890@c.us"], [`false_${lid}_A`, peerHere, lid]]) {
      const ack = decodeDraft(frame("message.ack", { id, from, to, ack: 3 }))
      assert.deepStrictEqual([ofKind(ack, "message.ack").data.chat, ack.aliases], [lid, []])
    }
    const self = spelled({ id: `false_${lid}_A`, from: "6281234567890@c.us" })
    assert.deepStrictEqual([messageIn(self).chat, self.aliases], [lid, []])
  })

  it("of the account itself are taken from the envelope", () => {
    const mine = "111222333@lid"
    const me = { id: "6281234567890@c.us", lid: mine }
    const draft = spelled({ id: `false_${group}_A_${mine}`, from: group, participant: mine }, {}, { me })
    assert.deepStrictEqual([messageIn(draft).sender, draft.aliases], [own, [{ lid: mine, jid: own }]])
  })
})

describe("an acknowledgement", () => {
  const ack = (payload: Record<string, unknown>, event = "message.ack") =>
    decodeDraft(frame(event, { id: `true_${peerHere}_3EB0`, from: peerHere, to: null, fromMe: true, ...payload }))
  const dataOf = (draft: EventDraft) => ofKind(draft, "message.ack").data

  it.each([[-1, "failed"], [0, "pending"], [1, "sent"], [2, "delivered"], [3, "read"], [4, "played"]] as const)(
    "of %i is %s",
    (number, status) => {
      const draft = ack({ ack: number })
      const { chat, messageId, participant, waId } = dataOf(draft)
      assert.deepStrictEqual([dataOf(draft).status, waId, chat, participant], [status, "3EB0", peer, peer])
      assert.strictEqual(
        messageId,
        deriveMessageId(target.deviceId, { fromMe: true, chat: peer, sender: "", waId: "3EB0" })
      )
      assert.strictEqual(draft.identity?.rank, status)
    }
  )

  it("is read by its name if the number is missing, and kept unchanged if neither is known", () => {
    assert.strictEqual(dataOf(ack({ ackName: "PLAYED" })).status, "played")
    assert.strictEqual(ack({ ack: 9, ackName: "TELEPATHY" }).kind, "gateway.message.ack")
  })

  it("of a message of somebody else is a read by the account, and changes no sent message", () => {
    const draft = ack({ id: `false_${peerHere}_3EB0`, fromMe: false, ack: 3 })
    const { messageId, participant } = dataOf(draft)
    assert.deepStrictEqual([messageId, participant, draft.identity?.fromMe], [null, own, false])
  })

  it("in a group names who gave it, once for each of them", () => {
    const id = `true_${group}_3EB0_6281234567890@c.us`
    const one = ack({ id, from: group, participant: peerHere, ack: 3 }, "message.ack.group")
    const other = ack({ id, from: group, participant: "628999000112@c.us", ack: 3 }, "message.ack.group")
    assert.strictEqual(dataOf(one).participant, peer)
    assert.notStrictEqual(keyOf(one), keyOf(other))
    // Here the participant is the author of the message.
    assert.isNull(dataOf(ack({ id, from: group, participant: "6281234567890@c.us", ack: 2 })).participant)
  })

  it("from the history is the same event as the live one", () => {
    const row = message({ id: `true_${peerHere}_3EB0`, from: "6281234567890@c.us", to: peerHere, fromMe: true, ack: 3 })
    const [, read] = draftsOf(decodeRow(row, reading))
    assert.strictEqual(keyOf(read!), keyOf(ack({ ack: 3 })))
    assert.strictEqual(read!.via, "backfill")
  })
})

describe("an action on a message", () => {
  const dataOf = (draft: EventDraft) => ofKind(draft, "message.reaction", "message.edited", "message.revoked").data

  it("that is a reaction names the message by its raw id; an empty one removes it", () => {
    const react = (text: string) =>
      decodeDraft(frame("message.reaction", {
        ...message({ body: "" }),
        reaction: { text, messageId: `true_${peerHere}_TARGET` }
      }))
    const { body, fromMe, targetWaId, waId } = dataOf(react("👍"))
    assert.deepStrictEqual([waId, targetWaId, body, fromMe], ["3EB0AA11", "TARGET", "👍", false])
    assert.strictEqual(dataOf(react("")).body, "")
  })

  it("that is an edit has the new text and its own id", () => {
    const draft = decodeDraft(frame("message.edited", message({ body: "hello there", editedMessageId: "TARGET" })))
    const { body, targetWaId, waId } = dataOf(draft)
    assert.deepStrictEqual([draft.kind, waId, targetWaId, body], [
      "message.edited",
      "3EB0AA11",
      "TARGET",
      "hello there"
    ])
  })

  it("that is a revocation takes its place from the message before or after it, and has no chat if neither is given", () => {
    const revoke = (rest: Record<string, unknown>) =>
      decodeDraft(frame("message.revoked", { revokedMessageId: "TARGET", ...rest }))
    for (const rest of [{ before: message(), after: null }, { after: message() }]) {
      const { chat, sender, targetWaId } = dataOf(revoke(rest))
      assert.deepStrictEqual([chat, sender, targetWaId], [peer, peer, "TARGET"])
    }
    assert.deepStrictEqual(keyOf(revoke({ before: message() })), keyOf(revoke({ after: message() })))
    assert.strictEqual(dataOf(revoke({ before: null })).chat, "")
    assert.strictEqual(dataOf(revoke({ revokedMessageId: `false_${peerHere}_TARGET` })).chat, peer)
  })

  it("without its target cannot be decoded, and is kept", () => {
    for (const event of ["message.reaction", "message.edited"]) {
      assert.strictEqual(ofKind(decodeDraft(frame(event, message())), "frame.rejected").data.reason, "unreadable")
    }
    assert.strictEqual(decodeDraft(frame("message.revoked", {})).kind, "frame.rejected")
  })
})

describe("the status of a session", () => {
  const hint = (status: unknown, me: unknown = null) =>
    decode(frame("session.status", { name: "tenant-7", status }, { me }))

  it.each([
    ["WORKING", { _tag: "UpstreamConnected", jid: null }],
    ["SCAN_QR_CODE", { _tag: "LoginNeeded", method: "qr", expiresAt: null }],
    ["PASSKEY_REQUIRED", { _tag: "LoginNeeded", method: "passkey", expiresAt: null }],
    ["PASSKEY_CONFIRMATION_REQUIRED", { _tag: "LoginNeeded", method: "passkey", expiresAt: null }],
    ["STARTING", { _tag: "UpstreamDisconnected", reason: "the session is STARTING" }],
    ["STOPPED", { _tag: "UpstreamDisconnected", reason: "the session is STOPPED" }],
    ["FAILED", { _tag: "UpstreamDisconnected", reason: "the session is FAILED" }],
    ["DREAMING", { _tag: "UpstreamDisconnected", reason: "the session is DREAMING" }]
  ])("%s is a hint and no fact", (status, expected) => {
    assert.deepStrictEqual(hint(status), [expected as SessionEvent])
  })

  it("names the account once there is one", () => {
    assert.deepStrictEqual(hint("WORKING", { id: "6281234567890@c.us" }), [{ _tag: "UpstreamConnected", jid: own }])
  })
})

describe("unknown events", () => {
  it.each([
    "message.waiting",
    "chat.archive",
    "group.v2.participants",
    "presence.update",
    "poll.vote",
    "event.response.failed",
    "label.chat.added",
    "call.received",
    "something.new"
  ])("%s keeps its payload, under the event's own id", (event) => {
    const payload = { id: "CALL1", from: peerHere, timestamp: seconds, isVideo: false }
    const draft = decodeDraft(frame(event, payload))
    assert.strictEqual(draft.kind, `gateway.${event}`)
    assert.deepStrictEqual(draft.data as unknown, payload)
    assert.strictEqual(draft.identity?.waId, "evt_01k3abcdefghjkmnpqrstvwxyz")
    const text = JSON.stringify(frame(event, payload))
    assert.strictEqual(keyOf(only(draftsOf(decodeBody(text, parseEnvelope(text), reading)))), keyOf(draft))
  })

  it("without an id of the event are recognised by their text if that may be repeated", () => {
    const text = JSON.stringify(frame("call.received", { id: "CALL1" }, { id: undefined }))
    assert.isNull(decodeDraft(text).identity)
    const body = () => only(draftsOf(decodeBody(text, parseEnvelope(text), reading)))
    assert.isNotNull(keyOf(body()))
    assert.strictEqual(keyOf(body()), keyOf(body()))
  })

  it("may have a payload that is no object", () => {
    assert.deepStrictEqual(decodeDraft(frame("state.change", "CONNECTED")).data as unknown, { value: "CONNECTED" })
  })
})

describe("an undecodable frame", () => {
  it.each([
    ["no json", "hello?", "not-json"],
    ["no object", "[1]", "not-an-event"],
    ["no session", { event: "message.any", payload: {} }, "not-an-event"],
    ["no payload", { event: "message.any", session: "tenant-7" }, "not-an-event"],
    ["another session", frame("message.any", message(), { session: "tenant-8" }), "wrong-device"],
    ["no id", any({ id: null }), "unreadable"],
    ["no chat", any({ id: "3EB0", from: null, to: null }), "unreadable"]
  ])("%s is kept as a reject", (_, value, reason) => {
    assert.strictEqual(ofKind(decodeDraft(value), "frame.rejected").data.reason, reason)
  })

  it("from the history or a webhook is one event however often it is repeated", () => {
    const row = { nonsense: true }
    const one = only(draftsOf(decodeRow(row, reading)))
    const again = only(draftsOf(decodeRow(row, { ...reading, now: now + 1 })))
    assert.strictEqual(one.kind, "frame.rejected")
    assert.strictEqual(keyOf(one), keyOf(again))
    const body = (at: number) => only(draftsOf(decodeBody("hello?", "not-json", { ...reading, now: at })))
    assert.isNotNull(keyOf(body(now)))
    assert.strictEqual(keyOf(body(now)), keyOf(body(now + 1)))
  })

  it("any text and any payload gives events, and never throws", () => {
    const events = [
      "message.any",
      "message.ack",
      "message.ack.group",
      "message.reaction",
      "message.edited",
      "message.revoked",
      "session.status",
      "call.received"
    ]
    const value = fc.oneof(
      fc.string(),
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.constant(message()),
      fc.jsonValue()
    )
    const payload = fc.dictionary(
      fc.constantFrom(
        ...Object.keys(message()),
        "reaction",
        "editedMessageId",
        "revokedMessageId",
        "before",
        "status",
        "__proto__"
      ),
      value
    )
    fc.assert(
      fc.property(fc.constantFrom(...events), payload, (event, some) => {
        const text = JSON.stringify(frame(event, some))
        assert.isNotEmpty(decode(text))
        assert.isNotEmpty(decodeBody(text, parseEnvelope(text), reading))
        assert.isNotEmpty(decodeRow(some, reading))
      }),
      propertyLimits(2000)
    )
    fc.assert(fc.property(fc.string(), (text) => decode(text).length > 0), propertyLimits(500))
  })
})
