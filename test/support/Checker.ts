/**
 * Checks the ledgers of a run against the promises. Every class of violation has a name and examples. Effects that a
 * crash may have (an event that was sent to a dying process, a second delivery) are counted and are no violation.
 */
import type { Committed, Delivered, Streamed } from "./Ledger.ts"
import { countBy, joinUpstream } from "./upstream.ts"
import type { UpstreamLedgers } from "./upstream.ts"

export interface Ledgers extends UpstreamLedgers {
  /** What the recorder behind the broker received; null without a broker. */
  readonly delivered: ReadonlyArray<Delivered> | null
  /** What a reader of the event stream received from its beginning; null without a reader. */
  readonly streamed: ReadonlyArray<Streamed> | null
  /** Ids that were seen as committed at some time during the run. */
  readonly witnessed: ReadonlyArray<string>
  /** What the endpoint of a subscription accepted, from the beginning of the log; null or absent without one. */
  readonly posted?: ReadonlyArray<Delivered> | null
  /** Deliveries to the endpoint that are not signed with its secret. */
  readonly forged?: ReadonlyArray<string>
  /** What a consumer with its own database has done; null or absent without one. */
  readonly consumed?: Consumed | null
  /** What the handler of the program's consumer has done; null or absent without one. */
  readonly handled?: Handled | null
  /** Messages whose status is not the furthest of their acks. */
  readonly regressed?: ReadonlyArray<string>
}

export interface Consumed {
  /** Events up to this number may be missing from its queue. */
  readonly from: number
  /** Ids of the events that it has handled. */
  readonly handled: ReadonlyArray<string>
  /** Device and WhatsApp id of each message that it has stored, once per stored row. */
  readonly stored: ReadonlyArray<string>
}

export interface Handled {
  /** Ids of the events that are noted as handled. */
  readonly noted: ReadonlyArray<string>
  /** Device and WhatsApp id of each message that it has written, once per written row. */
  readonly written: ReadonlyArray<string>
}

export type Violation =
  /** Committed, but never delivered by the broker, accepted by the endpoint, or handled by the consumer or the handler. */
  | "lost"
  /** Delivered, and missing in the log or different there. */
  | "unexpected"
  /** The same event was delivered under two message ids. */
  | "split"
  /** First deliveries of one device were not in log order. */
  | "reordered"
  /** A delivery to the endpoint is not signed with its secret. */
  | "forged"
  /** The consumer or the handler processed one event twice. */
  | "repeated"
  /** A message's status is not the furthest of its acks. */
  | "regressed"
  /** The reader of the stream did not get every event of the log, each once and in order. */
  | "broken"
  /** Log numbers are not contiguous. */
  | "hole"
  /** One upstream event has two rows. */
  | "doubled"
  /** The event was seen as committed and is no longer in the log. */
  | "vanished"
  /** The log has an upstream event that the gateway never emitted. */
  | "invented"
  /** A message in the log does not have the text that it was emitted with. */
  | "altered"

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
  /** Messages of the gateway's history (all but those revoked later), delivered live or not, that are not in the log. */
  readonly unrecovered: ReadonlyArray<string>
}

/** Examples shown per class. */
const examplesMax = 5

