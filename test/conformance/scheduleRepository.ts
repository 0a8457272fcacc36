/** The contract of every store of recurring sends. */
import { assert, layer } from "@effect/vitest"
import { randomBytes } from "node:crypto"
import { Effect } from "effect"
import type { Layer } from "effect"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { ScheduleId } from "../../src/domain/Schedule.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { digest } from "../../src/services/EventIdentity.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { planMove, ScheduleRepository } from "../../src/services/ScheduleRepository.ts"
import type { ScheduleFields, ScheduleMove, StoredSchedule } from "../../src/services/ScheduleRepository.ts"
import { SendRepository } from "../../src/services/SendRepository.ts"
import { freshDevice } from "../support/drafts.ts"
import { newSend } from "./sendRepository.ts"

const chat = "6281110009@s.whatsapp.net"
const minute = 60_000

const fields: ScheduleFields = {
  chat,
  body: { content: { type: "text", text: "again" }, replyTo: null, mentions: [] },
  onUnknown: "report",
  cron: "* * * * *",
  zone: "UTC",
  until: null,
  graceSeconds: 3600,
  paused: false
}

const scheduleId = () => ScheduleId.make(`sch_${randomBytes(13).toString("hex").toUpperCase()}`)

const addDevice = Effect.gen(function*() {
  const devices = yield* DeviceRepository
  const id = freshDevice()
  yield* devices.insert({ id, name: "kasir", gateway: "default" as never, upstreamId: id as never })
  return { id, epoch: (yield* devices.claim("node-a", [id])).get(id)!.epoch }
})

const insert = Effect.fnUntraced(function*(deviceId: DeviceId, change: Partial<ScheduleFields> = {}) {
  const schedules = yield* ScheduleRepository
  const inserted = yield* schedules.insert({ ...fields, ...change, id: scheduleId(), deviceId })
  return inserted._tag === "New" ? inserted.schedule : yield* Effect.die("without a key nothing is a repeat")
})

/** Stored, with its first occurrence at that time. */
const begin = Effect.fnUntraced(function*(deviceId: DeviceId, at: number, change: Partial<ScheduleFields> = {}) {
  const schedules = yield* ScheduleRepository
  const stored = yield* insert(deviceId, change)
  const { next } = planMove(stored, at - 1)
  assert.isTrue(yield* schedules.advance({ schedule: stored, next, skipped: 0, end: null }))
  return (yield* schedules.get(stored.id))!
})

const stateOf = Effect.fnUntraced(function*(id: StoredSchedule["nextId"]) {
  const sends = yield* SendRepository
  return id === null ? null : (yield* sends.find(id))?.state ?? null
})

const thisMinute = () => Math.floor(Date.now() / minute) * minute

