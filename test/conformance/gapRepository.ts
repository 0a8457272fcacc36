/** The contract of the ledger of gaps, for every storage. Gaps are written through the log, as the program does. */
import { assert, layer } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { Layer } from "effect"
import type { Gap, GapClosedData, GapOpenedData } from "../../src/domain/Gap.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { makeGapId } from "../../src/services/EventIdentity.ts"
import { gapClosed, gapEnded, gapOpened, gapRecaused, watermark } from "../../src/services/GapDrafts.ts"
import { GapRepository } from "../../src/services/GapRepository.ts"
import { freshDevice, messageDraft, stateDraft } from "../support/drafts.ts"
import { until } from "../support/until.ts"

export const opened = (fields: Partial<GapOpenedData> = {}): GapOpenedData => ({
  gapId: makeGapId(Date.now()),
  cause: "socket-down",
  openedAt: "2026-11-22T10:00:00.000Z",
  detail: "closed with code 1006",
  ...fields
})

/** Its status follows from what is proven. */
type ClosedGap = Omit<GapClosedData, "status">

export const closed = (gap: GapOpenedData, fields: Partial<ClosedGap> = {}): ClosedGap => ({
  ...gap,
  endedAt: "2026-11-22T10:00:05.000Z",
  proven: ["messages", "other-messages", "acks"],
  recovered: 3,
  ...fields
})

const claimed = Effect.fnUntraced(function*() {
  const devices = yield* DeviceRepository
  const id = freshDevice()
  yield* devices.insert({ id, name: "kasir", gateway: "default" as never, upstreamId: id as never })
  const claim = (yield* devices.claim("node-a", [id])).get(id)!
  return { id, claim, fence: { deviceId: id, epoch: claim.epoch } }
})

const gapsOf = Effect.fnUntraced(function*(device: DeviceId) {
  const gaps = yield* GapRepository
  return (yield* gaps.page({ device, limit: 100 })).items
})

/** Times of the database, some milliseconds apart. */
const later = (time: string, millis: number): string => new Date(Date.parse(time) + millis).toISOString()