export const check = (ledgers: Ledgers): Verdict => {
  const { committed, emitted } = ledgers
  const delivered = ledgers.delivered ?? []
  const first = firstDeliveries(delivered)
  const upstream = joinUpstream(ledgers)
  const repeats = delivered.filter((delivery) => first.get(delivery.messageId) !== delivery)
  const byId = new Map(committed.map((row) => [row.id, row]))
  const broker = ledgers.delivered === null ? nothing : judgeReader(committed, delivered, "")
  const endpoint = ledgers.posted ? judgeReader(committed, ledgers.posted, "endpoint: ") : nothing
  const consumer = ledgers.consumed ? judgeConsumer(committed, ledgers.consumed) : nothing
  const handler = ledgers.handled ? judgeHandler(committed, ledgers.handled) : nothing
  const all = (name: keyof typeof nothing) => [broker, endpoint, consumer, handler].flatMap((reader) => reader[name])
  return {
    violations: {
      lost: all("lost"),
      unexpected: all("unexpected"),
      split: all("split"),
      reordered: all("reordered"),
      repeated: all("repeated"),
      forged: ledgers.forged ?? [],
      regressed: ledgers.regressed ?? [],
      broken: breaks(ledgers),
      hole: holes(committed),
      doubled: doubles(committed),
      vanished: [...new Set(ledgers.witnessed)].filter((id) => !byId.has(id)),
      invented: upstream.invented,
      altered: upstream.altered
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

/** For runs in which no process dies: every event that was sent to a live socket must be in the log. */
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

/** The violations that a reader of the whole log may show. */
interface Judged {
  readonly lost: ReadonlyArray<string>
  readonly unexpected: ReadonlyArray<string>
  readonly split: ReadonlyArray<string>
  readonly reordered: ReadonlyArray<string>
  readonly repeated: ReadonlyArray<string>
}

const nothing: Judged = { lost: [], unexpected: [], split: [], reordered: [], repeated: [] }

/** Judges a reader of all these rows. */
export const judgeReader = (
  committed: ReadonlyArray<Committed>,
  delivered: ReadonlyArray<Delivered>,
  who: string
): Judged => {
  const byId = new Map(committed.map((row) => [row.id, row]))
  const first = firstDeliveries(delivered)
  const say = (found: ReadonlyArray<string>) => found.map((one) => `${who}${one}`)
  return {
    ...nothing,
    lost: say(committed.filter((row) => !first.has(row.id)).map(describeRow)),
    unexpected: say(
      delivered.filter((delivery) => !agrees(delivery, byId.get(delivery.messageId))).map(describeDelivery)
    ),
    split: say(splits(delivered)),
    reordered: say(reorderings([...first.values()]))
  }
}

/** The kinds that the consumer's queue is bound to. */
const consumedKinds = /^message\.(received|ack)$/

const judgeConsumer = (committed: ReadonlyArray<Committed>, { from, handled, stored }: Consumed): Judged => {
  const known = new Set(handled)
  const inLog = new Set(committed.map(({ id }) => id))
  const twice = [...countBy(stored)].filter(([, count]) => count > 1)
  return {
    ...nothing,
    lost: committed.filter(({ id, kind, seq }) => seq > from && consumedKinds.test(kind) && !known.has(id))
      .map((row) => `consumer: ${describeRow(row)}`),
    unexpected: handled.filter((id) => !inLog.has(id)).map((id) => `consumer: ${id}`),
    repeated: twice.map(([message, count]) => `consumer: ${message}, ${count} times`)
  }
}

/** The handler writes each incoming message that has a text, in the transaction that notes it. */
const judgeHandler = (committed: ReadonlyArray<Committed>, { noted, written }: Handled): Judged => {
  const received = committed.filter(({ kind }) => kind === "message.received")
  const nameOf = ({ data, deviceId }: Committed) => `${deviceId} ${String(data["waId"])}`
  const times = countBy(written)
  const known = new Set(noted)
  const names = new Set(received.map(nameOf))
  return {
    ...nothing,
    lost: received.filter((row) =>
      !known.has(row.id) || (typeof row.data["body"] === "string" && !times.has(nameOf(row)))
    )
      .map((row) => `handler: ${describeRow(row)}${known.has(row.id) ? ", which is noted" : ""}`),
    unexpected: written.filter((name) => !names.has(name)).map((name) => `handler: ${name}`),
    repeated: [...times].filter(([, count]) => count > 1).map(([name, count]) => `handler: ${name}, ${count} times`)
  }
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
    const identity = identify(row)
    if (identity === null) return []
    const known = seen.get(identity)
    seen.set(identity, row.seq)
    return known === undefined ? [] : [`${identity} at ${known} and ${row.seq}`]
  })
}

/**
 * Each simulated message has another id, so two spellings of a chat do not hide a second row. A reaction from a
 * history has no id: who reacted to what, how and in which second identifies it. Received live it is the same.
 */
const identify = ({ data, deviceId, kind, occurredAt }: Committed): string | null => {
  const { body, participant, sender, status, targetWaId, waId } = data
  if (typeof waId !== "string") return null
  const second = occurredAt === undefined ? "" : Math.floor(Date.parse(occurredAt) / 1000)
  const parts = kind === "message.reaction" ? [sender, targetWaId, body, second] : [waId, participant, status]
  return JSON.stringify([deviceId, kind, ...parts])
}

const describeRow = (row: Committed): string => `${row.seq} ${row.kind} ${row.deviceId}`
const describeDelivery = (delivery: Delivered): string =>
  `${delivery.seq} ${delivery.kind} ${delivery.deviceId} as ${delivery.messageId}`
