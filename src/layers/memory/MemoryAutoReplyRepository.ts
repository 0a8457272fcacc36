/** The devices' settings for answers by a language model, in memory, over the tables of messages to send. */
import { Effect, Layer } from "effect"
import { autoReplyDefaults, dailyLimitMax } from "../../domain/AutoReply.ts"
import type { AutoReply } from "../../domain/AutoReply.ts"
import { DeviceNotFound } from "../../domain/DeviceErrors.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { AutoReplyRepository, replyKeyPrefix } from "../../services/AutoReplyRepository.ts"
import { MemoryDatabase } from "./MemoryDatabase.ts"

const dayMillis = 24 * 3_600_000

export const layer: Layer.Layer<AutoReplyRepository, never, MemoryDatabase> = Layer.effect(
  AutoReplyRepository,
  Effect.gen(function*() {
    const { now, tables } = yield* MemoryDatabase
    const rows = new Map<DeviceId, AutoReply>()
    const get = (device: DeviceId) =>
      tables.devices.has(device)
        ? Effect.succeed(rows.get(device) ?? autoReplyDefaults(device))
        : Effect.fail(DeviceNotFound.of(device))
    return AutoReplyRepository.of({
      get,
      edit: (device, change) =>
        Effect.map(get(device), (before) => {
          const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined))
          const row = { ...before, ...given, updatedAt: new Date(now()).toISOString() }
          rows.set(device, row)
          return row
        }),
      answers: (device, chat) =>
        Effect.sync(() =>
          [...tables.sends.values()]
            .filter((row) =>
              row.send.deviceId === device && row.send.chat === chat && row.key?.startsWith(replyKeyPrefix) === true
            )
            .map((row) => now() - Date.parse(row.send.createdAt))
            .filter((ago) => ago < dayMillis).sort((a, b) => a - b).slice(0, dailyLimitMax)
        ),
      lock: () => Effect.void
    })
  })
)
