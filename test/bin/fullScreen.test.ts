/** The whole terminal: drawn lines stay as they were drawn. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fullScreen from "../../src/bin/fullScreen.ts"

/** The parts of a terminal that matter here: with wrapping off, the cursor stays on the last column that was written. */
const show = (written: string, columns: number, rows: number): ReadonlyArray<string> => {
  const cells = Array.from({ length: rows }, () => Array.from({ length: columns }, () => " "))
  let [row, column] = [0, 0]
  // oxlint-disable-next-line no-control-regex -- escape sequences are what this is about
  for (const [, code, , control, letter] of written.matchAll(/\u001b\[((\?)?[\d;]*[A-Za-z])|([\r\n])|([^\u001b])/g)) {
    if (code === "H") [row, column] = [0, 0]
    else if (code === "K") cells[row]!.fill(" ", column)
    else if (code === "2K") cells[row]!.fill(" ")
    else if (code === "J") {
      cells[row]!.fill(" ", column)
      for (const below of cells.slice(row + 1)) below.fill(" ")
    } else if (control === "\r") column = 0
    else if (control === "\n") row = Math.min(row + 1, rows - 1)
    else if (letter !== undefined) {
      cells[row]![column] = letter
      column = Math.min(column + 1, columns - 1)
    }
  }
  return cells.map((line) => line.join("").trimEnd())
}

describe("the full screen", () => {
  it.effect("shows lines to their last column, and nothing of the previous screen", () =>
    Effect.gen(function*() {
      const written: Array<string> = []
      const stream = { write: (text: string) => written.push(text) > 0, writableNeedDrain: false }
      const { draw } = yield* fullScreen.open(stream as never, false)
      const size = { columns: 10, rows: 4 }
      const full = ["0123456789", "a", "0123456789", "abcdefghij"]
      draw(full, size)
      assert.deepStrictEqual(show(written.join(""), 10, 4), full)
      draw(["b", "0123456789"], size)
      assert.deepStrictEqual(show(written.join(""), 10, 4), ["b", "0123456789", "", ""])
    }))
})
