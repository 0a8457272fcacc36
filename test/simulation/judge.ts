/**
 * Judges a simulated world at its end: the same checkers as those of the fault suite over the same kinds of ledgers, and
 * whether everything has come to rest.
 */
import type { LoggedEvent } from "../../src/domain/Event.ts"
import type { DeviceStateData } from "../../src/domain/EventData.ts"
import type { Gap } from "../../src/domain/Gap.ts"
import { auditKind } from "../../src/domain/EventKinds.ts"
import { check, judgeReader } from "../support/Checker.ts"
import type { Violation } from "../support/Checker.ts"
import { checkGaps } from "../support/GapChecker.ts"
import { toCommitted, toEmitted } from "../support/Ledger.ts"
import type { Delivered, Streamed } from "../support/Ledger.ts"
import { undoneKey } from "./SimulatedDatabase.ts"
import type { SimulatedEndpoint } from "./SimulatedEndpoint.ts"
import type { GatewayShape } from "./SimulatedGateway.ts"
import { selectProvable } from "./silence.ts"
import type { Emission } from "./silence.ts"
import type { SimulatedPhone } from "./SimulatedPhone.ts"

export type Charge =
  | Violation
  /** Emitted, not in the log, and in no gap of its device. */
  | "unnamed"
  /** A message that is not in the log although each gap of its time is closed. */
  | "untrue"
  /** A message that the gateway's history keeps is not in the log. */
  | "unrecovered"
  /** Committed and selected by a subscription, and never accepted by its endpoint. */
  | "untaken"
  /** Retention has deleted something that it must keep. */
  | "forgotten"
  /** A decision of an earlier owner of a device was committed. */
  | "stale"
  /** A gap was closed as proven, or a watermark moved, before the messages of that time were in the log. */
  | "premature"
  /** The program did not come to rest by itself after the last fault. */
  | "stuck"
  /** The program logged an error, or ended by a defect. */
  | "error"

export interface Judgement {
  /** Examples of violations by class; empty if all promises were kept. */
  readonly charges: Readonly<Partial<Record<Charge, ReadonlyArray<string>>>>
  readonly counts: Readonly<Record<string, number>>
}

interface Evidence {
  readonly emitted: ReadonlyArray<Emission>
  /** All events that the log ever had, also those that retention has deleted. */
  readonly events: ReadonlyArray<LoggedEvent>
  /** Events that an older copy of the database has undone, by `undoneKey`: their deliveries are not judged. */
  readonly undone: ReadonlySet<string>
  readonly forgotten: ReadonlyArray<string>
  readonly unjudged: ReadonlySet<string>
  readonly stale: ReadonlyArray<string>
  readonly premature: ReadonlyArray<string>
  /** `from`: the number after which the subscription gets events. */
  readonly subscribers: ReadonlyArray<{
    readonly endpoint: SimulatedEndpoint
    readonly from: number
  }>
  readonly delivered: ReadonlyArray<Delivered>
  /** The events of the reader of the stream, from this number on. */
  readonly reading: { readonly streamed: ReadonlyArray<Streamed>; readonly from: number }
  readonly gaps: ReadonlyArray<Gap>
  readonly phones: ReadonlyArray<{ readonly phone: SimulatedPhone; readonly shape: GatewayShape }>
  readonly unrest: ReadonlyArray<string>
  readonly errors: ReadonlyArray<string>
}

/** Examples kept per class. */
const examplesMax = 5

