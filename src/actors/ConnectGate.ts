/**
 * One gateway's door: so many handshakes at once, so many a second. Devices that fell together come back as a ramp.
 */
import { Clock, Effect, Semaphore } from "effect"
import type { FleetSettings } from "../services/FleetSettings.ts"

export interface ConnectGate {
  /** Waits for a turn, then runs the handshake while holding one of the places. */
  readonly enter: <A, E, R>(handshake: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export const make = (settings: Pick<FleetSettings, "handshakesInFlight" | "connectsPerSecond">): ConnectGate => {
  const places = Semaphore.makeUnsafe(settings.handshakesInFlight)
  const spacing = 1000 / settings.connectsPerSecond
  let nextTurn = 0

  // Turns are handed out by arithmetic: no timer runs, and no permit is lost when a waiting device is stopped.
  const turn = Clock.clockWith((clock) => {
    const now = clock.currentTimeMillisUnsafe()
    const mine = Math.max(now, nextTurn)
    nextTurn = mine + spacing
    return mine - now < 1 ? Effect.void : Effect.sleep(mine - now)
  })

  return {
    enter: (handshake) => Effect.andThen(turn, Semaphore.withPermit(places, handshake))
  }
}
