/**
 * Decides which device's history is read next. Devices that lost reception and devices that may be deaf take turns; regular
 * readings wait for both. Pure. It contains a device at most once, so it is bounded by the number of devices.
 */
import type { ReadingKind } from "./Reading.ts"

const order: ReadonlyArray<ReadingKind> = ["connect", "look", "schedule", "sweep"]

export class ReadingQueue<K> {
  /** In the order in which they became due. */
  readonly #queues: Readonly<Record<ReadingKind, Set<K>>> = {
    connect: new Set(),
    look: new Set(),
    schedule: new Set(),
    sweep: new Set()
  }
  #turn = 0

  add(key: K, kind: ReadingKind): void {
    this.#queues[kind].add(key)
  }

  delete(key: K): void {
    for (const kind of order) this.#queues[kind].delete(key)
  }

  /** Devices whose history waits to be read. A look is one request and not counted. */
  get histories(): number {
    return order.reduce((sum, kind) => sum + (kind === "look" ? 0 : this.#queues[kind].size), 0)
  }

  next(): { readonly key: K; readonly kind: ReadingKind } | null {
    const first = this.#turn++ % 2
    for (const kind of [order[first]!, order[1 - first]!, "schedule", "sweep"] as const) {
      for (const key of this.#queues[kind]) {
        this.#queues[kind].delete(key)
        return { key, kind }
      }
    }
    return null
  }
}
