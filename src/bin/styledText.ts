/**
 * Text with colours, as data. Colours are attributes of a span; the escape sequences of a terminal are made in
 * `render` and nowhere else. The text of every span is made printable when the span is made, so a string of a gateway
 * or a user in a line cannot contain an escape sequence: printing code need not clean it.
 */
import { toPrintable } from "../services/printableText.ts"

const codes = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
  /** Black on white, whatever the theme defines for its sixteen colours. */
  paper: ["38;5;16;48;5;231", "39;49"]
} as const

type Attribute = keyof typeof codes

interface Span {
  readonly text: string
  readonly attributes: ReadonlyArray<Attribute>
}

/** One line, or a part of one. Made by `styled` and the functions named after colours. */
export class StyledText {
  readonly spans: ReadonlyArray<Span>

  constructor(spans: ReadonlyArray<Span>) {
    this.spans = spans
  }

  /** Without colours. */
  toString(): string {
    return this.spans.map(({ text }) => text).join("")
  }
}

/** The parts of a line. A bare string may come from anywhere. */
export type Part = string | number | StyledText

const getSpans = (part: Part): ReadonlyArray<Span> =>
  part instanceof StyledText ? part.spans : [{ text: toPrintable(String(part)), attributes: [] }]

/** Builds a line: `` styled`${bold(name)} is ${state}` ``. */
export const styled = (strings: TemplateStringsArray, ...parts: ReadonlyArray<Part>): StyledText =>
  new StyledText(
    strings.flatMap((text, index) => [...getSpans(text), ...(index < parts.length ? getSpans(parts[index] ?? "") : [])])
  )

const paint = (attribute: Attribute) => (part: Part): StyledText =>
  new StyledText(getSpans(part).map(({ attributes, text }) => ({ text, attributes: [...attributes, attribute] })))

export type Paint = ReturnType<typeof paint>

export const bold = paint("bold")
export const dim = paint("dim")
export const red = paint("red")
export const green = paint("green")
export const yellow = paint("yellow")
export const cyan = paint("cyan")
export const paper = paint("paper")

export const plain: Paint = (part) => new StyledText(getSpans(part))

/** Counts an emoji or a wide letter as one. */
const count = (text: string): number => Array.from(text).length

export const countColumns = (part: Part): number => getSpans(part).reduce((sum, { text }) => sum + count(text), 0)

/** Pads with spaces; a wider part stays as it is. */
export const padEnd = (part: Part, width: number): StyledText =>
  styled`${part}${" ".repeat(Math.max(0, width - countColumns(part)))}`

export const join = (parts: ReadonlyArray<Part>, separator: Part = " "): StyledText =>
  new StyledText(
    parts.flatMap((part, index) => index === 0 ? getSpans(part) : [...getSpans(separator), ...getSpans(part)])
  )

/** Cuts a part that is wider than `columns`, and shows that it was cut. */
export const fit = (part: Part, columns: number): StyledText => {
  if (countColumns(part) <= columns) return plain(part)
  let left = Math.max(0, columns - 1)
  const spans: Array<Span> = []
  for (const { attributes, text } of getSpans(part)) {
    const kept = Array.from(text).slice(0, left)
    left -= kept.length
    spans.push({ text: kept.join(""), attributes })
  }
  return styled`${new StyledText(spans)}…`
}

/** Breaks a part that is wider than `columns`, at spaces if there are any. All lines but the first are indented. */
export const wrap = (part: Part, columns: number, indent = 0): ReadonlyArray<StyledText> => {
  const characters = getSpans(part).flatMap(({ attributes, text }) =>
    Array.from(text, (text): Span => ({ text, attributes }))
  )
  const lines: Array<StyledText> = []
  for (let begin = 0; begin === 0 || begin < characters.length;) {
    const margin = lines.length === 0 ? 0 : indent
    const end = begin + Math.max(1, columns - margin)
    const space = end < characters.length ? characters.findLastIndex(({ text }, at) => text === " " && at <= end) : -1
    const broken = space > begin
    const stop = broken ? space : end
    lines.push(new StyledText([{ text: " ".repeat(margin), attributes: [] }, ...characters.slice(begin, stop)]))
    begin = broken ? stop + 1 : stop
  }
  return lines
}

const renderSpan = ({ attributes, text }: Span): string =>
  text === ""
    ? ""
    : attributes.reduce((inner, name) => `\u001b[${codes[name][0]}m${inner}\u001b[${codes[name][1]}m`, text)

/** The only place that makes escape sequences. */
export const render = (part: Part, colours: boolean): string => {
  const spans = getSpans(part)
  return (colours ? spans.map(renderSpan) : spans.map(({ text }) => text)).join("")
}
