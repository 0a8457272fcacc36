/** The operations on recurring sends. */
import { Schema } from "effect"
import { HttpApiSchema } from "effect/http-api"
import { DeviceNotFound, DeviceStateConflict, GatewayUnknown, StorageUnavailable } from "../domain/DeviceErrors.ts"
import { GatewayUnusable } from "../domain/GatewayErrors.ts"
import { DeviceId, Timestamp } from "../domain/Ids.ts"
import { CursorInvalid, MessageNotFound } from "../domain/MessageErrors.ts"
import { Zone } from "../domain/Pacing.ts"
import { CronText, GraceSeconds, Schedule, ScheduledMessage, ScheduleId } from "../domain/Schedule.ts"
import { CronInvalid, ScheduleEnded, ScheduleNotFound, TooManySchedules } from "../domain/ScheduleErrors.ts"
import {
  ContentInvalid,
  ContentUnsupported,
  IdempotencyKeyReused,
  RecipientInvalid,
  ScheduleInvalid
} from "../domain/SendErrors.ts"
import { schedule } from "./examples.ts"
import { IdempotencyField } from "./MessagePayloads.ts"
import * as Operation from "./Operation.ts"
import { Cursor, PageLimit } from "./Paging.ts"

const IdField = { id: ScheduleId }

const Until = Timestamp.check(Schema.isMaxLength(64)).annotate({
  description: "No occurrence is later; null: for ever"
})

const CreateFields = {
  device: DeviceId,
  message: ScheduledMessage,
  cron: CronText,
  zone: Zone,
  until: Schema.optionalKey(Until),
  graceSeconds: Schema.optionalKey(GraceSeconds)
}

/** What is left out stays. */
const EditFields = {
  message: Schema.optionalKey(ScheduledMessage),
  cron: Schema.optionalKey(CronText),
  zone: Schema.optionalKey(Zone),
  until: Schema.optionalKey(Schema.NullOr(Until)),
  graceSeconds: Schema.optionalKey(GraceSeconds),
  paused: Schema.optionalKey(Schema.Boolean)
}

const ListFields = {
  device: Schema.optionalKey(DeviceId.annotate({ description: "Only schedules of this device" })),
  limit: Schema.optionalKey(PageLimit),
  cursor: Schema.optionalKey(Cursor)
}

const SchedulePage = Schema.Struct({ items: Schema.Array(Schedule), next: Schema.NullOr(Schema.String) }).annotate({
  identifier: "SchedulePage"
})

const missing = [ScheduleNotFound, StorageUnavailable] as const

/** Those of a request for a single message. */
const refused = [
  CronInvalid,
  RecipientInvalid,
  ContentInvalid,
  ScheduleInvalid,
  DeviceNotFound,
  MessageNotFound,
  DeviceStateConflict,
  ContentUnsupported,
  GatewayUnknown,
  GatewayUnusable
] as const

export const scheduleOperations = [
  Operation.post("Schedules", "Create", "/schedules", {
    scope: "send",
    reach: "filter",
    summary: "Add a recurring send",
    description:
      "Sends a message at recurring times, those that a cron expression names by the clock on the wall of a zone. " +
      "The next occurrence is stored as a scheduled message, which can be read, and cancelled to leave it out. One that " +
      "is not sent within its grace, or before the occurrence after it is due, has expired: there is never a burst of old " +
      "ones.",
    headers: {
      idempotencyKey: IdempotencyField.idempotencyKey.annotate({
        description: "Makes repeats of the request one recurring send, for 24 hours: each gets the answer of the first"
      })
    },
    body: CreateFields,
    bodyExample: {
      device: schedule.deviceId,
      message: { to: "6281298765432", text: "We open at nine." },
      cron: schedule.cron,
      zone: schedule.zone
    },
    success: Schedule.pipe(HttpApiSchema.status(201)),
    example: schedule,
    errors: [...refused, IdempotencyKeyReused, TooManySchedules, StorageUnavailable]
  }),
  Operation.get("Schedules", "List", "/schedules", {
    scope: "read",
    reach: "filter",
    summary: "List recurring sends",
    description: "A page of schedules, oldest first, those that have ended too.",
    query: ListFields,
    success: SchedulePage,
    example: { items: [schedule], next: null },
    errors: [CursorInvalid, StorageUnavailable]
  }),
  Operation.get("Schedules", "Get", "/schedules/:id", {
    scope: "read",
    reach: "filter",
    summary: "Get a recurring send",
    description: "What it sends, its next occurrence and the one before it, and why it has ended, if it has.",
    params: IdField,
    success: Schedule,
    example: schedule,
    errors: missing
  }),
  Operation.patch("Schedules", "Edit", "/schedules/:id", {
    scope: "send",
    reach: "filter",
    summary: "Change, pause or resume a recurring send",
    description:
      "Takes back the occurrence that waits, and plans the next one anew from now. While it is paused it has none, and " +
      "what falls into the pause is left out.",
    params: IdField,
    body: EditFields,
    bodyExample: { paused: true },
    success: Schedule,
    example: { ...schedule, paused: true, next: null },
    errors: [...refused, ScheduleEnded, ...missing]
  }),
  Operation.remove("Schedules", "Remove", "/schedules/:id", {
    scope: "send",
    reach: "filter",
    summary: "Delete a recurring send",
    description: "Deletes it and takes back the occurrence that waits. Answers with what it was.",
    params: IdField,
    success: Schedule,
    example: schedule,
    errors: missing
  })
] as const
