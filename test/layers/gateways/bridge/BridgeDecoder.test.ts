import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { EventDraft } from "../../../../src/domain/Event.ts"
import { EventKindFilter } from "../../../../src/contracts/EventPayloads.ts"
import type { EventId } from "../../../../src/domain/Ids.ts"
import { Schema } from "effect"
import { decodeFrame } from "../../../../src/layers/gateways/bridge/BridgeDecoder.ts"
import { gatewayKind, identifyCall } from "../../../../src/layers/gateways/eventDecoder.ts"
import { rejectBinary, rejectOversized } from "../../../../src/layers/gateways/rejects.ts"
import { readTimestamp } from "../../../../src/layers/gateways/timestamps.ts"
import { deriveMessageId, identifyReaction, makeEventId } from "../../../../src/services/EventIdentity.ts"
import { encodeFrame } from "../../../../src/simulator/bridge/frames.ts"
import { scenario } from "../../../../src/simulator/Scenario.ts"
import { ofKind } from "../../../support/drafts.ts"
import { makeTarget } from "../../../support/gateway.ts"
import { propertyLimits } from "../../../support/propertyLimits.ts"

const own = "6281234567890@s.whatsapp.net"
const peer = "628999000111@s.whatsapp.net"
const target = makeTarget("tenant-7", own)
const now = Date.UTC(2026, 7, 22, 12)
const nowText = new Date(now).toISOString()

const decode = (frame: unknown) =>
  decodeFrame(typeof frame === "string" ? frame : JSON.stringify(frame), target, now, makeEventId)

const decodeDrafts = (frame: unknown): ReadonlyArray<EventDraft> =>
  decode(frame).flatMap((event) => event._tag === "Record" ? [event.draft] : [])

const decodeDraft = (frame: unknown): EventDraft => {
  const drafts = decodeDrafts(frame)
  assert.strictEqual(drafts.length, 1)
  return drafts[0]!
}

const message = (payload: Record<string, unknown> = {}) => ({
  event: "message",
  device_id: "tenant-7",
  payload: {
    id: "3EB0AA11",
    timestamp: "2026-08-22T10:00:00Z",
    is_from_me: false,
    chat_id: peer,
    from: peer,
    body: "hello",
    ...payload
  }
})

const rejection = (frame: unknown) => ofKind(decodeDraft(frame), "frame.rejected").data

const messageIn = (draft: EventDraft) => ofKind(draft, "message.received", "message.sent").data

