/**
 * Asks one gateway about its slots: about each device when its session has opened, soon after a hint, and now and then
 * at random moments, so that no two devices keep step. One loop and a few workers for all devices of the gateway
 * instead of a timer per device. An answer becomes an input of the device.
 */
import { Cause, Clock, Duration, Effect, Latch, Metric, Random } from "effect"
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
  /** Asks about this device now, as soon as one of the places is free, or soon. */
  readonly want: (cell: DeviceCell, when: "now" | "soon") => void
  /** The device made a transition: its next regular question may move. */
  readonly moved: (cell: DeviceCell, from: DeviceState) => void
}

export const make = Effect.fnUntraced(function*(
  gateway: WhatsAppGateway,
  settings: Pick<FleetSettings, "statusConcurrency" | "statusInterval" | "statusIntervalWaiting" | "tick">
): Effect.fn.Return<StatusSync, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const cells = new Set<DeviceCell>()
  /** In the order in which they became due; a device is in it once, so it is bounded by the devices. */
  const due = new Set<DeviceCell>()
  const someDue = Latch.makeUnsafe()

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

  /** One question about a device at a time: what is wanted meanwhile is asked when the answer is there. */
  const enqueue = (cell: DeviceCell): void => {
    if (cell.statusAsked) return
    cell.statusAsked = true
    due.add(cell)
    someDue.openUnsafe()
  }

  const ask = Effect.fnUntraced(function*(cell: DeviceCell) {
    const { session } = cell
    const target = { deviceId: cell.device.id, upstreamId: cell.device.upstreamId, jid: cell.actorState.jid }
    cell.statusHinted = false
    const answer = yield* Effect.result(gateway.status(target)).pipe(
      Effect.ensuring(Effect.sync(() => {
        cell.statusAsked = false
        plan(cell)
      }))
    )
    yield* Metric.update(Metric.withAttributes(Metrics.statusSyncs, { outcome: answer._tag.toLowerCase() }), 1)
    // An answer to a question that was asked under an older session proves nothing about this one.
    if (answer._tag === "Success" && cell.session === session) cell.post({ _tag: "StatusRead", status: answer.success })
  })

  const worker = Effect.suspend(() => {
    const cell = due.values().next().value
    if (cell === undefined) {
      someDue.closeUnsafe()
      return someDue.await
    }
    due.delete(cell)
    return Effect.catchCause(ask(cell), (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.failCause(cause)
        : Effect.annotateLogs(Effect.logError("a status question crashed", cause), { device: cell.device.id }))
  })
  for (let place = 0; place < settings.statusConcurrency; place++) yield* Effect.forkScoped(Effect.forever(worker))

  const sweep = Effect.sync(() => {
    const now = monotonicMillis(clock)
    for (const cell of cells) if (cell.statusDueAt <= now && cell.actorState.sessionOpen) enqueue(cell)
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
    want: (cell, when) => {
      cell.statusHinted = true
      cell.statusDueAt = monotonicMillis(clock) + (when === "now" ? 0 : hintDelayMax * random.nextDoubleUnsafe())
      if (when === "now") enqueue(cell)
    },
    moved: (cell, from) => {
      const planned = Number.isFinite(cell.statusDueAt)
      if (cell.actorState.sessionOpen !== planned || from._tag !== cell.actorState.state._tag) plan(cell)
    }
  }
})
