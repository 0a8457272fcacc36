/**
 * The runs of one attempt that are out and not yet confirmed. Pure bookkeeping: runs may be confirmed in any order, but
 * `confirmed` moves only over a gapless row of them, because a cursor that passes an unconfirmed event loses it.
 */
import { Effect } from "effect"
import type { LoggedEvent } from "../../domain/Event.ts"

export interface PublishBatch {
  readonly events: ReadonlyArray<LoggedEvent>
  readonly last: number
}

interface Sent {
  readonly run: PublishBatch
  done: boolean
}

export class InFlight {
  #out: Array<Sent> = []
  #proven = false
  #confirmed: number
  readonly #waiting = new Set<() => void>()

  constructor(confirmed: number) {
    this.#confirmed = confirmed
  }

  get confirmed(): number {
    return this.#confirmed
  }

  get empty(): boolean {
    return this.#out.length === 0
  }

  /** One run alone until the first is confirmed: while a sink is away, little is offered again and again. */
  hasRoom(overlap: number): boolean {
    return this.empty || (this.#proven && this.#out.length < overlap)
  }

  sent(run: PublishBatch): void {
    this.#out.push({ run, done: false })
  }

  confirm(run: PublishBatch): void {
    this.#proven = true
    for (const out of this.#out) if (out.run === run) out.done = true
    while (this.#out[0]?.done === true) this.#confirmed = this.#out.shift()!.run.last
    this.#wake()
  }

  /** The attempt is over: nobody will hear of what is out. */
  abandon(): void {
    this.#out = []
    this.#wake()
  }

  until(ready: () => boolean): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (ready()) return resume(Effect.void)
      const look = () => {
        if (!ready()) return
        this.#waiting.delete(look)
        resume(Effect.void)
      }
      this.#waiting.add(look)
      return Effect.sync(() => this.#waiting.delete(look))
    })
  }

  #wake(): void {
    for (const look of this.#waiting) look()
  }
}

/** Cuts a page so that no run is over either bound; an event larger than the bytes bound travels alone. */
export const splitIntoBatches = (
  events: ReadonlyArray<LoggedEvent>,
  max: { readonly events: number; readonly bytes: number }
): ReadonlyArray<PublishBatch> => {
  const runs: Array<PublishBatch> = []
  let start = 0
  let bytes = 0
  for (let index = 0; index < events.length; index++) {
    const size = events[index]!.data.length
    if (index > start && (index - start === max.events || bytes + size > max.bytes)) {
      runs.push(makeBatch(events.slice(start, index)))
      start = index
      bytes = 0
    }
    bytes += size
  }
  if (start < events.length) runs.push(makeBatch(events.slice(start)))
  return runs
}

const makeBatch = (events: ReadonlyArray<LoggedEvent>): PublishBatch => ({ events, last: events.at(-1)!.seq })
