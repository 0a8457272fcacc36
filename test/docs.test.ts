/** The documentation's statements about files are true: links work, named paths exist, and every page can be reached. */
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"

const root = path.resolve(import.meta.dirname, "..")

const pages = [
  "README.md",
  ...fs.readdirSync(path.join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file.split(path.sep).join("/")}`)
].sort()

const read = (page: string) => fs.readFileSync(path.join(root, page), "utf8")

const exists = (file: string) => fs.existsSync(path.join(root, file))

/** Relative links only: `file`, seen from the root, and `anchor`. Either may be empty. */
const linksIn = (page: string) =>
  [...read(page).matchAll(/\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?\)/g)].map(([, target, anchor]) => ({
    file: target === "" ? page : path.posix.join(path.posix.dirname(page), target!),
    anchor: anchor ?? ""
  }))

/** The anchors that GitHub makes from headings. */
const anchorsIn = (page: string) =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  )

/** Paths of this repository, also in code blocks and tables. A path that ends in `…`, `*` or `<` is a pattern. */
const pathsIn = (page: string) =>
  [...read(page).matchAll(/(?<![\w/.@-])(?:src|test|bench|docs|scripts)\/[\w./-]*(?![\w…*<])/g)].map(([text]) =>
    text.replace(/[./]+$/, "")
  )

describe("the pages", () => {
  it("link to files and headings that exist", () => {
    const broken = pages.flatMap((page) =>
      linksIn(page)
        .filter(({ anchor, file }) =>
          !exists(file) || (anchor !== "" && file.endsWith(".md") && !anchorsIn(file).includes(anchor))
        )
        .map(({ anchor, file }) => `${page}: ${file}${anchor === "" ? "" : `#${anchor}`}`)
    )
    assert.deepStrictEqual(broken, [])
  })

  it("name paths that exist", () => {
    const missing = pages.flatMap((page) =>
      pathsIn(page).filter((named) => !exists(named)).map((named) => `${page}: ${named}`)
    )
    assert.deepStrictEqual(missing, [])
  })

  it("can all be reached by links from the README", () => {
    const reached = new Set(["README.md"])
    for (const page of reached) {
      if (page.endsWith(".md")) { for (const { file } of linksIn(page)) if (exists(file)) reached.add(file) }
    }
    assert.deepStrictEqual(pages.filter((page) => !reached.has(page)), [])
  })

  it("have every folder of src in the README's map", () => {
    const folders = fs.readdirSync(path.join(root, "src"), { withFileTypes: true }).filter((entry) =>
      entry.isDirectory()
    )
    const map = pathsIn("README.md")
    assert.deepStrictEqual(folders.map(({ name }) => `src/${name}`).filter((folder) => !map.includes(folder)), [])
  })
})
