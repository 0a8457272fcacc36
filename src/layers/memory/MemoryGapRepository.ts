/** The gaps in memory, over the tables that the memory log writes. */
import { Duration, Effect, Layer } from "effect"
import { isVisible } from "../../contracts/Authorization.ts"
import type { Gap, GapCause, Provable } from "../../domain/Gap.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { GapRepository, gapIdPattern } from "../../services/GapRepository.ts"
import { decodeCursor, encodeCursor, pageLimit } from "../../services/pageCursor.ts"
import { MemoryDatabase } from "./MemoryDatabase.ts"

export const layer: Layer.Layer<GapRepository, never, MemoryDatabase> = Layer.effect(
  GapRepository,
  Effect.gen(function*() {
    const { now, tables } = yield* MemoryDatabase
    const isoNow = () => new Date(now()).toISOString()

    return GapRepository.of({
      known: (ids) => Effect.sync(() => new Set(ids.filter((id) => tables.gaps.has(id)))),
      openOf: (devices) =>
        Effect.sync(() => {
          const found = new Map<DeviceId, Array<Gap>>()
          const open = [...tables.gaps.values()].filter((gap) =>
            gap.status === "open" && devices.includes(gap.deviceId)
          )
          for (const gap of open.sort(byBeginning)) found.set(gap.deviceId, [...found.get(gap.deviceId) ?? [], gap])
          return found
        }),
      page: Effect.fnUntraced(function*(options) {
        const before = options.cursor === undefined ? null : yield* decodeCursor(options.cursor, gapIdPattern)
        const limit = pageLimit(options.limit)
        const found = [...tables.gaps.values()].filter((gap) =>
          (before === null || gap.id < before) && isVisible(options.visible, gap.deviceId) &&
          (options.device === undefined || gap.deviceId === options.device) &&
          (options.status === undefined || gap.status === options.status) &&
          (options.unproven === undefined || isUnproven(gap, options.unproven))
        ).sort((a, b) => a.id < b.id ? 1 : -1)
        const items = found.slice(0, limit)
        return { items, next: found.length > limit ? encodeCursor(items[limit - 1]!.id) : null }
      }),
      watermarks: (devices) =>
        Effect.sync(() => {
          const clock = isoNow()
          return new Map(devices.flatMap((deviceId) => {
            const row = tables.watermarks.get(deviceId)
            return row === undefined
              ? []
              : [[deviceId, { deviceId, ...row, through: row.through > clock ? null : row.through }] as const]
          }))
        }),
      heartbeat: (owner) =>
        Effect.sync(() => ({
          now: isoNow(),
          aliveAt: tables.heartbeats.get(owner) ?? null,
          newest: [...tables.heartbeats.values()].sort().at(-1) ?? null
        })),
      now: Effect.sync(isoNow),
      countsOf: (device) =>
        Effect.sync(() => {
          const gaps = [...tables.gaps.values()].filter((gap) => gap.deviceId === device)
          const open = gaps.filter(({ status }) => status === "open").sort(byBeginning)
          return {
            open: open.length,
            closed: gaps.filter(({ status }) => status === "closed").length,
            unprovable: gaps.filter(({ status }) => status === "unprovable").length,
            messagesUnproven: gaps.filter((gap) => isUnproven(gap, "messages")).length,
            openSince: open[0]?.openedAt ?? null
          }
        }),
      countOpen: Effect.sync(() => {
        const counts: Partial<Record<GapCause, number>> = {}
        for (const { cause, status } of tables.gaps.values()) {
          if (status === "open") counts[cause] = (counts[cause] ?? 0) + 1
        }
        return counts
      }),
      deleteOlderThan: (keep) =>
        Effect.sync(() => {
          const limit = new Date(now() - Duration.toMillis(keep)).toISOString()
          const old = [...tables.gaps.values()].filter(({ closedAt }) => closedAt !== null && closedAt <= limit)
          for (const { id } of old) tables.gaps.delete(id)
          const owners = new Set(Array.from(tables.devices.values(), ({ owner }) => owner))
          for (const [owner, aliveAt] of tables.heartbeats) {
            if (aliveAt <= limit && !owners.has(owner)) tables.heartbeats.delete(owner)
          }
          return old.length
        })
    })
  })
)

const isUnproven = ({ closedAt, proven }: Gap, what: Provable): boolean => closedAt !== null && !proven.includes(what)

const byBeginning = (a: Gap, b: Gap): number =>
  a.openedAt === b.openedAt ? (a.id < b.id ? -1 : 1) : a.openedAt < b.openedAt ? -1 : 1
