/** The contract of every store under the log: which writes may be repeated, and what is committed together. */
import { assert, layer } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { Layer } from "effect"
import { LogStore } from "../../src/log/LogStore.ts"
import type { PreparedGroup } from "../../src/log/LogStore.ts"
import { prepare } from "../../src/log/PreparedDraft.ts"
import type { EventDraft } from "../../src/domain/Event.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { makeEventId, parseMessageId } from "../../src/services/EventIdentity.ts"
import { MessageRepository } from "../../src/services/MessageRepository.ts"
import { freshDevice, freshWaId, messageDraft, ownMessageId, stateDraft } from "../support/drafts.ts"

const group = (drafts: ReadonlyArray<EventDraft>, rest: Partial<PreparedGroup> = {}): PreparedGroup => ({
  drafts: drafts.map((draft) => prepare(draft, () => makeEventId(Date.now()))),
  fence: null,
  effects: [],
  ...rest
})

export const logStoreConformance = (
  name: string,
  storage: Layer.Layer<LogStore | DeviceRepository | MessageRepository>
): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`a log store ${name}`, (it) => {
    it.effect("recognises a repeated batch by its floor, also when others have written in between", () =>
      Effect.gen(function*() {
        const store = yield* LogStore
        const floor = (yield* store.bounds).head
        const device = freshDevice()
        const drafts = [stateDraft(device, "Inactive"), messageDraft({ device }), stateDraft(device, "LoggedOut")]
        const batch = { groups: [group(drafts)], moves: [], anchor: 0, floor }
        const first = yield* store.write(batch)
        assert.deepStrictEqual(
          first.written,
          drafts.map((_, index) => ({ _tag: "Committed", seq: floor + 1 + index, fresh: true }))
        )
        yield* store.write({
          groups: [group([stateDraft(device, "Inactive")])],
          moves: [],
          anchor: 0,
          floor: floor + 3
        })
        // The first attempt may also arrive second: both look the same to the store.
        const again = yield* store.write(batch)
        assert.deepStrictEqual(
          again.written,
          drafts.map((_, index) => ({ _tag: "Committed", seq: floor + 1 + index, fresh: false }))
        )
        assert.strictEqual(again.head, floor + 4)
        assert.strictEqual((yield* store.bounds).head, floor + 4)
      }))

    it.effect("writes nothing over a floor above the log's head, and returns the head", () =>
      Effect.gen(function*() {
        const store = yield* LogStore
        const before = yield* store.bounds
        const device = freshDevice()
        const batch = {
          groups: [group([stateDraft(device, "Inactive")])],
          moves: [],
          anchor: 0,
          floor: before.head + 1
        }
        const behind = yield* Effect.flip(store.write(batch))
        assert.deepInclude(behind, { _tag: "FloorAboveHead", head: before.head, logId: before.logId })
        assert.deepStrictEqual(yield* store.bounds, before)
      }))

    // The usual batch, for which a store may have a faster path.
    it.effect("recognises repeats and conflicts of single messages, within a batch and across batches", () =>
      Effect.gen(function*() {
        const store = yield* LogStore
        const floor = (yield* store.bounds).head
        const device = freshDevice()
        const [one, two] = [freshWaId(), freshWaId()]
        const single = (waId: string, body: string) => group([messageDraft({ device, waId, body })])
        const batch = { groups: [single(one, "first"), single(two, "other")], moves: [], anchor: 0, floor }
        const written = yield* store.write(batch)
        const numbers = (fresh: boolean) => [1, 2].map((index) => ({ _tag: "Committed", seq: floor + index, fresh }))
        assert.deepStrictEqual([written.written, written.head], [numbers(true), floor + 2])

        const within = {
          groups: [single("new", "a"), single("new", "a"), single("new", "b")],
          moves: [],
          anchor: 0,
          floor: floor + 2
        }
        const tags = (result: { readonly written: ReadonlyArray<{ readonly _tag: string }> }) =>
          result.written.map(({ _tag }) => _tag)
        assert.deepStrictEqual(tags(yield* store.write(within)), ["Committed", "Duplicate", "Conflict"])
        const over = { groups: [single(one, "first"), single(two, "changed")], moves: [], anchor: 0, floor: floor + 3 }
        assert.deepStrictEqual(tags(yield* store.write(over)), ["Duplicate", "Conflict"])

        const headId = (yield* store.bounds).headId
        const again = yield* store.write({ ...batch, anchor: floor + 3 })
        assert.deepStrictEqual([again.written, again.head], [numbers(false), floor + 3])
        assert.isNotNull(headId)
        assert.strictEqual(again.anchorId, headId)
        const unknown = { groups: [single(freshWaId(), "")], moves: [], anchor: floor + 1000, floor: floor + 3 }
        assert.isNull((yield* store.write(unknown)).anchorId)
        const beyond = yield* Effect.flip(
          store.write({ ...batch, groups: [single(freshWaId(), "")], floor: floor + 5 })
        )
        assert.deepInclude(beyond, { _tag: "FloorAboveHead", head: floor + 4 })
        assert.strictEqual((yield* store.bounds).head, floor + 4)
      }))

    it.effect("moves a cursor with a batch of single messages, for its newest claim only", () =>
      Effect.gen(function*() {
        const store = yield* LogStore
        const sink = freshWaId()
        const { epoch } = (yield* store.claimCursor(sink, null, { from: "beginning", keep: null }))!
        const write = (epoch: number, seq: number, floor: number) =>
          store.write({
            groups: [group([messageDraft({ device: freshDevice() })])],
            moves: [{ sink, epoch, seq, id: null }],
            anchor: 0,
            floor
          })
        const { head } = yield* store.bounds
        const first = yield* write(epoch, head, head)
        const stale = yield* write(epoch - 1, head + 1, head + 1)
        assert.deepStrictEqual([first.lost, stale.lost], [[], [0]])
        const row = (yield* store.cursors).find((cursor) => cursor.sink === sink)
        assert.deepStrictEqual(row?.seq, head)
      }))

    it.effect("gives a cursor only to a claim that names its newest epoch", () =>
      Effect.gen(function*() {
        const store = yield* LogStore
        const sink = freshWaId()
        const start = { from: "now", keep: Duration.days(1) } as const
        const { head } = yield* store.bounds
        assert.deepStrictEqual(
          [
            yield* store.cursorEpoch(sink),
            yield* store.claimCursor(sink, null, null),
            yield* store.claimCursor(sink, 1, start)
          ],
          [null, null, null]
        )
        const first = (yield* store.claimCursor(sink, null, start))!
        assert.deepInclude(first, { sink, seq: head })
        const refused = [
          yield* store.claimCursor(sink, null, start),
          yield* store.claimCursor(sink, first.epoch + 1, start)
        ]
        assert.deepStrictEqual([refused, yield* store.cursorEpoch(sink)], [[null, null], first.epoch])
        const second = (yield* store.claimCursor(sink, first.epoch, null))!
        assert.deepInclude(second, { sink, seq: head })
        assert.isAbove(second.epoch, first.epoch)
        const find = Effect.map(store.cursors, (cursors) => cursors.find((cursor) => cursor.sink === sink))
        assert.deepStrictEqual(yield* find, { ...second, limited: true })
        const third = (yield* store.claimCursor(sink, second.epoch, { from: "beginning", keep: null }))!
        assert.deepStrictEqual(yield* find, { ...third, seq: head, limited: false })
      }))

    it.effect("commits a group with its effects or refuses all of it, and commits the other groups", () =>
      Effect.gen(function*() {
        const store = yield* LogStore
        const devices = yield* DeviceRepository
        const messages = yield* MessageRepository
        const id = freshDevice()
        yield* devices.insert({ id, name: "kasir", gateway: "default" as never, upstreamId: id as never })
        const { epoch } = (yield* devices.claim("node-a", [id])).get(id)!
        const [early, late] = [freshWaId(), freshWaId()]
        const read = (waId: string) => ({
          _tag: "Ack" as const,
          message: parseMessageId(ownMessageId(id, waId))!,
          status: "read"
        })
        const floor = (yield* store.bounds).head
        const own = (waId: string) => messageDraft({ device: id, waId, fromMe: true })
        const batch = {
          groups: [
            group([own(early), stateDraft(id, "LoggedOut")], {
              fence: { deviceId: id, epoch: epoch + 7 },
              effects: [read(late)]
            }),
            group([own(late)]),
            group([messageDraft({ device: id }), own(early)], {
              fence: { deviceId: id, epoch },
              effects: [read(early)]
            })
          ],
          moves: [],
          anchor: 0,
          floor
        }
        const { written } = yield* store.write(batch)
        assert.deepStrictEqual(
          written.map(({ _tag }) => _tag),
          ["Fenced", "Fenced", "Committed", "Committed", "Committed"]
        )
        assert.strictEqual((yield* devices.get(id)).state._tag, "Inactive")
        assert.strictEqual((yield* messages.get(ownMessageId(id, late))).status, "sent")
        assert.strictEqual((yield* messages.get(ownMessageId(id, early))).status, "read")
        yield* devices.claim("node-b", [id])
        const repeated = yield* store.write(batch)
        assert.deepStrictEqual(
          repeated.written.map((one) => [one._tag, one._tag === "Committed" && one.fresh]),
          [["Fenced", false], ["Fenced", false], ["Committed", false], ["Committed", false], ["Committed", false]],
          "what was committed under the old epoch stays committed"
        )
      }))
  })
}