describe("a message", () => {
  it("becomes message.received with the identity by which repeats are recognised", () => {
    const draft = decodeDraft(
      message({ from_name: "Ayu", from_lid: "99887766554433@lid", chat_lid: "99887766554433@lid" })
    )
    assert.strictEqual(draft.kind, "message.received")
    assert.strictEqual(draft.occurredAt, "2026-08-22T10:00:00Z")
    assert.strictEqual(draft.via, "live")
    assert.deepStrictEqual(draft.data, {
      messageId: deriveMessageId(target.deviceId, { fromMe: false, chat: peer, sender: peer, waId: "3EB0AA11" }),
      waId: "3EB0AA11",
      chat: peer,
      sender: peer,
      fromMe: false,
      type: "text",
      body: "hello",
      extra: { from_name: "Ayu", from_lid: "99887766554433@lid", chat_lid: "99887766554433@lid" }
    })
    assert.deepStrictEqual(draft.identity, { chat: peer, sender: peer, fromMe: false, waId: "3EB0AA11", rank: "" })
    assert.deepStrictEqual(draft.aliases, [{ lid: "99887766554433@lid", jid: peer }])
  })

  it("that the account sent is message.sent, with an id that acks can compute too", () => {
    const draft = decodeDraft(message({ is_from_me: true, from: `${own.replace("@", ":12@")}` }))
    assert.strictEqual(draft.kind, "message.sent")
    const data = messageIn(draft)
    assert.strictEqual(data.sender, own)
    const ack = {
      event: "message.ack",
      device_id: "tenant-7",
      payload: { ids: ["3EB0AA11"], receipt_type: "read", from: peer }
    }
    assert.strictEqual(ofKind(decodeDraft(ack), "message.ack").data.messageId, data.messageId)
  })

  it("has the type of its content, text without content, unknown without either", () => {
    const decodeType = (payload: Record<string, unknown>) => messageIn(decodeDraft(message(payload))).type
    assert.strictEqual(decodeType({}), "text")
    assert.strictEqual(decodeType({ body: undefined }), "unknown")
    assert.strictEqual(decodeType({ image: { path: "statics/x.jpe", caption: "hello" } }), "image")
    assert.strictEqual(decodeType({ contacts_array: [] }), "contact")
    assert.strictEqual(decodeType({ audio: "x.oga", body: null }), "audio")
    for (const type of ["video", "video_note", "document", "sticker", "location", "live_location", "order", "list"]) {
      assert.strictEqual(decodeType({ [type]: {} }), type)
    }
  })

  it("takes the chat from the sender and the sender from the chat if one is missing", () => {
    const decodePlace = (payload: Record<string, unknown>) => {
      const { chat, sender } = messageIn(decodeDraft(message(payload)))
      return { chat, sender }
    }
    assert.deepStrictEqual(decodePlace({ chat_id: undefined }), { chat: peer, sender: peer })
    assert.deepStrictEqual(decodePlace({ from: null }), { chat: peer, sender: peer })
    assert.deepStrictEqual(decodePlace({ from: null, is_from_me: true }), { chat: peer, sender: own })
    assert.deepStrictEqual(decodePlace({ from: null, chat_id: "1@g.us" }), { chat: "1@g.us", sender: "" })
    assert.strictEqual(rejection(message({ from: null, chat_id: null })).reason, "unreadable")
    assert.strictEqual(rejection(message({ chat_id: null, is_from_me: true })).reason, "unreadable")
  })

  it("keeps a time that does not exist as a claim, and uses Columba's time instead", () => {
    for (
      const claimed of [
        "",
        "yesterday",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-08-22T24:00:00Z",
        "12026-01-01T00:00:00Z",
        null,
        {},
        1e300,
        -1e15
      ]
    ) {
      const draft = decodeDraft(message({ timestamp: claimed }))
      assert.strictEqual(draft.occurredAt, nowText)
      assert.deepStrictEqual(messageIn(draft).extra, { timestamp: claimed as Schema.Json })
    }
    assert.strictEqual(decodeDraft(message({ timestamp: undefined })).occurredAt, nowText)
  })

  it("accepts any time that exists in UTC", () => {
    assert.strictEqual(readTimestamp("2024-02-29T23:59:59.123456789Z"), "2024-02-29T23:59:59.123456789Z")
    assert.strictEqual(readTimestamp("2026-08-22T12:00:00+02:00"), "2026-08-22T10:00:00.000Z")
    assert.strictEqual(readTimestamp(1_787_392_800), "2026-08-22T10:00:00.000Z")
    assert.strictEqual(readTimestamp(1_787_392_800_000), "2026-08-22T10:00:00.000Z")
    assert.strictEqual(readTimestamp("9999-12-31T23:59:59-12:00"), null)
    assert.strictEqual(readTimestamp("0001-01-01T00:00:00Z"), "0001-01-01T00:00:00Z")
  })

  it("cannot reach the prototype of the decoded object", () => {
    const frame = JSON.stringify(message()).replace("\"body\"", "\"__proto__\":{\"polluted\":true},\"body\"")
    const data = messageIn(decodeDraft(frame))
    assert.strictEqual((data as unknown as { polluted?: boolean }).polluted, undefined)
    assert.strictEqual((data.extra as { polluted?: boolean } | undefined)?.polluted, undefined)
    assert.strictEqual(({} as { polluted?: boolean }).polluted, undefined)
  })

  it("may hold NUL characters", () => {
    assert.strictEqual(messageIn(decodeDraft(message({ body: "a\u0000b" }))).body, "a\u0000b")
  })

  it("without an id cannot be distinguished from others, and is kept as a reject", () => {
    assert.strictEqual(rejection(message({ id: undefined })).reason, "unreadable")
    assert.strictEqual(rejection(message({ id: "" })).reason, "unreadable")
    assert.strictEqual(rejection(message({ body: 5 })).reason, "unreadable")
  })
})

