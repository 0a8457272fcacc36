/**
 * Decides which intervals of a device open, continue, end and close which gap. Pure: `track` returns the new state and the
 * records that an input requires. Times are milliseconds of the database's clock, which outlives the process.
 *
 * A gap begins at the last moment for which reception was proven, not when its loss was noticed, so events that were lost
 * before that are within it. It ends when reception is proven again, and is closed once the gateway's history has been read
 * for all of it, or once it is known that it cannot be read.
 */
import type { GapCause, GapId, Provable } from "../../domain/Gap.ts"

export interface TrackedGap {
  readonly id: GapId
  readonly cause: GapCause
  readonly openedAt: number
  /** Null while it lasts. */
  readonly endedAt: number | null
  readonly detail: string
}

/**
 * `never`: reception was never proven, so it cannot have been lost. `receiving`: reception is proven, or was taken over
 * with the session that another node keeps open. `lost`: reception was proven and is lost; at least one gap is lasting.
 */
export interface GapState {
  readonly reception: "never" | "receiving" | "lost"
  /** Since when reception is proven over its own session; null otherwise. */
  readonly receivingSince: number | null
  /** Not closed yet. The lasting one, if any, is the last. */
  readonly gaps: ReadonlyArray<TrackedGap>
}

/** The state of a device without any record. */
export const neverReceived: GapState = { reception: "never", receivingSince: null, gaps: [] }

/**
 * Maximum number of unclosed gaps, because a history that cannot be read while the device flaps must not fill the ledger.
 * With this many, the newest one is recorded as lasting, and continues if reception is lost again.
 */
export const unclosedMax = 8

export type GapInput =
  /** Reception is proven from now on. */
  | { readonly _tag: "Proven"; readonly at: number }
  /** Reception is lost. */
  | {
    readonly _tag: "Lost"
    readonly at: number
    readonly cause: GapCause
    readonly detail: string
    /** Called only where a gap begins: most inputs of a device that reconnects begin none. */
    readonly begin: () => GapBeginning
  }
  /** Found afterwards: an interval in which events were lost while reception seemed proven, or before it was lost. */
  | {
    readonly _tag: "Missed"
    readonly from: number
    readonly to: number
    readonly cause: GapCause
    readonly detail: string
    readonly id: GapId
  }
  /**
   * The history was read for [from, through], or cannot be read: nothing more can be learned about gaps that ended by then.
   */
  | {
    readonly _tag: "Accounted"
    readonly from: number
    readonly through: number
    /** New ends of gaps that turned out to last longer than was recorded. */
    readonly ends: ReadonlyMap<GapId, number>
    readonly judge: (gap: EndedGap) => Judgement
  }
  /** The device is no longer expected to receive events. */
  | { readonly _tag: "SwitchedOff"; readonly at: number; readonly detail: string }

/** `provenThrough`: the last moment for which reception was proven. */
export interface GapBeginning {
  readonly id: GapId
  readonly provenThrough: number
}

export type EndedGap = TrackedGap & { readonly endedAt: number }

export interface Judgement {
  readonly proven: ReadonlyArray<Provable>
  readonly recovered: number
  readonly detail: string
}

/** The records to write, in this order. */
export type GapOrder =
  | { readonly _tag: "Open"; readonly gap: TrackedGap }
  /** The gap is lasting, and a graver cause for it is now known. */
  | { readonly _tag: "Recause"; readonly gap: TrackedGap }
  | { readonly _tag: "End"; readonly gap: EndedGap }
  | { readonly _tag: "Close"; readonly gap: EndedGap; readonly judgement: Judgement }

export interface Tracked {
  readonly state: GapState
  readonly orders: ReadonlyArray<GapOrder>
}

export const track = (state: GapState, input: GapInput): Tracked => {
  switch (input._tag) {
    case "Proven":
      return regained(state, input.at)
    case "Lost":
      return lost(state, input)
    case "Missed":
      return missed(state, input)
    case "Accounted":
      return accounted(state, input)
    case "SwitchedOff":
      return switchedOff(state, input)
  }
}

