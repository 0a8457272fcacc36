/**
 * Checks the ledgers of a run against the promises. Every class of violation has a name and examples. What may happen
 * in a crash (an event that was sent to a dying process, a second delivery) is counted and is no violation.
 */
import type { Committed, Delivered, Emitted, Streamed } from "./Ledger.ts"

export interface Ledgers {
  readonly emitted: ReadonlyArray<Emitted>
  readonly committed: ReadonlyArray<Committed>
  readonly delivered: ReadonlyArray<Delivered>
  /** What a reader of the event stream received, who read from the beginning; null without one. */
  readonly streamed: ReadonlyArray<Streamed> | null
  /** Ids that were seen committed at some time during the run. */
  readonly witnessed: ReadonlyArray<string>
  /** The gateway's name of a device by our id. */
  readonly upstreamOf: ReadonlyMap<string, string>
  /** The gateway sent some events more than once. What has no id is then in the log as often as it came. */
  readonly sentTwice?: boolean
}

export type Violation =
  /** Committed, but never delivered by the broker. */
  | "lost"
  /** Delivered by the broker, but not in the log, or different there. */
  | "unexpected"
  /** The same event was delivered under two message ids. */
  | "split"
  /** First deliveries of one device were not in log order. */
  | "reordered"
  /** The reader of the stream did not get every event of the log, each once and in order. */
  | "broken"
  /** Log numbers are not contiguous. */
  | "hole"
  /** One upstream event has two rows. */
  | "doubled"
  /** It was seen committed and is no longer in the log. */
  | "vanished"
  /** The log has an upstream event that the gateway never emitted. */
  | "invented"

export interface Verdict {
  readonly violations: Readonly<Record<Violation, ReadonlyArray<string>>>
  readonly counts: {
    readonly emitted: number
    /** Emitted while the device had no socket. */
    readonly unheard: number
    /** Sent to a socket, but never committed. */
    readonly missed: number
    /** Committed from the gateway's history. */
    readonly recovered: number
    readonly committed: number
    readonly delivered: number
    /** Deliveries beyond the first of an event, other than the broker's own repeats. */
    readonly repeated: number
    /** The broker's own repeats to the recorder. */
    readonly redelivered: number
  }
  /** Examples of `missed`. */
  readonly missed: ReadonlyArray<string>
  /** Messages that the gateway's history keeps (all but those revoked later), heard or not, that are not in the log. */
  readonly unrecovered: ReadonlyArray<string>
}

/** Examples shown per class. */
const examplesMax = 5

export const check = (ledgers: Ledgers): Verdict => {
  const { committed, delivered, emitted } = ledgers
  const byId = new Map(committed.map((row) => [row.id, row]))
  const first = firstDeliveries(delivered)
  const upstream = joinUpstream(ledgers)
  const repeats = delivered.filter((delivery) => first.get(delivery.messageId) !== delivery)
  return {
    violations: {
      lost: committed.filter((row) => !first.has(row.id)).map(describeRow),
      unexpected: delivered.filter((delivery) => !agrees(delivery, byId.get(delivery.messageId))).map(describeDelivery),
      split: splits(delivered),
      reordered: reorderings([...first.values()]),
      broken: breaks(ledgers),
      hole: holes(committed),
      doubled: doubles(committed),
      vanished: [...new Set(ledgers.witnessed)].filter((id) => !byId.has(id)),
      invented: upstream.invented
    },
    counts: {
      emitted: emitted.length,
      unheard: emitted.filter((event) => event.sockets === 0).length,
      missed: upstream.missed.length,
      recovered: committed.filter((row) => row.via === "backfill").length,
      committed: committed.length,
      delivered: delivered.length,
      repeated: repeats.filter((delivery) => !delivery.redelivered).length,
      redelivered: repeats.filter((delivery) => delivery.redelivered).length
    },
    missed: upstream.missed,
    unrecovered: upstream.unrecovered
  }
}

