/**
 * Positions that a stream has passed: many recent ones, few older ones. When the log went back, a stream resumes after
 * the newest of them that the log still accepts.
 */
import type { Position } from "../domain/Ids.ts"

interface Passed {
  /** 1, 2, 3 … in order. */
  readonly index: number
  readonly position: Position
}

/**
 * The level of a position is how often its index can be halved; two positions are kept per level. Between a position
 * and the kept one before it therefore lie at most three times as many as have come since, and a stream that runs for
 * years keeps about a hundred.
 */
export class EarlierPositions {
  readonly #levels: Array<ReadonlyArray<Passed>> = []
  #count = 0

  add(position: Position): void {
    const index = ++this.#count
    const level = findLevel(index)
    this.#levels[level] = [...(this.#levels[level] ?? []), { index, position }].slice(-2)
  }

  /** Removes and returns the newest one; null if there is none. */
  takeNewest(): Position | null {
    let newest: Passed | null = null
    for (const kept of this.#levels) {
      const last = kept?.at(-1)
      if (last !== undefined && (newest === null || last.index > newest.index)) newest = last
    }
    if (newest === null) return null
    const level = findLevel(newest.index)
    this.#levels[level] = this.#levels[level]!.slice(0, -1)
    this.#count = newest.index - 1
    return newest.position
  }
}

const findLevel = (index: number): number => 31 - Math.clz32((index & -index) || 1)