describe("an ack", () => {
  const ack = (payload: Record<string, unknown>) => ({
    event: "message.ack",
    device_id: own,
    timestamp: "2026-08-22T10:00:05Z",
    payload: { ids: ["A", "B"], chat_id: peer, from: peer, receipt_type: "delivered", ...payload }
  })

  it("copies nothing of its frame into its events, however large", () => {
    const ids = Array.from({ length: 1_600 }, (_, n) => `3EB0${n}`)
    const drafts = decodeDrafts(ack({ ids, note: "x".repeat(800_000) }))
    assert.strictEqual(drafts.length, ids.length)
    const bytes = drafts.reduce((sum, { data }) => sum + JSON.stringify(data).length, 0)
    assert.isBelow(bytes, 2_000_000)
    const long = decodeDrafts(ack({ ids, chat_id: `${"x".repeat(800_000)}@g.us` }))
    assert.deepStrictEqual(long.map(({ kind }) => kind), ["frame.rejected"])
  })

  it("of many messages becomes one event each", () => {
    const drafts = decodeDrafts(ack({ from_lid: "1@lid" }))
    assert.deepStrictEqual(
      drafts.map(({ data }) => data),
      ["A", "B"].map((waId) => ({
        messageId: deriveMessageId(target.deviceId, { fromMe: true, chat: "", sender: "", waId }),
        waId,
        chat: peer,
        participant: peer,
        status: "delivered",
        ...(waId === "A" ? { extra: { from_lid: "1@lid" } } : {})
      }))
    )
    assert.deepStrictEqual(drafts[1]!.identity, {
      chat: peer,
      sender: peer,
      fromMe: true,
      waId: "B",
      rank: "delivered"
    })
    assert.strictEqual(drafts[0]!.occurredAt, "2026-08-22T10:00:05Z")
    assert.notStrictEqual(drafts[0]!.id, drafts[1]!.id)
  })

  it("by the account itself is about a message of somebody else", () => {
    for (const payload of [{ receipt_type: "read-self" }, { receipt_type: "read", from: own.replace("@", ":3@") }]) {
      const [draft] = decodeDrafts(ack({ ids: ["A"], ...payload }))
      assert.strictEqual(ofKind(draft, "message.ack").data.messageId, null)
      assert.strictEqual(ofKind(draft, "message.ack").data.status, "read")
      assert.isFalse(draft!.identity!.fromMe)
    }
  })

  it("of an unknown kind stays the gateway's own event", () => {
    assert.strictEqual(decodeDraft(ack({ receipt_type: "retry" })).kind, "gateway.message.ack")
  })

  it("of no message, or of more messages than possible, is rejected", () => {
    assert.strictEqual(rejection(ack({ ids: [] })).reason, "unreadable")
    assert.strictEqual(rejection(ack({ ids: Array.from({ length: 5000 }, String) })).reason, "too-large")
  })
})

