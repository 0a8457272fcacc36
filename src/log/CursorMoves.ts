/** Cursor moves that wait for the next batch and are written with it. A later move of the same claim replaces an earlier one. */
import { Effect } from "effect"
import { CursorLost } from "../services/EventLog.ts"
import type { EventId } from "../domain/Ids.ts"
import type { CursorClaim } from "../services/EventLog.ts"
import type { CursorMove } from "./LogStore.ts"

interface Pending {
  move: CursorMove
  readonly waiting: Array<(lost: boolean) => void>
}

const formatName = (move: { readonly sink: string; readonly epoch: number }): string => `${move.sink} ${move.epoch}`

export class CursorMoves {
  #pending = new Map<string, Pending>()
  #written = new Map<string, Pending>()

  get pending(): boolean {
    return this.#pending.size > 0
  }

  move(claim: CursorClaim, seq: number, id: EventId | null, nudge: () => void): Effect.Effect<void, CursorLost> {
    return Effect.callback<void, CursorLost>((resume) => {
      const move = { sink: claim.sink, epoch: claim.epoch, seq, id }
      const name = formatName(move)
      const pending = this.#pending.get(name) ?? { move, waiting: [] }
      if (seq > pending.move.seq) pending.move = move
      pending.waiting.push((lost) => resume(lost ? Effect.fail(CursorLost.of(claim.sink, claim.epoch)) : Effect.void))
      this.#pending.set(name, pending)
      nudge()
    })
  }

  take(): ReadonlyArray<CursorMove> {
    this.#written = this.#pending
    this.#pending = new Map()
    return Array.from(this.#written.values(), (pending) => pending.move)
  }

  settle(moves: ReadonlyArray<CursorMove>, lost: ReadonlyArray<number>): void {
    moves.forEach((move, index) => {
      const waiting = this.#written.get(formatName(move))?.waiting ?? []
      this.#written.delete(formatName(move))
      for (const done of waiting) done(lost.includes(index))
    })
  }

  /** Moves that were taken but not answered go into the next batch. */
  restore(): void {
    for (const [name, written] of this.#written) {
      const pending = this.#pending.get(name)
      if (pending === undefined) this.#pending.set(name, written)
      else pending.waiting.push(...written.waiting)
    }
    this.#written = new Map()
  }
}
