/**
 * Asks one gateway about its slots: each device now and then, at random moments so that no two keep step, and soon
 * after a hint. One loop for all devices of the gateway instead of a timer per device. An answer becomes an input of
 * the device.
 */
import { Clock, Duration, Effect, Metric, Random } from "effect"
import type { Scope } from "effect"
import type { DeviceState } from "../../domain/DeviceState.ts"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import * as Metrics from "../../services/Metrics.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"

/** A hint is followed up within this time; many hints at once are spread over it. */
const hintDelayMax = 500

export interface StatusSync {
  readonly add: (cell: DeviceCell) => void
  readonly remove: (cell: DeviceCell) => void
  /** Asks about this device soon. */
  readonly want: (cell: DeviceCell) => void
  /** The device made a transition: its next regular question may move. */
  readonly moved: (cell: DeviceCell, from: DeviceState) => void
}

export const make = Effect.fnUntraced(function*(
  gateway: WhatsAppGateway,
  settings: FleetSettings
): Effect.fn.Return<StatusSync, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const scope = yield* Effect.scope
  const cells = new Set<DeviceCell>()
  const due = new Set<DeviceCell>()
  let asking = 0

  const plan = (cell: DeviceCell): void => {
    if (!cell.actorState.sessionOpen) {
      cell.statusDueAt = Number.POSITIVE_INFINITY
      cell.statusHinted = false
      return
    }
    // What a hint asked for stands: it is about something newer than whatever led to this planning.
    if (cell.statusHinted) return
    const usable = cell.actorState.state._tag === "Online"
    const interval = Duration.toMillis(usable ? settings.statusInterval : settings.statusIntervalWaiting)
    cell.statusDueAt = monotonicMillis(clock) + interval * (0.5 + random.nextDoubleUnsafe())
  }

  const ask = Effect.fnUntraced(function*(cell: DeviceCell) {
    const target = { deviceId: cell.device.id, upstreamId: cell.device.upstreamId, jid: cell.actorState.jid }
    cell.statusHinted = false
    const answer = yield* Effect.result(gateway.status(target)).pipe(
      Effect.ensuring(Effect.sync(() => {
        cell.statusAsked = false
        plan(cell)
      }))
    )
    yield* Metric.update(Metric.withAttributes(Metrics.statusSyncs, { outcome: answer._tag.toLowerCase() }), 1)
    if (answer._tag === "Success") cell.post({ _tag: "StatusRead", status: answer.success })
  })

  /** As many at once as there are places; each that ends lets the next one ask. */
  const askNext: Effect.Effect<void> = Effect.suspend(() => {
    const cell = due.values().next().value
    if (cell === undefined || asking >= settings.statusConcurrency) return Effect.void
    due.delete(cell)
    asking++
    const leave = Effect.sync(() => {
      asking--
    })
    return Effect.andThen(Effect.forkIn(Effect.andThen(Effect.ensuring(ask(cell), leave), askNext), scope), askNext)
  })

  const sweep = Effect.suspend(() => {
    const now = monotonicMillis(clock)
    for (const cell of cells) {
      if (cell.statusDueAt > now || cell.statusAsked || !cell.actorState.sessionOpen) continue
      cell.statusAsked = true
      due.add(cell)
    }
    return askNext
  })

  yield* Effect.forkScoped(Effect.forever(Effect.andThen(sweep, Effect.sleep(settings.tick))))

  return {
    add: (cell) => {
      cells.add(cell)
    },
    remove: (cell) => {
      cells.delete(cell)
      due.delete(cell)
    },
    want: (cell) => {
      cell.statusHinted = true
      cell.statusDueAt = monotonicMillis(clock) + hintDelayMax * random.nextDoubleUnsafe()
    },
    moved: (cell, from) => {
      const planned = Number.isFinite(cell.statusDueAt)
      if (cell.actorState.sessionOpen !== planned || from._tag !== cell.actorState.state._tag) plan(cell)
    }
  }
})
