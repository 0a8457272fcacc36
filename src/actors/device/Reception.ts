/**
 * The reception of a device as its actor tracks it: its gaps, how far the gateway's history was read, and when events last
 * came. Plain fields, because there are ten thousand of these.
 *
 * Two clocks: recorded times are by the database's clock (`DatabaseTime`), waits by the monotonic one. Both in
 * milliseconds.
 */
import type { EventDraft } from "../../domain/Event.ts"
import type { Findings, Reading, ReadingKind } from "../gateway/Reading.ts"
import { neverReceived } from "./GapTracker.ts"
import type { GapState } from "./GapTracker.ts"

/** A message of the history that was new to the log although reception was proven. It may still be on its way. */
export interface Suspect {
  readonly waId: string
  /** Database clock. */
  readonly occurredAt: number
  /** Monotonic: if it has not arrived by then, it was missed. */
  readonly judgeAt: number
}

/** A look at the history follows after this many of the device's usual pauses. */
const pausesPerLook = 3

/** Each look that finds nothing multiplies the wait for the next one by this, until a message comes. */
const lookGrowth = 2

export class Reception {
  gaps: GapState = neverReceived

  // By the database's clock

  /** The time through which the history was read; null before the first reading. */
  watermark: number | null = null
  /** The end of the last wide reading. */
  sweptAt: number | null = null
  /** The time through which a reading of any kind has covered the history. */
  lookedThrough = Number.NEGATIVE_INFINITY
  /** Nothing older is read: the time when the device was added. */
  floor = 0
  /**
   * The time through which reception was proven when the device's previous node began the hand-over. From then until our
   * own session, reception depends on the session that the previous node keeps open, and on its confirmation. Null without
   * an unsettled hand-over.
   */
  handOver: number | null = null
  /** It was taken over with the session of another node, so it is older than our own session. Until it is lost. */
  inherited = false

  /** Since when it is unknown whether the gateway posts the device's events to us, while `postedAt` is not set. */
  unpostedSince: number | null = null

  // By the monotonic clock

  receivingAt = Number.NEGATIVE_INFINITY
  /** The time of the last live event of any kind. */
  lastEventAt = Number.NEGATIVE_INFINITY
  /** The time of the last live message of another account, followed by the usual pause between such messages. */
  messageAt = Number.NEGATIVE_INFINITY
  messagePause = Number.POSITIVE_INFINITY
  lookedAt = Number.NEGATIVE_INFINITY
  /** Looks that found nothing since the last message. */
  looks = 0
  /** Between 0.8 and 1, so that devices do not look at the same time. */
  spread = 1
  pausedAt: number | null = null
  /** The last time in which the session was not read. */
  lastPause: { readonly from: number; readonly to: number } | null = null
  /** The last time at which the gateway is known to have posted the device's events to us. */
  postedAt = Number.NEGATIVE_INFINITY
  /** When a webhook was last refused; null once webhooks are accepted again. */
  refusedAt: number | null = null
  /** When the history is read next, followed by the reason. */
  dueAt = Number.POSITIVE_INFINITY
  due: ReadingKind = "schedule"
  /** Readings in a row that failed. */
  failures = 0
  reading: Reading | null = null
  /** The results of the last reading, if that did not finish. */
  found: Findings | null = null
  /** The gateway has answered that it keeps no history of this device: until then it is not asked again. */
  absentUntil = Number.NEGATIVE_INFINITY
  /** Its history is waiting to be read, or being read. */
  busy = false
  /** Empty: all of them have arrived. */
  suspects: ReadonlyArray<Suspect> | null = null
  /**
   * Deafness was proven although a session was open: an open session proves nothing until an event comes live, or a look
   * finds no missing message.
   */
  doubted = false
  /** Another process owned the device before: rows that it had read but not judged are still to be judged. */
  unchecked = false
  /** The number of proofs of deafness in a row, followed by the time of the last one. */
  proofs = 0
  provedAt = Number.NEGATIVE_INFINITY

  /** The reading does not finish; the next one starts with its results. */
  abandon(): void {
    if (this.reading !== null) this.found = this.reading
    this.reading = null
  }

  /** An event came live. */
  noteLive(draft: EventDraft, now: number): void {
    this.lastEventAt = now
    if (draft.kind !== "message.received") return
    this.clear(draft)
    const pause = now - this.messageAt
    // Decreases quickly and increases slowly: a busy device that falls silent still counts as busy.
    if (pause < this.messagePause) {
      this.messagePause = Number.isFinite(this.messagePause) ? (this.messagePause + pause) / 2 : pause
    } else if (Number.isFinite(pause)) this.messagePause += (pause - this.messagePause) / 5
    this.messageAt = now
    this.looks = 0
  }

  /** When the next look is due if no event comes until then; monotonic. The bounds are milliseconds. */
  lookDueAt(lookMin: number, lookMax: number): number {
    const first = Math.max(lookMin, this.messagePause * pausesPerLook)
    const wait = Math.min(lookMax, first * lookGrowth ** this.looks)
    return Math.max(this.messageAt, this.receivingAt, this.lookedAt) + wait * this.spread
  }

  /**
   * The live path delivered the message after all. Compares the id alone: two addresses of one account must not cause a
   * proof.
   */
  clear(draft: EventDraft): void {
    if (this.suspects === null || draft.kind !== "message.received") return
    const { waId } = draft.data
    this.suspects = this.suspects.filter((suspect) => suspect.waId !== waId)
  }
}
