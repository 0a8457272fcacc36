/**
 * The beginning of a text, up to a maximum number of UTF-16 units, in whole characters: a character that would be cut
 * in half is left out, and existing halves are replaced. Servers refuse JSON with halves, and databases such text.
 */
export const cutText = (text: string, lengthMax: number): string =>
  text.slice(0, lengthMax).replace(/\p{Surrogate}$/u, "").toWellFormed()
