/**
 * The gateway's record of its sockets as facts about the devices: which node had each of them at which time. A suspended
 * node receives nothing, though its sockets are open.
 */
import type { SocketChange } from "../src/simulator/SocketRecord.ts"

/** The node at this address did not run. Milliseconds since the epoch. */
export interface Pause {
  readonly at: string
  readonly from: number
  readonly to: number
}

/** From this time on the device had sockets at these addresses. */
export interface Moment {
  readonly time: number
  readonly addresses: ReadonlyArray<string>
}

/** The moments of one device, in order; before the first of them it had no node. */
export type Timeline = ReadonlyArray<Moment>

export interface Span {
  readonly from: number
  readonly to: number
}

const never: Timeline = []

export const timelines = (
  changes: ReadonlyArray<SocketChange>,
  pauses: ReadonlyArray<Pause>
): ReadonlyMap<string, Timeline> => {
  const edges = pauses.flatMap((
    { at, from, to }
  ) => [{ time: from, at, paused: true }, { time: to, at, paused: false }])
  const found = new Map<string, Timeline>()
  for (const [device, own] of Map.groupBy(changes, (change) => change.device)) {
    found.set(device, timeline(own, edges))
  }
  return found
}

const timeline = (
  changes: ReadonlyArray<SocketChange>,
  edges: ReadonlyArray<{ readonly time: number; readonly at: string; readonly paused: boolean }>
): Timeline => {
  const open = new Map<number, string>()
  const paused = new Set<string>()
  const moments: Array<Moment> = []
  const steps = [
    ...changes.map((change) => ({
      time: change.time,
      apply: () => change.open ? open.set(change.socket, change.at) : open.delete(change.socket)
    })),
    ...edges.map(({ at, paused: begins, time }) => ({
      time,
      apply: () => begins ? paused.add(at) : paused.delete(at)
    }))
  ].sort((one, other) => one.time - other.time)
  for (const { apply, time } of steps) {
    apply()
    const addresses = [...open.values()].filter((at) => !paused.has(at))
    if (moments.at(-1)?.addresses.join() === addresses.join()) continue
    if (moments.at(-1)?.time === time) moments.pop()
    moments.push({ time, addresses })
  }
  return moments
}

/** The parts of the span in which the device had a number of sockets that fulfils the condition. */
const stretches = (
  moments: Timeline,
  { from, to }: Span,
  condition: (sockets: number) => boolean
): ReadonlyArray<Span> => {
  const found: Array<{ from: number; to: number }> = []
  const steps = [{ time: Number.NEGATIVE_INFINITY, addresses: never }, ...moments]
  for (const [index, { addresses, time }] of steps.entries()) {
    const begin = Math.max(time, from)
    const end = Math.min(steps[index + 1]?.time ?? Infinity, to)
    if (begin >= end || !condition(addresses.length)) continue
    const last = found.at(-1)
    if (last?.to === begin) last.to = end
    else found.push({ from: begin, to: end })
  }
  return found
}

/** The times without a node. */
export const dark = (moments: Timeline, span: Span): ReadonlyArray<Span> =>
  stretches(moments, span, (sockets) => sockets === 0)

/** The times with more than one socket. */
export const doubled = (moments: Timeline, span: Span): ReadonlyArray<Span> =>
  stretches(moments, span, (sockets) => sockets > 1)

export const length = ({ from, to }: Span): number => to - from

/** The address of its socket at that time; of the newest socket, where it had several. */
export const holderAt = (moments: Timeline, time: number): string | null =>
  moments.findLast((moment) => moment.time <= time)?.addresses.at(-1) ?? null

export interface Quantiles {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** By nearest rank: each is a measured value. */
export const quantiles = (values: ReadonlyArray<number>): Quantiles => {
  const sorted = values.toSorted((one, other) => one - other)
  const at = (share: number) => Math.round(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0)
  return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: Math.round(sorted.at(-1) ?? 0) }
}
