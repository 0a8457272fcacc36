/**
 * Token buckets by name, in bounded memory. A bucket begins full, so a bucket that was not used lately may be dropped:
 * the least recently used go first.
 */

interface Bucket {
  tokens: number
  at: number
}

export interface Rate {
  readonly perSecond: number
  readonly burst: number
}

export class RateBuckets {
  readonly #buckets = new Map<string, Bucket>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  /**
   * Takes one token and returns 0, or takes none and returns the milliseconds until there is one. `now` in
   * milliseconds.
   */
  take(name: string, { burst, perSecond }: Rate, now: number): number {
    const found = this.#buckets.get(name)
    const bucket = found ?? { tokens: burst, at: now }
    bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.at) / 1000 * perSecond)
    bucket.at = now
    // Reinserted at the end, as the most recently used.
    this.#buckets.delete(name)
    if (this.#buckets.size >= this.#max) {
      for (const oldest of this.#buckets.keys()) {
        this.#buckets.delete(oldest)
        break
      }
    }
    this.#buckets.set(name, bucket)
    if (bucket.tokens < 1) return Math.ceil((1 - bucket.tokens) / perSecond * 1000)
    bucket.tokens -= 1
    return 0
  }

  get size(): number {
    return this.#buckets.size
  }
}
