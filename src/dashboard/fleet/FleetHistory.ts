/**
 * The fleet's figures since the page was opened: pure, and bounded. The server keeps no such history; for a longer
 * one, read `/metrics` with Prometheus.
 */
import type { Overview } from "../../contracts/ServerPayloads.ts"
import type { DeviceStateTag } from "../../domain/DeviceState.ts"

export interface Reading {
  /** By this machine's clock, in milliseconds. */
  readonly at: number
  readonly head: number | null
  readonly states: Readonly<Partial<Record<DeviceStateTag, number>>> | null
  readonly lags: Readonly<Record<string, number>>
}

export interface Point {
  readonly at: number
  readonly value: number
}

/** Rare enough that an hour is little data, frequent enough that an interruption of a minute is visible. */
export const readingMillis = 10_000

/** One hour. */
export const readingsKept = 360

/** A longer time without a reading counts as a hole. */
const gapMillis = 3 * readingMillis

export const addReading = (
  history: ReadonlyArray<Reading>,
  { head, sinks, states }: Overview,
  at: number
): ReadonlyArray<Reading> => {
  const last = history.at(-1)
  if (last !== undefined && at >= last.at && at - last.at < readingMillis) return history
  // After a clock was set back, new readings would overlap the existing ones.
  const before = last !== undefined && at < last.at ? [] : history
  const lags = Object.fromEntries(sinks.map(({ lag, sink }) => [sink, lag]))
  return [...before, { at, head, states, lags }].slice(-readingsKept)
}

export const seriesOf = (
  history: ReadonlyArray<Reading>,
  read: (reading: Reading) => number | null | undefined
): ReadonlyArray<Point> =>
  history.flatMap((reading) => {
    const value = read(reading)
    return value === null || value === undefined ? [] : [{ at: reading.at, value }]
  })

/** Events per second between readings. A log that went back has no rate, and neither has a time without readings. */
export const ratesOf = (history: ReadonlyArray<Reading>): ReadonlyArray<Point> =>
  history.flatMap(({ at, head }, index) => {
    const before = history[index - 1]
    if (before === undefined || before.head === null || head === null || head < before.head) return []
    return at - before.at > gapMillis ? [] : [{ at, value: (head - before.head) * 1000 / (at - before.at) }]
  })

/** Stretches without a hole, each of which is one line. */
export const stretchesOf = (points: ReadonlyArray<Point>): ReadonlyArray<ReadonlyArray<Point>> => {
  const stretches: Array<Array<Point>> = []
  for (const point of points) {
    const last = stretches.at(-1)
    const before = last?.at(-1)
    if (last === undefined || before === undefined || point.at - before.at > gapMillis) stretches.push([point])
    else last.push(point)
  }
  return stretches
}