const nothing = (state: GapState): Tracked => ({ state, orders: [] })

const isEnded = (gap: TrackedGap): gap is EndedGap => gap.endedAt !== null

const regained = (state: GapState, at: number): Tracked => {
  if (state.reception === "receiving") return nothing({ ...state, receivingSince: state.receivingSince ?? at })
  const orders: Array<GapOrder> = []
  const gaps = state.gaps.map((gap, index): TrackedGap => {
    if (isEnded(gap)) return gap
    const ended = { ...gap, endedAt: Math.max(at, gap.openedAt) }
    // The last place of the list is for the lasting gap. A recorded end stays.
    if (index < unclosedMax - 1) orders.push({ _tag: "End", gap: ended })
    return ended
  })
  return { state: { reception: "receiving", receivingSince: at, gaps }, orders }
}

const lost = (state: GapState, input: Extract<GapInput, { readonly _tag: "Lost" }>): Tracked => {
  switch (state.reception) {
    case "never":
      return nothing(state)
    case "lost":
      return recaused(state, input)
    case "receiving": {
      const last = state.gaps.at(-1)
      const withoutReception = { reception: "lost", receivingSince: null } as const
      if (last !== undefined && state.gaps.length >= unclosedMax) {
        return nothing({ ...withoutReception, gaps: [...state.gaps.slice(0, -1), { ...last, endedAt: null }] })
      }
      const { id, provenThrough } = input.begin()
      const gap: TrackedGap = {
        id,
        cause: input.cause,
        openedAt: Math.min(input.at, Math.max(provenThrough, state.receivingSince ?? provenThrough)),
        endedAt: null,
        detail: input.detail
      }
      return { state: { ...withoutReception, gaps: [...state.gaps, gap] }, orders: [{ _tag: "Open", gap }] }
    }
  }
}

/**
 * The severity of causes. The reason of a loss may become known later: a lost socket was the gateway's outage, or led to
 * quarantine.
 */
const gravity: Readonly<Record<GapCause, number>> = {
  "socket-down": 0,
  paused: 0,
  "webhook-refused": 0,
  "process-down": 0,
  deaf: 1,
  "log-reset": 1,
  "gateway-down": 1,
  quarantine: 2,
  "logged-out": 2
}

const recaused = (state: GapState, input: Extract<GapInput, { readonly _tag: "Lost" }>): Tracked => {
  const last = state.gaps.at(-1)
  if (last === undefined || isEnded(last) || gravity[input.cause] <= gravity[last.cause]) return nothing(state)
  const gap = { ...last, cause: input.cause, detail: input.detail }
  return { state: { ...state, gaps: [...state.gaps.slice(0, -1), gap] }, orders: [{ _tag: "Recause", gap }] }
}

/** Inserts the missed gap before the lasting one, if any: the lasting gap is the last of the list. */
const missed = (state: GapState, input: Extract<GapInput, { readonly _tag: "Missed" }>): Tracked => {
  const gap: EndedGap = {
    id: input.id,
    cause: input.cause,
    openedAt: Math.min(input.from, input.to),
    endedAt: input.to,
    detail: input.detail
  }
  const lasting = state.gaps.findIndex((known) => !isEnded(known))
  // As in `regained`: a gap in the last place of the list is recorded as lasting, and stays last.
  if (lasting === -1 && state.gaps.length === unclosedMax - 1) {
    return { state: { ...state, gaps: [...state.gaps, gap] }, orders: [{ _tag: "Open", gap }] }
  }
  const end = state.gaps.length < unclosedMax ? state.gaps.length : state.gaps.length - 1
  const at = lasting === -1 ? end : lasting
  const gaps = [...state.gaps.slice(0, at), gap, ...state.gaps.slice(at)]
  return { state: { ...state, gaps }, orders: [{ _tag: "Open", gap }, { _tag: "End", gap }] }
}