export const gapRepositoryConformance = (
  name: string,
  storage: Layer.Layer<EventLog | DeviceRepository | GapRepository>
): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`the ledger of gaps ${name}`, (it) => {
    it.effect("changes the cause of an open gap to a better one, and fences pushed effects like decisions", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const { fence, id } = yield* claimed()
        const gap = opened()
        let fenced = 0
        const options = { fence, onFenced: () => fenced++ }
        log.push(gapOpened(id, gap, Date.now()), options)
        log.pushEffects([gapRecaused(id, { ...gap, cause: "gateway-down", detail: "no answer" })], options)
        yield* log.flush
        const read = gapsOf(id).pipe(Effect.map((gaps) => gaps.map(({ cause, detail }) => [cause, detail])))
        assert.deepStrictEqual(yield* read, [["gateway-down", "no answer"]])
        yield* Effect.flatMap(DeviceRepository, (devices) => devices.claim("node-b", [id]))
        log.pushEffects([gapRecaused(id, { ...gap, cause: "quarantine" })], options)
        yield* log.flush
        assert.deepStrictEqual([yield* read, fenced], [[["gateway-down", "no answer"]], 1])
      }))

    it.effect("follows a gap from opening to end to close, in the transactions of the events", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const gaps = yield* GapRepository
        const { fence, id } = yield* claimed()
        const gap = opened({
          cause: "deaf",
          detail: "a \u0000, a lone \ud800 and an account 62811222333@s.whatsapp.net"
        })
        yield* log.append([gapOpened(id, gap, Date.now())], { fence })
        const row: Gap = {
          id: gap.gapId,
          deviceId: id,
          cause: "deaf",
          status: "open",
          openedAt: gap.openedAt,
          endedAt: null,
          closedAt: null,
          proven: [],
          recovered: 0,
          detail: "a \ufffd, a lone \ufffd and an account …"
        }
        assert.deepStrictEqual(yield* gaps.openOf([id, freshDevice()]), new Map([[id, [row]]]))
        assert.deepStrictEqual(
          yield* log.append([], { fence, effects: [gapEnded(id, gap, "2026-11-22T10:00:05Z")] }),
          []
        )
        const ended = { ...row, endedAt: "2026-11-22T10:00:05.000Z" }
        assert.deepStrictEqual(yield* gapsOf(id), [ended])
        yield* log.append([], { fence, effects: [gapEnded(id, gap, "2026-11-22T11:00:00Z")] })
        assert.deepStrictEqual(yield* gapsOf(id), [ended], "the first end stands")
        yield* log.append([], { fence, effects: [gapRecaused(id, { ...gap, cause: "quarantine" })] })
        assert.deepStrictEqual(yield* gapsOf(id), [ended], "a gap that has ended keeps its cause")
        yield* log.append([gapClosed(id, closed(gap, { detail: "all there" }), Date.now())], { fence })
        const [last] = yield* gapsOf(id)
        const { recordedAt } = (yield* log.latest({ device: id, limit: 1 }))[0]!
        assert.deepStrictEqual(last, {
          ...ended,
          status: "closed",
          closedAt: recordedAt,
          proven: ["messages", "other-messages", "acks"],
          recovered: 3,
          detail: "all there"
        })
        yield* log.append([gapClosed(id, closed(gap, { proven: [] }), Date.now())], { fence })
        yield* log.append([gapOpened(id, gap, Date.now())], { fence })
        assert.deepStrictEqual(yield* gapsOf(id), [last!], "the first close stands")
        assert.deepStrictEqual(yield* gaps.openOf([id]), new Map())
        assert.deepStrictEqual(
          (yield* log.read({ after: (yield* log.bounds).oldest - 1, limit: 100, device: id })).events.map(({ kind }) =>
            kind
          ),
          ["gap.opened", "gap.closed", "gap.closed", "gap.opened"]
        )
      }))

    it.effect("stores a whole gap from its end or its close alone, as after a log that was reset", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const { fence, id } = yield* claimed()
        const [lost, over] = [opened(), opened({ cause: "gateway-down", gapId: makeGapId(Date.now() + 1) })]
        yield* log.append([], { fence, effects: [gapEnded(id, lost, "2026-11-22T10:00:05Z")] })
        yield* log.append([gapClosed(id, closed(over, { proven: ["messages"], recovered: 0 }), Date.now())], { fence })
        assert.deepStrictEqual(
          (yield* gapsOf(id)).map(({ cause, endedAt, openedAt, proven, status }) => ({
            cause,
            endedAt,
            openedAt,
            proven,
            status
          })),
          [
            {
              proven: ["messages"],
              cause: "gateway-down",
              endedAt: "2026-11-22T10:00:05.000Z",
              openedAt: "2026-11-22T10:00:00.000Z",
              status: "unprovable"
            },
            {
              proven: [],
              cause: "socket-down",
              endedAt: "2026-11-22T10:00:05.000Z",
              openedAt: "2026-11-22T10:00:00.000Z",
              status: "open"
            }
          ]
        )
      }))

    it.effect("stores a gap that opens, ends and closes in one group, and one that is named twice", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const { fence, id } = yield* claimed()
        const gap = opened()
        yield* log.append(
          [
            gapOpened(id, gap, Date.now()),
            gapOpened(id, { ...gap, cause: "deaf" }, Date.now()),
            gapClosed(id, closed(gap), Date.now()),
            gapClosed(id, closed(gap, { proven: [] }), Date.now())
          ],
          {
            fence,
            effects: [
              gapEnded(id, gap, "2026-11-22T10:00:04Z"),
              gapEnded(id, gap, "2026-11-22T10:00:09Z"),
              watermark(id, "2026-11-22T10:00:01Z"),
              watermark(id, "2026-11-22T10:00:03Z")
            ]
          }
        )
        assert.deepInclude((yield* gapsOf(id))[0], { cause: "deaf", status: "closed" })
        const marks = yield* (yield* GapRepository).watermarks([id])
        assert.strictEqual(marks.get(id)?.through, "2026-11-22T10:00:03.000Z")
      }))

    it.effect("refuses all decisions of a stale owner, with events or without, and accepts other groups", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const gaps = yield* GapRepository
        const devices = yield* DeviceRepository
        const { fence, id } = yield* claimed()
        const other = yield* claimed()
        const gap = opened()
        yield* log.append([gapOpened(id, gap, Date.now())], { fence })
        yield* devices.claim("node-b", [id])
        const before = yield* gapsOf(id)
        const stale = [
          log.append([], { fence, effects: [gapEnded(id, gap, "2026-11-22T10:00:05Z")] }),
          log.append([], { fence, effects: [watermark(id, "2026-11-22T10:00:05Z")] }),
          log.append([gapClosed(id, closed(gap), Date.now())], {
            fence,
            effects: [watermark(id, "2026-11-22T10:00:05Z")]
          })
        ]
        const beside = log.append([messageDraft({ device: id })], {
          effects: [watermark(other.id, "2026-11-22T10:00:07Z")]
        })
        const results = yield* Effect.all([...stale.map((one) => Effect.flip(one)), Effect.as(beside, null)], {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(results.map((error) => error?._tag), ["Fenced", "Fenced", "Fenced", undefined])
        assert.deepStrictEqual(yield* gapsOf(id), before)
        const marks = yield* gaps.watermarks([id, other.id])
        assert.deepStrictEqual([...marks.keys()], [other.id])
      }))

    it.effect("moves a watermark forward only, and never beyond the database's clock", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const gaps = yield* GapRepository
        const { fence, id } = yield* claimed()
        const move = (through: string, sweptAt: string | null = null) =>
          Effect.andThen(
            log.append([], { fence, effects: [watermark(id, through, sweptAt)] }),
            Effect.map(gaps.watermarks([id]), (marks) => marks.get(id)!)
          )
        const [first, second] = ["2026-11-22T10:00:01.000Z", "2026-11-22T10:00:02.000Z"] as const
        assert.deepStrictEqual(yield* move(first), { deviceId: id, through: first, sweptAt: null })
        assert.deepStrictEqual(yield* move(second, first), { deviceId: id, through: second, sweptAt: first })
        assert.deepStrictEqual(yield* move(first), { deviceId: id, through: second, sweptAt: first })
        const start = yield* gaps.now
        const { through } = yield* move(later(start, 3_600_000))
        const end = yield* gaps.now
        assert(through !== null && through >= start && through <= end, `${start} <= ${through} <= ${end}`)
      }))

    it.effect("returns until when the previous owner was alive, and refuses a heartbeat based on another database", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const gaps = yield* GapRepository
        const devices = yield* DeviceRepository
        const { claim, id } = yield* claimed()
        assert.strictEqual(claim.aliveUntil, null, "it had no owner")
        const owner = `node-${id}`
        assert.strictEqual((yield* gaps.heartbeat(owner)).aliveAt, null)
        const { epoch } = (yield* devices.claim(owner, [id])).get(id)!
        yield* log.append([stateDraft(id, "Inactive")], { fence: { deviceId: id, epoch } })
        const first = yield* gaps.heartbeat(owner)
        assert(first.aliveAt !== null && first.aliveAt <= first.now, "alive from its claim on")
        const beat = (at: string, after: string | null) =>
          Effect.andThen(
            log.append([], { effects: [{ _tag: "Alive", owner, at, after }] }),
            Effect.map(gaps.heartbeat(owner), ({ aliveAt }) => aliveAt)
          )
        const at = later(first.aliveAt, 5_000)
        assert.strictEqual(yield* beat(at, first.aliveAt), at)
        assert.strictEqual(yield* beat(later(at, 1), first.aliveAt), at)
        assert.strictEqual(yield* beat(later(at, 1), null), at)
        const back = later(at, -10_000)
        assert.strictEqual(yield* beat(back, at), back, "a database's clock that is set back is followed")
        const taken = (yield* devices.claim("node-c", [id])).get(id)!
        assert.strictEqual(taken.aliveUntil, back)
        assert.isAbove(taken.epoch, epoch)
        const { newest, now } = yield* gaps.heartbeat("nobody")
        assert(taken.claimedAt <= now && newest !== null && newest >= back)
      }))

    it.effect("does not count the end of a process that is alive after it has lost the device", () =>
      Effect.gen(function*() {
        const devices = yield* DeviceRepository
        const gaps = yield* GapRepository
        const log = yield* EventLog
        const id = freshDevice()
        yield* devices.insert({ id, name: "kasir", gateway: "default" as never, upstreamId: id as never })
        const process = (n: number) => `${id} process ${n}`
        let claimed = ""
        const claim = (n: number) =>
          Effect.map(devices.claim(process(n), [id]), (claims) => {
            const { claimedAt, deaths, trials, triedWith } = claims.get(id)!
            claimed = claimedAt
            return [deaths, trials, triedWith]
          })
        const beat = (n: number) =>
          Effect.gen(function*() {
            const { aliveAt, now } = yield* Effect.repeat(gaps.heartbeat(process(n)), {
              until: ({ now }) => now > claimed
            })
            yield* log.append([], { effects: [{ _tag: "Alive", owner: process(n), at: now, after: aliveAt }] })
          })
        yield* claim(1)
        yield* log.append([stateDraft(id, "LoggedOut")])
        yield* beat(1)
        assert.deepStrictEqual(yield* claim(2), [1, 0, null], "its last sign is of before")
        yield* devices.beginTrial(process(2), [id])
        assert.deepStrictEqual(yield* claim(3), [2, 1, 1])
        yield* beat(1)
        assert.deepStrictEqual(yield* claim(3), [1, 1, null])
        assert.deepStrictEqual(yield* claim(4), [2, 1, null])
        yield* beat(2)
        yield* beat(3)
        assert.deepStrictEqual(yield* claim(5), [1, 0, null], "only process 4 has ended")
        assert.deepStrictEqual(yield* claim(4), [1, 0, null], "it has not, as it claims the device")
      }))

    it.effect("counts an owner only after it has recorded a state, since its process may die right after a claim", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const devices = yield* DeviceRepository
        const gaps = yield* GapRepository
        const { fence, id } = yield* claimed()
        yield* log.append([stateDraft(id, "Inactive")], { fence })
        const claim = (owner: string) => Effect.map(devices.claim(owner, [id]), (claims) => claims.get(id)!)
        const { aliveUntil, epoch } = yield* claim("node-b")
        assert.isNotNull(aliveUntil)
        const claimedBy = yield* gaps.now
        yield* until("the database's clock has moved on", Effect.map(gaps.now, (now) => now > claimedBy))
        const second = yield* claim("node-b")
        assert.strictEqual(second.aliveUntil, aliveUntil, "the answer was lost")
        const third = yield* claim("node-c")
        assert.strictEqual(third.aliveUntil, aliveUntil, "node-b has died")
        assert(epoch < second.epoch && second.epoch < third.epoch)
        yield* log.append([stateDraft(id, "Inactive")], { fence: { deviceId: id, epoch } })
          .pipe(Effect.flip)
        assert.strictEqual((yield* claim("node-d")).aliveUntil, aliveUntil, "what is refused records nothing")
        const last = yield* claim("node-e")
        yield* log.append([stateDraft(id, "Inactive")], { fence: { deviceId: id, epoch: last.epoch } })
        const after = (yield* claim("node-f")).aliveUntil
        assert(after !== null && aliveUntil !== null && after > aliveUntil, `${after} > ${aliveUntil}`)
      }))

    it.effect("lists and counts gaps, newest first, by device, status and what a reader may see", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const gaps = yield* GapRepository
        const [first, second] = [yield* claimed(), yield* claimed()]
        const made: Array<GapOpenedData> = []
        for (const [index, { fence, id }] of [first, second, first, first, second].entries()) {
          const gap = opened({ openedAt: `2026-11-22T10:00:0${index}.000Z`, gapId: makeGapId(Date.now() + index) })
          made.push(gap)
          yield* log.append([gapOpened(id, gap, Date.now())], { fence })
        }
        yield* log.append([gapClosed(first.id, closed(made[2]!), Date.now())], { fence: first.fence })
        yield* log.append([gapClosed(first.id, closed(made[3]!, { proven: [] }), Date.now())], {
          fence: first.fence
        })
        const visible = [first.id, second.id]
        const listed = (options: Partial<Parameters<typeof gaps.page>[0]>) =>
          Effect.map(
            gaps.page({ limit: 10, visible, ...options }),
            (page) => page.items.map((gap) => made.findIndex(({ gapId }) => gapId === gap.id))
          )
        assert.deepStrictEqual(yield* listed({}), [4, 3, 2, 1, 0])
        assert.deepStrictEqual(yield* listed({ device: first.id }), [3, 2, 0])
        assert.deepStrictEqual(yield* listed({ status: "open" }), [4, 1, 0])
        assert.deepStrictEqual(yield* listed({ visible: [second.id], status: "open" }), [4, 1])
        assert.deepStrictEqual(yield* listed({ visible: [], status: "open" }), [])
        yield* log.append(
          [gapClosed(second.id, closed(made[4]!, { proven: ["messages", "acks"] }), Date.now())],
          { fence: second.fence }
        )
        assert.deepStrictEqual(yield* listed({ status: "unprovable" }), [4, 3])
        assert.deepStrictEqual(yield* listed({ unproven: "messages" }), [3], "what is open is not yet proven")
        assert.deepStrictEqual(yield* listed({ unproven: "other-messages" }), [4, 3])
        assert.deepStrictEqual(yield* listed({ unproven: "acks", visible: [second.id] }), [])
        assert.deepInclude(yield* gaps.countsOf(second.id), { unprovable: 1, messagesUnproven: 0 })
        const page = yield* gaps.page({ visible, limit: 2 })
        assert.strictEqual(page.items.length, 2)
        assert.deepStrictEqual(yield* listed({ limit: 2, cursor: page.next! }), [2, 1])
        const last = yield* gaps.page({ visible, limit: 4, cursor: page.next! })
        assert.deepStrictEqual([last.items.length, last.next], [3, null])
        assert.strictEqual((yield* Effect.flip(gaps.page({ limit: 2, cursor: "c1:nonsense" })))._tag, "CursorInvalid")
        assert.deepStrictEqual(yield* gaps.countsOf(first.id), {
          open: 1,
          closed: 1,
          unprovable: 1,
          messagesUnproven: 1,
          openSince: "2026-11-22T10:00:00.000Z"
        })
        assert.deepStrictEqual(yield* gaps.countsOf(freshDevice()), {
          open: 0,
          closed: 0,
          unprovable: 0,
          messagesUnproven: 0,
          openSince: null
        })
        assert((yield* gaps.countOpen)["socket-down"]! >= 2)
      }))

    it.effect("deletes gaps that were accounted for long ago, and no open gap", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const gaps = yield* GapRepository
        const { fence, id } = yield* claimed()
        const [stays, goes] = [opened(), opened()]
        yield* log.append([
          gapOpened(id, stays, Date.now()),
          gapOpened(id, goes, Date.now()),
          gapClosed(id, closed(goes), Date.now())
        ], { fence })
        yield* gaps.deleteOlderThan(Duration.days(1))
        assert.strictEqual((yield* gapsOf(id)).length, 2)
        assert((yield* gaps.deleteOlderThan(Duration.zero)) > 0)
        assert.deepStrictEqual((yield* gapsOf(id)).map((gap) => gap.id), [stays.gapId])
        const { aliveAt } = yield* gaps.heartbeat("node-a")
        assert.notStrictEqual(aliveAt, null, "a device names it")
      }))

    it.effect("rejects a gap that cannot be stored, and fails the caller of such an effect, without harm to others", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const { fence, id } = yield* claimed()
        const bad = opened({ openedAt: "0000-01-01T00:00:00Z" })
        yield* log.append([gapOpened(id, bad, Date.now())], { fence })
        assert.deepStrictEqual(
          (yield* log.read({ after: (yield* log.bounds).oldest - 1, limit: 10, device: id })).events.map(({ kind }) =>
            kind
          ),
          ["frame.rejected"]
        )
        const exit = yield* Effect.exit(log.append([], { fence, effects: [watermark(id, "yesterday")] }))
        assert.strictEqual(exit._tag, "Failure")
        assert.deepStrictEqual(yield* gapsOf(id), [])
        yield* log.append([messageDraft({ device: id })])
      }))
  })
}
