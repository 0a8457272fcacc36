/**
 * Numbers in a gateway's JSON that a double cannot hold: integers beyond 2^53, and magnitudes that would become
 * infinite or zero. Their text is kept as a string, because a rounded id or counter is wrong.
 */

/**
 * Whether a text may hold such a number: 16 consecutive digits, or an exponent of three digits, where a value begins.
 * A match inside a string costs a second parse and changes nothing.
 */
const candidate = /[:[,]\s*-?(?:\d{16}|\d[\d.]*[eE][+-]?\d{3})/

export const mayLoseNumbers = (text: string): boolean => candidate.test(text)

/** `JSON.parse`, with those numbers as strings. */
export const parseExact = (text: string): unknown => JSON.parse(text, keepText)

function keepText(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== "number" || context?.source === undefined) return value
  return isHeld(value, context.source) ? value : context.source
}

const isHeld = (value: number, source: string): boolean =>
  Number.isFinite(value) &&
  (value !== 0 || !/^-?[0.]*[1-9]/.test(source)) &&
  (Number.isSafeInteger(value) || !/^-?\d+$/.test(source))
