/**
 * Which interval of a device opens, continues, ends and closes which gap. Pure: `track` says what an input changes, and
 * what must be written down because of it. Times are milliseconds of the database's clock, which outlives the process.
 *
 * A gap begins at the last moment for which reception was proven, not at the moment when its loss was noticed, so what
 * was lost before it was noticed is within it. It ends when reception is proven again, and is closed once the gateway's
 * history has been read for all of it, or once it is known that nothing can be.
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
 * `unheard`: nothing of it was ever proven to arrive, so there is nothing that could have stopped. `hearing`: reception is
 * proven, or was taken over with the session that another node keeps open. `blind`: it was and is not now; at least one gap lasts.
 */
export interface GapState {
  readonly reception: "unheard" | "hearing" | "blind"
  /** Since when it has been hearing over a session of its own; null otherwise. */
  readonly hearingSince: number | null
  /** Not closed yet, oldest first. */
  readonly gaps: ReadonlyArray<TrackedGap>
}

/** A device that nothing is known of. */
export const unheard: GapState = { reception: "unheard", hearingSince: null, gaps: [] }

/**
 * A history that cannot be read while the device flaps must not fill the ledger. With so many gaps that are not closed
 * the newest one is written down as lasting, and goes on if reception is lost again.
 */
export const unclosedMax = 8

export type GapInput =
  /** Reception is proven from now on. */
  | { readonly _tag: "Heard"; readonly at: number }
  /** Nothing is proven to arrive any more. */
  | {
    readonly _tag: "Blinded"
    readonly at: number
    readonly cause: GapCause
    readonly detail: string
    /** Of a new gap. Asked only where one begins: most of what happens to a device on its way back begins none. */
    readonly begin: () => GapBeginning
  }
  /** Found afterwards: an interval in which something was lost while the device seemed to hear, or before it was lost. */
  | {
    readonly _tag: "Missed"
    readonly from: number
    readonly to: number
    readonly cause: GapCause
    readonly detail: string
    readonly id: GapId
  }
  /** The history was read for [from, through], or cannot be: of the gaps that ended by then nothing more will be known. */
  | {
    readonly _tag: "Accounted"
    readonly from: number
    readonly through: number
    /** Those that turned out to last longer than was written down. */
    readonly ends: ReadonlyMap<GapId, number>
    readonly judge: (gap: EndedGap) => Judgement
  }
  /** The device is not meant to hear any more. */
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

/** What must be written down, in this order. */
export type GapOrder =
  | { readonly _tag: "Open"; readonly gap: TrackedGap }
  /** The gap lasts, and a graver cause for it is known now. */
  | { readonly _tag: "Recause"; readonly gap: TrackedGap }
  | { readonly _tag: "End"; readonly gap: EndedGap }
  | { readonly _tag: "Close"; readonly gap: EndedGap; readonly judgement: Judgement }

export interface Tracked {
  readonly state: GapState
  readonly orders: ReadonlyArray<GapOrder>
}

