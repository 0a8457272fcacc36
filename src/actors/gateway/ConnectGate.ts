/**
 * Limits the handshakes with one gateway: so many at once, so many per second. Devices that lost their connections
 * together come back as a ramp instead of all at once.
 */
import { Effect } from "effect"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import { makePace } from "./pace.ts"

export interface ConnectGate {
  /** Waits for a turn, then runs the handshake while holding one of the places. */
  readonly enter: <A, E, R>(handshake: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export const make = (settings: Pick<FleetSettings, "handshakesInFlight" | "connectsPerSecond">): ConnectGate => {
  const withPlace = makePlaces(settings.handshakesInFlight)
  const turn = makePace(settings.connectsPerSecond)

  return {
    enter: (handshake) => Effect.andThen(turn, withPlace(handshake))
  }
}

/**
 * First come, first served, at a constant cost per device. Effect's `Semaphore` looks at all waiting fibers whenever a
 * permit is released, which is most of the work when a whole fleet waits.
 */
const makePlaces = (count: number): ConnectGate["enter"] => {
  let free = count
  const waiting = new Set<() => void>()
  const leave = Effect.sync(() => {
    const next = waiting.values().next().value
    if (next === undefined) {
      free++
    } else {
      waiting.delete(next)
      next()
    }
  })

  return (handshake) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        let mine = false
        const arrive = Effect.callback<void>((resume) => {
          const enter = () => {
            mine = true
            resume(Effect.void)
          }
          if (free === 0) {
            waiting.add(enter)
          } else {
            free--
            enter()
          }
          return Effect.sync(() => waiting.delete(enter))
        })
        // A place may be given to a device that is being stopped at the same moment: it is passed on.
        return Effect.onInterrupt(restore(arrive), () => mine ? leave : Effect.void).pipe(
          Effect.andThen(Effect.ensuring(restore(handshake), leave))
        )
      })
    )
}
