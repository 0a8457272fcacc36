/**
 * How fast a device may send. Every part is optional; without any, messages are sent as soon as possible. People write
 * it as one line, such as `20/min, 500/day, jitter 2s, recipient 10s, quiet 21:00-07:00 Asia/Jakarta`, and programs as
 * an object.
 */
import { DateTime, Option, Result, Schema } from "effect"
import { parseTimestamp, Timestamp } from "./Ids.ts"

/** A rate below one message in an hour is a daily cap. */
const rateMax = 1000
const burstMax = 100
export const perDayMax = 10_000
const rampDaysMax = 365
const jitterMax = 600
const recipientMax = 3600

/** Maximum number of chats that rest at once (the rate times the rest), because each claim lists them. */
const restingMax = 10_000

const unitSeconds = { s: 1, min: 60, h: 3600 } as const
const ratePattern = /^([1-9]\d{0,3})\/(s|min|h)$/
const clockPattern = /^([01]\d|2[0-3]):[0-5]\d$/

const isZone = (zone: string): boolean => Option.isSome(DateTime.zoneMakeNamed(zone))

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const clockTime = Schema.String.check(Schema.isPattern(clockPattern, { message: "Expected a time like 21:00" }))

export const Zone = Schema.String.check(
  Schema.isMaxLength(64),
  Schema.makeFilter(isZone, { expected: "a time zone like Asia/Jakarta" })
).annotate({ description: "A time zone by its IANA name" })

const QuietHours = Schema.Struct({ from: clockTime, to: clockTime, zone: Zone }).check(
  Schema.makeFilter(({ from, to }) => from !== to, { expected: "a beginning and an end that differ" })
)

export const Pacing = Schema.Struct({
  rate: Schema.optionalKey(
    Schema.String.check(
      Schema.makeFilter((rate) => readRate(rate) !== null, { expected: `a rate like 20/min, up to ${rateMax}/s` })
    ).annotate({ description: "Messages per `s`, `min` or `h`, as `20/min`" })
  ),
  burst: Schema.optionalKey(
    between(1, burstMax).annotate({ description: "How many may be sent at once after a pause; 1 if omitted" })
  ),
  jitterSeconds: Schema.optionalKey(
    between(1, jitterMax).annotate({ description: "Maximum random pause added after each message, in seconds" })
  ),
  perDay: Schema.optionalKey(
    between(1, perDayMax).annotate({ description: "Maximum number of messages in any 24 hours" })
  ),
  rampDays: Schema.optionalKey(
    between(2, rampDaysMax).annotate({
      description: "The number of days, in equal steps, after which `perDay` is reached"
    })
  ),
  rampFrom: Schema.optionalKey(
    Timestamp.check(
      Schema.isMaxLength(64),
      Schema.makeFilter((at) => (parseTimestamp(at) ?? parseTimestamp(`${at}T00:00:00Z`)) !== null, {
        expected: "a date, or a time with its zone"
      })
    ).annotate({ description: "When the ramp begins; when the device was added if omitted" })
  ),
  recipientSeconds: Schema.optionalKey(
    between(1, recipientMax).annotate({ description: "Minimum number of seconds between two messages to one chat" })
  ),
  quiet: Schema.optionalKey(QuietHours.annotate({ description: "Hours of the day in which nothing is sent" }))
}).check(
  Schema.makeFilter((pacing) => findFault(pacing) ?? true)
).annotate({ identifier: "Pacing", description: "How fast a device may send. Empty: as fast as possible" })
export type Pacing = typeof Pacing.Type

/** Faults that only a combination of parts can have. */
const findFault = ({ burst, perDay, rampDays, rampFrom, rate, recipientSeconds }:
  & {
    readonly [Key in "burst" | "perDay" | "rampDays" | "recipientSeconds"]?: number
  }
  & { readonly rate?: string; readonly rampFrom?: string }): string | null =>
{
  const interval = rate === undefined ? null : readRate(rate)
  if (burst !== undefined && interval === null) return "burst needs a rate"
  if (rampDays !== undefined && perDay === undefined) return "rampDays needs perDay"
  if (rampFrom !== undefined && rampDays === undefined) return "rampFrom needs rampDays"
  if (recipientSeconds === undefined) return null
  if (interval === null) return "recipientSeconds needs a rate"
  return recipientSeconds * 1000 / interval + (burst ?? 1) <= restingMax
    ? null
    : `recipientSeconds is too long for this rate: more than ${restingMax} chats would rest at once`
}

export const pacingOff: Pacing = {}

export const isOff = (pacing: Pacing): boolean => Object.keys(pacing).length === 0

