/** The table of recurring sends as a map, with what an erasure does to it. */
import type { DeviceId } from "../../domain/Ids.ts"
import type { KnownSchedule, StoredSchedule } from "../../services/ScheduleRepository.ts"

export interface MemorySchedule {
  /** 1, 2, 3 … in order of creation. */
  readonly ordinal: number
  readonly schedule: StoredSchedule
}

export type MemorySchedules = Map<string, MemorySchedule>

/** Keyed by device and idempotency key. */
export type MemoryScheduleKeys = Map<string, KnownSchedule & { readonly digest: string }>

/** With null, all of the device. */
export const eraseSchedules = (
  schedules: MemorySchedules,
  device: DeviceId,
  chats: ReadonlyArray<string> | null,
  now: number
): void => {
  for (const [id, row] of schedules) {
    const { schedule } = row
    if (schedule.deviceId !== device || (chats !== null && !chats.includes(schedule.chat))) continue
    const at = new Date(now).toISOString()
    schedules.set(id, {
      ...row,
      schedule: {
        ...schedule,
        body: null,
        chat: "",
        nextAt: null,
        nextId: null,
        lastAt: null,
        lastId: null,
        endedAt: schedule.endedAt ?? at,
        endReason: schedule.endReason ?? "erased",
        updatedAt: at
      }
    })
  }
}
