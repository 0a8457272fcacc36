/**
 * What nobody can know to be missing. A connection that seems open and delivers nothing is found out by messages that the
 * gateway's history has; what else was lost then lies in the gap that is written down for it. Where nothing but acks,
 * edits and the like was lost, no history tells of it, and no gap can be expected.
 */
import type { Gap } from "../../src/domain/Gap.ts"
import type { LedgerEntry } from "../../src/simulator/Ledger.ts"

export interface Emission extends LedgerEntry {
  /** It was lost without any sign: no connection broke, nothing was refused. */
  silent: boolean
  /** A message of another account that the gateway keeps: its absence tells. */
  readonly isTelling: () => boolean
}

/** Close to the end of a gap a message tells nothing, because clocks may differ; with the whole seconds of its time. */
const untellingAfterGap = 6500

/** Those that a gap must name if they are not in the log. */
export const selectProvable = (
  emissions: ReadonlyArray<Emission>,
  gaps: ReadonlyArray<Gap>,
  upstreamOf: ReadonlyMap<string, string>
): ReadonlyArray<Emission> => {
  const gapsBy = Map.groupBy(gaps, ({ deviceId }) => upstreamOf.get(deviceId) ?? "")
  return [...Map.groupBy(emissions, ({ device }) => device)].flatMap(([device, some]) => {
    const own = (gapsBy.get(device) ?? []).map(({ cause, endedAt, openedAt }) => ({
      from: cause === "deaf" ? null : Date.parse(openedAt),
      to: endedAt === null ? Number.POSITIVE_INFINITY : Date.parse(endedAt)
    }))
    return listEpisodes(some, own).filter((episode) =>
      !episode[0]!.silent ||
      episode.some((emission) =>
        emission.isTelling() && own.every(({ to }) => emission.at < to || emission.at > to + untellingAfterGap)
      )
    ).flat()
  })
}

interface Interval {
  /** Null where what was lost without a sign made it known. */
  readonly from: number | null
  readonly to: number
}

/**
 * Emissions in a row that were lost without a sign, with no beginning of another gap and no proof of reception between
 * them; every other one by itself.
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
