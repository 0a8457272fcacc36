/**
 * Timestamps of gateways, made safe for a database: RFC 3339 in UTC with a year from 0001 to 9999, or null. The
 * common form (UTC already) is checked by pattern and never parsed, because this runs for every frame.
 */

const utc = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/
const offset = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)$/

/** A larger number is in milliseconds: in seconds it would be beyond the year 5000. */
const secondsMax = 100_000_000_000

/** The given time as RFC 3339 in UTC, or null where no such time exists. */
export const readTimestamp = (value: unknown): string | null => {
  if (typeof value === "string") {
    if (utc.test(value)) return exists(value) ? value : null
    return offset.test(value) && exists(value) ? fromMillis(Date.parse(value)) : null
  }
  if (typeof value !== "number") return null
  return fromMillis(value > secondsMax ? value : value * 1000)
}

const fromMillis = (millis: number): string | null => {
  if (!(Math.abs(millis) <= 8.64e15)) return null
  const text = new Date(millis).toISOString()
  return utc.test(text) && !text.startsWith("0000") ? text : null
}

const monthDays = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

const exists = (text: string): boolean => {
  const year = digits(text, 0) * 100 + digits(text, 2)
  const month = digits(text, 5)
  const day = digits(text, 8)
  if (year === 0 || month < 1 || month > 12 || day < 1) return false
  const leap = month === 2 && year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  return day <= monthDays[month - 1]! + (leap ? 1 : 0) && digits(text, 11) < 24 && digits(text, 14) < 60 &&
    digits(text, 17) < 60
}

const digits = (text: string, at: number): number => text.charCodeAt(at) * 10 + text.charCodeAt(at + 1) - 528