export const track = (state: GapState, input: GapInput): Tracked => {
  switch (input._tag) {
    case "Heard":
      return heard(state, input.at)
    case "Blinded":
      return blinded(state, input)
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

const heard = (state: GapState, at: number): Tracked => {
  if (state.reception === "hearing") return nothing({ ...state, hearingSince: state.hearingSince ?? at })
  const orders: Array<GapOrder> = []
  const gaps = state.gaps.map((gap, index): TrackedGap => {
    if (isEnded(gap)) return gap
    const ended = { ...gap, endedAt: Math.max(at, gap.openedAt) }
    // The last place of the list is for the gap that goes on: an end that was written down stands.
    if (index < unclosedMax - 1) orders.push({ _tag: "End", gap: ended })
    return ended
  })
  return { state: { reception: "hearing", hearingSince: at, gaps }, orders }
}

const blinded = (state: GapState, input: Extract<GapInput, { readonly _tag: "Blinded" }>): Tracked => {
  switch (state.reception) {
    case "unheard":
      return nothing(state)
    case "blind":
      return recaused(state, input)
    case "hearing": {
      const last = state.gaps.at(-1)
      const lost = { reception: "blind", hearingSince: null } as const
      if (last !== undefined && state.gaps.length >= unclosedMax) {
        return nothing({ ...lost, gaps: [...state.gaps.slice(0, -1), { ...last, endedAt: null }] })
      }
      const { id, provenThrough } = input.begin()
      const gap: TrackedGap = {
        id,
        cause: input.cause,
        openedAt: Math.min(input.at, Math.max(provenThrough, state.hearingSince ?? provenThrough)),
        endedAt: null,
        detail: input.detail
      }
      return { state: { ...lost, gaps: [...state.gaps, gap] }, orders: [{ _tag: "Open", gap }] }
    }
  }
}

/** A loss is a loss until it is known why: a socket that fell was the gateway's end, or led to quarantine. */
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

const recaused = (state: GapState, input: Extract<GapInput, { readonly _tag: "Blinded" }>): Tracked => {
  const last = state.gaps.at(-1)
  if (last === undefined || isEnded(last) || gravity[input.cause] <= gravity[last.cause]) return nothing(state)
  const gap = { ...last, cause: input.cause, detail: input.detail }
  return { state: { ...state, gaps: [...state.gaps.slice(0, -1), gap] }, orders: [{ _tag: "Recause", gap }] }
}

/** Stands before the gap that lasts, if one does: that one is the last of the list. */
const missed = (state: GapState, input: Extract<GapInput, { readonly _tag: "Missed" }>): Tracked => {
  const gap: EndedGap = {
    id: input.id,
    cause: input.cause,
    openedAt: Math.min(input.from, input.to),
    endedAt: input.to,
    detail: input.detail
  }
  const lasting = state.gaps.findIndex((known) => !isEnded(known))
  // As in `heard`: what takes the last place of the list is written down as lasting, and stays last.
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
  state: unheard,
  orders: state.gaps.map((gap): GapOrder => ({
    _tag: "Close",
    gap: { ...gap, endedAt: gap.endedAt ?? Math.max(input.at, gap.openedAt) },
    judgement: { proven: [], recovered: 0, detail: input.detail }
  }))
})

// What a process finds that did not see it happen

export interface RecordedReception {
  /** Those that are not closed, oldest first. */
  readonly gaps: ReadonlyArray<TrackedGap>
  /** Whether the last record of the device says that it was hearing. */
  readonly wasHearing: boolean
  /** Until when the process that ran the device had given to the log what it received; null where nothing says so. */
  readonly aliveThrough: number | null
  /** When that record was made. */
  readonly recordedAt: number
  /** Through when reception was proven when the device was handed over, if that was not settled by then (`Reception`). */
  readonly handOver: number | null
}

/** The longest for which a node keeps the session of a device that has moved, until the next one has its own. */
export const listenMax = 15_000

/** A node that has not taken over within this time finds that no other one listens any more. */
const handOverMax = listenMax + 5000

/** A node that is online waits this long for the word of the one before: it looks every moment, and then has it committed. */
export const settleMax = 15_000

/**
 * How the next actor goes on. A device that was handed over just now is still listened for by the node before. One that was
 * handed over and not taken has a gap since reception was proven last. One that was hearing by the last record was abandoned
 * without a word: its gap begins `unnoticedMax` before the last sign of life of its process, since a connection may have been
 * dead for as long before it would have been noticed.
 */
export const restore = (
  recorded: RecordedReception,
  found: {
    readonly id: GapId
    readonly now: number
    /** When the device was added: nothing before that was to be heard. */
    readonly floor: number
    readonly unnoticedMax: number
    readonly detail: string
  }
): Tracked => {
  const { gaps, handOver, recordedAt, wasHearing } = recorded
  const lasting = gaps.filter((gap) => !isEnded(gap))
  if (lasting.length > 0) {
    return nothing({ reception: "blind", hearingSince: null, gaps: [...gaps.filter(isEnded), ...lasting] })
  }
  if (!wasHearing && handOver === null) return nothing({ reception: "unheard", hearingSince: null, gaps })
  if (!wasHearing && found.now - recordedAt < handOverMax) {
    return nothing({ reception: "hearing", hearingSince: null, gaps })
  }
  const sign = recorded.aliveThrough ?? recordedAt
  const proven = !wasHearing ? handOver! : Math.min(
    sign - found.unnoticedMax,
    // It ended before it could know whether the node before it had listened all the time.
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
    state: { reception: "blind", hearingSince: null, gaps: [...gaps, gap] },
    orders: [{ _tag: "Open", gap }]
  }
}
