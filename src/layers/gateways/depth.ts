/** Whether a frame is nested too deeply, at almost no cost for normal frames. */
import { deeperThan, depthMax } from "../../domain/nesting.ts"

/** `payload` is one level below the top of `text`. */
export const isTooDeep = (text: string, payload: object): boolean =>
  mayBeDeep(text) && deeperThan(payload, depthMax - 1)

/**
 * Walking every payload would cost as much as parsing it. A payload deeper than the bound has at least half as
 * many opening brackets of one kind, and counting those in the text costs almost nothing.
 */
const mayBeDeep = (text: string): boolean => hasMany(text, "{") || hasMany(text, "[")

const hasMany = (text: string, bracket: string): boolean => {
  let count = 0
  for (let at = text.indexOf(bracket); at !== -1; at = text.indexOf(bracket, at + 1)) {
    if (++count >= depthMax / 2) return true
  }
  return false
}
