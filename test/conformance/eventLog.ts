/** The contract of every event log, for every storage. Each test uses new devices, sinks and numbers. */
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Fiber, Stream } from "effect"
import type { Layer } from "effect"
import fc from "fast-check"
import { positionAfter, readPosition } from "../../src/domain/Ids.ts"
import type { EventDraft } from "../../src/domain/Event.ts"
import type { DeviceStateData } from "../../src/domain/EventData.ts"
import { advance } from "../../src/domain/Message.ts"
import type { AckStatus } from "../../src/domain/Message.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { EventLog, groupBytesMax, groupEventsMax } from "../../src/services/EventLog.ts"
import type { EventPage } from "../../src/services/EventLog.ts"
import { pageBytesMax } from "../../src/log/LogStore.ts"
import { MessageRepository } from "../../src/services/MessageRepository.ts"
import {
  ackDraft,
  freshDevice,
  freshWaId,
  fromHistory,
  messageDraft,
  ownMessageId,
  stateDraft
} from "../support/drafts.ts"

export type Storage = EventLog | DeviceRepository | MessageRepository

const readAll = Effect.fnUntraced(function*(device: ReturnType<typeof freshDevice>) {
  const log = yield* EventLog
  const { events } = yield* log.read({ after: yield* beforeOldest, limit: 1000, device })
  return events
})

/** Retention has removed earlier events if its tests ran first. */
const beforeOldest = Effect.flatMap(EventLog, (log) => Effect.map(log.bounds, ({ oldest }) => oldest - 1))

const readBody = (event: { readonly data: string }): string => (JSON.parse(event.data) as { body: string }).body

