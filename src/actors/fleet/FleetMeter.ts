/**
 * Counters of this process's actors. Plain numbers, because some of them change thousands of times per second; the metrics
 * are updated from them at most once per tick, and only if something has changed.
 */
import { Effect, Latch, Metric } from "effect"
import type { Scope } from "effect"
import type { DeviceStateTag, FailureClass } from "../../domain/DeviceState.ts"
import { noDevices } from "../../services/DeviceFleet.ts"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import * as Metrics from "../../services/Metrics.ts"

export interface FleetMeter {
  /** An actor went from one state to another. Null: it did not exist before, or no longer exists. */
  readonly moved: (from: DeviceStateTag | null, to: DeviceStateTag | null) => void
  readonly frame: () => void
  /** A connection was lost or refused. */
  readonly lost: (failure: FailureClass) => void
  /** A socket is no longer read (1), or is read again (-1). */
  readonly paused: (change: 1 | -1) => void
  readonly counts: () => Readonly<Record<DeviceStateTag, number>>
}

const noLosses: Readonly<Record<FailureClass, number>> = {
  transport: 0,
  auth: 0,
  conflict: 0,
  upstreamDown: 0,
  ours: 0
}

/** Reports to the metrics until its scope closes. */
export const make = Effect.fnUntraced(function*(
  settings: Pick<FleetSettings, "tick">
): Effect.fn.Return<FleetMeter, never, Scope.Scope> {
  const byState: Record<DeviceStateTag, number> = { ...noDevices }
  const lost: Record<FailureClass, number> = { ...noLosses }
  let frames = 0
  let paused = 0
  let quarantined = 0
  /** Whether the metrics show these numbers. */
  let shown = true
  const hasChanged = Latch.makeUnsafe()

  const changed = (): void => {
    if (!shown) return
    shown = false
    hasChanged.openUnsafe()
  }

  const report = Effect.suspend(() => {
    shown = true
    hasChanged.closeUnsafe()
    const updates = [
      ...Object.entries(byState).map(([state, count]) =>
        Metric.update(Metric.withAttributes(Metrics.devices, { state }), count)
      ),
      ...Object.entries(lost).map(([failure, count]) =>
        Metric.update(Metric.withAttributes(Metrics.reconnects, { class: failure }), count)
      ),
      Metric.update(Metrics.framesReceived, frames),
      Metric.update(Metrics.quarantines, quarantined),
      Metric.update(Metrics.socketsPaused, paused)
    ]
    // Before the updates run: events that occur meanwhile belong to the next tick.
    Object.assign(lost, noLosses)
    frames = 0
    quarantined = 0
    return Effect.all(updates, { discard: true })
  })
  yield* report
  yield* Effect.forkScoped(
    Effect.forever(Effect.andThen(hasChanged.await, Effect.andThen(Effect.sleep(settings.tick), report)))
  )

  return {
    moved: (from, to) => {
      if (from !== null) byState[from]--
      if (to !== null) byState[to]++
      if (to === "Quarantined" && from !== to) quarantined++
      changed()
    },
    frame: () => {
      frames++
      changed()
    },
    lost: (failure) => {
      lost[failure]++
      changed()
    },
    paused: (change) => {
      paused += change
      changed()
    },
    counts: () => ({ ...byState })
  }
})
