/**
 * The operations of people and programs on recurring sends. A request is checked like one for a single message, before
 * anything is stored; the answer contains the next occurrence.
 */
import { Clock, Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { isVisible } from "../contracts/Authorization.ts"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import { DeviceNotFound } from "../domain/DeviceErrors.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { parseTimestamp } from "../domain/Ids.ts"
import type { DeviceId } from "../domain/Ids.ts"
import type { CursorInvalid } from "../domain/MessageErrors.ts"
import { graceSecondsDefault, ScheduleId } from "../domain/Schedule.ts"
import type { Schedule, ScheduledMessage } from "../domain/Schedule.ts"
import { CronInvalid, ScheduleEnded, ScheduleNotFound } from "../domain/ScheduleErrors.ts"
import type { TooManySchedules } from "../domain/ScheduleErrors.ts"
import type { SendBody } from "../domain/Send.ts"
import type { IdempotencyKeyReused } from "../domain/SendErrors.ts"
import type { Page } from "./DeviceRepository.ts"
import { digest } from "./EventIdentity.ts"
import { MessageSender } from "./MessageSender.ts"
import type { RequestFailure } from "./MessageSender.ts"
import { parseCron, planOccurrence } from "./occurrences.ts"
import { asInserted, planMove, ScheduleRepository } from "./ScheduleRepository.ts"
import type { Inserted, ScheduleFields, StoredSchedule } from "./ScheduleRepository.ts"

export interface NewSchedule {
  readonly device: DeviceId
  readonly message: ScheduledMessage
  readonly cron: string
  readonly zone: string
  readonly until?: string | undefined
  readonly graceSeconds?: number | undefined
  readonly idempotencyKey?: string | undefined
}

export interface ScheduleEdit {
  readonly message?: ScheduledMessage | undefined
  readonly cron?: string | undefined
  readonly zone?: string | undefined
  readonly until?: string | null | undefined
  readonly graceSeconds?: number | undefined
  readonly paused?: boolean | undefined
}

type Missing = ScheduleNotFound | StorageUnavailable

export class ScheduleManager extends Context.Service<ScheduleManager, {
  /** Returns once it is stored. A repeat with the same key gets the same schedule, with its first answer. */
  readonly create: (
    schedule: NewSchedule,
    visible: VisibleDevices
  ) => Effect.Effect<Schedule, RequestFailure | CronInvalid | TooManySchedules | IdempotencyKeyReused>
  readonly list: (options: {
    readonly device?: DeviceId | undefined
    readonly visible?: VisibleDevices
    readonly limit: number
    readonly cursor?: string | undefined
  }) => Effect.Effect<Page<Schedule>, StorageUnavailable | CursorInvalid>
  readonly get: (id: ScheduleId, visible: VisibleDevices) => Effect.Effect<Schedule, Missing>
  /** Cancels the stored occurrence, and plans the next one anew from now. */
  readonly edit: (
    id: ScheduleId,
    change: ScheduleEdit,
    visible: VisibleDevices
  ) => Effect.Effect<Schedule, Missing | RequestFailure | CronInvalid | ScheduleEnded>
  /** Also removes the stored occurrence if it waits. Returns the schedule as it was. */
  readonly remove: (id: ScheduleId, visible: VisibleDevices) => Effect.Effect<Schedule, Missing>
}>()("columba/services/ScheduleManager") {
  static readonly layer = Layer.effect(
    ScheduleManager,
    Effect.gen(function*() {
      const schedules = yield* ScheduleRepository
      const sender = yield* MessageSender
      const random = yield* SecureRandom.SecureRandom

      const prepare = (device: DeviceId, message: ScheduledMessage) =>
        Effect.map(sender.prepare({ device, ...message }), ({ body, chat, onUnknown }) => ({ body, chat, onUnknown }))

      const readUntil = (until: string) => {
        const at = parseTimestamp(until)
        return at === null
          ? CronInvalid.of("until: expected a time with its zone, like 2026-12-31T09:00:00+07:00")
          : Effect.succeed(new Date(at).toISOString())
      }

      const check = (
        rule: { readonly cron: string; readonly zone: string; readonly until: string | null },
        now: number
      ) => {
        const cron = parseCron(rule.cron, rule.zone, now)
        if (typeof cron === "string") return CronInvalid.of(cron)
        const until = rule.until === null ? null : Date.parse(rule.until)
        return planOccurrence({ ...rule, until, graceMillis: 0 }, null, now)._tag === "Ended"
          ? CronInvalid.of("until: there is no occurrence before it")
          : Effect.void
      }

      /** The row contains the database's time. If another process was faster, it has planned the same. */
      const plan = Effect.fnUntraced(function*(stored: StoredSchedule) {
        if (!stored.paused) yield* schedules.advance(planMove(stored, Date.parse(stored.updatedAt)))
        return toSchedule((yield* schedules.get(stored.id)) ?? stored)
      })

      const find = Effect.fnUntraced(function*(id: ScheduleId, visible: VisibleDevices) {
        return (yield* schedules.get(id, visible)) ?? (yield* ScheduleNotFound.of(id))
      })

      return ScheduleManager.of({
        create: Effect.fn("ScheduleManager.create")(function*({ idempotencyKey: key, ...wanted }, visible) {
          if (!isVisible(visible, wanted.device)) return yield* DeviceNotFound.of(wanted.device)
          const until = wanted.until === undefined ? null : yield* readUntil(wanted.until)
          const fields = {
            ...(yield* prepare(wanted.device, wanted.message)),
            deviceId: wanted.device,
            cron: wanted.cron.trim(),
            zone: wanted.zone,
            until,
            graceSeconds: wanted.graceSeconds ?? graceSecondsDefault,
            paused: false
          }
          const idempotency = key === undefined ? undefined : { key, digest: digestOf(fields) }
          // A schedule that had future times at the first request may have none any more.
          const known = yield* Effect.catch(
            Effect.as(check(fields, yield* Clock.currentTimeMillis), null),
            (error) =>
              Effect.flatMap(
                idempotency === undefined ? Effect.succeed(null) : schedules.repeated(wanted.device, idempotency),
                (found) => found === null ? Effect.fail(error) : Effect.succeed(found)
              )
          )
          const id = ScheduleId.make(`sch_${yield* random.ulid}`)
          const inserted: Inserted = known === null
            ? yield* schedules.insert({ ...fields, id }, idempotency)
            : { _tag: "Repeated", known }
          // For a repeat too: the process may have died before the schedule was planned.
          const stored = inserted._tag === "New" ? inserted.schedule : yield* schedules.get(inserted.known.id)
          if (stored !== null && isUnplanned(stored)) {
            yield* schedules.advance(planMove(stored, Date.parse(stored.createdAt)))
          }
          return firstAnswer(asInserted(fields, inserted._tag === "New" ? inserted.schedule : inserted.known))
        }),
        list: (options) =>
          Effect.map(schedules.list(options), ({ items, next }) => ({ items: items.map(toSchedule), next })),
        get: (id, visible) => Effect.map(find(id, visible), toSchedule),
        edit: Effect.fn("ScheduleManager.edit")(function*(id, { message, until, ...change }, visible) {
          const stored = yield* find(id, visible)
          if (stored.endReason !== null) return yield* ScheduleEnded.of(id, stored.endReason)
          const end = until === undefined || until === null ? until : yield* readUntil(until)
          const rule = {
            cron: change.cron ?? stored.cron,
            zone: change.zone ?? stored.zone,
            until: end === undefined ? stored.until : end
          }
          yield* check(rule, yield* Clock.currentTimeMillis)
          const prepared = message === undefined ? {} : yield* prepare(stored.deviceId, message)
          const changed = yield* schedules.edit(id, {
            ...prepared,
            ...change,
            ...(end === undefined ? {} : { until: end })
          })
          return changed === null ? yield* ScheduleNotFound.of(id) : yield* plan(changed)
        }),
        remove: Effect.fn("ScheduleManager.remove")(function*(id, visible) {
          const stored = yield* find(id, visible)
          yield* schedules.remove(id)
          return toSchedule(stored)
        })
      })
    })
  ).pipe(Layer.provide(SecureRandom.layerWebCrypto))
}

/** Equal for requests with the same content. */
const digestOf = ({ body: { content, mentions }, chat, cron, graceSeconds, onUnknown, until, zone }: ScheduleFields) =>
  digest(JSON.stringify([chat, content, mentions, onUnknown, cron, zone, until, graceSeconds]))

const isUnplanned = ({ endReason, lastAt, nextAt, revision }: StoredSchedule): boolean =>
  revision === 0 && nextAt === null && lastAt === null && endReason === null

/** The answer at its creation: every plan that starts from its creation results in the same occurrence. */
const firstAnswer = (stored: StoredSchedule): Schedule => {
  const { end, next } = planMove(stored, Date.parse(stored.createdAt))
  return toSchedule({
    ...stored,
    nextAt: next === null ? null : new Date(next.at).toISOString(),
    nextId: next?.id ?? null,
    endReason: end,
    endedAt: end === null ? null : stored.createdAt
  })
}

const place = (at: string | null, messageId: StoredSchedule["nextId"]) =>
  at === null || messageId === null ? null : { at, messageId }

/** Earlier rows may contain texts that requests may no longer have; a list must not fail because of them. */
const wholeTexts = (_: string, value: unknown): unknown =>
  typeof value === "string" ? value.toWellFormed().replaceAll("\0", "\ufffd") : value

const viewMessage = (chat: string, body: SendBody, onUnknown: StoredSchedule["onUnknown"]) => {
  const { content, mentions } = JSON.parse(JSON.stringify(body), wholeTexts) as SendBody
  const { type: _, ...said } = content
  return { to: chat, ...said, ...(mentions.length === 0 ? {} : { mentions }), onUnknown }
}

const toSchedule = (stored: StoredSchedule): Schedule => ({
  id: stored.id,
  deviceId: stored.deviceId,
  message: stored.body === null ? null : viewMessage(stored.chat, stored.body, stored.onUnknown),
  cron: stored.cron,
  zone: stored.zone,
  until: stored.until,
  graceSeconds: stored.graceSeconds,
  paused: stored.paused,
  next: place(stored.nextAt, stored.nextId),
  last: place(stored.lastAt, stored.lastId),
  skipped: stored.skipped,
  ended: stored.endedAt === null || stored.endReason === null
    ? null
    : { at: stored.endedAt, reason: stored.endReason },
  createdAt: stored.createdAt,
  updatedAt: stored.updatedAt
})