const accounted = (state: GapState, input: Extract<GapInput, { readonly _tag: "Accounted" }>): Tracked => {
  const orders: Array<GapOrder> = []
  const gaps = state.gaps.filter((gap) => {
    if (!isEnded(gap) || gap.endedAt > input.through) return true
    const whole = { ...gap, endedAt: Math.max(gap.endedAt, input.ends.get(gap.id) ?? gap.endedAt) }
    orders.push({ _tag: "Close", gap: whole, judgement: input.judge(gap) })
    return false
  })
  return { state: { ...state, gaps }, orders }
}

const switchedOff = (state: GapState, input: Extract<GapInput, { readonly _tag: "SwitchedOff" }>): Tracked => ({
  state: neverReceived,
  orders: state.gaps.map((gap): GapOrder => ({
    _tag: "Close",
    gap: { ...gap, endedAt: gap.endedAt ?? Math.max(input.at, gap.openedAt) },
    judgement: { proven: [], recovered: 0, detail: input.detail }
  }))
})

// What a process restores from the records of an earlier one

export interface RecordedReception {
  /** The gaps that are not closed, oldest first. */
  readonly gaps: ReadonlyArray<TrackedGap>
  /** Whether reception was proven according to the device's last record. */
  readonly wasReceiving: boolean
  /** The time until which everything that the process received had been appended to the log; null if unknown. */
  readonly aliveThrough: number | null
  /** When that record was made. */
  readonly recordedAt: number
  /** The moment through which reception was proven at the hand-over, if that hand-over is not settled (`Reception`). */
  readonly handOver: number | null
}

/** The longest time for which a node keeps the session of a moved device, until the next node has its own. */
export const listenMax = 15_000

/** After this time without a take-over, no other node keeps a session open any longer. */
const handOverMax = listenMax + 5000

/** How long a node that is online waits for the previous node's confirmation, which needs a poll and a commit. */
export const settleMax = 15_000

/**
 * The state with which the next actor continues. A device that was handed over a moment ago still has a session at the
 * previous node. One that was handed over and not taken over has a gap since reception was last proven. If the last record
 * shows proven reception, the process ended unexpectedly: the gap begins `unnoticedMax` before the last sign of life of the
 * process, since a connection may have been dead that long unnoticed.
 */
export const restore = (
  recorded: RecordedReception,
  found: {
    readonly id: GapId
    readonly now: number
    /** When the device was added: no events before that are expected. */
    readonly floor: number
    readonly unnoticedMax: number
    readonly detail: string
  }
): Tracked => {
  const { gaps, handOver, recordedAt, wasReceiving } = recorded
  const lasting = gaps.filter((gap) => !isEnded(gap))
  if (lasting.length > 0) {
    return nothing({ reception: "lost", receivingSince: null, gaps: [...gaps.filter(isEnded), ...lasting] })
  }
  if (!wasReceiving && handOver === null) return nothing({ reception: "never", receivingSince: null, gaps })
  if (!wasReceiving && found.now - recordedAt < handOverMax) {
    return nothing({ reception: "receiving", receivingSince: null, gaps })
  }
  const sign = recorded.aliveThrough ?? recordedAt
  const proven = !wasReceiving ? handOver! : Math.min(
    sign - found.unnoticedMax,
    // It ended before it was confirmed that the previous node's session had been open all the time.
    handOver !== null && sign < recordedAt + settleMax ? handOver : sign
  )
  const lastEnd = gaps.reduce((latest, { endedAt }) => Math.max(latest, endedAt ?? 0), 0)
  const gap: TrackedGap = {
    id: found.id,
    cause: "process-down",
    openedAt: Math.min(found.now, Math.max(proven, lastEnd, found.floor)),
    endedAt: null,
    detail: found.detail
  }
  return {
    state: { reception: "lost", receivingSince: null, gaps: [...gaps, gap] },
    orders: [{ _tag: "Open", gap }]
  }
}
