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
  description: "The time after which there is no occurrence; null for none"
})

const CreateFields = {
  device: DeviceId,
  message: ScheduledMessage,
  cron: CronText,
  zone: Zone,
  until: Schema.optionalKey(Until),
  graceSeconds: Schema.optionalKey(GraceSeconds)
}

/** Omitted fields are unchanged. */
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

/** The failures of a request for a single message. */
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
      "Sends a message at recurring times, those of a cron expression in the local time of a zone. The next " +
      "occurrence is stored as a scheduled message, which can be read, and cancelled to skip it. One that is not " +
      "sent within its grace, or before the occurrence after it is due, has expired: there is never a burst of old " +
      "ones.",
    headers: {
      idempotencyKey: IdempotencyField.idempotencyKey.annotate({
        description:
          "Within 24 hours, repeats of the request make one recurring send: each gets the answer of the first"
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
    description: "A page of schedules, oldest first, including those that have ended.",
    query: ListFields,
    success: SchedulePage,
    example: { items: [schedule], next: null },
    errors: [CursorInvalid, StorageUnavailable]
  }),
  Operation.get("Schedules", "Get", "/schedules/:id", {
    scope: "read",
    reach: "filter",
    summary: "Get a recurring send",
    description: "What it sends, its next and previous occurrence, and why it has ended, if it has.",
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
      "Cancels the waiting occurrence, and plans the next one anew from now. While it is paused it has none, and " +
      "occurrences within the pause are skipped.",
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
    description: "Deletes it and cancels its waiting occurrence. Returns the deleted schedule.",
    params: IdField,
    success: Schedule,
    example: schedule,
    errors: missing
  })
] as const
