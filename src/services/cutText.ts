/**
 * The beginning of a text, of at most so many UTF-16 units, in whole characters: one that would be cut in half is left out, and
 * halves that were in it before are replaced. Servers refuse JSON with halves, and databases such text.
 */
export const cutText = (text: string, lengthMax: number): string =>
  text.slice(0, lengthMax).replace(/\p{Surrogate}$/u, "").toWellFormed()
