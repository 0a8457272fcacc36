/**
 * Checks the ledger of gaps against the outside truth: what the gateway emitted and the log does not have must lie in gaps
 * that name it, and what a gap claims to be proven must be in the log.
 */
import type { Gap, Provable } from "../../src/domain/Gap.ts"
import type { TimedEmitted } from "./Ledger.ts"
import { countBy, listKept, listKeys, listMissing, upstreamKey } from "./upstream.ts"
import type { UpstreamLedgers } from "./upstream.ts"

/**
 * Gaps have the database's time, which the program knows only by asking. It is off by half of what a question takes: 260 ms were
 * seen on a machine with twenty times the work that it can do.
 */
const clockError = 1_000

export interface GapLedgers extends UpstreamLedgers {
  readonly emitted: ReadonlyArray<TimedEmitted>
  readonly gaps: ReadonlyArray<Gap>
  /**
   * Events come by webhook, each by itself: one may be lost while those around it come, and no connection tells. Then a gap is
   * expected where a message of another account was lost with it, since that is what the history tells.
   */
  readonly byWebhook?: boolean
}

export interface GapVerdict {
  /** Not in the log, and in no gap of its device. */
  readonly unnamed: ReadonlyArray<string>
  /** A message of the history, or an ack, that the log has not, although each gap of that time says that it has all of those. */
  readonly untrue: ReadonlyArray<string>
  /** Not in the log and in no gap, and nothing told of them: see `byWebhook`. */
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
  /** A history says how far a message has come, and not by which steps. */
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
    // What the history does not have, such as a message that was revoked, has no ack there.
    return event === "message.ack" && own.has(message) && kept.has(`${device} message ${id}`) &&
      rankOf(status) > (furthest.get(message) ?? -1)
  }
  const told = ledgers.byWebhook === true ? listTold(ledgers, kept) : null
  const [unnamed, untold, untrue] = [[] as Array<string>, [] as Array<string>, [] as Array<string>]
  for (const [key, lost] of missing) {
    const happened = byKey.get(key) ?? []
    // Which of several alike is missing cannot be told.
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

/** What was lost next to a message that tells: between them nothing of the device came when it was emitted. */
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