describe("actions and other events", () => {
  const action = (event: string, payload: Record<string, unknown>) => ({ ...message(payload), event })

  it("identify a reaction by who reacted to what, how and in which second, since its history has no id of it", () => {
    const react = (fields: Record<string, unknown>) =>
      decodeDraft(action("message.reaction", {
        timestamp: "2026-08-22T10:00:00.900Z",
        reaction: "👍",
        reacted_message_id: "T",
        ...fields
      })).identity
    assert.deepStrictEqual(
      react({}),
      identifyReaction({ chat: peer, sender: peer }, false, "T", "👍", "2026-08-22T10:00:00Z")
    )
    assert.deepStrictEqual(react({ id: "R2" }), react({}))
    assert.notDeepEqual(react({ reaction: "" }), react({}))
  })

  it("give reactions, edits and revocations their target", () => {
    const place = { chat: peer, sender: peer, fromMe: false, waId: "3EB0AA11", targetWaId: "T" }
    const cases = [
      ["message.reaction", { reaction: "👍", reacted_message_id: "T" }, "👍"],
      ["message.reaction", { reaction: "", reacted_message_id: "T" }, ""],
      ["message.edited", { original_message_id: "T", body: "new" }, "new"],
      ["message.revoked", { revoked_message_id: "T" }, null]
    ] as const
    for (const [event, payload, body] of cases) {
      const draft = decodeDraft(action(event, payload))
      assert.strictEqual(draft.kind, event)
      assert.deepStrictEqual(draft.data, { ...place, body })
    }
    assert.strictEqual(rejection(action("message.revoked", {})).reason, "unreadable")
  })

  it("keep the name and payload of an unknown event", () => {
    const draft = decodeDraft({ event: "call.offer", device_id: "tenant-7", payload: { call_id: "c", from: peer } })
    assert.strictEqual(draft.kind, "gateway.call.offer")
    assert.deepStrictEqual(draft.identity, identifyCall("c"), "the history names a call only by its id")
    assert.deepStrictEqual(draft.data as unknown, { call_id: "c", from: peer })
    const other = decodeDraft({ event: "group.joined", device_id: "tenant-7", payload: { chat_id: "1@g.us" } })
    assert.isNull(other.identity)
  })

  it("accept any event name as a kind", () => {
    const isKind = Schema.is(EventKindFilter)
    const unit = fc.constantFrom(".", "a", "Z", "0", "_", "-", " ", "#", "*", "\u0000", "é", "🙂", "\ud800")
    fc.assert(fc.property(fc.string({ unit, minLength: 1, maxLength: 300 }), (name) => isKind(gatewayKind(name))))
    assert.strictEqual(gatewayKind("a.b.c.d.e.f.g.h.i.j"), "gateway.a.b.c.d.e.f.g.h_i_j")
  })

  it("turn the gateway's statements about the account into moves of the device, never into log entries", () => {
    const say = (event: string, payload: object) => decode({ event, device_id: "tenant-7", payload })
    assert.deepStrictEqual(say("connected", { jid: own.replace("@", ":1@") }), [{
      _tag: "UpstreamConnected",
      jid: own
    }])
    assert.deepStrictEqual(say("connected", {}), [{ _tag: "UpstreamConnected", jid: null }])
    assert.deepStrictEqual(say("disconnected", { reason: "x" }), [{ _tag: "UpstreamDisconnected", reason: "x" }])
    for (const reason of ["stream replaced", "Conflict"]) {
      assert.deepStrictEqual(say("disconnected", { reason }), [{ _tag: "Replaced", reason }])
    }
    for (const reason of ["temporary ban", "account banned"]) {
      assert.deepStrictEqual(say("disconnected", { reason }), [{ _tag: "LoggedOut", reason }])
    }
    assert.deepStrictEqual(say("disconnected", { reason: "bandwidth" }), [{
      _tag: "UpstreamDisconnected",
      reason: "bandwidth"
    }])
    assert.deepStrictEqual(say("qr", { qr: "secret", qr_duration: 30 }), [
      { _tag: "LoginNeeded", method: "qr", expiresAt: new Date(now + 30_000).toISOString() }
    ])
    assert.deepStrictEqual(say("qr", {}), [{ _tag: "LoginNeeded", method: "qr", expiresAt: null }])
    assert.strictEqual(say("logged_out", {})[0]!._tag, "LoggedOut")
  })
})

