/** The results of a row's repetitions, by the gateway's record of its sockets. All times in milliseconds. */
import type { SocketChange } from "../../src/simulator/SocketRecord.ts"
import { checkSends } from "../../test/support/SendChecker.ts"
import type { SendLedgers } from "../../test/support/SendChecker.ts"
import type { ClusterSettings, NodeFault } from "../Scenario.ts"
import { dark, doubled, holderAt, length, quantiles, timelines } from "../witness.ts"
import type { Pause, Quantiles, Span, Timeline } from "../witness.ts"
import type { Audit } from "./FenceAudit.ts"
import type { Repetition } from "./Cluster.ts"

export interface ClusterFigures {
  readonly nodes: number
  readonly devices: number
  readonly lease: string
  readonly repetitions: number
  /** From the fault until every device that it silenced received again; of each repetition. */
  readonly back: Quantiles
  /** For how long each device that the fault silenced had no node's socket. */
  readonly dark: Quantiles
  /** The same for each device that moved because a node joined, or left in order; 0 where the new socket was first. */
  readonly moved: Quantiles
  /** For how long devices had sockets of two running nodes, while the fault lasted and afterwards. */
  readonly doubled: Quantiles
  readonly doubledAfter: Quantiles
  /** Devices that were not back in time. */
  readonly unreturned: number
  /** Decisions under an epoch that was not the last, and the recorded ones among them. */
  readonly staleTried: number
  readonly staleLanded: number
  /** Messages of a client that were accepted, and those that the gateway has sent more than once. */
  readonly sends: number
  readonly resent: number
}

/** A node that leaves in order, and one that joins: devices move as planned. */
const planned: ReadonlySet<string> = new Set<NodeFault["do"]>(["stop node", "leave and join"])

const sum = (spans: ReadonlyArray<Span>) => spans.reduce((total, span) => total + length(span), 0)
const longest = (spans: ReadonlyArray<Span>) => Math.max(0, ...spans.map(length))

export const findFigures = (found: {
  readonly settings: ClusterSettings
  readonly devices: number
  /** False where the gateway has one connection for all devices of a node. */
  readonly bySocket: boolean
  readonly repetitions: ReadonlyArray<Repetition>
  readonly changes: ReadonlyArray<SocketChange>
  readonly pauses: ReadonlyArray<Pause>
  readonly unreturned: ReadonlyArray<string>
  readonly audit: Audit
  readonly sends: SendLedgers | null
}): ClusterFigures => {
  const { audit, bySocket, devices, repetitions, sends, settings, unreturned } = found
  const followed: ReadonlyArray<Timeline> = bySocket ? [...timelines(found.changes, found.pauses).values()] : []
  const [back, silenced, moved, twice, twiceAfter] = [[], [], [], [], []] as [
    Array<number>,
    Array<number>,
    Array<number>,
    Array<number>,
    Array<number>
  ]
  for (const { endedAt, fault, healedAt, struckAt } of repetitions) {
    const struck = { from: struckAt, to: healedAt }
    const after = { from: healedAt, to: endedAt }
    const ends: Array<number> = []
    for (const timeline of followed) {
      const spans = dark(timeline, struck)
      if (spans.length > 0) {
        ends.push(spans.at(-1)!.to)
        silenced.push(sum(spans))
      }
      for (const span of planned.has(fault) ? [struck, after] : [after]) {
        if (holderAt(timeline, span.from) !== holderAt(timeline, span.to)) moved.push(sum(dark(timeline, span)))
      }
      twice.push(...[longest(doubled(timeline, struck))].filter((millis) => millis > 0))
      twiceAfter.push(...[longest(doubled(timeline, after))].filter((millis) => millis > 0))
    }
    back.push(bySocket ? Math.max(struckAt, ...ends) - struckAt : healedAt - struckAt)
  }
  return {
    nodes: settings.nodes,
    devices,
    lease: settings.lease,
    repetitions: repetitions.length,
    back: quantiles(back),
    dark: quantiles(silenced),
    moved: quantiles(moved),
    doubled: quantiles(twice),
    doubledAfter: quantiles(twiceAfter),
    unreturned: unreturned.length,
    staleTried: audit.tried,
    staleLanded: audit.landed.length,
    sends: sends?.accepted.length ?? 0,
    resent: sends === null ? 0 : checkSends(sends).resent.length
  }
}
