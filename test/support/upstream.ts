/**
 * Joins the events that the gateway emitted to those in the log. An event of the gateway is identified by its device, its
 * name and its WhatsApp id, and an ack also by the status that it reports.
 */
import type { Committed, Emitted } from "./Ledger.ts"

export interface UpstreamLedgers {
  readonly emitted: ReadonlyArray<Emitted>
  readonly committed: ReadonlyArray<Committed>
  /** The gateway's name of a device by Columba's id. */
  readonly upstreamOf: ReadonlyMap<string, string>
  /** The gateway sent some events more than once. An event without an id is then in the log once per delivery. */
  readonly sentTwice?: boolean
}

/** Compares how often each upstream event was emitted, was sent to a receiver, and is in the log. */
export const joinUpstream = (ledgers: UpstreamLedgers) => {
  const { committed, emitted, sentTwice = false, upstreamOf } = ledgers
  const inLog = countLogged(ledgers)
  const happened = new Map(countBy(emitted.flatMap(listKeys)))
  for (const key of emitted.flatMap(listImplied)) happened.set(key, happened.get(key) ?? 1)
  const heard = countBy(emitted.filter(({ alike, sockets }) => sockets > 0 && alike !== true).flatMap(listKeys))
  return {
    missed: withoutRecoveredReactions(exceeding(heard, inLog), ledgers),
    invented: exceeding(inLog, happened).filter((key) => !sentTwice || isNamed(key) || !happened.has(key)),
    unrecovered: listUnrecovered(ledgers, inLog),
    altered: findAltered({ committed, emitted, upstreamOf })
  }
}

/** Messages that the gateway's history keeps and that are not in the log. Of the log, its messages are enough. */
export const listUnrecovered = (
  ledgers: UpstreamLedgers,
  inLog: ReadonlyMap<string, number> = countLogged(ledgers)
): ReadonlyArray<string> => listKept(ledgers.emitted).flatMap(listKeys).filter((key) => !inLog.has(key))

/** Emitted, delivered live or not, and not in the log. */
export const listMissing = (ledgers: UpstreamLedgers): ReadonlyArray<string> =>
  withoutRecoveredReactions(
    exceeding(countBy(ledgers.emitted.filter(({ alike }) => alike !== true).flatMap(listKeys)), countLogged(ledgers)),
    ledgers
  )

/** The messages that a history has at the end. Revoked and deleted messages are in none. */
export const listKept = <Event extends Emitted>(emitted: ReadonlyArray<Event>): ReadonlyArray<Event> => {
  const revoked = new Set(
    emitted.flatMap(({ device, event, target }) =>
      target !== undefined && /^message\.(revoked|deleted)$/.test(event) ? [`${device} ${target}`] : []
    )
  )
  return emitted.filter(({ device, event, ids, kept }) =>
    event === "message" && kept !== false && !revoked.has(`${device} ${ids[0]}`)
  )
}

const countLogged = ({ committed, upstreamOf }: UpstreamLedgers) =>
  countBy(committed.flatMap((row) => upstreamKey(row, upstreamOf) ?? []))

const exceeding = (left: ReadonlyMap<string, number>, right: ReadonlyMap<string, number>): ReadonlyArray<string> =>
  [...left].flatMap(([key, count]) => Array<string>(Math.max(0, count - (right.get(key) ?? 0))).fill(key))

const isNamed = (key: string): boolean => key.split(" ").length > 2

/** A reaction whose history row was read before it came live is in the log only as that row, which names its target. */
const withoutRecoveredReactions = (
  missing: ReadonlyArray<string>,
  { committed, emitted, upstreamOf }: UpstreamLedgers
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
  return missing.filter((key) => {
    const target = targets.get(key)
    const rows = target === undefined ? 0 : left.get(target) ?? 0
    if (rows > 0) left.set(target!, rows - 1)
    return rows === 0
  })
}

/** A message that came live must have the text that it was emitted with; a history may have a later one, by an edit. */
const findAltered = ({ committed, emitted, upstreamOf }: UpstreamLedgers): ReadonlyArray<string> => {
  const texts = new Map<string, Set<string>>()
  const edits = new Map<string, Set<string>>()
  const add = (to: Map<string, Set<string>>, key: string, text: string) =>
    to.set(key, (to.get(key) ?? new Set<string>()).add(text))
  for (const { device, event, ids, target, text } of emitted) {
    if (text === undefined) continue
    if (event === "message") add(texts, `${device} message ${ids[0]}`, text)
    else if (event === "message.edited") add(edits, `${device} message ${target}`, text)
  }
  return committed.flatMap((row) => {
    if (row.kind !== "message.received" && row.kind !== "message.sent") return []
    const key = upstreamKey(row, upstreamOf) ?? ""
    const known = texts.get(key)
    const body = String(row.data["body"] ?? "")
    if (known === undefined || known.has(body) || (row.via === "backfill" && edits.get(key)?.has(body))) return []
    return [`${row.seq} ${key}`]
  })
}

/** The keys of an emitted event; an ack of several messages has several keys. */
export const listKeys = ({ device, event, ids, status }: Pick<Emitted, "device" | "event" | "ids" | "status">) => {
  const rank = status === undefined ? "" : ` ${toStatus(status)}`
  return ids.length === 0 ? [`${device} ${event}`] : ids.map((id) => `${device} ${event} ${id}${rank}`)
}

/** The acks that a reader may derive from an event. */
const listImplied = ({ device, ids, implied = [] }: Emitted): ReadonlyArray<string> =>
  implied.flatMap((status) => ids.map((id) => `${device} message.ack ${id} ${status}`))

/** A message that the account itself has read counts as read. */
const toStatus = (status: string): string => status === "read-self" ? "read" : status

/**
 * Null for Columba's own events, except for a message that it has sent, which the gateway has too. Null also for a reaction
 * of a history, which has no id: the emitted event has no other key.
 */
export const upstreamKey = (row: Committed, upstreamOf: ReadonlyMap<string, string>): string | null => {
  const { status, waId } = row.data
  if ((row.via === "columba" && row.kind !== "message.sent") || (row.kind === "message.reaction" && waId === "")) {
    return null
  }
  // Kept for inspection only: no event. The event that it should have been counts as missed.
  if (row.kind === "frame.rejected") return null
  const event = row.kind === "message.received" || row.kind === "message.sent"
    ? "message"
    : row.kind.replace(/^gateway\./, "").replace(/^presence\.update$/, "chat_presence")
  const device = upstreamOf.get(row.deviceId) ?? row.deviceId
  if (typeof waId !== "string") return `${device} ${event}`
  return event === "message.ack" ? `${device} ${event} ${waId} ${String(status)}` : `${device} ${event} ${waId}`
}

export const countBy = (keys: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
  return counts
}