export const eventLogConformance = (name: string, storage: Layer.Layer<Storage>): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`an event log ${name}`, (it) => {
    it.effect("assigns contiguous numbers in order and returns committed events unchanged", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        const before = (yield* log.bounds).head
        const odd = "nul \u0000, lone surrogate \ud800, quote \" and 😀"
        const appended = yield* log.append([
          messageDraft({ device, body: odd }),
          messageDraft({ device, body: "second", occurredAt: "2026-11-22T17:00:00.123456+07:00" })
        ])
        assert.deepStrictEqual(appended, [
          { _tag: "Committed", seq: before + 1 },
          { _tag: "Committed", seq: before + 2 }
        ])
        const events = yield* readAll(device)
        assert.deepStrictEqual(events.map((event) => event.seq), [before + 1, before + 2])
        assert.strictEqual(readBody(events[0]!), odd)
        assert.strictEqual(events[1]!.occurredAt, "2026-11-22T17:00:00.123456+07:00")
        assert.deepStrictEqual(yield* log.latest({ device, limit: 10 }), events.toReversed())
      }))

    it.effect("drops duplicates, within one batch and across batches", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        const waId = freshWaId()
        const again = () => messageDraft({ device, waId })
        const first = yield* log.append([again(), again()])
        const second = yield* log.append([again()])
        assert.deepStrictEqual([...first, ...second].map((result) => result._tag), [
          "Committed",
          "Duplicate",
          "Duplicate"
        ])
        assert.strictEqual((yield* readAll(device)).length, 1)
      }))

    it.effect("stores messages of different chats or senders separately although the sender chose an id that is already used", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const messages = yield* MessageRepository
        const device = freshDevice()
        const waId = freshWaId()
        const results = yield* log.append([
          messageDraft({ device, waId, chat: "628666@s.whatsapp.net", body: "forged" }),
          messageDraft({ device, waId, chat: "628111@s.whatsapp.net", body: "genuine" }),
          messageDraft({ device, waId, chat: "1@g.us", sender: "628111@s.whatsapp.net", body: "in a group" }),
          messageDraft({ device, waId, chat: "1@g.us", sender: "628666@s.whatsapp.net", body: "of another" })
        ])
        assert.deepStrictEqual(results.map((result) => result._tag), Array.from({ length: 4 }, () => "Committed"))
        const page = yield* messages.list({ device, limit: 10 })
        assert.deepStrictEqual(page.items.map((message) => message.body), [
          "of another",
          "in a group",
          "genuine",
          "forged"
        ])
      }))

    it.effect("recognises a message under both spellings of its account, whichever came first", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        const alias = { lid: "9911@lid", jid: "62811@s.whatsapp.net" }
        const [early, late, both, group] = [freshWaId(), freshWaId(), freshWaId(), freshWaId()]
        const results = yield* Effect.forEach([
          messageDraft({ device, waId: early, chat: alias.lid }),
          // Shows the log that the two spellings are one account.
          messageDraft({ device, waId: both, chat: alias.jid, aliases: [alias] }),
          messageDraft({ device, waId: early, chat: alias.jid }),
          messageDraft({ device, waId: late, chat: alias.jid }),
          messageDraft({ device, waId: late, chat: alias.lid }),
          messageDraft({ device, waId: both, chat: alias.lid, sender: alias.jid })
        ], (draft) => log.append([draft]))
        assert.deepStrictEqual(results.map(([result]) => result!._tag), [
          "Committed",
          "Committed",
          "Duplicate",
          "Committed",
          "Duplicate",
          "Duplicate"
        ])
        // In a group the chat has one spelling, and its sender two.
        const [inGroup, repeated] = yield* Effect.forEach(
          [alias.jid, alias.lid],
          (sender) => log.append([messageDraft({ device, waId: group, chat: "1@g.us", sender })])
        )
        assert.deepStrictEqual([inGroup![0]!._tag, repeated![0]!._tag], ["Committed", "Duplicate"])
        const other = freshDevice()
        const elsewhere = yield* log.append([
          messageDraft({ device: other, waId: early, chat: alias.lid }),
          messageDraft({ device: other, waId: early, chat: alias.jid })
        ])
        assert.deepStrictEqual(elsewhere.map((result) => result._tag), ["Committed", "Committed"])
      }))

    it.effect("keeps the first content of an identity, and records a different second content once", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const messages = yield* MessageRepository
        const device = freshDevice()
        const waId = freshWaId()
        const say = (body: string) => messageDraft({ device, waId, body })
        const results = yield* log.append([say("first"), say("second")])
        const repeated = yield* log.append([say("second"), say("third"), say("first")])
        assert.deepStrictEqual([...results, ...repeated].map((result) => result._tag), [
          "Committed",
          "Committed",
          "Duplicate",
          "Committed",
          "Duplicate"
        ])
        const events = yield* readAll(device)
        assert.deepStrictEqual(events.map((event) => event.kind), [
          "message.received",
          "frame.rejected",
          "frame.rejected"
        ])
        const rejected = JSON.parse(events[1]!.data) as { reason: string; raw: string }
        assert.strictEqual(rejected.reason, "conflict")
        assert.strictEqual(readBody({ data: rejected.raw }), "second")
        assert.deepStrictEqual((yield* messages.list({ device, limit: 10 })).items.map((message) => message.body), [
          "first"
        ])
      }))

    it.effect("stores each message once and without a conflict for any mix of live messages and history rows", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const messages = yield* MessageRepository
        const lid = { chat: "99111@lid", sender: "99111@lid" }
        const phone = { chat: "628444@s.whatsapp.net", sender: "628444@s.whatsapp.net" }
        const aliases = [{ lid: lid.chat, jid: phone.chat }]
        const order = fc.array(fc.tuple(fc.nat({ max: 3 }), fc.constantFrom("live", "history", "split")), {
          minLength: 1,
          maxLength: 24
        })
        for (const picks of fc.sample(order, { numRuns: 25, seed: 11 })) {
          const device = freshDevice()
          const waIds = [freshWaId(), freshWaId(), freshWaId(), freshWaId()]
          // The spellings are known from the start: without the pair, two addresses cannot be recognised as one.
          yield* log.append([messageDraft({ device, ...phone, aliases })])
          const waiting: Array<EventDraft> = []
          for (const [index, how] of picks) {
            const waId = waIds[index]!
            const live = messageDraft({ device, waId, body: "as it was sent", ...(index % 2 === 0 ? lid : phone) })
            const row = fromHistory(messageDraft({ device, waId, body: `rewritten ${waiting.length}`, ...phone }))
            waiting.push(how === "live" ? live : row)
            if (how !== "split") yield* log.append(waiting.splice(0))
          }
          if (waiting.length > 0) yield* log.append(waiting)
          const events = yield* readAll(device)
          assert.isTrue(events.every(({ kind }) => kind === "message.received"), JSON.stringify(picks))
          const stored = (yield* messages.list({ device, limit: 100 })).items.map(({ waId }) => waId)
          const expected = new Set(picks.map(([index]) => waIds[index]!))
          assert.strictEqual(stored.length, expected.size + 1)
          assert.isTrue([...expected].every((waId) => stored.includes(waId)))
        }
      }))

    it.effect("moves a message's status forward only, whatever the order of its acks and its arrival", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const messages = yield* MessageRepository
        const statuses: ReadonlyArray<AckStatus> = ["sent", "delivered", "read", "played", "failed"]
        const plan = fc.tuple(
          fc.array(fc.tuple(fc.constantFrom(...statuses), fc.constantFrom("628222@s.whatsapp.net", "628333@lid")), {
            maxLength: 8
          }),
          fc.nat({ max: 8 }),
          fc.boolean()
        )
        for (const [acks, place, oneBatch] of fc.sample(plan, { numRuns: 40, seed: 7 })) {
          const device = freshDevice()
          const waId = freshWaId()
          const drafts: Array<EventDraft> = acks.map(([status, from]) => ackDraft(device, waId, status, from))
          drafts.splice(place, 0, messageDraft({ device, waId, fromMe: true }))
          if (oneBatch) yield* log.append(drafts)
          else yield* Effect.forEach(drafts, (draft) => log.append([draft]))
          const message = yield* messages.get(ownMessageId(device, waId))
          const expected = acks.map(([status]) => status).reduce(advance, "sent")
          assert.strictEqual(message.status, expected, JSON.stringify({ acks, place, oneBatch }))
        }
      }))

    it.effect("records a device's state together with the event that reports it", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const devices = yield* DeviceRepository
        const id = freshDevice()
        yield* devices.insert({ id, name: "kasir", gateway: "default" as never, upstreamId: id as never })
        yield* log.append([stateDraft(id, "Inactive", "628111@s.whatsapp.net"), stateDraft(id, "Inactive")])
        const known = yield* devices.get(id)
        assert.deepStrictEqual([known.jid, known.phone], ["628111@s.whatsapp.net", "+628111"])
        yield* log.append([stateDraft(id, "LoggedOut")])
        const loggedOut = yield* devices.get(id)
        assert.deepStrictEqual(loggedOut.state, { _tag: "LoggedOut", reason: "a \u0000 in the reason" })
        assert.deepStrictEqual([loggedOut.jid, loggedOut.phone], [null, null], "a login that is gone is not remembered")
      }))

    it.effect("refuses only the decisions of a stale epoch in a batch, and never a fact", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const devices = yield* DeviceRepository
        const [id, other] = [freshDevice(), freshDevice()]
        yield* devices.insert({ id, name: "kasir", gateway: "default" as never, upstreamId: id as never })
        yield* devices.insert({ id: other, name: "gudang", gateway: "default" as never, upstreamId: other as never })
        const unknown = freshDevice()
        const first = yield* devices.claim("node-a", [id, other, unknown, id])
        assert.deepStrictEqual([...first.keys()].sort(), [id, other].sort())
        const fenceOf = (deviceId: typeof id) => ({ deviceId, epoch: first.get(deviceId)!.epoch })
        const old = fenceOf(id)
        yield* log.append([stateDraft(id, "LoggedOut")], { fence: old })
        const current = { deviceId: id, epoch: (yield* devices.claim("node-b", [id])).get(id)!.epoch }
        assert.isAbove(current.epoch, old.epoch)
        let fenced = 0
        log.push(messageDraft({ device: id }))
        log.push(stateDraft(id, "Inactive"), { fence: old, onFenced: () => fenced++ })
        log.push(stateDraft(other, "LoggedOut"), { fence: fenceOf(other), onFenced: () => fenced++ })
        log.push(stateDraft(unknown, "Inactive"), { fence: { deviceId: unknown, epoch: 0 }, onFenced: () => fenced++ })
        yield* log.flush
        assert.strictEqual(fenced, 2)
        const refused = yield* Effect.flip(log.append([stateDraft(id, "Inactive")], { fence: old }))
        assert.deepInclude(refused, { _tag: "Fenced", ...old })
        assert.strictEqual((yield* devices.get(id)).state._tag, "LoggedOut", "a refused decision changes nothing")
        assert.strictEqual((yield* devices.get(other)).state._tag, "LoggedOut")
        assert.deepStrictEqual((yield* readAll(id)).map((event) => event.kind), ["device.state", "message.received"])
        assert.strictEqual((yield* log.append([stateDraft(id, "Inactive")], { fence: current }))[0]!._tag, "Committed")
      }))

    it.effect("refuses a group that exceeds one transaction", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        const many = Array.from({ length: groupEventsMax + 1 }, () => messageDraft({ device }))
        assert.strictEqual((yield* Effect.flip(log.append(many)))._tag, "GroupTooLarge")
        const half = () => messageDraft({ device, body: "x".repeat(groupBytesMax / 2) })
        assert.strictEqual((yield* Effect.flip(log.append([half(), half()])))._tag, "GroupTooLarge")
        assert.deepStrictEqual(yield* readAll(device), [])
        yield* log.append([messageDraft({ device, body: "x".repeat(groupBytesMax) })])
      }))

    it.effect("gives a follower every event once, in order, over the switch from replay to live", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const { head } = yield* log.bounds
        const [count, writers] = [600, 6]
        const devices = Array.from({ length: writers }, freshDevice)
        yield* log.append(Array.from({ length: 200 }, () => messageDraft({ device: devices[0]! })))
        const following = yield* log.follow({ after: head }).pipe(
          Stream.scan((): Array<number> => [], (seen: Array<number>, page: EventPage) => {
            for (const event of page.events) seen.push(event.seq)
            return seen
          }),
          Stream.takeUntil((seen) => seen.length >= count + 200),
          Stream.runLast,
          Effect.forkChild
        )
        yield* Effect.forEach(
          devices,
          (device) =>
            Effect.forEach(Array.from({ length: count / writers }), () => log.append([messageDraft({ device })])),
          {
            concurrency: "unbounded"
          }
        )
        const seen = yield* Fiber.join(following)
        assert.deepStrictEqual(
          seen._tag === "Some" ? seen.value : [],
          Array.from({ length: count + 200 }, (_, index) => head + 1 + index)
        )
      }))

    it.effect("reads by device and by kind, and returns the number through which it has searched", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        const waId = freshWaId()
        const { head } = yield* log.bounds
        yield* log.append([
          messageDraft({ device, waId, fromMe: true }),
          ackDraft(device, waId, "delivered"),
          messageDraft({ device: freshDevice() })
        ])
        const acks = yield* log.read({ after: head, limit: 10, kinds: ["message.ack"] })
        assert.deepStrictEqual(acks.events.map((event) => event.seq), [head + 2])
        assert.strictEqual(acks.through, head + 3)
        const first = yield* log.read({ after: head, limit: 1, device })
        assert.strictEqual(first.through, head + 1)
        const none = yield* log.read({ after: head + 3, limit: 1, device })
        assert.deepStrictEqual(none, { events: [], through: head + 3, throughId: (yield* log.bounds).headId })
      }))

    it.effect("omits events hidden from the reader, whatever it asks for, and moves past them", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        const { head, oldest } = yield* log.bounds
        const waId = freshWaId()
        yield* log.append([messageDraft({ device, waId, fromMe: true }), ackDraft(device, waId, "delivered")])
        const hidden = ["message.ack"]
        // The tail in memory answers the first, the store the second.
        for (const after of [head, oldest - 1]) {
          const kindsOf = (filter: { readonly kinds?: ReadonlyArray<string> }) =>
            log.read({ after, limit: 1000, device, hidden, ...filter }).pipe(
              Effect.map(({ events, through }) => [events.map(({ kind }) => kind), through === head + 2])
            )
          assert.deepStrictEqual(yield* kindsOf({}), [["message.sent"], true])
          assert.deepStrictEqual((yield* kindsOf({ kinds: hidden }))[0], [])
        }
        const latest = yield* log.latest({ device, hidden, limit: 10 })
        assert.deepStrictEqual(latest.map(({ kind }) => kind), ["message.sent"])
      }))

    it.effect("bounds a page in bytes too, with at least one event per page, and skips no event", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        const { head } = yield* log.bounds
        const [count, size] = [24, 900_000]
        // More events than memory keeps, so that the first pages come from the store and the last do not.
        for (let index = 0; index < count; index++) log.push(messageDraft({ device, body: "x".repeat(size) }))
        yield* log.flush
        let after = head
        const seen: Array<number> = []
        while (after < head + count) {
          const page = yield* log.read({ after, limit: 1000, device })
          assert.isAtLeast(page.events.length, 1)
          assert.isBelow(page.events.reduce((sum, event) => sum + event.data.length, 0), pageBytesMax + size * 1.1)
          seen.push(...page.events.map((event) => event.seq))
          after = page.through
        }
        assert.deepStrictEqual(seen, Array.from({ length: count }, (_, index) => head + 1 + index))
        yield* log.append([messageDraft({ device, body: "x".repeat(pageBytesMax + 1) })])
        const alone = yield* log.read({ after: head + count, limit: 10, device })
        assert.deepStrictEqual(alone.events.map((event) => event.seq), [head + count + 1])
      }))

    it.effect("keeps drafts that cannot be stored as they are, and the drafts around them", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        const circular: { self?: unknown } = {}
        circular.self = circular
        const broken: EventDraft = { ...stateDraft(device, "Inactive"), kind: "gateway.test", data: circular as never }
        const timeless = messageDraft({ device, occurredAt: "yesterday" })
        const results = yield* log.append([messageDraft({ device }), broken, timeless, messageDraft({ device })])
        assert.deepStrictEqual(results.map((result) => result._tag), Array.from({ length: 4 }, () => "Committed"))
        const events = yield* readAll(device)
        assert.deepStrictEqual(events.map((event) => event.kind), [
          "message.received",
          "frame.rejected",
          "frame.rejected",
          "message.received"
        ])
        assert.include(events[2]!.data, "\"reason\":\"unreadable\"")
      }))

    it.effect("moves a cursor forward only, and only for its newest claim", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const sink = `sink-${freshWaId()}`
        yield* log.append([messageDraft({ device: freshDevice() }), messageDraft({ device: freshDevice() })])
        const { head } = yield* log.bounds
        const first = yield* log.claimCursor(sink, "now")
        assert.strictEqual(first.seq, head)
        yield* log.append(Array.from({ length: 11 }, () => messageDraft({ device: freshDevice() })))
        yield* log.moveCursor(first, head + 10)
        yield* log.moveCursor(first, head + 5)
        const second = yield* log.claimCursor(sink, "beginning")
        assert.strictEqual(second.seq, head + 10)
        assert.isAbove(second.epoch, first.epoch)
        const lost = yield* Effect.flip(log.moveCursor(first, head + 11))
        assert.strictEqual(lost._tag, "CursorLost")
        assert.deepInclude(yield* log.cursors, { sink, epoch: second.epoch, seq: head + 10, limited: false })
        yield* log.moveCursor(second, head + 11)
      }))

    it.effect("moves a cursor only to an event that is in the log", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const sink = `sink-${freshWaId()}`
        const claim = yield* log.claimCursor(sink, "now")
        yield* log.append([messageDraft({ device: freshDevice() }), messageDraft({ device: freshDevice() })])
        const { events: [first, second] } = yield* log.read({ after: claim.seq, limit: 2 })
        assert.strictEqual((yield* Effect.flip(log.moveCursor(claim, second!.seq + 1)))._tag, "CursorLost")
        assert.strictEqual((yield* Effect.flip(log.moveCursor(claim, second!.seq, first!.id)))._tag, "CursorLost")
        assert.deepInclude(yield* log.cursors, { sink, epoch: claim.epoch, seq: claim.seq, limited: false })
        yield* log.moveCursor(claim, second!.seq, second!.id)
        assert.deepInclude(yield* log.cursors, { sink, epoch: claim.epoch, seq: second!.seq, limited: false })
      }))

    it.effect("gives a reader beyond the head the position to resume from", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const { head, headId, logId } = yield* log.bounds
        const reset = yield* Effect.flip(log.read({ after: head + 1, limit: 1 }))
        assert.deepInclude(reset, { _tag: "LogReset", head: positionAfter(head, headId), logId })
        const ended = yield* Effect.flip(Stream.runDrain(log.follow({ after: head + 1 })))
        assert.strictEqual(ended._tag, "LogReset")
      }))

    it.effect("returns pages that name the event before their position, whether it matched or not", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        const { head } = yield* log.bounds
        yield* log.append([messageDraft({ device }), messageDraft({ device: freshDevice() })])
        const all = yield* log.read({ after: head, limit: 10 })
        const ids = all.events.map(({ id }) => id)
        assert.deepStrictEqual([all.through, all.throughId], [head + 2, ids[1]])
        assert.strictEqual((yield* log.bounds).headId, ids[1])
        const cut = yield* log.read({ after: head, limit: 1 })
        assert.deepStrictEqual([cut.through, cut.throughId], [head + 1, ids[0]])
        // Nothing in memory leads to the device's rare kind: it is looked up in the store.
        for (const kinds of [undefined, ["gap.closed"]]) {
          const filtered = yield* log.read({ after: yield* beforeOldest, limit: 1000, device, kinds })
          assert.deepStrictEqual([filtered.through, filtered.throughId], [head + 2, ids[1]])
        }
        const nothing = yield* log.read({ after: head + 2, limit: 10 })
        assert.deepStrictEqual([nothing.through, nothing.throughId], [head + 2, ids[1]])
      }))

    it.effect("refuses a position whose event is a different one, in memory and in the store", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        yield* log.append(Array.from({ length: 3 }, () => messageDraft({ device: freshDevice() })))
        const { head, headId } = yield* log.bounds
        const { events } = yield* log.read({ after: head - 3, limit: 2 })
        for (const { id, seq } of [events[1]!, { id: headId!, seq: head }]) {
          const { mark } = readPosition(positionAfter(seq, id))!
          yield* log.locate({ after: seq, mark })
          const page = yield* log.read({ after: seq, mark, limit: 1 })
          assert.strictEqual(page.through, Math.min(seq + 1, head))
          yield* Stream.runHead(log.follow({ after: seq - 1, mark: null }))
          const wrong = { after: seq, mark: "00000000" }
          for (
            const attempt of [
              log.locate(wrong),
              log.read({ ...wrong, limit: 1 }),
              log.read({ ...wrong, limit: 1, device: freshDevice() }),
              Stream.runDrain(log.follow(wrong))
            ]
          ) {
            const refused = yield* Effect.flip(attempt)
            assert.deepInclude(refused, { _tag: "LogReset", head: positionAfter(head, headId) })
          }
        }
      }))

    it.effect("returns from flush after everything that was offered before is committed", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        for (let index = 0; index < 700; index++) log.push(messageDraft({ device }))
        yield* log.flush
        assert.strictEqual((yield* readAll(device)).length, 700)
      }))

    it.effect("erases a chat in the log too, under both spellings, and stores no repeat of its messages", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const messages = yield* MessageRepository
        const [device, other] = [freshDevice(), freshDevice()]
        const alias = { lid: "7711@lid", jid: "62877@s.whatsapp.net" }
        const [known, own] = [freshWaId(), freshWaId()]
        const rejected = (text: string): EventDraft => ({
          ...stateDraft(device, "Inactive"),
          kind: "frame.rejected",
          data: { reason: "not-json", detail: "test", raw: `{"from":"${text}"`, rawLength: 20 }
        })
        const { head } = yield* log.bounds
        const drafts = [
          messageDraft({ device, waId: known, chat: alias.jid, aliases: [alias], body: "secret" }),
          messageDraft({ device, chat: alias.lid, sender: alias.lid, body: "secret too" }),
          messageDraft({ device, waId: own, chat: alias.jid, fromMe: true, body: "my secret" }),
          ackDraft(device, own, "read"),
          rejected(alias.jid),
          rejected("somebody else"),
          messageDraft({ device, chat: "1@g.us", sender: alias.jid, body: "in a group" }),
          messageDraft({ device: other, chat: alias.jid, body: "of another device" }),
          stateDraft(device, "Inactive")
        ]
        yield* log.append(drafts)
        assert.strictEqual(yield* log.eraseChat(device, alias.jid), 4)
        const { events } = yield* log.read({ after: head, limit: 100 })
        assert.deepStrictEqual(events.map((event) => event.seq), drafts.map((_, index) => head + 1 + index))
        assert.deepStrictEqual(
          events.map((event) => event.kind),
          drafts.map((draft, index) => [0, 1, 2, 4].includes(index) ? "event.erased" : draft.kind)
        )
        assert.deepStrictEqual(JSON.parse(events[0]!.data), { erased: true })
        assert.deepStrictEqual(
          (yield* messages.list({ device, limit: 10 })).items.map((message) => message.body),
          ["in a group"]
        )
        assert.strictEqual((yield* Effect.flip(messages.get(ownMessageId(device, own))))._tag, "MessageNotFound")
        const repeated = yield* log.append([
          messageDraft({ device, waId: known, chat: alias.lid, body: "secret" }),
          messageDraft({ device, waId: known, chat: alias.jid, body: "another text" })
        ])
        assert.deepStrictEqual(repeated.map((result) => result._tag), ["Duplicate", "Duplicate"])
        assert.strictEqual(yield* log.eraseChat(device, alias.jid), 0)
      }))

    it.effect("erases a device's events except its own transitions, and forgets its account", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const devices = yield* DeviceRepository
        const messages = yield* MessageRepository
        const device = freshDevice()
        yield* devices.insert({ id: device, name: "x", gateway: "default" as never, upstreamId: device as never })
        const waId = freshWaId()
        yield* log.append([
          stateDraft(device, "Inactive", "628111@s.whatsapp.net"),
          messageDraft({ device, waId, fromMe: true }),
          ackDraft(device, waId, "read"),
          messageDraft({ device: freshDevice() })
        ])
        assert.strictEqual(yield* log.eraseDevice(device), 2)
        assert.deepStrictEqual(
          (yield* readAll(device)).map((event) => event.kind),
          ["device.state", "event.erased", "event.erased"]
        )
        assert.deepStrictEqual((yield* messages.list({ device, limit: 10 })).items, [])
        const { jid, phone } = yield* devices.get(device)
        assert.deepStrictEqual([jid, phone], [null, null])
      }))

    it.effect("erases a chat of large events in steps, and no events of other chats between them", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        const [chat, other] = ["628111@s.whatsapp.net", "628222@s.whatsapp.net"]
        const large = "x".repeat(3 * 1024 * 1024)
        const chats = [chat, other, chat, chat, other, chat]
        yield* Effect.forEach(chats, (one) => log.append([messageDraft({ device, chat: one, body: large })]))
        yield* log.append([messageDraft({ device, chat })])
        assert.strictEqual(yield* log.eraseChat(device, chat), 5)
        const events = yield* log.latest({ device, limit: 10 })
        assert.deepStrictEqual(
          events.map(({ kind }) => kind).toReversed(),
          [...chats, chat].map((one) => one === chat ? "event.erased" : "message.received")
        )
        assert.strictEqual(yield* log.eraseChat(freshDevice(), chat), 0)
      }))

    it.effect("names an erased account in no transition and no device row", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const devices = yield* DeviceRepository
        const [device, other] = [freshDevice(), freshDevice()]
        const [jid, phone] = ["6281234567890@s.whatsapp.net", "+6281234567890"]
        for (const id of [device, other]) {
          yield* devices.insert({ id, name: "x", gateway: "default" as never, upstreamId: id as never })
        }
        const online = (id: typeof device, words: string) => {
          const draft = stateDraft(id, "Inactive", jid)
          const failure = { class: "auth", code: "logged-out", detail: words } as const
          return {
            ...draft,
            data: { ...draft.data, state: { _tag: "Online", jid, since: draft.occurredAt }, phone, failure }
          } as typeof draft
        }
        const words = "6281234567890 was logged out, \u0000 not 62812345678901, by +6281234567890"
        yield* log.append([online(device, words), online(other, words)])
        assert.strictEqual((yield* devices.get(device)).jid, jid)
        assert.strictEqual(yield* log.eraseDevice(device), 0)
        const [event] = yield* readAll(device)
        const data = JSON.parse(event!.data) as DeviceStateData
        assert.deepInclude(data, { jid: null, phone: null, rule: data.rule })
        assert.strictEqual(data.failure?.detail, "erased was logged out, \u0000 not 62812345678901, by +erased")
        assert.deepInclude(data.state, { _tag: "Online", jid: null })
        assert.strictEqual(event!.bytes, Buffer.byteLength(event!.data))
        assert.deepInclude(yield* devices.get(device), { jid: null, phone: null, state: data.state })
        assert.include((yield* readAll(other))[0]!.data, jid)
        assert.strictEqual((yield* devices.get(other)).jid, jid)
      }))

    it.effect("recognises repeats by the spellings of an erased account until retention deletes the pair", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const device = freshDevice()
        const spell = (name: string) => ({ lid: `${name}@lid`, jid: `62${name}@s.whatsapp.net` })
        const [gone, named, back] = [spell("81"), spell("82"), spell("83")]
        const [early, late] = [freshWaId(), freshWaId()]
        yield* log.append([messageDraft({ device, waId: early, chat: gone.lid })])
        yield* log.append(
          [gone, named, back].map((alias) => messageDraft({ device, chat: alias.jid, aliases: [alias] }))
        )
        yield* log.append([messageDraft({ device, chat: "1@g.us", sender: named.lid })])
        for (const alias of [gone, named, back]) assert.isAbove(yield* log.eraseChat(device, alias.jid), 0)
        const repeated = yield* log.append([messageDraft({ device, waId: early, chat: gone.jid })])
        assert.deepStrictEqual(repeated.map(({ _tag }) => _tag), ["Duplicate"])
        yield* log.append([messageDraft({ device, chat: back.lid, aliases: [back] })])

        for (const { sink } of yield* log.cursors) {
          yield* log.moveCursor(yield* log.claimCursor(sink, "now"), (yield* log.bounds).head)
        }
        const before = yield* log.deleteOlderThan(Duration.days(1), { stepMax: Duration.days(1) })
        assert.deepStrictEqual(before, { _tag: "Deleted", count: 0 })
        const isKnown = Effect.fnUntraced(function*(alias: typeof gone) {
          const [first, second] = [yield* say(alias.lid), yield* say(alias.jid)]
          assert.strictEqual(first, "Committed")
          return second === "Duplicate"
        })
        const say = (chat: string) =>
          Effect.map(log.append([messageDraft({ device, waId: late, chat })]), ([written]) => written!._tag)
        assert.isTrue(yield* isKnown(back))
        // The newest event stays whatever its age, and belongs to none of these chats.
        yield* log.append([messageDraft({ device: freshDevice() })])
        yield* log.deleteOlderThan(Duration.zero, { stepMax: Duration.days(1) })
        yield* log.deleteOlderThan(Duration.zero, { stepMax: Duration.days(1) })
        assert.isFalse(yield* isKnown(gone))
        assert.isTrue(yield* isKnown(named))
      }))

    it.effect("keeps the events that a sink has not confirmed, and every identity, during retention", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const others = yield* log.cursors
        const device = freshDevice()
        const waId = freshWaId()
        const claim = yield* log.claimCursor(`sink-${freshWaId()}`, "now")
        const before = (yield* log.bounds).oldest
        yield* log.append([messageDraft({ device, waId }), messageDraft({ device })])
        yield* log.moveCursor(claim, claim.seq + 1)
        for (const { sink } of others) {
          yield* log.moveCursor(yield* log.claimCursor(sink, "now"), claim.seq + 2)
        }
        const deleteAll = log.deleteOlderThan(Duration.zero, { stepMax: Duration.days(1) })
        assert.deepStrictEqual(yield* deleteAll, { _tag: "Deleted", count: claim.seq + 2 - before })
        const head = yield* log.bounds
        assert.deepInclude(head, { head: claim.seq + 2, oldest: claim.seq + 2 })
        assert.deepStrictEqual(yield* deleteAll, { _tag: "Deleted", count: 0 })
        const [again] = yield* log.append([messageDraft({ device, waId })])
        assert.strictEqual(again!._tag, "Duplicate")
        assert.strictEqual((yield* log.latest({ device, limit: 10 })).length, 1)
      }))

    it.effect("waits with retention for a sink only for the time that its claim states", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const others = yield* log.cursors
        const sink = `sink-${freshWaId()}`
        const claim = yield* log.claimCursor(sink, "now", Duration.days(1))
        yield* log.append([messageDraft({ device: freshDevice() }), messageDraft({ device: freshDevice() })])
        assert.deepInclude(yield* log.cursors, { sink, epoch: claim.epoch, seq: claim.seq, limited: true })
        for (const { sink } of others) {
          yield* log.moveCursor(yield* log.claimCursor(sink, "now"), claim.seq + 2)
        }
        const oldest = log.deleteOlderThan(Duration.zero, { stepMax: Duration.days(1) }).pipe(
          Effect.andThen(Effect.map(log.bounds, (bounds) => bounds.oldest))
        )
        assert.strictEqual(yield* oldest, claim.seq + 1)
        yield* log.claimCursor(sink, "now", Duration.zero)
        assert.strictEqual(yield* oldest, claim.seq + 2, "the newest event stays in any case")
        assert.deepInclude(yield* log.claimCursor(sink, "now"), { seq: claim.seq })
        assert.include((yield* log.cursors).filter(({ limited }) => !limited).map((row) => row.sink), sink)
      }))
  })
}