export const scheduleRepositoryConformance = (
  name: string,
  storage: Layer.Layer<EventLog | DeviceRepository | ScheduleRepository | SendRepository>
): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`recurring sends ${name}`, (it) => {
    it.effect("creates each occurrence once, however many processes plan it at the same time, and sends it once", () =>
      Effect.gen(function*() {
        const schedules = yield* ScheduleRepository
        const sends = yield* SendRepository
        const { epoch, id } = yield* addDevice
        const first = yield* begin(id, thisMinute() - 2 * minute)
        assert.strictEqual(yield* stateOf(first.nextId), "pending", "its time has come")
        let schedule = first
        for (let round = 0; round < 3; round++) {
          const { now } = yield* schedules.due
          const moved = yield* Effect.forEach(
            Array.from({ length: 20 }),
            () => schedules.advance(planMove(schedule, now)),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(moved.filter(Boolean).length, 1)
          const next = (yield* schedules.get(schedule.id))!
          assert.deepStrictEqual([next.lastAt, next.lastId], [schedule.nextAt, schedule.nextId])
          assert.isAbove(Date.parse(next.nextAt!), Date.parse(schedule.nextAt!))
          if (Date.parse(next.nextAt!) <= now) {
            assert.strictEqual(yield* stateOf(schedule.nextId), "expired", "no burst")
          }
          schedule = next
          if (Date.parse(schedule.nextAt!) > now) break
        }
        assert.strictEqual(yield* stateOf(schedule.nextId), "scheduled")
        // Of several due occurrences only the newest is sent: it was made before the older ones had started.
        const claimed = yield* sends.claim(id, epoch)
        assert.strictEqual(claimed?.id, schedule.lastId)
        assert.strictEqual(yield* stateOf(first.nextId), first.nextId === schedule.lastId ? "sending" : "expired")
        assert.isNull(yield* sends.claim(id, epoch))
      }))

    it.effect("creates one schedule for concurrent requests with one key, for a day and also after it is deleted", () =>
      Effect.gen(function*() {
        const schedules = yield* ScheduleRepository
        const { id: deviceId } = yield* addDevice
        const key = { key: `k-${deviceId}`, digest: digest("the request") }
        const ask = (own: typeof key, device = deviceId) =>
          schedules.insert({ ...fields, id: scheduleId(), deviceId: device }, own)
        const answers = yield* Effect.forEach(Array.from({ length: 200 }, () => key), (one) => ask(one), {
          concurrency: "unbounded"
        })
        const [made, ...others] = answers.filter(({ _tag }) => _tag === "New")
        assert.lengthOf(others, 0)
        if (made?._tag !== "New") return assert.fail("none is new")
        const { createdAt, id } = made.schedule
        for (const answer of answers) {
          if (answer._tag === "Repeated") assert.deepStrictEqual(answer.known, { id, createdAt })
        }
        assert.lengthOf((yield* schedules.list({ device: deviceId, limit: 10 })).items, 1)
        assert.deepStrictEqual(yield* schedules.repeated(deviceId, key), { id, createdAt })
        const other = { ...key, digest: digest("another request") }
        assert.strictEqual((yield* Effect.flip(ask(other)))._tag, "IdempotencyKeyReused")
        assert.strictEqual((yield* Effect.flip(schedules.repeated(deviceId, other)))._tag, "IdempotencyKeyReused")
        const elsewhere = (yield* addDevice).id
        assert.isNull(yield* schedules.repeated(elsewhere, key))
        assert.strictEqual((yield* ask(other, elsewhere))._tag, "New", "a key belongs to its device")
        yield* schedules.remove(id)
        assert.deepStrictEqual(yield* ask(key), { _tag: "Repeated", known: { id, createdAt } })
      }))

    it.effect("returns the schedules that must be planned, and the time until the next one", () =>
      Effect.gen(function*() {
        const schedules = yield* ScheduleRepository
        const { id } = yield* addDevice
        const due = yield* begin(id, thisMinute())
        const later = yield* begin(id, Date.now() + minute)
        const paused = yield* schedules.edit((yield* begin(id, thisMinute())).id, { paused: true })
        const unplanned = yield* insert(id)
        const found = yield* schedules.due
        const mine = found.schedules.filter(({ deviceId }) => deviceId === id).map((one) => one.id)
        assert.sameMembers(mine, [due.id, unplanned.id])
        assert.isAtMost(found.wait!, Date.parse(later.nextAt!) - found.now)
        assert.isNull(paused?.nextAt)
      }))

    it.effect("cancels the waiting message when a schedule changes, and plans new messages for the same times", () =>
      Effect.gen(function*() {
        const schedules = yield* ScheduleRepository
        const { id } = yield* addDevice
        const before = yield* begin(id, Date.now() + minute)
        const body = { ...fields.body, content: { type: "text", text: "other" } } as const
        const changed = (yield* schedules.edit(before.id, { body }))!
        assert.deepStrictEqual([changed.nextId, yield* stateOf(before.nextId)], [null, "cancelled"])
        assert.isFalse(yield* schedules.advance(planMove(before, Date.now())), "planned from what it was before")
        assert.isTrue(yield* schedules.advance(planMove(changed, Date.parse(before.nextAt!) - 1)))
        const after = (yield* schedules.get(before.id))!
        assert.strictEqual(after.nextAt, before.nextAt)
        const send = (yield* (yield* SendRepository).find(after.nextId!))!
        assert.deepStrictEqual([send.body.content, send.state, send.scheduledAt], [
          body.content,
          "scheduled",
          after.nextAt
        ])
        assert.strictEqual(Date.parse(send.expiresAt) - Date.parse(send.scheduledAt!), 3_600_000)
        yield* schedules.remove(before.id)
        assert.isNull(yield* schedules.get(before.id))
        assert.strictEqual(yield* stateOf(after.nextId), "cancelled")
      }))

    it.effect("plans nothing more for an ended schedule, and does not change it", () =>
      Effect.gen(function*() {
        const schedules = yield* ScheduleRepository
        const { id } = yield* addDevice
        const schedule = yield* begin(id, thisMinute(), { until: new Date().toISOString() })
        const move: ScheduleMove = planMove(schedule, Date.now())
        assert.strictEqual(move.end, "until")
        assert.isTrue(yield* schedules.advance(move))
        const ended = (yield* schedules.get(schedule.id))!
        assert.deepStrictEqual([ended.endReason, ended.nextAt, ended.lastId], ["until", null, schedule.nextId])
        assert.strictEqual(yield* stateOf(schedule.nextId), "pending", "what is due is still sent")
        assert.isNull(yield* schedules.edit(schedule.id, { paused: true }))
        assert.isFalse(yield* schedules.advance(planMove(ended, Date.now())))
      }))

    it.effect("ends the schedules of a deactivated device with their waiting messages, and no others", () =>
      Effect.gen(function*() {
        const schedules = yield* ScheduleRepository
        const [gone, stays] = [yield* addDevice, yield* addDevice]
        const ending = yield* begin(gone.id, Date.now() + minute)
        const going = yield* begin(stays.id, Date.now() + minute)
        yield* (yield* DeviceRepository).setActive(gone.id, false)
        assert.isAtLeast(yield* schedules.endInactive, 1)
        assert.strictEqual((yield* schedules.get(ending.id))?.endReason, "device-deactivated")
        assert.strictEqual(yield* stateOf(ending.nextId), "cancelled")
        assert.isNull((yield* schedules.get(going.id))?.endReason)
      }))

    it.effect("erases the schedules of an erased chat, and no others", () =>
      Effect.gen(function*() {
        const schedules = yield* ScheduleRepository
        const log = yield* EventLog
        const { id } = yield* addDevice
        const erased = yield* begin(id, Date.now() + minute)
        const other = yield* begin(id, Date.now() + minute, { chat: "6281110008@s.whatsapp.net" })
        yield* log.eraseChat(id, chat)
        const left = (yield* schedules.get(erased.id))!
        assert.deepStrictEqual([left.body, left.chat, left.endReason, left.nextId], [null, "", "erased", null])
        assert.isNull(yield* stateOf(erased.nextId))
        assert.isNull((yield* schedules.get(other.id))?.endReason)
        yield* log.eraseDevice(id)
        assert.strictEqual((yield* schedules.get(other.id))?.endReason, "erased")
      }))

    it.effect("lists schedules in pages, by device, and shows a caller only its own", () =>
      Effect.gen(function*() {
        const schedules = yield* ScheduleRepository
        const [one, two] = [yield* addDevice, yield* addDevice]
        const mine = yield* Effect.forEach([1, 2, 3], () => begin(one.id, Date.now() + minute))
        yield* begin(two.id, Date.now() + minute)
        const first = yield* schedules.list({ device: one.id, limit: 2 })
        const rest = yield* schedules.list({ device: one.id, limit: 2, cursor: first.next! })
        assert.deepStrictEqual([...first.items, ...rest.items].map(({ id }) => id), mine.map(({ id }) => id))
        assert.isNull(rest.next)
        assert.lengthOf((yield* schedules.list({ visible: [two.id], limit: 10 })).items, 1)
        assert.isNull(yield* schedules.get(mine[0]!.id, [two.id]))
        yield* (yield* SendRepository).accept(newSend(one.id, "not a schedule"))
        assert.lengthOf((yield* schedules.list({ device: one.id, limit: 10 })).items, 3)
      }))
  })
}
