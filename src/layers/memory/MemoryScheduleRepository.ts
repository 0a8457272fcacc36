/** Recurring sends in memory, over the tables that the memory log writes. Follows the SQL one by one. */
import { Effect, Layer, PubSub, Stream } from "effect"
import { isVisible } from "../../contracts/Authorization.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { IdempotencyKeyReused } from "../../domain/SendErrors.ts"
import { TooManySchedules } from "../../domain/ScheduleErrors.ts"
import type { ScheduleId } from "../../domain/Schedule.ts"
import { decodeCursor, encodeCursor, pageLimit, seqPattern } from "../../services/pageCursor.ts"
import { asInserted, dueMax, ScheduleRepository, schedulesMax } from "../../services/ScheduleRepository.ts"
import type { Idempotency, Inserted, KnownSchedule, StoredSchedule } from "../../services/ScheduleRepository.ts"
import { idempotencyHours } from "../../services/SendRepository.ts"
import { MemoryDatabase } from "./MemoryDatabase.ts"

const hourMillis = 3_600_000

/** One pending pulse is enough. */
const pulsesMax = 1

export const layer: Layer.Layer<ScheduleRepository, never, MemoryDatabase> = Layer.effect(
  ScheduleRepository,
  Effect.gen(function*() {
    const { now, tables } = yield* MemoryDatabase
    const { scheduleKeys, schedules, sends } = tables
    const pulses = yield* PubSub.sliding<void>(pulsesMax)
    const announce = Effect.asVoid(PubSub.publish(pulses, undefined))
    const iso = () => new Date(now()).toISOString()
    let ordinal = 0

    const end = (id: string | null, state: "cancelled" | "expired", detail: string | null): void => {
      const row = id === null ? undefined : sends.get(id)
      if (row === undefined || (row.send.state !== "pending" && row.send.state !== "scheduled")) return
      const reason = state === "expired" ? "expired" as const : row.send.reason
      sends.set(row.send.id, {
        ...row,
        untold: true,
        send: { ...row.send, state, reason, detail: detail ?? row.send.detail, updatedAt: iso() }
      })
    }
    const withdraw = ({ lastId, nextId }: StoredSchedule): void => {
      for (const id of [nextId, lastId]) end(id, "cancelled", null)
    }
    const change = (schedule: StoredSchedule, update: Partial<StoredSchedule>): StoredSchedule => {
      const changed = { ...schedule, updatedAt: iso(), ...update }
      schedules.set(schedule.id, { ...schedules.get(schedule.id)!, schedule: changed })
      return changed
    }
    const all = () => [...schedules.values()].map(({ schedule }) => schedule)
    const find = (id: ScheduleId) => schedules.get(id)?.schedule
    const findKey = (device: DeviceId, { digest, key }: Idempotency): KnownSchedule | "other" | null => {
      const known = scheduleKeys.get(`${device} ${key}`)
      if (known === undefined || now() - Date.parse(known.createdAt) > idempotencyHours * hourMillis) return null
      return known.digest === digest ? { id: known.id, createdAt: known.createdAt } : "other"
    }

    return ScheduleRepository.of({
      insert: (fields, idempotency) =>
        Effect.suspend((): Effect.Effect<Inserted, TooManySchedules | IdempotencyKeyReused> => {
          if (idempotency !== undefined) {
            const known = findKey(fields.deviceId, idempotency)
            if (known === "other") return Effect.fail(IdempotencyKeyReused.of())
            if (known !== null) return Effect.succeed({ _tag: "Repeated", known })
          }
          if (schedules.size >= schedulesMax) return Effect.fail(TooManySchedules.of(schedulesMax))
          const schedule = asInserted(fields, { id: fields.id, createdAt: iso() })
          schedules.set(schedule.id, { ordinal: ++ordinal, schedule })
          if (idempotency !== undefined) {
            const { createdAt, id } = schedule
            scheduleKeys.set(`${fields.deviceId} ${idempotency.key}`, { id, createdAt, digest: idempotency.digest })
          }
          return Effect.as(announce, { _tag: "New", schedule })
        }),
      repeated: (device, idempotency) =>
        Effect.suspend(() => {
          const known = findKey(device, idempotency)
          return known === "other" ? Effect.fail(IdempotencyKeyReused.of()) : Effect.succeed(known)
        }),
      get: (id, visible) =>
        Effect.sync(() => {
          const found = find(id)
          return found !== undefined && isVisible(visible, found.deviceId) ? found : null
        }),
      list: Effect.fnUntraced(function*({ cursor, device, limit: wanted, visible }) {
        const after = cursor === undefined ? 0 : Number(yield* decodeCursor(cursor, seqPattern))
        const limit = pageLimit(wanted)
        const found = [...schedules.values()].filter(({ ordinal, schedule: { deviceId } }) =>
          ordinal > after && (device === undefined || device === deviceId) && isVisible(visible, deviceId)
        )
        const rows = found.slice(0, limit)
        return {
          items: rows.map(({ schedule }) => schedule),
          next: found.length > limit ? encodeCursor(String(rows[limit - 1]!.ordinal)) : null
        }
      }),
      edit: (id, fields) =>
        Effect.suspend(() => {
          const schedule = find(id)
          if (schedule === undefined || schedule.endedAt !== null) return Effect.succeed(null)
          withdraw(schedule)
          const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
          return Effect.as(
            announce,
            change(schedule, { ...given, revision: schedule.revision + 1, nextAt: null, nextId: null })
          )
        }),
      remove: (id) =>
        Effect.sync(() => {
          const schedule = find(id)
          if (schedule !== undefined) withdraw(schedule)
          schedules.delete(id)
        }),
      advance: ({ end: endReason, next, schedule: { id, lastId, nextAt, revision }, skipped }) =>
        Effect.sync(() => {
          const found = find(id)
          const stays = found === undefined || found.endedAt !== null || found.paused || found.nextAt !== nextAt ||
            found.revision !== revision
          if (stays) return false
          const at = next === null ? null : new Date(next.at).toISOString()
          change(found, {
            // The first occurrence belongs to the creation, or to the change that planned anew.
            ...(found.nextAt === null ? { updatedAt: found.updatedAt } : {}),
            nextAt: at,
            nextId: next?.id ?? null,
            lastAt: found.nextAt,
            lastId: found.nextId,
            skipped: found.skipped + skipped,
            endReason,
            endedAt: endReason === null ? null : iso()
          })
          const late = "the next occurrence of its schedule came first"
          end(lastId, "expired", late)
          if (next !== null && next.at <= now()) end(found.nextId, "expired", late)
          if (next === null || at === null || found.body === null || sends.has(next.id)) return true
          sends.set(next.id, {
            send: {
              id: next.id,
              deviceId: found.deviceId,
              chat: found.chat,
              sender: tables.devices.get(found.deviceId)?.device.jid ?? "",
              body: found.body,
              state: next.at > now() ? "scheduled" : "pending",
              onUnknown: found.onUnknown,
              scheduledAt: at,
              expiresAt: new Date(next.at + found.graceSeconds * 1000).toISOString(),
              attempts: 0,
              claimedAt: null,
              waId: null,
              reason: null,
              detail: null,
              createdAt: iso(),
              updatedAt: iso()
            },
            ordinal: sends.size + 1,
            head: tables.head,
            key: null,
            digest: null,
            dueAt: next.at,
            epoch: 0,
            fetching: false,
            message: null,
            untold: false
          })
          return true
        }),
      endInactive: Effect.sync(() => {
        const ending = all().filter(({ deviceId, endedAt }) =>
          endedAt === null && tables.devices.get(deviceId)?.device.active === false
        )
        for (const schedule of ending) {
          withdraw(schedule)
          change(schedule, { endedAt: iso(), endReason: "device-deactivated", nextAt: null, nextId: null })
        }
        return ending.length
      }),
      due: Effect.sync(() => {
        const going = all().filter(({ endedAt, paused }) => endedAt === null && !paused)
        const times = going.flatMap(({ nextAt }) => nextAt === null ? [] : [Date.parse(nextAt)])
        const later = times.filter((at) => at > now())
        return {
          now: now(),
          schedules: going.filter(({ nextAt }) => nextAt === null || Date.parse(nextAt) <= now()).slice(0, dueMax),
          wait: later.length === 0 ? null : Math.min(...later) - now()
        }
      }),
      changes: Stream.unwrap(
        Effect.map(
          PubSub.subscribe(pulses),
          (subscription) => Stream.concat(Stream.make(undefined), Stream.fromSubscription(subscription))
        )
      )
    })
  })
)
