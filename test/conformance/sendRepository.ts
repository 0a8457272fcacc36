/** The contract of every store of messages to send. Outcomes are written through the log, as the program does. */
import { assert, layer } from "@effect/vitest"
import { randomBytes } from "node:crypto"
import { Deferred, Duration, Effect, Fiber, Option, Stream } from "effect"
import type { Layer } from "effect"
import type { DeviceId } from "../../src/domain/Ids.ts"
import type { FileId, FileSource } from "../../src/domain/OutgoingFile.ts"
import type { AckData } from "../../src/domain/EventData.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { digest, formatMessageId } from "../../src/services/EventIdentity.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { MessageRepository } from "../../src/services/MessageRepository.ts"
import { recordOutcome, sentAs } from "../../src/services/sendDrafts.ts"
import type { SendOutcome } from "../../src/services/sendDrafts.ts"
import { asAccepted, doubtfulMax, SendRepository } from "../../src/services/SendRepository.ts"
import type { NewSend, StoredSend } from "../../src/services/SendRepository.ts"
import { ackDraft, freshDevice, freshWaId, messageDraft, ownMessageId } from "../support/drafts.ts"
import { until } from "../support/until.ts"

const chat = (n: number): string => `62811100${n}@s.whatsapp.net`
const account = "6281999@s.whatsapp.net"

export const newSend = (deviceId: DeviceId, text: string, change: Partial<NewSend> = {}): NewSend => ({
  id: formatMessageId(randomBytes(16).toString("hex")),
  deviceId,
  chat: chat(1),
  sender: account,
  body: { content: { type: "text", text }, replyTo: null, mentions: [] },
  onUnknown: "report",
  scheduledAt: null,
  grace: Duration.hours(1),
  idempotency: null,
  ...change
})

const withKey = (key: string, text: string) => ({ idempotency: { key, digest: digest(text) } })

const imageOf = (file: FileSource): NewSend["body"] => ({
  content: { type: "image", file, caption: null, fileName: null },
  replyTo: null,
  mentions: []
})

const textOf = (send: StoredSend | null): string | null =>
  send?.body.content.type === "text" ? send.body.content.text : null

/** A device with an owner. */
const owned = Effect.gen(function*() {
  const devices = yield* DeviceRepository
  const id = freshDevice()
  yield* devices.insert({ id, name: "kasir", gateway: "default" as never, upstreamId: id as never })
  const claim = Effect.map(devices.claim("node-a", [id]), (claims) => claims.get(id)!.epoch)
  return { id, epoch: yield* claim, claim }
})

const record = Effect.fnUntraced(function*(send: StoredSend, outcome: SendOutcome) {
  const log = yield* EventLog
  const { drafts, effects } = recordOutcome(send, outcome, account, Date.now())
  return yield* log.append(drafts, { effects })
})

const eventsOf = Effect.fnUntraced(function*(device: DeviceId, kind: string) {
  const log = yield* EventLog
  const events = yield* log.latest({ device, kinds: [kind], limit: 100 })
  // oxlint-disable-next-line typescript/no-explicit-any
  return events.toReversed().map(({ data }): any => JSON.parse(data))
})

