/**
 * Checks the ledger of gaps against the outside truth: what the gateway emitted and the log does not have must lie in gaps
 * that name it, and what a closed gap claims to have been read must be in the log.
 */
import type { Gap } from "../../src/domain/Gap.ts"
import type { LedgerEntry } from "../../src/simulator/Ledger.ts"
import { countBy, listKeys, upstreamKey } from "./Checker.ts"
import type { Committed } from "./Ledger.ts"
import { toEmitted } from "./Ledger.ts"

export interface GapLedgers {
  readonly emitted: ReadonlyArray<LedgerEntry>
  readonly committed: ReadonlyArray<Committed>
  readonly gaps: ReadonlyArray<Gap>
  /** The gateway's name of a device by our id. */
  readonly upstreamOf: ReadonlyMap<string, string>
}

export interface GapVerdict {
  /** Not in the log, and in no gap of its device. */
  readonly unnamed: ReadonlyArray<string>
  /**
   * A message that is not in the log, although each gap of that time is closed, and that was not taken back: a history
   * does not have what was revoked.
   */
  readonly untrue: ReadonlyArray<string>
  /** Emitted and not in the log. */
  readonly missing: number
  readonly recovered: number
}

export const checkGaps = ({ committed, emitted, gaps, upstreamOf }: GapLedgers): GapVerdict => {
  const inLog = countBy(committed.flatMap((row) => upstreamKey(row, upstreamOf) ?? []))
  const byDevice = Map.groupBy(gaps, (gap) => upstreamOf.get(gap.deviceId) ?? gap.deviceId)
  const around = ({ at, device }: LedgerEntry): ReadonlyArray<Gap> =>
    (byDevice.get(device) ?? []).filter(({ endedAt, openedAt }) =>
      Date.parse(openedAt) <= at && (endedAt === null || at <= Date.parse(endedAt))
    )
  const revoked = new Set(
    emitted.flatMap(({ device, event, target }) =>
      event === "message.revoked" || event === "message.deleted" ? [`${device} message ${target}`] : []
    )
  )
  const byKey = Map.groupBy(
    emitted.flatMap((entry) => listKeys(toEmitted(entry)).map((key) => ({ key, entry }))),
    ({ key }) => key
  )
  const [unnamed, untrue] = [[] as Array<string>, [] as Array<string>]
  let missing = 0
  for (const [key, happened] of byKey) {
    const lost = happened.length - (inLog.get(key) ?? 0)
    if (lost <= 0) continue
    missing += lost
    // Which of several alike is missing cannot be told.
    const inGaps = happened.filter(({ entry }) => around(entry).length > 0)
    const times = happened.map(({ entry }) => new Date(entry.at).toISOString()).join(", ")
    if (lost > inGaps.length) unnamed.push(`${lost} of ${key} at ${times}`)
    const read = inGaps.every(({ entry }) => around(entry).every(({ status }) => status === "closed"))
    if (happened[0]!.entry.event === "message" && !revoked.has(key) && read) untrue.push(`${key} at ${times}`)
  }
  return { unnamed, untrue, missing, recovered: committed.filter(({ via }) => via === "backfill").length }
}
