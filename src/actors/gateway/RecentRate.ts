/** The recent rate per second. Counted by whole seconds, so that the cost does not depend on the rate. */

/** Long enough that a rate is steady, short enough that it drops to zero soon after the work ends. */
const secondsMax = 10

export class RecentRate {
  readonly #counts = Array.from({ length: secondsMax }, () => 0)
  /** The newest second of the counts. */
  #second = Number.NEGATIVE_INFINITY

  /** `now` in milliseconds of the monotonic clock. */
  add(count: number, now: number): void {
    this.#turnTo(now)
    this.#counts[this.#second % secondsMax]! += count
  }

  perSecond(now: number): number {
    this.#turnTo(now)
    return this.#counts.reduce((sum, count) => sum + count, 0) / secondsMax
  }

  #turnTo(now: number): void {
    const second = Math.floor(now / 1000)
    for (let next = Math.max(this.#second + 1, second - secondsMax + 1); next <= second; next++) {
      this.#counts[next % secondsMax] = 0
    }
    this.#second = Math.max(this.#second, second)
  }
}
