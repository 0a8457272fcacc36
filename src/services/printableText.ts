/**
 * Text from outside, made safe to print. A gateway, a WhatsApp user or another server chooses device names, error
 * texts and event bodies. In a terminal, control characters in them would move the cursor, recolour or rewrite lines,
 * set the title or write to the clipboard, and bidirectional overrides would show words in another order than they
 * have. Every such character is replaced by its visible escape, so that a reader sees that it was there.
 */

/**
 * C0 controls with newline and tab, DEL, C1 controls (one of them is a CSI of one character), the Arabic letter mark,
 * direction marks, line and paragraph separators, bidirectional embeddings, overrides and isolates, the byte order mark,
 * tag characters (invisible), and surrogates without a partner.
 */
const unprintable =
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\u{e0000}-\u{e007f}\p{Surrogate}]/gu

const shortEscapes: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

/** `\x1b` or `\u{202e}`, as a programmer would write it. */
const escapeVisibly = (character: string): string => {
  const code = character.codePointAt(0) ?? 0
  const hex = code.toString(16)
  return shortEscapes[character] ?? (code <= 0xff ? `\\x${hex.padStart(2, "0")}` : `\\u{${hex}}`)
}

/** The text with every character that is not printable as a visible escape. Never has more than one line. */
export const toPrintable = (text: string): string => text.replace(unprintable, escapeVisibly)

/** `\u001b`: the escape that JSON has, one for each UTF-16 unit. */
const escapeForJson = (character: string): string =>
  Array.from(
    { length: character.length },
    (_, index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`
  ).join("")

/**
 * JSON that is safe to print and parses to the same value. `JSON.stringify` escapes C0 controls alone; other
 * unprintable characters can only occur inside strings, where JSON's own escape means the same.
 */
export const toPrintableJson = (value: unknown): string =>
  (JSON.stringify(value) ?? "null").replace(unprintable, escapeForJson)
