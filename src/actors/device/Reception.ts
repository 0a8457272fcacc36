/**
 * What an actor remembers of its device's hearing: its gaps, how far the gateway's history was read, and when something
 * last came. Plain fields, because ten thousand of these exist.
 *
 * Two clocks: what is written down is by the database's (`DatabaseTime`), what is waited for by the monotonic one. Both in
 * milliseconds.
 */
import type { EventDraft } from "../../domain/Event.ts"
import type { Reading, ReadingKind } from "../gateway/Reading.ts"
import { unheard } from "./GapTracker.ts"
import type { GapState } from "./GapTracker.ts"

/** A message of the history that was new to the log although the device was hearing. It may still be on its way. */
export interface Suspect {
  readonly waId: string
  /** Database clock. */
  readonly occurredAt: number
  /** Monotonic: if it has not come by then, it was missed. */
  readonly judgeAt: number
}

/** A look comes after this many of the device's usual pauses. */
const pausesPerLook = 3

/** Each look that finds nothing makes the next one this much later, until a message comes. */
const lookGrowth = 2

export class Reception {
  gaps: GapState = unheard

  // By the database's clock

  /** Through when the history was read; null before the first reading. */
  watermark: number | null = null
  /** The end of the last wide reading. */
  sweptAt: number | null = null
  /** Through when the history has been looked through last, by a reading of any kind. */
  lookedThrough = Number.NEGATIVE_INFINITY
  /** Nothing older is read: when the device was added. */
  floor = 0
  /**
   * Through when reception was proven when the node that had the device before began to hand it over: from then until our own
   * session its reception rests on the session that this node keeps open, and on its word that it has. Null: it does not.
   */
  handOver: number | null = null

  /** Since when it is not known whether the gateway posts the device's events to us, as long as `postedAt` says nothing. */
  unpostedSince: number | null = null

  // By the monotonic clock

  hearingAt = Number.NEGATIVE_INFINITY
  /** The last event of any kind that came live. */
  heardAt = Number.NEGATIVE_INFINITY
  /** The last message of another account that came live, and how long the pauses between them usually are. */
  messageAt = Number.NEGATIVE_INFINITY
  messagePause = Number.POSITIVE_INFINITY
  lookedAt = Number.NEGATIVE_INFINITY
  /** Looks that found nothing since the last message. */
  looks = 0
  /** Between 0.8 and 1, so that devices do not look in step. */
  spread = 1
  pausedAt: number | null = null
  /** When the session was not read last. */
  lastPause: { readonly from: number; readonly to: number } | null = null
  /** The last time for which it is known that the gateway posts the device's events to us. */
  postedAt = Number.NEGATIVE_INFINITY
  /** When a webhook was turned away last; null once webhooks are taken again. */
  refusedAt: number | null = null
  /** When the history is to be read next, and why. */
  dueAt = Number.POSITIVE_INFINITY
  due: ReadingKind = "schedule"
  /** Readings in a row that failed. */
  failures = 0
  reading: Reading | null = null
  /** The gateway has said that it keeps no history of this device: until then it is not asked again. */
  absentUntil = Number.NEGATIVE_INFINITY
  /** Its history waits to be read, or is being read. */
  busy = false
  /** Empty: all of them have come after all. */
  suspects: ReadonlyArray<Suspect> | null = null
  /**
   * Deafness was proven although a session was open: no open session proves anything until something comes live, or a look
   * finds nothing that had not come.
   */
  doubted = false
  /** Another process was its owner before: what that one had read and not judged when it ended is still to be judged. */
  unchecked = false
  /** Proofs of deafness in a row, and the last one. */
  proofs = 0
  provedAt = Number.NEGATIVE_INFINITY

  /** An event came live. */
  hear(draft: EventDraft, now: number): void {
    this.heardAt = now
    if (draft.kind !== "message.received") return
    this.clear(draft)
    const pause = now - this.messageAt
    // Down at once, up slowly: a busy device that falls silent is still a busy one.
    if (pause < this.messagePause) {
      this.messagePause = Number.isFinite(this.messagePause) ? (this.messagePause + pause) / 2 : pause
    } else if (Number.isFinite(pause)) this.messagePause += (pause - this.messagePause) / 5
    this.messageAt = now
    this.looks = 0
  }

  /** When the device is looked after if nothing comes until then; monotonic. The bounds are milliseconds. */
  lookDueAt(lookMin: number, lookMax: number): number {
    const first = Math.max(lookMin, this.messagePause * pausesPerLook)
    const wait = Math.min(lookMax, first * lookGrowth ** this.looks)
    return Math.max(this.messageAt, this.hearingAt, this.lookedAt) + wait * this.spread
  }

  /** The live path delivered it after all. By the id alone: two spellings of one account are no reason for a proof. */
  clear(draft: EventDraft): void {
    if (this.suspects === null || draft.kind !== "message.received") return
    const { waId } = draft.data
    this.suspects = this.suspects.filter((suspect) => suspect.waId !== waId)
  }
}