/** Milliseconds from one message to the next; null if the text is no rate. */
export const readRate = (rate: string): number | null => {
  const [, count, unit] = ratePattern.exec(rate) ?? []
  if (count === undefined || Number(count) > rateMax) return null
  return unitSeconds[unit as keyof typeof unitSeconds] * 1000 / Number(count)
}

const dayMillis = 86_400_000

/** The daily cap, with its ramp, at a time, and when it next rises; all times are milliseconds. */
export const capAt = (
  { perDay = 0, rampDays }: Pacing,
  rampFrom: number,
  at: number
): { readonly cap: number; readonly next: number } => {
  if (rampDays === undefined) return { cap: perDay, next: Number.POSITIVE_INFINITY }
  const day = Math.max(0, Math.floor((at - rampFrom) / dayMillis))
  if (day + 1 >= rampDays) return { cap: perDay, next: Number.POSITIVE_INFINITY }
  return { cap: Math.max(1, Math.floor(perDay * (day + 1) / rampDays)), next: rampFrom + (day + 1) * dayMillis }
}

const units = [["h", 3600], ["m", 60], ["s", 1]] as const

/** `90s`, `2m`, `1h`; a plain number is seconds. */
const readSeconds = (text: string): number | null => {
  const [, count, unit = "s"] = /^(\d{1,5})(s|m|h)?$/.exec(text) ?? []
  const seconds = units.find(([name]) => name === unit)?.[1] ?? 1
  return count === undefined ? null : Number(count) * seconds
}

const describeSeconds = (seconds: number): string => {
  const [unit, size] = units.find(([, size]) => seconds % size === 0) ?? ["s", 1]
  return `${seconds / size}${unit}`
}

/** The setting in one part of the line; null if it is not understood. */
const readWord = (word: string): Partial<Pacing> | null => {
  const [name = "", ...values] = word.split(/\s+/)
  const [value = "", zone = ""] = values
  const seconds = readSeconds(value)
  const days = /^(\d{1,3})d$/.exec(value)?.[1]
  const perDay = /^(\d{1,5})\/day$/.exec(word)?.[1]
  const [, from, to] = /^([\d:]+)-([\d:]+)$/.exec(value) ?? []
  if (perDay !== undefined) return { perDay: Number(perDay) }
  if (readRate(word) !== null) return { rate: word }
  if (name === "ramp" && days !== undefined) {
    const [, from, at] = values
    if (values.length === 1) return { rampDays: Number(days) }
    return from === "from" && at !== undefined && values.length === 3 ? { rampDays: Number(days), rampFrom: at } : null
  }
  if (name === "quiet") return from === undefined || to === undefined ? null : { quiet: { from, to, zone } }
  if (values.length !== 1) return null
  if (name === "burst" && /^\d{1,3}$/.test(value)) return { burst: Number(value) }
  if (name === "jitter" && seconds !== null) return { jitterSeconds: seconds }
  if (name === "recipient" && seconds !== null) return { recipientSeconds: seconds }
  return null
}

const decode = Schema.decodeUnknownResult(Pacing)

export const pacingExpected = "off, or like 20/min, with more after commas: burst 3, jitter 2s, 500/day, ramp 14d, " +
  "recipient 10s, quiet 21:00-07:00 Asia/Jakarta"

/** Null if the line is not acceptable. */
export const parsePacing = (line: string): Pacing | null => {
  const text = line.trim()
  if (text === "off") return pacingOff
  const pacing: Partial<Pacing> = {}
  for (const word of text.split(",")) {
    const read = readWord(word.trim())
    if (read === null || Object.keys(read).some((key) => key in pacing)) return null
    Object.assign(pacing, read)
  }
  return Result.getOrElse(decode(pacing), () => null)
}

/** The same pacing as one line. */
export const formatPacing = (pacing: Pacing): string => {
  const { burst, jitterSeconds, perDay, quiet, rampDays, rampFrom, rate, recipientSeconds } = pacing
  const words = [
    rate,
    burst === undefined ? undefined : `burst ${burst}`,
    jitterSeconds === undefined ? undefined : `jitter ${describeSeconds(jitterSeconds)}`,
    perDay === undefined ? undefined : `${perDay}/day`,
    rampDays === undefined ? undefined : `ramp ${rampDays}d${rampFrom === undefined ? "" : ` from ${rampFrom}`}`,
    recipientSeconds === undefined ? undefined : `recipient ${describeSeconds(recipientSeconds)}`,
    quiet === undefined ? undefined : `quiet ${quiet.from}-${quiet.to} ${quiet.zone}`
  ].filter((word) => word !== undefined)
  return words.length === 0 ? "off" : words.join(", ")
}
