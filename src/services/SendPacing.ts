/**
 * When a device may send its next message: pure, based on the messages it has sent. A token bucket with a jitter
 * derived from the last message, so that every reader computes the same; a cap over any 24 hours, which grows with the
 * age of a new account; quiet hours of the day; and a rest of each chat.
 *
 * All times are milliseconds of one clock, the database's. It may be set back: a message that seems to have been sent
 * later than now counts as sent now, so that no wait becomes longer than its rule makes it.
 */
import { DateTime } from "effect"
import { capAt, readRate } from "../domain/Pacing.ts"
import type { Pacing } from "../domain/Pacing.ts"
import type { PacingReason } from "../domain/Send.ts"

const minuteMillis = 60_000
const dayMillis = 24 * 60 * minuteMillis
const dayMinutes = 24 * 60

export interface Sent {
  readonly at: number
  readonly chat: string
}

export interface Pace {
  readonly pacing: Pacing
  /** Where the ramp begins. */
  readonly rampFrom: number
  /** When the bucket is full again. */
  readonly fullAt: number
  readonly last: number | null
  /** The newest `perDay` of the last 24 hours, oldest first. */
  readonly times: ReadonlyArray<number>
  /** When each chat was last written to; chats that have rested may be missing. */
  readonly chats: ReadonlyMap<string, number>
}

export interface PaceWait {
  readonly reason: PacingReason
  /** Not before this time, if nothing else is sent. */
  readonly until: number
}

const bucketOf = ({ burst = 1, rate }: Pacing) => ({ interval: rate === undefined ? 0 : readRate(rate) ?? 0, burst })

/** How far back sent messages matter, in milliseconds. */
export const historyMillis = (pacing: Pacing): number => {
  const { burst, interval } = bucketOf(pacing)
  const { jitterSeconds = 0, perDay, recipientSeconds = 0 } = pacing
  return Math.max(
    perDay === undefined ? 0 : dayMillis,
    2 * burst * interval,
    recipientSeconds * 1000,
    interval + jitterSeconds * 1000
  )
}

/**
 * Computed from the messages sent in the last `historyMillis`, oldest first. If a bucket's earlier messages are not
 * known, it is assumed to have been empty at a time twice its filling time ago, which makes no difference after a
 * pause.
 */
export const restore = (pacing: Pacing, createdAt: number, sent: ReadonlyArray<Sent>, now: number): Pace => {
  const { burst, interval } = bucketOf(pacing)
  const from = pacing.rampFrom === undefined ? createdAt : Date.parse(pacing.rampFrom)
  const empty: Pace = {
    pacing,
    rampFrom: from,
    fullAt: now - burst * interval,
    last: null,
    times: [],
    chats: new Map()
  }
  return sent.reduce((pace, one) => record(pace, { ...one, at: Math.min(one.at, now) }), empty)
}

/** Records one more sent message. */
export const record = (pace: Pace, { at, chat }: Sent): Pace => {
  const { pacing } = pace
  const { burst, interval } = bucketOf(pacing)
  return {
    ...pace,
    // An empty bucket has no debt: messages that exceed this pacing were sent before it was set.
    fullAt: Math.min(Math.max(pace.fullAt, at) + interval, at + burst * interval),
    last: Math.max(pace.last ?? at, at),
    times: pacing.perDay === undefined ? [] : [...pace.times.filter((time) => time > at - dayMillis), at].slice(
      -pacing.perDay
    ),
    chats: pacing.recipientSeconds === undefined ? pace.chats : new Map([...resting(pace, at), [chat, at]])
  }
}

const resting = ({ chats, pacing: { recipientSeconds = 0 } }: Pace, now: number) =>
  [...chats].filter(([, at]) => Math.min(at, now) + recipientSeconds * 1000 > now)