/** One line of counts, then one line for each broken promise. */
export const report = ({ counts, violations }: Verdict): string =>
  [
    Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(", "),
    ...Object.entries(violations).filter(([, found]) => found.length > 0)
      .map(([name, found]) => `${name.toUpperCase()} ${found.length}: ${found.slice(0, examplesMax).join("; ")}`)
  ].join("\n")

export const assertSound = (verdict: Verdict): void => {
  if (Object.values(verdict.violations).some((found) => found.length > 0)) {
    throw new Error(`A promise was broken.\n${report(verdict)}`)
  }
}

/** For runs in which no process dies: everything that was sent to a live socket must be in the log. */
export const assertNothingMissed = (verdict: Verdict): void => {
  if (verdict.missed.length > 0) {
    throw new Error(
      `${verdict.missed.length} events were handed to a live socket and are not in the log: ` +
        `${verdict.missed.slice(0, examplesMax).join("; ")}\n${report(verdict)}`
    )
  }
}

const firstDeliveries = (delivered: ReadonlyArray<Delivered>): ReadonlyMap<string, Delivered> => {
  const first = new Map<string, Delivered>()
  for (const delivery of delivered) if (!first.has(delivery.messageId)) first.set(delivery.messageId, delivery)
  return first
}

const agrees = (delivery: Delivered, row: Committed | undefined): boolean =>
  row !== undefined && row.seq === delivery.seq && row.kind === delivery.kind && row.deviceId === delivery.deviceId

const splits = (delivered: ReadonlyArray<Delivered>): ReadonlyArray<string> => {
  const ids = new Map<number, string>()
  const found: Array<string> = []
  for (const { messageId, seq } of delivered) {
    const known = ids.get(seq)
    if (known === undefined) ids.set(seq, messageId)
    else if (known !== messageId) found.push(`seq ${seq} as ${known} and ${messageId}`)
  }
  return found
}

const reorderings = (first: ReadonlyArray<Delivered>): ReadonlyArray<string> => {
  const last = new Map<string, number>()
  const found: Array<string> = []
  for (const { deviceId, seq } of first) {
    const before = last.get(deviceId) ?? 0
    if (seq < before) found.push(`${deviceId}: ${seq} after ${before}`)
    else last.set(deviceId, seq)
  }
  return found
}

const breaks = ({ committed, streamed }: Ledgers): ReadonlyArray<string> => {
  if (streamed === null) return []
  const found: Array<string> = []
  for (let index = 0; index < Math.max(committed.length, streamed.length); index++) {
    const [row, event] = [committed[index], streamed[index]]
    if (row?.id === event?.id && row?.seq === event?.seq) continue
    found.push(`event ${index + 1} of the stream is ${event?.seq ?? "missing"} where the log has ${row?.seq ?? "none"}`)
  }
  return found
}

const holes = (committed: ReadonlyArray<Committed>): ReadonlyArray<string> =>
  committed.flatMap((row, index) => {
    const expected = index === 0 ? 1 : committed[index - 1]!.seq + 1
    return row.seq === expected ? [] : [`${row.seq} where ${expected} should be`]
  })

const doubles = (committed: ReadonlyArray<Committed>): ReadonlyArray<string> => {
  const seen = new Map<string, number>()
  return committed.flatMap((row) => {
    const { body, chat, fromMe, participant, sender, status, targetWaId, waId } = row.data
    if (typeof waId !== "string") return []
    // Of a history, a reaction has no id of its own: who reacted to what, how and in which second. Heard live it is the same.
    const second = row.occurredAt === undefined ? "" : Math.floor(Date.parse(row.occurredAt) / 1000)
    const id = row.kind === "message.reaction" ? [targetWaId, body, second] : [waId]
    const identity = JSON.stringify([row.deviceId, row.kind, chat, sender ?? participant, fromMe, ...id, status])
    const known = seen.get(identity)
    seen.set(identity, row.seq)
    return known === undefined ? [] : [`${identity} at ${known} and ${row.seq}`]
  })
}

