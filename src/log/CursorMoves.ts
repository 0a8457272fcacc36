/** Cursor moves that wait for a batch to ride in. A later move of the same claim overtakes an earlier one. */
import { Effect } from "effect"
import { CursorLost } from "../services/EventLog.ts"
import type { CursorClaim } from "../services/EventLog.ts"
import type { CursorMove } from "./LogStore.ts"

interface Pending {
  move: CursorMove
  readonly waiting: Array<(lost: boolean) => void>
}

const formatName = (move: { readonly sink: string; readonly epoch: number }): string => `${move.sink} ${move.epoch}`

export class CursorMoves {
  #pending = new Map<string, Pending>()
  #riding = new Map<string, Pending>()

  get pending(): boolean {
    return this.#pending.size > 0
  }

  move(claim: CursorClaim, seq: number, nudge: () => void): Effect.Effect<void, CursorLost> {
    return Effect.callback<void, CursorLost>((resume) => {
      const move = { sink: claim.sink, epoch: claim.epoch, seq }
      const name = formatName(move)
      const pending = this.#pending.get(name) ?? { move, waiting: [] }
      if (seq > pending.move.seq) pending.move = move
      pending.waiting.push((lost) => resume(lost ? Effect.fail(CursorLost.of(claim.sink, claim.epoch)) : Effect.void))
      this.#pending.set(name, pending)
      nudge()
    })
  }

  take(): ReadonlyArray<CursorMove> {
    this.#riding = this.#pending
    this.#pending = new Map()
    return Array.from(this.#riding.values(), (pending) => pending.move)
  }

  settle(moves: ReadonlyArray<CursorMove>, lost: ReadonlyArray<number>): void {
    moves.forEach((move, index) => {
      const waiting = this.#riding.get(formatName(move))?.waiting ?? []
      this.#riding.delete(formatName(move))
      for (const done of waiting) done(lost.includes(index))
    })
  }

  /** What was taken and has no answer goes with the next batch. */
  restore(): void {
    for (const [name, riding] of this.#riding) {
      const pending = this.#pending.get(name)
      if (pending === undefined) this.#pending.set(name, riding)
      else pending.waiting.push(...riding.waiting)
    }
    this.#riding = new Map()
  }
}
