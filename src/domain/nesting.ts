/** How deep JSON of others may be nested. */

/** Serialisers and databases recurse; nothing WhatsApp sends comes near this. */
export const depthMax = 64

/** Looks no deeper than `levels`, however deep it is. */
export const deeperThan = (value: object, levels: number): boolean => {
  if (levels === 0) return true
  for (const key in value) {
    const inner = (value as Readonly<Record<string, unknown>>)[key]
    if (typeof inner === "object" && inner !== null && deeperThan(inner, levels - 1)) return true
  }
  return false
}
