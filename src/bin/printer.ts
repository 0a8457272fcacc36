/**
 * All output of the commands goes through here: lines to a person, with colours if the stream is a terminal that wants
 * them, and JSON to a program. Both are safe to show whatever they contain (see `styledText` and
 * `services/printableText`).
 */
import { Console, Effect } from "effect"
import { toPrintableJson } from "../services/printableText.ts"
import { render } from "./styledText.ts"
import type { Part } from "./styledText.ts"

/** `NO_COLOR` with any value turns colours off, as in other programs. */
export const hasColours = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY && (process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb"

const renderLines = (lines: ReadonlyArray<Part>, stream: NodeJS.WriteStream): string =>
  lines.map((line) => render(line, hasColours(stream))).join("\n")

/** Prints lines to stdout. */
export const print = (...lines: ReadonlyArray<Part>): Effect.Effect<void> =>
  lines.length === 0 ? Effect.void : Console.log(renderLines(lines, process.stdout))

/** Prints lines to stderr. */
export const printError = (...lines: ReadonlyArray<Part>): Effect.Effect<void> =>
  Console.error(renderLines(lines, process.stderr))

/** Prints a value as one line of JSON to stdout. */
export const printJson = (value: unknown): Effect.Effect<void> => Console.log(toPrintableJson(value))