/** The chats that may not be written to yet, with the time from which each may. */
export const restingChats = (pace: Pace, now: number): ReadonlyMap<string, number> => {
  const { recipientSeconds = 0 } = pace.pacing
  return new Map(resting(pace, now).map(([chat, at]) => [chat, Math.min(at, now) + recipientSeconds * 1000]))
}

/** From 0 to 1, the same for the same message: a finaliser of a well-known hash (MurmurHash3). */
const draw = (seed: number): number => {
  let bits = (seed % 0x1_0000_0000) ^ Math.floor(seed / 0x1_0000_0000)
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return ((bits ^ (bits >>> 16)) >>> 0) / 0x1_0000_0000
}

const rateOpens = (pace: Pace, now: number): number => {
  const { burst, interval } = bucketOf(pace.pacing)
  if (pace.last === null) return Number.NEGATIVE_INFINITY
  const last = Math.min(pace.last, now)
  const token = Math.min(pace.fullAt, now + burst * interval) - (burst - 1) * interval
  return Math.max(last, token) + draw(pace.last) * (pace.pacing.jitterSeconds ?? 0) * 1000
}

const dayOpens = (pace: Pace, now: number, at: number): number => {
  if (pace.pacing.perDay === undefined) return at
  const { cap, next } = capAt(pace.pacing, pace.rampFrom, at)
  const within = pace.times.map((time) => Math.min(time, now)).filter((time) => time > at - dayMillis)
  const freeing = within[within.length - cap]
  return freeing === undefined ? at : Math.min(freeing + dayMillis, Math.max(next, at + 1))
}

const readMinutes = (clock: string): number => Number(clock.slice(0, 2)) * 60 + Number(clock.slice(3))

/** The end of the quiet hours that contain `at`; `at` itself outside of them. */
export const quietEnds = ({ from, to, zone }: NonNullable<Pacing["quiet"]>, at: number): number => {
  const timeZone = DateTime.zoneMakeNamedUnsafe(zone)
  const offset = (millis: number) => DateTime.zonedOffset(DateTime.makeZonedUnsafe(millis, { timeZone }))
  const minutesAt = (millis: number) => Math.floor((millis + offset(millis)) / minuteMillis) % dayMinutes
  const [begin, end] = [readMinutes(from), readMinutes(to)]
  const left = (minutes: number) => (end - minutes + dayMinutes) % dayMinutes
  const isQuiet = (minutes: number) => left(minutes) > 0 && left(minutes) <= left(begin)
  if (!isQuiet(minutesAt(at))) return at
  const start = Math.floor(at / minuteMillis) * minuteMillis
  const plain = start + left(minutesAt(at)) * minuteMillis
  if (offset(plain) === offset(at)) return plain
  // The clocks change in between: by the old time the hours last until then, and by the new one from then on.
  let [before, after] = [start, plain]
  while (after - before > minuteMillis) {
    const middle = before + Math.floor((after - before) / minuteMillis / 2) * minuteMillis
    if (offset(middle) === offset(at)) before = middle
    else after = middle
  }
  const minutes = minutesAt(after)
  return isQuiet(minutes) ? after + left(minutes) * minuteMillis : after
}

/** After one rule ends, another may still apply: each round continues to the latest end. */
const roundsMax = 1000

/** Null: now. The rest of single chats is not included. */
export const nextSendAt = (pace: Pace, now: number): PaceWait | null => {
  const opens = rateOpens(pace, now)
  const { quiet } = pace.pacing
  let wait: PaceWait | null = null
  for (let round = 0, at = now; round < roundsMax; round++) {
    const waits: ReadonlyArray<PaceWait> = [
      { reason: "rate", until: opens },
      { reason: "daily-cap", until: dayOpens(pace, now, at) },
      { reason: "quiet-hours", until: quiet === undefined ? at : quietEnds(quiet, at) }
    ]
    const last = waits.reduce((one, other) => other.until > one.until ? other : one)
    if (last.until <= at) return wait
    wait = last
    at = last.until
  }
  return wait
}
