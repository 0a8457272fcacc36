/**
 * Stored recurring sends. Any process may plan an occurrence: a compare-and-set on the place of the schedule and the
 * message's row are one statement, so each occurrence is made once. All times are the database's.
 */
import { Context } from "effect"
import type { Effect, Stream } from "effect"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceId, MessageId, Timestamp } from "../domain/Ids.ts"
import type { CursorInvalid } from "../domain/MessageErrors.ts"
import type { ScheduleEndReason, ScheduleId } from "../domain/Schedule.ts"
import type { TooManySchedules } from "../domain/ScheduleErrors.ts"
import type { OnUnknown, SendBody } from "../domain/Send.ts"
import type { IdempotencyKeyReused } from "../domain/SendErrors.ts"
import { digest, formatMessageId } from "./EventIdentity.ts"
import type { Page } from "./DeviceRepository.ts"
import { planOccurrence } from "./occurrences.ts"

/** The settings of a schedule. `until` in milliseconds. */
export interface ScheduleFields {
  readonly chat: string
  readonly body: SendBody
  readonly onUnknown: OnUnknown
  readonly cron: string
  readonly zone: string
  readonly until: Timestamp | null
  readonly graceSeconds: number
  readonly paused: boolean
}

export interface StoredSchedule extends Omit<ScheduleFields, "body"> {
  readonly id: ScheduleId
  readonly deviceId: DeviceId
  /** Null once it was erased. */
  readonly body: SendBody | null
  /** Grows with each change, so that a changed schedule makes its own messages for the same times. */
  readonly revision: number
  readonly nextAt: Timestamp | null
  readonly nextId: MessageId | null
  readonly lastAt: Timestamp | null
  readonly lastId: MessageId | null
  readonly skipped: number
  readonly endedAt: Timestamp | null
  readonly endReason: ScheduleEndReason | null
  readonly createdAt: Timestamp
  readonly updatedAt: Timestamp
}

export interface Idempotency {
  readonly key: string
  /** Over the whole request, as a UUID. */
  readonly digest: string
}

/** The stored part of the first request with a key. */
export interface KnownSchedule {
  readonly id: ScheduleId
  readonly createdAt: Timestamp
}

export type Inserted =
  | { readonly _tag: "New"; readonly schedule: StoredSchedule }
  | { readonly _tag: "Repeated"; readonly known: KnownSchedule }

/** The schedule as it was inserted, from a request with the same content. */
export const asInserted = (
  fields: ScheduleFields & { readonly deviceId: DeviceId },
  { createdAt, id }: KnownSchedule
): StoredSchedule => ({
  ...fields,
  id,
  revision: 0,
  nextAt: null,
  nextId: null,
  lastAt: null,
  lastId: null,
  skipped: 0,
  endedAt: null,
  endReason: null,
  createdAt,
  updatedAt: createdAt
})

/** From one occurrence to the next. */
export interface ScheduleMove {
  readonly schedule: StoredSchedule
  readonly next: { readonly at: number; readonly id: MessageId } | null
  readonly skipped: number
  readonly end: ScheduleEndReason | null
}

/** Every plan from the same place results in the same move. */
export const planMove = (schedule: StoredSchedule, now: number): ScheduleMove => {
  const { cron, graceSeconds, id, nextAt, revision, until, zone } = schedule
  const plan = planOccurrence(
    { cron, zone, until: until === null ? null : Date.parse(until), graceMillis: graceSeconds * 1000 },
    nextAt === null ? null : Date.parse(nextAt),
    now
  )
  return plan._tag === "Ended"
    ? { schedule, next: null, skipped: 0, end: plan.reason }
    : {
      schedule,
      next: { at: plan.at, id: formatMessageId(digest(`schedule ${id} ${revision} ${plan.at}`)) },
      skipped: plan.skipped,
      end: null
    }
}

/** More are a mistake of a program. Schedules that have ended count until they are deleted. */
export const schedulesMax = 10_000

/** Maximum number of schedules that are planned at once. */
export const dueMax = 200

export class ScheduleRepository extends Context.Service<ScheduleRepository, {
  /**
   * Without an occurrence yet. All requests with one key for one device within 24 hours are one schedule: a repeat
   * gets that schedule's id, even if it was deleted since.
   */
  readonly insert: (
    schedule: ScheduleFields & { readonly id: ScheduleId; readonly deviceId: DeviceId },
    idempotency?: Idempotency
  ) => Effect.Effect<Inserted, TooManySchedules | IdempotencyKeyReused | StorageUnavailable>
  /** The schedule of the key; null if there is none. For a request that cannot be checked again as it was at first. */
  readonly repeated: (
    device: DeviceId,
    idempotency: Idempotency
  ) => Effect.Effect<KnownSchedule | null, IdempotencyKeyReused | StorageUnavailable>
  /** Null: there is none, or not for this caller. */
  readonly get: (
    id: ScheduleId,
    visible?: VisibleDevices
  ) => Effect.Effect<StoredSchedule | null, StorageUnavailable>
  /** Oldest first. `limit` 1-1000. */
  readonly list: (options: {
    readonly device?: DeviceId | undefined
    readonly visible?: VisibleDevices
    readonly limit: number
    readonly cursor?: string | undefined
  }) => Effect.Effect<Page<StoredSchedule>, StorageUnavailable | CursorInvalid>
  /** Cancels the waiting occurrences; it has no next one then. Null if there is none that has not ended. */
  readonly edit: (
    id: ScheduleId,
    change: { readonly [Field in keyof ScheduleFields]?: ScheduleFields[Field] | undefined }
  ) => Effect.Effect<StoredSchedule | null, StorageUnavailable>
  /** Also deletes the waiting occurrences. */
  readonly remove: (id: ScheduleId) => Effect.Effect<void, StorageUnavailable>
  /**
   * If the schedule is still where the move begins: makes the next occurrence, and ends the last but one, and the last
   * one too if the next one is due already, if they still wait. Returns whether this call has moved it.
   */
  readonly advance: (move: ScheduleMove) => Effect.Effect<boolean, StorageUnavailable>
  /** Ends the schedules of deactivated devices, with the waiting occurrences. Returns how many. */
  readonly endInactive: Effect.Effect<number, StorageUnavailable>
  /**
   * The schedules whose next occurrence is to be planned, at most `dueMax`, and in how many milliseconds there are
   * more.
   */
  readonly due: Effect.Effect<
    { readonly now: number; readonly schedules: ReadonlyArray<StoredSchedule>; readonly wait: number | null },
    StorageUnavailable
  >
  /** Something was changed. Repeats are possible. */
  readonly changes: Stream.Stream<void>
}>()("columba/services/ScheduleRepository") {}
