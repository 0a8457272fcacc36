/**
 * The checks of each transaction of the log at its commit. Some wrong transactions are corrected later, so that the ledgers
 * at the end of a world would not show them.
 */
import type { DeviceId } from "../../src/domain/Ids.ts"
import type { MemoryTables } from "../../src/layers/memory/MemoryDatabase.ts"
import type { PreparedGroup, WriteBatch, WriteResult } from "../../src/log/LogStore.ts"
import type { EffectOf, LogEffect } from "../../src/services/LogEffect.ts"
import type { Kept } from "./SimulatedPhone.ts"

/** The program asks for the database's time, and an answer may take some seconds here. Readings overlap by more than that. */
const clockError = 5000

/** The history of a device at its gateway; null if it has none. */
export type FindHistory = (device: DeviceId) => ReadonlyArray<Kept> | null

/** Of a write that is about to be done. */
export interface WriteJudge {
  readonly done: (result: WriteResult) => void
}

export class WriteWatch {
  /** Decisions of an earlier owner of a device that were committed. */
  readonly stale: Array<string> = []
  /** Claims that a time is accounted for while messages of it were not in the log. */
  readonly premature: Array<string> = []
  readonly #tables: MemoryTables
  readonly #isLogged: (device: DeviceId, waId: string) => boolean
  #findHistory: FindHistory = () => null
  /** By the database's clock. */
  #unlearnedUntil = 0

  constructor(tables: MemoryTables, isLogged: (device: DeviceId, waId: string) => boolean) {
    this.#tables = tables
    this.#isLogged = isLogged
  }

  watch(findHistory: FindHistory): void {
    this.#findHistory = findHistory
  }

  /** An older copy has taken over. For a while a process still uses its knowledge of the previous one. */
  fellBack(until: number): void {
    this.#unlearnedUntil = until
  }

  begin({ groups }: WriteBatch): WriteJudge {
    const { devices, watermarks } = this.#tables
    const isStale = groups.map(({ fence }) => fence !== null && devices.get(fence.deviceId)?.epoch !== fence.epoch)
    const through = new Map(watermarks)
    return {
      done: (result) => {
        let at = 0
        groups.forEach((group, index) => {
          const written = result.written.slice(at, at += group.drafts.length)
          if (result.refused.includes(index)) return
          // Writes that were committed before are answered as they were then.
          const isNew = group.drafts.length === 0 || written.some((one) => one._tag === "Committed" && one.fresh)
          if (!isNew) return
          if (isStale[index]!) this.stale.push(describe(group))
          for (const effect of listEffects(group)) {
            if (effect._tag === "GapClose") this.#checkGap(effect)
            if (effect._tag === "Watermark") {
              this.#checkWatermark(effect, through.get(effect.device as DeviceId)?.through)
            }
          }
        })
      }
    }
  }

  #checkGap({ device, endedAt, openedAt, proven }: EffectOf<"GapClose">): void {
    if (!proven.split(",").includes("messages")) return
    this.#check(device as DeviceId, Date.parse(openedAt), Date.parse(endedAt), `a gap since ${openedAt} was closed`)
  }

  #checkWatermark({ device, through }: EffectOf<"Watermark">, before: string | undefined): void {
    if (before === undefined) return
    this.#check(device as DeviceId, Date.parse(before), Date.parse(through), `read through ${through}`)
  }

  /** All messages that the gateway had stored by then of this time must be in the log. */
  #check(device: DeviceId, from: number, to: number, claim: string): void {
    if (to < this.#unlearnedUntil) return
    for (const { fact: { at, waId }, storedAt } of this.#findHistory(device) ?? []) {
      if (at < from + clockError || at > to - clockError || storedAt > to - clockError) continue
      if (!this.#isLogged(device, waId)) this.premature.push(`${waId}: ${claim}`)
    }
  }
}

const listEffects = ({ drafts, effects }: PreparedGroup): ReadonlyArray<LogEffect> => [
  ...drafts.flatMap((draft) => draft.effects),
  ...effects
]

const describe = ({ drafts, effects, fence }: PreparedGroup): string =>
  `${fence!.deviceId} by claim ${fence!.epoch}: ${
    [...drafts.map(({ kind }) => kind), ...effects.map(({ _tag }) => _tag)].join()
  }`