describe("numbers that a double cannot hold", () => {
  const raw = (event: string, fields: string) =>
    `{"event":"${event}","device_id":"tenant-7","payload":{"id":"A","chat_id":"${peer}","from":"${peer}",${fields}}}`
  const extraOf = (text: string) => (decodeDraft(text).data as { readonly extra?: unknown }).extra

  it("keep their text in the extra fields", () => {
    assert.deepStrictEqual(extraOf(raw("message", `"file_length":12345678901234567890,"w":[1e400, -1e400]`)), {
      file_length: "12345678901234567890",
      w: ["1e400", "-1e400"]
    })
    assert.deepStrictEqual(extraOf(raw("message.reaction", `"reacted_message_id":"T","key":{"n":-9007199254740993}`)), {
      key: { n: "-9007199254740993" }
    })
    assert.deepStrictEqual(
      decodeDraft(raw("call.offer", `"call":18446744073709551615,"tiny":1e-400`)).data as unknown,
      {
        id: "A",
        chat_id: peer,
        from: peer,
        call: "18446744073709551615",
        tiny: "1e-400"
      }
    )
  })

  it("leave every other number a number, whatever texts contain", () => {
    const fields = `"a":9007199254740991,"b":-6.200000000000000123,"c":1e25,"d":0.0,"e":"see: 12345678901234567890"`
    const extra = { a: 9007199254740991, b: -6.2, c: 1e25, d: 0, e: "see: 12345678901234567890" }
    assert.deepStrictEqual(extraOf(raw("message", fields)), extra)
  })

  it("never become an id", () => {
    const text = `{"event":"message","device_id":"tenant-7","payload":{"id":12345678901234567890,"from":"${peer}"}}`
    assert.strictEqual(rejection(text).reason, "unreadable")
  })
})

describe("the owner of a frame", () => {
  const as = (device: string, more: object = {}) => ({ ...message(), device_id: device, ...more })

  it("is the device for its slot, its account and its companion address", () => {
    for (const device of ["tenant-7", own, own.replace("@", ":12@"), own.replace("@s.whatsapp.net", "@c.us")]) {
      assert.strictEqual(decodeDraft(as(device)).kind, "message.received")
    }
    assert.strictEqual(decodeDraft(as("whatever", { session_id: "tenant-7" })).kind, "message.received")
  })

  it("must match: another device's frame is rejected, and any account's while the device's own is not known", () => {
    for (const device of ["tenant-8", peer, ""]) assert.strictEqual(rejection(as(device)).reason, "wrong-device")
    const [unknown] = decodeFrame(JSON.stringify(as(own)), makeTarget("tenant-7"), now)
    assert.strictEqual(unknown!._tag === "Record" && unknown!.draft.kind, "frame.rejected")
  })
})

