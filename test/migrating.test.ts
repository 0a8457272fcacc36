/** The page on moving from the former system names tests: each exists under that name. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"

const root = resolve(import.meta.dirname, "..")
const page = readFileSync(resolve(root, "docs/migrating.md"), "utf8")
const rows = page.slice(page.indexOf("| former test |")).split("\n").slice(2).filter((line) => line.startsWith("|"))

describe("docs/migrating.md", () => {
  it("names for each former test a test of this project that exists", () => {
    assert.isAbove(rows.length, 15)
    for (const row of rows) {
      const cell = row.split("|")[2] ?? ""
      const named = [...cell.matchAll(/`(test\/[^`]+)`((?:,? "[^"]+")*)/g)]
      assert.isAbove(named.length, 0, row)
      for (const [, file = "", titles = ""] of named) {
        const text = readFileSync(resolve(root, file), "utf8")
        for (const [, title = ""] of titles.matchAll(/"([^"]+)"/g)) {
          assert.include(text, `"${title}"`, `${file} in ${row}`)
        }
      }
    }
  })
})