export const judge = (evidence: Evidence): Judgement => {
  const { emitted, errors, events, forgotten, gaps, phones, reading, subscribers, undone, unrest } = evidence
  const upstreamOf = new Map<string, string>(phones.map(({ phone }) => [phone.deviceId, phone.upstreamId]))
  const committed = events.map((event) =>
    toCommitted({ ...event, device_id: event.deviceId, occurred_at: event.occurredAt })
  )
  // Before it others were deleted, while he had to start anew.
  const streamed = [...committed.filter(({ seq }) => seq < reading.from), ...reading.streamed]
  const verdict = check({
    emitted: emitted.map(toEmitted),
    committed,
    delivered: evidence.delivered.filter(({ messageId, seq }) => !undone.has(undoneKey(seq, messageId))),
    streamed,
    upstreamOf,
    witnessed: streamed.map(({ id }) => id)
  })
  const revoked = new Set(phones.flatMap(({ phone }) => [...phone.revoked].map((id) => `${phone.upstreamId} ${id}`)))
  // A device that never was online cannot lose reception: its ledger starts when that is first recorded. Events missed
  // before prove nothing about events missed afterwards.
  const began = new Map<string, number>()
  for (const { data, deviceId, kind, recordedAt } of events) {
    const device = upstreamOf.get(deviceId) ?? ""
    if (kind !== "device.state" || began.has(device)) continue
    if ((JSON.parse(data) as DeviceStateData).state._tag === "Online") began.set(device, Date.parse(recordedAt))
  }
  const accountable = emitted.filter(({ at, device }) => at >= (began.get(device) ?? Number.POSITIVE_INFINITY))
  const deviceOf = new Map<string, string>(phones.map(({ phone }) => [phone.upstreamId, phone.deviceId]))
  const knowing = (emission: Emission): Emission =>
    evidence.unjudged.has(`${deviceOf.get(emission.device)} ${emission.id}`)
      ? { ...emission, isTelling: () => false }
      : emission
  const ledger = checkGaps({
    // A revocation that nobody can notice is not selected, and the history lacks the revoked message all the same.
    emitted: selectProvable(accountable.map(knowing), gaps, upstreamOf).map(toEmitted).map((entry) =>
      revoked.has(`${entry.device} ${entry.ids[0]}`) ? { ...entry, kept: false } : entry
    ),
    committed,
    gaps,
    upstreamOf
  })
  const known = new Set(committed.map(({ data, deviceId }) => `${deviceId} ${String(data["waId"])}`))
  const unrecovered = phones.flatMap(({ phone, shape }) =>
    shape.history
      ? phone.history.map(({ fact }) => `${phone.deviceId} ${fact.waId}`).filter((key) => !known.has(key))
      : []
  )
  const readers = subscribers.map(({ endpoint, from }) => {
    const asked = committed.filter((row) => row.kind !== auditKind && endpoint.wants(row))
    const taken = endpoint.taken.filter(({ messageId, seq }) => !undone.has(undoneKey(seq, messageId)))
    const who = `${endpoint.id}: `
    const { reordered, split, unexpected } = judgeReader(asked, taken, who)
    const promised = asked.filter(({ seq }) => seq > from)
    return { split, unexpected, reordered, untaken: judgeReader(promised, taken, who).lost }
  })
  const all: Readonly<Record<Charge, ReadonlyArray<string>>> = {
    ...verdict.violations,
    unexpected: [...verdict.violations.unexpected, ...readers.flatMap((found) => found.unexpected)],
    split: [...verdict.violations.split, ...readers.flatMap((found) => found.split)],
    reordered: [...verdict.violations.reordered, ...readers.flatMap((found) => found.reordered)],
    forged: subscribers.flatMap(({ endpoint }) => endpoint.forged),
    untaken: readers.flatMap(({ untaken }) => untaken),
    forgotten,
    stale: evidence.stale,
    premature: evidence.premature,
    unnamed: ledger.unnamed,
    untrue: ledger.untrue,
    unrecovered,
    stuck: unrest,
    error: errors
  }
  return {
    charges: Object.fromEntries(
      Object.entries(all).filter(([, found]) => found.length > 0)
        .map((
          [charge, found]
        ) => [charge, [...found.slice(0, examplesMax), ...(found.length > examplesMax ? [`… ${found.length}`] : [])]])
    ),
    counts: {
      ...verdict.counts,
      taken: subscribers.reduce((sum, { endpoint }) => sum + endpoint.taken.length, 0),
      undone: undone.size,
      missing: ledger.missing,
      gaps: gaps.length
    }
  }
}

export const isSound = ({ charges }: Judgement): boolean => Object.keys(charges).length === 0