/** Compares how often each upstream event was emitted, was sent to a socket, and is in the log. */
const joinUpstream = ({ committed, emitted, sentTwice = false, upstreamOf }: Ledgers) => {
  const inLog = countBy(committed.flatMap((row) => upstreamKey(row, upstreamOf) ?? []))
  // A history tells how far a message has come, also where no ack of that was ever emitted.
  const told = countBy(
    committed.filter(({ kind, via }) => via !== "backfill" || kind !== "message.ack")
      .flatMap((row) => upstreamKey(row, upstreamOf) ?? [])
  )
  const happened = countBy(emitted.flatMap(listKeys))
  const heard = countBy(emitted.filter((event) => event.sockets > 0).flatMap(listKeys))
  const exceeding = (left: ReadonlyMap<string, number>, right: ReadonlyMap<string, number>) =>
    [...left].flatMap(([key, count]) => Array<string>(Math.max(0, count - (right.get(key) ?? 0))).fill(key))
  const revoked = new Set(
    emitted.flatMap(({ device, event, target }) =>
      target !== undefined && /^message\.(revoked|deleted)$/.test(event) ? [`${device} ${target}`] : []
    )
  )
  const unrecovered = emitted
    .filter(({ device, event, ids }) => event === "message" && !revoked.has(`${device} ${ids[0]}`))
    .flatMap(listKeys).filter((key) => !inLog.has(key))
  const missed = withoutRecoveredReactions(exceeding(heard, inLog), { committed, emitted, upstreamOf })
  return {
    missed,
    invented: exceeding(told, happened).filter((key) => !sentTwice || key.split(" ").length > 2 || !happened.has(key)),
    unrecovered
  }
}

/** One whose row of a history was read before it came live is in the log by that row alone, which names only its target. */
const withoutRecoveredReactions = (
  missed: ReadonlyArray<string>,
  { committed, emitted, upstreamOf }: Pick<Ledgers, "committed" | "emitted" | "upstreamOf">
): ReadonlyArray<string> => {
  const left = new Map(countBy(committed.flatMap((row) =>
    row.kind === "message.reaction" && row.data["waId"] === ""
      ? [`${upstreamOf.get(row.deviceId) ?? row.deviceId} ${String(row.data["targetWaId"])}`]
      : []
  )))
  const targets = new Map(
    emitted.flatMap((event) =>
      event.event === "message.reaction"
        ? listKeys(event).map((key) => [key, `${event.device} ${event.target}`] as const)
        : []
    )
  )
  return missed.filter((key) => {
    const target = targets.get(key)
    const rows = target === undefined ? 0 : left.get(target) ?? 0
    if (rows > 0) left.set(target!, rows - 1)
    return rows === 0
  })
}

/** What an emitted event is called here; an ack of several messages has several names. */
export const listKeys = (event: Pick<Emitted, "device" | "event" | "ids">): ReadonlyArray<string> =>
  event.ids.length === 0
    ? [`${event.device} ${event.event}`]
    : event.ids.map((id) => `${event.device} ${event.event} ${id}`)

/** Null for Columba's own events, and for a reaction of a history, which has no id: what was emitted has nothing else. */
export const upstreamKey = (row: Committed, upstreamOf: ReadonlyMap<string, string>): string | null => {
  if (row.via === "columba" || (row.kind === "message.reaction" && row.data["waId"] === "")) return null
  // Kept for somebody to look at: no event. What it should have been is missed.
  if (row.kind === "frame.rejected") return null
  const event = row.kind === "message.received" || row.kind === "message.sent"
    ? "message"
    : row.kind.replace(/^gateway\./, "").replace(/^presence\.update$/, "chat_presence")
  const device = upstreamOf.get(row.deviceId) ?? row.deviceId
  return typeof row.data["waId"] === "string" ? `${device} ${event} ${row.data["waId"]}` : `${device} ${event}`
}

export const countBy = (keys: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
  return counts
}

const describeRow = (row: Committed): string => `${row.seq} ${row.kind} ${row.deviceId}`
const describeDelivery = (delivery: Delivered): string =>
  `${delivery.seq} ${delivery.kind} ${delivery.deviceId} as ${delivery.messageId}`
