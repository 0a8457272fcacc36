/**
 * Limits the handshakes with one gateway, both concurrent and per second. Devices that lost their connections together
 * reconnect gradually instead of all at once.
 */
import { Duration, Effect } from "effect"
import { Condition } from "../../services/Condition.ts"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import { makePace } from "./pace.ts"

/** Without a limit per second, a fleet of ten thousand reconnects in about this time. */
const yieldMax = Duration.seconds(3)

export interface ConnectGate {
  /** Waits for a turn, then runs the handshake while holding one of the places. */
  readonly enter: <A, E, R>(handshake: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /**
   * Waits while every place is taken, at most `yieldMax`: requests that can wait leave the gateway to the handshakes, which
   * restore reception.
   */
  readonly yieldToHandshakes: Effect.Effect<void>
}

export const make = (settings: Pick<FleetSettings, "handshakesInFlight" | "connectsPerSecond">): ConnectGate => {
  const places = makePlaces(settings.handshakesInFlight)
  const turn = makePace(settings.connectsPerSecond)

  return {
    enter: (handshake) => Effect.andThen(turn, places.enter(handshake)),
    yieldToHandshakes: Effect.suspend(() =>
      places.free() > 0 ? Effect.void : Effect.asVoid(Effect.timeoutOption(places.awaitFree, yieldMax))
    )
  }
}

/**
 * First come, first served, at a constant cost per device. Effect's `Semaphore` checks all waiting fibers whenever a permit
 * is released, which is most of the work when a whole fleet waits.
 */
const makePlaces = (count: number) => {
  let free = count
  const waiting = new Set<() => void>()
  const becameFree = new Condition()
  const leave = Effect.sync(() => {
    const next = waiting.values().next().value
    if (next === undefined) {
      free++
      becameFree.changed()
    } else {
      waiting.delete(next)
      next()
    }
  })

  const enter: ConnectGate["enter"] = (handshake) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        if (free > 0) {
          free--
          return Effect.ensuring(restore(handshake), leave)
        }
        let mine = false
        const arrive = Effect.callback<void>((resume) => {
          const enter = () => {
            mine = true
            resume(Effect.void)
          }
          waiting.add(enter)
          return Effect.sync(() => waiting.delete(enter))
        })
        // If a device is stopped at the moment it gets a place, the place is passed on.
        return Effect.onInterrupt(restore(arrive), () => mine ? leave : Effect.void).pipe(
          Effect.andThen(Effect.ensuring(restore(handshake), leave))
        )
      })
    )

  return { enter, free: () => free, awaitFree: becameFree.waitUntil(() => free > 0) }
}