export const sendRepositoryConformance = (
  name: string,
  storage: Layer.Layer<EventLog | DeviceRepository | MessageRepository | SendRepository>
): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`messages to send ${name}`, (it) => {
    it.effect("accepts one message for a thousand concurrent requests with one key, and gives each the same answer", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { id } = yield* owned
        const answers = yield* Effect.forEach(
          Array.from({ length: 1000 }, () => newSend(id, "once", withKey("k1", "once"))),
          (send) => sends.accept(send),
          { concurrency: "unbounded" }
        )
        const first = answers.find(({ repeated }) => !repeated)
        assert.strictEqual(answers.filter(({ repeated }) => !repeated).length, 1)
        for (const { send } of answers) assert.deepStrictEqual(send, first!.send)
        const other = yield* Effect.flip(sends.accept(newSend(id, "other", withKey("k1", "other"))))
        assert.strictEqual(other._tag, "IdempotencyKeyReused")
        const elsewhere = yield* owned
        assert.isFalse((yield* sends.accept(newSend(elsewhere.id, "once", withKey("k1", "once")))).repeated)
      }))

    it.effect("answers a repeated request with the message as it was accepted, whatever its current state", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        const { send } = yield* sends.accept(newSend(id, "hello", withKey("k2", "hello")))
        yield* record((yield* sends.claim(id, epoch))!, sentAs(freshWaId()))
        assert.strictEqual((yield* sends.find(send.id))?.state, "sent")
        assert.deepStrictEqual(
          yield* sends.accept(newSend(id, "hello", withKey("k2", "hello"))),
          { send, repeated: true }
        )
        assert.deepStrictEqual(asAccepted(send), send)
      }))

    it.effect("claims messages in order per chat, one of a chat at a time", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        for (const [to, text] of [[1, "a1"], [1, "a2"], [2, "b1"], [2, "b2"]] as const) {
          yield* sends.accept(newSend(id, text, { chat: chat(to) }))
        }
        assert.include(yield* sends.waiting, id)
        const first = (yield* sends.claim(id, epoch))!
        const second = (yield* sends.claim(id, epoch))!
        assert.deepStrictEqual([textOf(first), textOf(second)], ["a1", "b1"])
        assert.isNull(yield* sends.claim(id, epoch), "both chats are busy")
        yield* record(first, sentAs(freshWaId()))
        assert.strictEqual(textOf(yield* sends.claim(id, epoch)), "a2")
        yield* sends.release(second, { reason: "not-connected", detail: "no account" })
        const again = (yield* sends.claim(id, epoch))!
        assert.deepStrictEqual([textOf(again), again.attempts, again.id], ["b1", 2, second.id], "it keeps its place")
        assert.notInclude(yield* Effect.map(sends.doubtful, (all) => all.map((one) => one.send.deviceId)), id)
      }))

    it.effect("claims messages with characters that no database text can hold, and delays no others", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        const texts = ["a\0b", "\ud83d", "says \"file\":{\"url\":\"x\"}", "behind them"]
        for (const [at, text] of texts.entries()) yield* sends.accept(newSend(id, text, { chat: chat(at) }))
        const claimed = yield* Effect.forEach(texts, () => sends.claim(id, epoch))
        assert.deepStrictEqual(claimed.map(textOf), texts)
        const swept = yield* claimed.length === 0 ? Effect.succeed([]) : sends.held
        assert.deepStrictEqual(swept.filter(({ deviceId }) => deviceId === id), [], "none of them is fetched")
      }))

    it.effect("claims and releases nothing for an owner whose claim of the device is over", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { claim, epoch, id } = yield* owned
        yield* sends.accept(newSend(id, "one"))
        yield* sends.accept(newSend(id, "two", { chat: chat(2) }))
        const taken = (yield* sends.claim(id, epoch))!
        const newer = yield* claim
        assert.isNull(yield* sends.claim(id, epoch))
        assert.strictEqual(textOf(yield* sends.claim(id, newer)), "two")
        const swept = (yield* sends.sweep).untold.filter(({ deviceId }) => deviceId === id)
        assert.deepStrictEqual(swept.map((send) => [send.id, send.state, send.reason]), [[
          taken.id,
          "unknown",
          "process-ended"
        ]])
        yield* sends.release(taken, { reason: "not-connected", detail: "late" })
        assert.strictEqual((yield* sends.find(taken.id))?.state, "unknown", "never back by itself")
        const doubt = (yield* sends.doubtful).find(({ send }) => send.id === taken.id)!
        assert.isAtLeast(doubt.age, 0)
        // A late result of the former owner is still a fact.
        yield* record(taken, sentAs(freshWaId()))
        assert.strictEqual((yield* sends.find(taken.id))?.state, "sent")
        assert.isFalse((yield* sends.doubtful).some(({ send }) => send.id === taken.id))
      }))

    it.effect("makes a message due again if its owner ended while its file was fetched, and no other message", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { claim, epoch, id } = yield* owned
        const fetched = (n: number) =>
          newSend(id, "", { chat: chat(n), body: imageOf({ url: `https://example.com/${n}.jpg` }) })
        for (const n of [1, 2]) yield* sends.accept(fetched(n))
        const first = (yield* sends.claim(id, epoch))!
        const second = (yield* sends.claim(id, epoch))!
        assert.isTrue(yield* sends.begin(second))
        const newer = yield* claim
        assert.isFalse(yield* sends.begin(first), "the device has another owner")
        const { due, untold } = yield* sends.sweep
        assert.include(due, id)
        assert.deepStrictEqual(
          untold.flatMap((send) => send.deviceId === id ? [[send.id, send.state]] : []),
          [[second.id, "unknown"]]
        )
        const again = (yield* sends.claim(id, newer))!
        assert.deepStrictEqual([again.id, again.attempts], [first.id, 2])
        assert.isFalse(yield* sends.begin(first), "nor does a claim of the former one begin")
        assert.isTrue(yield* sends.begin(again))
      }))

    it.effect("counts a file as in use until the last message with it has ended", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        const file = (n: number) => `file_${String(n).padStart(26, "0")}` as FileId
        const using = Effect.map(sends.filesInUse, (used) => [...used.get(id) ?? []].toSorted())
        for (const [to, n] of [[1, 1], [2, 1], [3, 2]] as const) {
          yield* sends.accept(newSend(id, "", { chat: chat(to), body: imageOf({ id: file(n) }) }))
        }
        yield* sends.accept(newSend(id, "a text"))
        assert.deepStrictEqual(yield* using, [file(1), file(2)])
        yield* record((yield* sends.claim(id, epoch))!, sentAs(freshWaId()))
        assert.deepStrictEqual(yield* using, [file(1), file(2)])
        yield* record((yield* sends.claim(id, epoch))!, sentAs(freshWaId()))
        assert.deepStrictEqual(yield* using, [file(2)])
      }))

    it.effect("returns the message of a key without creating one", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        const { idempotency } = withKey("k9", "hello")
        assert.isNull(yield* sends.repeated(id, idempotency))
        const { send } = yield* sends.accept(newSend(id, "hello", { idempotency }))
        yield* record((yield* sends.claim(id, epoch))!, sentAs(freshWaId()))
        assert.deepStrictEqual(yield* sends.repeated(id, idempotency), send)
        const other = yield* Effect.flip(sends.repeated(id, withKey("k9", "other").idempotency))
        assert.strictEqual(other._tag, "IdempotencyKeyReused")
      }))

    it.effect("sends a message in doubt again only on request, and ends it once", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        yield* sends.accept(newSend(id, "doubt", { onUnknown: "retry" }))
        const claimed = (yield* sends.claim(id, epoch))!
        const unknown = { state: "unknown", waId: null, reason: "no-answer", detail: "reset" } as const
        yield* record(claimed, unknown)
        assert.isNull(yield* sends.claim(id, epoch))
        yield* sends.retry(claimed.id)
        const again = (yield* sends.claim(id, epoch))!
        assert.strictEqual(again.id, claimed.id)
        const waId = freshWaId()
        yield* record(again, sentAs(waId))
        yield* record(again, { state: "failed", waId: null, reason: "refused", detail: "late" })
        yield* sends.retry(claimed.id)
        const { state, waId: known } = (yield* sends.find(claimed.id))!
        assert.deepStrictEqual([state, known], ["sent", waId])
        assert.deepStrictEqual([...yield* sends.linked(id, [waId, "other"])], [waId])
      }))

    it.effect("returns the newest messages in doubt if there are too many, since older ones were looked up before", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        const unknown = { state: "unknown", waId: null, reason: "no-answer", detail: "reset" } as const
        const claimed = yield* Effect.forEach(
          Array.from({ length: doubtfulMax + 1 }, (_, n) => n),
          (n) =>
            Effect.andThen(
              sends.accept(newSend(id, `doubt ${n}`)),
              Effect.tap(Effect.map(sends.claim(id, epoch), (one) => one!), (one) => record(one, unknown))
            )
        )
        const doubtful = yield* sends.doubtful
        assert.lengthOf(doubtful, doubtfulMax)
        assert.strictEqual(doubtful.at(-1)!.send.id, claimed.at(-1)!.id)
        assert.isAtLeast(doubtful[0]!.age, doubtful.at(-1)!.age, "the oldest of them first")
      }))

    it.effect("cancels a waiting message, and no other", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        const { send } = yield* sends.accept(newSend(id, "cancel me"))
        assert.isNull(yield* sends.cancel(send.id, [freshDevice()]), "another device's key")
        assert.strictEqual((yield* sends.cancel(send.id, [id]))?.done, true)
        assert.strictEqual((yield* sends.cancel(send.id))?.done, false)
        assert.isNull(yield* sends.claim(id, epoch))
        yield* sends.accept(newSend(id, "too late"))
        const claimed = (yield* sends.claim(id, epoch))!
        const late = yield* sends.cancel(claimed.id)
        assert.deepStrictEqual([late?.done, late?.send.state], [false, "sending"])
      }))

    it.effect("makes a scheduled message due by the store's clock, and lets it expire after its grace", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        const soon = new Date(Date.now() + 700).toISOString()
        const far = new Date(Date.now() + 3_600_000).toISOString()
        const { send } = yield* sends.accept(newSend(id, "soon", { scheduledAt: soon }))
        yield* sends.accept(newSend(id, "far", { scheduledAt: far }))
        const { send: short } = yield* sends.accept(newSend(id, "short", { grace: Duration.zero, chat: chat(3) }))
        assert.deepStrictEqual([send.state, short.state], ["scheduled", "pending"])
        assert.isNull(yield* sends.claim(id, epoch))
        const expired = (yield* sends.sweep).untold.filter(({ deviceId }) => deviceId === id)
        assert.deepStrictEqual(expired.map(({ id, reason, state }) => [id, state, reason]), [[
          short.id,
          "expired",
          "expired"
        ]])
        let due: ReadonlyArray<DeviceId> = []
        while (!due.includes(id)) due = (yield* sends.sweep).due
        assert.isAtLeast(Date.now(), Date.parse(soon) - 50)
        assert.strictEqual(textOf(yield* sends.claim(id, epoch)), "soon")
        assert.isTrue((yield* sends.sweep).active)
      }))

    it.effect("counts the messages that a device passed to its gateway, without those that were surely not sent", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        for (const n of [1, 2, 3, 4, 5]) yield* sends.accept(newSend(id, `message ${n}`, { chat: chat(n) }))
        const take = Effect.map(sends.claim(id, epoch), (claimed) => claimed!)
        const [sent, doubtful, back, held, onItsWay] = [
          yield* take,
          yield* take,
          yield* take,
          yield* take,
          yield* take
        ]
        yield* record(sent, sentAs(freshWaId()))
        yield* record(doubtful, { state: "unknown", waId: null, reason: "no-answer", detail: "reset" })
        yield* sends.release(back, { reason: "not-connected", detail: "no account" })
        yield* record(held, { state: "failed", waId: null, reason: "reach-out-pause", detail: "held back" })
        const { createdAt, now, sent: counted, waiting } = (yield* sends.pace(id, 60_000))!
        assert.deepStrictEqual(
          counted,
          [sent, doubtful, onItsWay].map(({ chat, claimedAt }) => ({
            at: Date.parse(claimedAt!),
            chat
          }))
        )
        assert.strictEqual(waiting, 1)
        assert.isAtLeast(now, counted.at(-1)!.at)
        assert.isAtMost(createdAt, now)
        assert.deepStrictEqual((yield* sends.pace(id, 0))?.sent, [])
        assert.isNull(yield* sends.pace(freshDevice(), 60_000))
      }))

    it.effect("skips a chat that rests, and no other chat of the device", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        yield* sends.accept(newSend(id, "rests"))
        yield* sends.accept(newSend(id, "goes", { chat: chat(2) }))
        assert.strictEqual(textOf(yield* sends.claim(id, epoch, [chat(1), chat(3)])), "goes")
        assert.isNull(yield* sends.claim(id, epoch, [chat(1)]))
        assert.strictEqual(textOf(yield* sends.claim(id, epoch)), "rests")
      }))

    it.effect("marks a recipient for a while whom the gateway refused as over its limit, and no other", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        for (const [to, text] of [[1, "a"], [1, "b"], [2, "c"]] as const) {
          yield* sends.accept(newSend(id, text, { chat: chat(to) }))
        }
        const first = (yield* sends.claim(id, epoch))!
        assert.isFalse(first.limited)
        yield* record(first, { state: "failed", waId: null, reason: "reach-out-limit", detail: "463" })
        const [second, third] = [(yield* sends.claim(id, epoch))!, (yield* sends.claim(id, epoch))!]
        assert.deepStrictEqual([textOf(second), second.limited, textOf(third), third.limited], ["b", true, "c", false])
      }))

    it.effect("applies early, late and repeated acks correctly, with the id of the accepted message once it is known", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const sends = yield* SendRepository
        const messages = yield* MessageRepository
        const { epoch, id } = yield* owned
        const { send } = yield* sends.accept(newSend(id, "acked"))
        const waId = freshWaId()
        yield* log.append([ackDraft(id, waId, "delivered")])
        const claimed = (yield* sends.claim(id, epoch))!
        yield* record(claimed, sentAs(waId))
        assert.strictEqual((yield* messages.get(send.id)).status, "delivered")
        yield* log.append([ackDraft(id, waId, "read"), ackDraft(id, waId, "delivered", "628333@s.whatsapp.net")])
        const message = yield* messages.get(send.id)
        assert.deepStrictEqual([message.status, message.waId, message.direction], ["read", waId, "out"])
        assert.deepStrictEqual(yield* messages.get(ownMessageId(id, waId)), message, "by the other id too")
        const acks: ReadonlyArray<AckData> = yield* eventsOf(id, "message.ack")
        assert.deepStrictEqual(acks.map((ack) => [ack.messageId, ack.status]), [
          [ownMessageId(id, waId), "delivered"],
          [send.id, "read"],
          [send.id, "delivered"]
        ])
        const { oldest } = yield* log.bounds
        const { events } = yield* log.read({ after: oldest - 1, limit: 1000, device: id })
        const read = events.find(({ data, kind }) => kind === "message.ack" && data.includes("\"read\""))!
        assert.strictEqual(Buffer.byteLength(read.data), read.bytes)
      }))

    it.effect("stores one message and one event for an echo before the answer and for repeated outcomes", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const sends = yield* SendRepository
        const messages = yield* MessageRepository
        const { epoch, id } = yield* owned
        const { send } = yield* sends.accept(newSend(id, "echoed"))
        const waId = freshWaId()
        yield* log.append([messageDraft({ device: id, chat: chat(1), fromMe: true, waId, body: "echoed " })])
        const claimed = (yield* sends.claim(id, epoch))!
        yield* record(claimed, sentAs(waId))
        yield* record(claimed, sentAs(waId))
        yield* log.append([messageDraft({ device: id, chat: chat(1), fromMe: true, waId, body: "echoed " })])
        assert.deepStrictEqual((yield* eventsOf(id, "message.status")).map(({ status }) => status), ["sent"])
        assert.strictEqual((yield* eventsOf(id, "message.sent")).length, 1)
        assert.deepStrictEqual(yield* eventsOf(id, "frame.rejected"), [])
        const { items } = yield* messages.list({ device: id, limit: 10 })
        assert.deepStrictEqual(items.map((message) => [message.id, message.status]), [[send.id, "sent"]])
      }))

    it.effect("lists every message once, whether accepted or recorded, page by page", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const sends = yield* SendRepository
        const messages = yield* MessageRepository
        const { epoch, id } = yield* owned
        const expected: Array<string> = []
        for (let n = 1; n <= 12; n++) {
          if (n % 3 === 0) {
            const draft = messageDraft({ device: id, chat: chat(1) })
            yield* log.append([draft])
            expected.unshift(draft.data.messageId)
          } else {
            const { send } = yield* sends.accept(newSend(id, `text ${n}`))
            expected.unshift(send.id)
            if (n % 2 === 0) yield* record((yield* sends.claim(id, epoch))!, sentAs(freshWaId()))
          }
        }
        for (const limit of [1, 2, 5, 100]) {
          const seen: Array<string> = []
          let cursor: string | undefined
          do {
            const page = yield* messages.list({ device: id, visible: [id], limit, cursor })
            seen.push(...page.items.map((message) => message.id))
            cursor = page.next ?? undefined
          } while (cursor !== undefined)
          assert.deepStrictEqual(seen, expected, `pages of ${limit}`)
        }
        const told = (yield* messages.list({ device: id, limit: 100, status: "sent" })).items
        for (const message of told) {
          const found = yield* messages.list({ device: id, limit: 100, waId: message.waId ?? "" })
          assert.deepStrictEqual(found.items, [message])
        }
        const statuses = (yield* messages.list({ device: id, limit: 100, chat: chat(1) })).items.map(({ status }) =>
          status
        )
        assert.strictEqual(statuses.filter((status) => status === "sent").length, 4)
        const pending = yield* messages.list({ device: id, limit: 100, status: "pending" })
        assert.strictEqual(pending.items.length, statuses.filter((status) => status === "pending").length)
        assert.strictEqual((yield* messages.list({ device: id, limit: 100, status: "unknown" })).items.length, 0)
      }))

    it.effect("deletes messages to send on an erasure, and ended ones by retention", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const sends = yield* SendRepository
        const { epoch, id } = yield* owned
        const { send } = yield* sends.accept(newSend(id, "private"))
        const { send: other } = yield* sends.accept(newSend(id, "other", { chat: chat(2) }))
        yield* log.eraseChat(id, chat(1))
        assert.isNull(yield* sends.find(send.id))
        yield* record((yield* sends.claim(id, epoch))!, sentAs(freshWaId()))
        const { send: waiting } = yield* sends.accept(newSend(id, "waits", { chat: chat(3) }))
        yield* until(
          "what was sent is deleted, a moment later",
          Effect.andThen(
            sends.deleteOlderThan(Duration.millis(1)),
            Effect.map(sends.find(other.id), (found) => found === null)
          )
        )
        assert.isNotNull(yield* sends.find(waiting.id))
        yield* log.eraseDevice(id)
        assert.isNull(yield* sends.find(waiting.id))
      }))

    it.effect("signals at once that a device has something to send", () =>
      Effect.gen(function*() {
        const sends = yield* SendRepository
        const { id } = yield* owned
        const listens = yield* Deferred.make<void>()
        const told = yield* Effect.forkChild(
          sends.changes.pipe(
            Stream.tap((device) => device === null ? Deferred.succeed(listens, undefined) : Effect.void),
            Stream.filter((device) => device === id),
            Stream.runHead
          )
        )
        yield* Deferred.await(listens)
        yield* sends.accept(newSend(id, "wake"))
        assert.isTrue(Option.isSome(yield* Fiber.join(told)))
      }).pipe(Effect.timeout("20 seconds")))
  })
}
