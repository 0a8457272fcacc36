/** How deep a frame may be nested, and whether one is deeper, at almost no cost for those that are not. */

/** Serialisers and databases recurse; nothing WhatsApp sends comes near this. */
export const depthMax = 64

/** `payload` is one level below the top of `text`. */
export const isTooDeep = (text: string, payload: object): boolean =>
  mayBeDeep(text) && deeperThan(payload, depthMax - 1)

/**
 * Walking every payload would cost as much as parsing it. A payload that is deeper than the bound has at least half as
 * many opening brackets of one sort, and counting those in the text costs almost nothing.
 */
const mayBeDeep = (text: string): boolean => hasMany(text, "{") || hasMany(text, "[")

const hasMany = (text: string, bracket: string): boolean => {
  let count = 0
  for (let at = text.indexOf(bracket); at !== -1; at = text.indexOf(bracket, at + 1)) {
    if (++count >= depthMax / 2) return true
  }
  return false
}

const deeperThan = (value: object, levels: number): boolean => {
  if (levels === 0) return true
  for (const key in value) {
    const inner = (value as Readonly<Record<string, unknown>>)[key]
    if (typeof inner === "object" && inner !== null && deeperThan(inner, levels - 1)) return true
  }
  return false
}
