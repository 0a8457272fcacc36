/** Colours where the stream is a terminal that wants them. `NO_COLOR` (any value) turns them off, as everywhere. */

export interface Style {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly cyan: (text: string) => string
}

const paint = (open: number, close: number) => (text: string): string => `\u001b[${open}m${text}\u001b[${close}m`
const plain = (text: string): string => text

export const colours: Style = {
  bold: paint(1, 22),
  dim: paint(2, 22),
  red: paint(31, 39),
  green: paint(32, 39),
  yellow: paint(33, 39),
  cyan: paint(36, 39)
}

export const noColours: Style = { bold: plain, dim: plain, red: plain, green: plain, yellow: plain, cyan: plain }

export const style = (stream: NodeJS.WriteStream): Style =>
  stream.isTTY && (process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb" ? colours : noColours

const escape = String.raw`\u001b\[[0-9;?]*[A-Za-z]`
const escapes = new RegExp(escape, "g")
const piecesBetween = new RegExp(`(${escape})`)

export const withoutEscapes = (text: string): string => text.replaceAll(escapes, "")

/** Cuts to what fits a terminal's line without breaking an escape sequence in two. */
export const fit = (text: string, columns: number): string => {
  if (withoutEscapes(text).length <= columns) return text
  let left = Math.max(0, columns - 1)
  let cut = ""
  for (const piece of text.split(piecesBetween)) {
    if (piece.startsWith("\u001b")) {
      cut += piece
    } else {
      cut += piece.slice(0, left)
      left -= Math.min(left, piece.length)
    }
  }
  return `${cut}…`
}
