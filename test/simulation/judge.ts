/**
 * Judges a simulated world at its end: the same checkers as those of the fault suite over the same kinds of ledgers, and
 * whether everything has come to rest.
 */
import type { LoggedEvent } from "../../src/domain/Event.ts"
import type { Gap } from "../../src/domain/Gap.ts"
import { check } from "../support/Checker.ts"
import type { Violation } from "../support/Checker.ts"
import { checkGaps } from "../support/GapChecker.ts"
import { toCommitted, toEmitted } from "../support/Ledger.ts"
import type { Delivered, Streamed } from "../support/Ledger.ts"
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
  /** The program did not come to rest by itself after the last fault. */
  | "stuck"
  /** The program logged an error, or ended by a defect. */
  | "error"

export interface Judgement {
  /** Examples of what was found, by what it breaks; empty where all promises were kept. */
  readonly charges: Readonly<Partial<Record<Charge, ReadonlyArray<string>>>>
  readonly counts: Readonly<Record<string, number>>
}

interface Evidence {
  readonly emitted: ReadonlyArray<Emission>
  readonly events: ReadonlyArray<LoggedEvent>
  readonly delivered: ReadonlyArray<Delivered>
  readonly streamed: ReadonlyArray<Streamed>
  readonly gaps: ReadonlyArray<Gap>
  readonly phones: ReadonlyArray<{ readonly phone: SimulatedPhone; readonly shape: GatewayShape }>
  readonly unrest: ReadonlyArray<string>
  readonly errors: ReadonlyArray<string>
}

/** Examples kept of each charge. */
const examplesMax = 5

export const judge = (evidence: Evidence): Judgement => {
  const { delivered, emitted, errors, events, gaps, phones, streamed, unrest } = evidence
  const upstreamOf = new Map<string, string>(phones.map(({ phone }) => [phone.deviceId, phone.upstreamId]))
  const committed = events.map((event) =>
    toCommitted({ ...event, device_id: event.deviceId, occurred_at: event.occurredAt })
  )
  const verdict = check({
    emitted: emitted.map(toEmitted),
    committed,
    delivered,
    streamed,
    upstreamOf,
    witnessed: streamed.map(({ id }) => id)
  })
  const revoked = new Set(phones.flatMap(({ phone }) => [...phone.revoked].map((id) => `${phone.upstreamId} ${id}`)))
  const ledger = checkGaps({
    // A revocation that nobody can know to be missing is not selected, and the history has not what it revoked all the same.
    emitted: selectProvable(emitted, gaps, upstreamOf).map(toEmitted).map((entry) =>
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
  const all: Readonly<Record<Charge, ReadonlyArray<string>>> = {
    ...verdict.violations,
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
    counts: { ...verdict.counts, missing: ledger.missing, gaps: gaps.length }
  }
}

export const isSound = ({ charges }: Judgement): boolean => Object.keys(charges).length === 0
