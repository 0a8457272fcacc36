/**
 * Limits how many events a subscription gets per second: a token bucket that holds one second's tokens. Times are
 * milliseconds.
 */
export class RateBucket {
  readonly #rate: number | null
  #tokens: number
  #at: number

  /** `rate`: events per second; null: no limit. */
  constructor(rate: number | null, now: number) {
    this.#rate = rate
    this.#tokens = rate ?? 0
    this.#at = now
  }

  /** When the next event may be sent: now, or later. */
  readyAt(now: number): number {
    if (this.#rate === null) return now
    this.#tokens = Math.min(this.#rate, this.#tokens + (now - this.#at) / 1000 * this.#rate)
    this.#at = now
    // Sums of fractions may stay slightly below one.
    return this.#tokens > 0.999_999 ? now : now + Math.ceil((1 - this.#tokens) / this.#rate * 1000)
  }

  /** An event is sent. */
  take(): void {
    if (this.#rate !== null) this.#tokens -= 1
  }
}
