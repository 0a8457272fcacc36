/**
 * Losses that nobody can notice. A connection that seems open and delivers nothing is found by messages that the gateway's
 * history has; other losses then lie in the gap that is recorded for it. Where only acks, edits and the like were lost, no
 * history shows it, and no gap can be expected.
 */
import { unpostedDetail } from "../../src/actors/device/receptionGaps.ts"
import type { Gap } from "../../src/domain/Gap.ts"
import type { LedgerEntry } from "../../src/simulator/Ledger.ts"

export interface Emission extends LedgerEntry {
  /** It was lost without any sign: no connection broke, nothing was refused. */
  silent: boolean
  /** A message of another account that the gateway keeps: its absence reveals the loss. */
  readonly isTelling: () => boolean
}

/** Close to the end of a gap a message proves nothing, because clocks may differ; includes the whole seconds of its time. */
const untellingAfterGap = 6500

/** Events that a gap must name if they are not in the log. */
export const selectProvable = (
  emissions: ReadonlyArray<Emission>,
  gaps: ReadonlyArray<Gap>,
  upstreamOf: ReadonlyMap<string, string>
): ReadonlyArray<Emission> => {
  const gapsBy = Map.groupBy(gaps, ({ deviceId }) => upstreamOf.get(deviceId) ?? "")
  return [...Map.groupBy(emissions, ({ device }) => device)].flatMap(([device, some]) => {
    const own = (gapsBy.get(device) ?? []).map((gap) => ({
      from: isRevealed(gap) ? null : Date.parse(gap.openedAt),
      to: gap.endedAt === null ? Number.POSITIVE_INFINITY : Date.parse(gap.endedAt)
    }))
    return listEpisodes(some, own).filter((episode) =>
      !episode[0]!.silent ||
      episode.some((emission) =>
        emission.isTelling() && own.every(({ to }) => emission.at < to || emission.at > to + untellingAfterGap)
      )
    ).flat()
  })
}

/** Only lost messages revealed it, so it must begin before the first event that may be lost with them. */
const isRevealed = ({ cause, detail }: Gap): boolean => cause === "deaf" && !detail.startsWith(unpostedDetail)

interface Interval {
  /** Null if another silently lost event revealed it. */
  readonly from: number | null
  readonly to: number
}

/**
 * Emissions in a row that were lost without a sign, with no start of another gap and no proof of reception between them;
 * every other one by itself.
 */
const listEpisodes = (
  emissions: ReadonlyArray<Emission>,
  gaps: ReadonlyArray<Interval>
): ReadonlyArray<ReadonlyArray<Emission>> => {
  const episodes: Array<Array<Emission>> = []
  for (const emission of emissions) {
    const episode = episodes.at(-1)
    const last = episode?.at(-1)
    const continues = last !== undefined && last.silent && emission.silent &&
      !gaps.some(({ from, to }) =>
        (last.at <= to && to <= emission.at) || (from !== null && last.at <= from && from <= emission.at)
      )
    if (continues) episode!.push(emission)
    else episodes.push([emission])
  }
  return episodes
}
