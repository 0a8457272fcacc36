/**
 * A QR code as lines of a terminal: two modules to a character cell, with colours of their own, so that dark is dark
 * on any theme. Without colours a light module is a filled cell, which is right on the dark background of most
 * terminals; phones read the inverse too.
 */
import { makeModules } from "../services/qrCode.ts"
import { paper, plain } from "./styledText.ts"
import type { Part } from "./styledText.ts"

/** Modules of the quiet zone that are omitted on each side: rows are scarce. */
const cut = 2

export const qrLines = (text: string, colours: boolean): ReadonlyArray<Part> => {
  const modules = makeModules(text).slice(cut, -cut).map((row) => row.slice(cut, -cut))
  const width = modules[0]?.length ?? 0
  const lines: Array<Part> = []
  for (let y = 0; y < modules.length; y += 2) {
    let line = ""
    for (let x = 0; x < width; x++) {
      const top = modules[y]![x]!
      // Below the last row there is paper.
      const bottom = modules[y + 1]?.[x] ?? false
      line += colours ? cells[Number(top)]![Number(bottom)]! : cells[Number(!top)]![Number(!bottom)]!
    }
    lines.push(colours ? paper(line) : plain(line))
  }
  return lines
}

/** Indexed by whether the upper and the lower half is filled. */
const cells = [[" ", "▄"], ["▀", "█"]] as const
