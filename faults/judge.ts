/** The promises that a row has broken: those of all rows, and its own. */
import { check } from "../test/support/Checker.ts"
import type { Violation } from "../test/support/Checker.ts"
import { checkGaps } from "../test/support/GapChecker.ts"
import type { ClusterFigures } from "./cluster/figures.ts"
import { checkSends } from "../test/support/SendChecker.ts"
import type { AllLedgers } from "./Arrangement.ts"
import type { Scenario } from "./Scenario.ts"
import { findGrowth } from "./trend.ts"
import type { Trend } from "./trend.ts"

type Own =
  | "missed"
  | "unrecovered"
  | "unnamed"
  | "untrue"
  | "resent"
  | "unaccounted"
  | "misreported"
  | "unasked"
  | "doubtful"
  | "unmet"
  | "stuck"
  | "died"
  | "exit"
  | "memory"
  | "attempts"
  | "stale"
  | "unreturned"
  | "heldTwice"
  | "trend"
  | "short"

/** Class and examples of all violations. */
export type Broken = Readonly<Record<Violation | Own, ReadonlyArray<string>>>

export interface Findings {
  readonly ledgers: AllLedgers
  /** Results that a fault must have caused, and did not. */
  readonly unmet: ReadonlyArray<string>
  /** The reason why the program was not at rest when the time for that was over. */
  readonly unsettled: string | null
  readonly residentMax: number
  readonly trend: Trend
  readonly attempts: number
  /** For a row with several nodes. */
  readonly cluster: ClusterFigures | null
  /** Devices that were not back in time. */
  readonly unreturned: ReadonlyArray<string>
  /** Decisions of nodes that were no longer the owners of their devices. */
  readonly landed: ReadonlyArray<string>
  readonly died: boolean
  readonly exitCode: number | null
}

/** Maximum share of accepted messages that may be left in doubt for good. */
export const doubtfulShare = 0.005

/** When a suspended node resumes, and when one joins, two nodes have a device for a while. */
const doubledAfterMax = 10_000

const nothingSent = { resent: [], unaccounted: [], misreported: [], unasked: [], doubtful: 0 }

const when = (broken: boolean, text: string): ReadonlyArray<string> => broken ? [text] : []

export const judge = ({ expect, load }: Scenario, found: Findings): Partial<Broken> => {
  const verdict = check(found.ledgers)
  const { untrue, unnamed } = checkGaps(found.ledgers)
  const { sends } = found.ledgers
  const { doubtful, ...sent } = sends === null ? nothingSent : checkSends(sends)
  const { attempts, cluster, exitCode, residentMax, trend, unsettled } = found
  const { committed, emitted } = verdict.counts
  const broken: Broken = {
    ...verdict.violations,
    missed: expect.missed === "none" ? verdict.missed : [],
    unrecovered: verdict.unrecovered,
    unnamed,
    untrue,
    ...sent,
    doubtful: when(
      doubtful > Math.floor((sends?.accepted.length ?? 0) * doubtfulShare),
      `${doubtful} messages are in doubt for good`
    ),
    unmet: found.unmet,
    stuck: unsettled === null ? [] : [unsettled],
    died: when(expect.survives && found.died, "the program ended during the row"),
    exit: when(exitCode !== 0, `the program ended with ${exitCode}`),
    memory: when(residentMax > (expect.residentMax ?? Infinity), `${residentMax} MB were resident`),
    attempts: when(attempts > (expect.attemptsMax ?? Infinity), `${attempts} connections were tried`),
    stale: found.landed,
    unreturned: found.unreturned,
    heldTwice: when(
      (cluster?.doubled.max ?? 0) > (expect.doubledMax ?? Infinity) ||
        (cluster?.doubledAfter.max ?? 0) > doubledAfterMax,
      `devices were heard by two nodes for up to ${cluster?.doubled.max} ms, and ${cluster?.doubledAfter.max} ms afterwards`
    ),
    trend: expect.level === true ? findGrowth(trend) : [],
    short: when(
      emitted < load.events || committed < load.events / 10,
      `only ${emitted} were emitted and ${committed} committed`
    )
  }
  return Object.fromEntries(Object.entries(broken).filter(([, some]) => some.length > 0))
}
