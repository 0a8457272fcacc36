/** Follows the gateway's record of its sockets: the current holder of each device, and all recorded changes. */
import { Effect } from "effect"
import type { SocketChange } from "../../src/simulator/SocketRecord.ts"
import type { SimulatorProcess } from "../parties/SimulatorProcess.ts"

export interface SocketWitness {
  /** Reads new changes, and returns the addresses at which each device has a socket now. */
  readonly held: Effect.Effect<ReadonlyMap<string, ReadonlyArray<string>>>
  /** All that was read so far. */
  readonly changes: ReadonlyArray<SocketChange>
}

export const make = (simulator: SimulatorProcess): SocketWitness => {
  const changes: Array<SocketChange> = []
  const held = new Map<string, Map<number, string>>()
  const readOn = Effect.gen(function*() {
    for (;;) {
      const more = yield* simulator.sockets(changes.at(-1)?.n ?? 0)
      for (const change of more) {
        changes.push(change)
        const sockets = held.get(change.device) ?? new Map<number, string>()
        held.set(change.device, sockets)
        if (change.open) sockets.set(change.socket, change.at)
        else sockets.delete(change.socket)
      }
      if (more.length === 0) return
    }
  })
  return {
    held: Effect.map(readOn, () => new Map([...held].map(([device, sockets]) => [device, [...sockets.values()]]))),
    changes
  }
}