describe("a frame that cannot be read", () => {
  it("is kept with its reason", () => {
    assert.strictEqual(rejection("hello").reason, "not-json")
    assert.strictEqual(rejection("").reason, "not-json")
    for (const junk of ["null", "[]", "5", "\"x\"", "{}", "{\"event\":1,\"device_id\":\"tenant-7\",\"payload\":{}}"]) {
      assert.strictEqual(rejection(junk).reason, "not-an-event")
    }
    assert.strictEqual(rejection({ event: "message", device_id: "tenant-7", payload: [] }).reason, "not-an-event")
  })

  it("is cut at 64 KiB and states its whole length", () => {
    const { raw, rawLength } = rejection("x".repeat(300_000))
    assert.strictEqual(raw.length, 64 * 1024)
    assert.strictEqual(rawLength, 300_000)
  })

  it("nested deeper than 64 levels is rejected, 64 is not", () => {
    const nested = (depth: number, open: string, close: string) =>
      `{"event":"x","device_id":"tenant-7","payload":{"v":${open.repeat(depth)}1${close.repeat(depth)}}}`
    assert.strictEqual(decodeDraft(nested(62, "[", "]")).kind, "gateway.x")
    assert.strictEqual(decodeDraft(nested(62, "{\"a\":", "}")).kind, "gateway.x")
    assert.strictEqual(rejection(nested(63, "[", "]")).reason, "unreadable")
    assert.strictEqual(rejection(nested(400_000, "[", "]")).reason, "unreadable")
    assert.strictEqual(rejection(nested(32, "[{\"a\":", "}]")).reason, "unreadable")
    assert.strictEqual(rejection(`${"[".repeat(500_000)}`).reason, "not-json")
  })

  it("is cut between characters, never inside of one", () => {
    for (const character of ["é", "€", "🙂"]) {
      const event = rejectOversized(Buffer.from(`x${character.repeat(100_000)}`), target, now, 1024)
      assert(event._tag === "Record")
      const { raw } = ofKind(event.draft, "frame.rejected").data
      assert.match(raw, new RegExp(`^x(${character})+$`, "u"))
      assert.isAtMost(Buffer.byteLength(raw), 64 * 1024)
      assert.isAbove(Buffer.byteLength(raw), 64 * 1024 - 4)
    }
  })

  it("in binary is kept in base64", () => {
    const event = rejectBinary(Buffer.alloc(100_000, 7), target, now)
    assert(event._tag === "Record")
    const data = ofKind(event.draft, "frame.rejected").data
    assert.strictEqual(data.rawLength, 100_000)
    assert.isAtMost(data.raw.length, 64 * 1024)
    assert.strictEqual(Buffer.from(data.raw, "base64")[0], 7)
  })

  it("of any shape gives events that can be written as JSON, and never throws", () => {
    const events = fc.constantFrom(
      "message",
      "message.ack",
      "message.reaction",
      "message.edited",
      "message.revoked",
      "connected",
      "disconnected",
      "qr",
      "logged_out",
      "call.offer",
      ""
    )
    const field = fc.constantFrom(
      "id",
      "ids",
      "from",
      "chat_id",
      "from_lid",
      "chat_lid",
      "body",
      "timestamp",
      "is_from_me",
      "receipt_type",
      "reaction",
      "reacted_message_id",
      "original_message_id",
      "jid",
      "qr_duration",
      "__proto__",
      "image"
    )
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom<fc.JsonValue>(peer, own, "1@lid", "read", true, null, 30, "", "@", ":@lid")
    )
    const payload = fc.dictionary(fc.oneof(field, fc.string()), value)
    const frame = fc.record({ event: events, device_id: fc.constantFrom("tenant-7", own, "x"), payload })
    // Any UTF-16 text, lone surrogates too. `fc.string({ unit: "binary" })` takes seconds to build.
    const anyText = fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units))
    const texts = fc.oneof(anyText, fc.json(), frame.map((made) => JSON.stringify(made)))
    fc.assert(
      fc.property(texts, (text) => {
        const events = decodeFrame(text, target, now)
        assert.isNotEmpty(events)
        for (const event of events) {
          JSON.stringify(event)
          if (event._tag === "Record") assert.isNotNull(readTimestamp(event.draft.occurredAt))
        }
      }),
      propertyLimits(1000)
    )
  })
})

describe("a day of simulated traffic", () => {
  it("is decoded without a single reject, and each message keeps its id over repeats", () => {
    const play = scenario("decoder", "tenant-7")
    let count = 0
    for (let index = 0; index < 5000; index++) {
      const { event, payload } = play.next(now)
      const text = encodeFrame("tenant-7", event, payload)
      const ids = (id: string) => () => id as EventId
      const first = decodeFrame(text, target, now, ids("x"))
      assert.deepStrictEqual(decodeFrame(text, target, now, ids("x")), first)
      for (const event of first) {
        assert(event._tag === "Record")
        assert.notStrictEqual(event.draft.kind, "frame.rejected")
        count++
      }
    }
    assert.isAtLeast(count, 5000)
  })
})

describe("event ids", () => {
  it("are version 7 UUIDs of their millisecond, all different", () => {
    const ids = Array.from({ length: 2000 }, () => makeEventId(now))
    assert.strictEqual(new Set(ids).size, 2000)
    const prefix = now.toString(16).padStart(12, "0")
    for (const id of ids) {
      assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.strictEqual(id.replaceAll("-", "").slice(0, 12), prefix)
    }
  })
})
