/** The statistics that the figures need. */

/** The value below which this share (0..1) of the sorted values lies, by nearest rank. */
export const percentile = (sorted: ArrayLike<number>, share: number): number =>
  sorted.length === 0 ? NaN : sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))]!

/** The middle value; for an even count the mean of the two in the middle. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The medians of a list of records of numbers, field by field. */
export const medians = <K extends string>(runs: ReadonlyArray<Readonly<Record<K, number>>>): Record<K, number> =>
  Object.fromEntries(
    Object.keys(runs[0] ?? {}).map((key) => [key, median(runs.map((run) => run[key as K]))])
  ) as Record<K, number>

export interface LatencySummary {
  readonly count: number
  readonly p50: number
  readonly p99: number
}

/** Latencies in milliseconds, collected without allocation and summarised once. */
export class Latencies {
  private values = new Float64Array(1 << 16)
  private count = 0

  add(millis: number): void {
    if (this.count === this.values.length) {
      const larger = new Float64Array(this.values.length * 2)
      larger.set(this.values)
      this.values = larger
    }
    this.values[this.count++] = millis
  }

  clear(): void {
    this.count = 0
  }

  summary(): LatencySummary {
    const sorted = this.values.slice(0, this.count).sort()
    return { count: this.count, p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99) }
  }
}
