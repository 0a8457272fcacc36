/**
 * The batches of one attempt that were sent and are not yet confirmed. Pure bookkeeping: batches may be confirmed in any
 * order, but `confirmed` never passes an unconfirmed batch, because a cursor that passes an unconfirmed event loses it.
 */
import type { Effect } from "effect"
import type { LoggedEvent } from "../../domain/Event.ts"
import type { EventId } from "../../domain/Ids.ts"
import { Condition } from "../../services/Condition.ts"

export interface PublishBatch {
  readonly events: ReadonlyArray<LoggedEvent>
  /** The number and the id of its last event. */
  readonly last: number
  readonly lastId: EventId
}

interface Sent {
  readonly batch: PublishBatch
  done: boolean
}

export class InFlight {
  #out: Array<Sent> = []
  #proven = false
  #confirmed: number
  #confirmedId: EventId | null = null
  readonly #changes = new Condition()

  constructor(confirmed: number) {
    this.#confirmed = confirmed
  }

  get confirmed(): number {
    return this.#confirmed
  }

  /** The event of that number; null before the first confirmation. */
  get confirmedId(): EventId | null {
    return this.#confirmedId
  }

  get empty(): boolean {
    return this.#out.length === 0
  }

  /** Only one batch until the first is confirmed: while a sink is unavailable, few events are published repeatedly. */
  hasRoom(overlap: number): boolean {
    return this.empty || (this.#proven && this.#out.length < overlap)
  }

  sent(batch: PublishBatch): void {
    this.#out.push({ batch, done: false })
  }

  confirm(batch: PublishBatch): void {
    this.#proven = true
    for (const out of this.#out) if (out.batch === batch) out.done = true
    while (this.#out[0]?.done === true) {
      const { batch } = this.#out.shift()!
      this.#confirmed = batch.last
      this.#confirmedId = batch.lastId
    }
    this.#changes.changed()
  }

  /** The attempt has ended: later confirmations of batches in flight are ignored. */
  abandon(): void {
    this.#out = []
    this.#changes.changed()
  }

  until(ready: () => boolean): Effect.Effect<void> {
    return this.#changes.waitUntil(ready)
  }
}

/** Cuts a page so that no batch exceeds either bound; an event larger than the bound in bytes is a batch of its own. */
export const splitIntoBatches = (
  events: ReadonlyArray<LoggedEvent>,
  max: { readonly events: number; readonly bytes: number }
): ReadonlyArray<PublishBatch> => {
  const batches: Array<PublishBatch> = []
  let start = 0
  let bytes = 0
  for (let index = 0; index < events.length; index++) {
    const size = events[index]!.bytes
    if (index > start && (index - start === max.events || bytes + size > max.bytes)) {
      batches.push(makeBatch(events.slice(start, index)))
      start = index
      bytes = 0
    }
    bytes += size
  }
  if (start < events.length) batches.push(makeBatch(events.slice(start)))
  return batches
}

const makeBatch = (events: ReadonlyArray<LoggedEvent>): PublishBatch => {
  const last = events.at(-1)!
  return { events, last: last.seq, lastId: last.id }
}
