/** The maximum nesting depth of JSON from outside. */

/** Serialisers and databases recurse; nothing WhatsApp sends comes near this. */
export const depthMax = 64

/** Whether the value is nested deeper than `levels`. The search stops at that depth. */
export const deeperThan = (value: object, levels: number): boolean => {
  if (levels === 0) return true
  for (const key in value) {
    const inner = (value as Readonly<Record<string, unknown>>)[key]
    if (typeof inner === "object" && inner !== null && deeperThan(inner, levels - 1)) return true
  }
  return false
}
