/**
 * Checks the ledger of gaps against the outside truth: events that the gateway emitted and the log lacks must lie in gaps
 * that name them, and what a gap claims to be proven must be in the log.
 */
import type { Gap, Provable } from "../../src/domain/Gap.ts"
import type { TimedEmitted } from "./Ledger.ts"
import { countBy, listKept, listKeys, listMissing, upstreamKey } from "./upstream.ts"
import type { UpstreamLedgers } from "./upstream.ts"

/**
 * Gaps carry the database's time, which the program estimates by asking. The error is half of the round trip: 260 ms were
 * seen on a machine with twenty times the work that it can do.
 */
const clockError = 1_000

export interface GapLedgers extends UpstreamLedgers {
  readonly emitted: ReadonlyArray<TimedEmitted>
  readonly gaps: ReadonlyArray<Gap>
  /**
   * Events come by separate webhooks: one may be lost while those around it arrive, and no connection shows it. A gap is then
   * expected only where a message of another account was lost with it, since the history reveals that loss.
   */
  readonly byWebhook?: boolean
}

export interface GapVerdict {
  /** Not in the log, and in no gap of its device. */
  readonly unnamed: ReadonlyArray<string>
  /** A message of the history, or an ack, that the log lacks although every gap of that time claims to have all of them. */
  readonly untrue: ReadonlyArray<string>
  /** Not in the log and in no gap, and nothing could reveal the loss: see `byWebhook`. */
  readonly untold: ReadonlyArray<string>
  /** Emitted and not in the log. */
  readonly missing: number
  readonly recovered: number
}

const rankOf = (status: string): number => ["sent", "delivered", "read", "played"].indexOf(status)

export const checkGaps = (ledgers: GapLedgers): GapVerdict => {
  const { committed, emitted, gaps, upstreamOf } = ledgers
  const byDevice = Map.groupBy(gaps, (gap) => upstreamOf.get(gap.deviceId) ?? gap.deviceId)
  const around = ({ at, device }: TimedEmitted): ReadonlyArray<Gap> =>
    (byDevice.get(device) ?? []).filter(({ endedAt, openedAt }) =>
      Date.parse(openedAt) - clockError <= at && (endedAt === null || at <= Date.parse(endedAt) + clockError)
    )
  const kept = new Set(listKept(emitted).flatMap(listKeys))
  const missing = countBy(listMissing(ledgers))
  const byKey = Map.groupBy(
    emitted.flatMap((entry) => listKeys(entry).map((key) => ({ key, entry }))),
    ({ key }) => key
  )
  /** A history has the current status of a message, and not the steps to it. */
  const furthest = new Map<string, number>()
  for (const { data, deviceId, kind } of committed) {
    if (kind !== "message.ack") continue
    const message = `${upstreamOf.get(deviceId) ?? deviceId} ${String(data["waId"])}`
    furthest.set(message, Math.max(furthest.get(message) ?? -1, rankOf(String(data["status"]))))
  }
  const own = new Set(
    committed.flatMap(({ data, deviceId, kind }) =>
      kind === "message.sent" ? [`${upstreamOf.get(deviceId) ?? deviceId} ${String(data["waId"])}`] : []
    )
  )
  const isBehind = (key: string): boolean => {
    const [device, event, id, status = ""] = key.split(" ")
    const message = `${device} ${id}`
    // A message that the history lacks, such as a revoked one, has no ack there.
    return event === "message.ack" && own.has(message) && kept.has(`${device} message ${id}`) &&
      rankOf(status) > (furthest.get(message) ?? -1)
  }
  const told = ledgers.byWebhook === true ? listTold(ledgers, kept) : null
  const [unnamed, untold, untrue] = [[] as Array<string>, [] as Array<string>, [] as Array<string>]
  for (const [key, lost] of missing) {
    const happened = byKey.get(key) ?? []
    // It is unknown which of several equal events is missing.
    const inGaps = happened.filter(({ entry }) => around(entry).length > 0)
    const times = happened.map(({ entry }) => new Date(entry.at).toISOString()).join(", ")
    if (lost > inGaps.length) {
      const list = told === null || happened.some(({ entry }) => told.has(entry)) ? unnamed : untold
      list.push(`${lost} of ${key} at ${times}`)
    }
    const isProven = (what: Provable) =>
      inGaps.length > 0 && inGaps.every(({ entry }) => around(entry).every((gap) => gap.proven.includes(what)))
    if (kept.has(key) && isProven("messages")) untrue.push(`${key} at ${times}`)
    if (isBehind(key) && isProven("acks")) untrue.push(`${key} at ${times}`)
  }
  return {
    unnamed,
    untrue,
    untold,
    missing: [...missing.values()].reduce((sum, count) => sum + count, 0),
    recovered: committed.filter(({ via }) => via === "backfill").length
  }
}

/** Events lost next to a message that reveals the loss: between them nothing of the device arrived when it was emitted. */
const listTold = (
  { committed, emitted, upstreamOf }: GapLedgers,
  kept: ReadonlySet<string>
): ReadonlySet<TimedEmitted> => {
  const logged = Map.groupBy(committed, (row) => upstreamKey(row, upstreamOf))
  const come = (entry: TimedEmitted) =>
    listKeys(entry).some((key) => logged.get(key)?.some(({ via }) => via !== "backfill"))
  const tells = (entry: TimedEmitted) =>
    entry.event === "message" &&
    listKeys(entry).some((key) =>
      kept.has(key) && (logged.get(key)?.every(({ kind }) => kind === "message.received") ?? true)
    )
  const told = new Set<TimedEmitted>()
  for (const some of Map.groupBy(emitted, ({ device }) => device).values()) {
    let lost: Array<TimedEmitted> = []
    const end = () => {
      if (lost.some(tells)) lost.forEach((entry) => told.add(entry))
      lost = []
    }
    for (const entry of some.toSorted((one, other) => one.at - other.at)) {
      if (come(entry)) end()
      else lost.push(entry)
    }
    end()
  }
  return told
}
