import { assert, describe, it } from "@effect/vitest"
import { pages, readPage, update } from "../../scripts/docs.ts"
import { eventKinds } from "../../src/domain/EventKinds.ts"
import { variables } from "../../src/layers/settingsVariables.ts"
import type { Variable } from "../../src/layers/settingsVariables.ts"

describe("the documentation", () => {
  it("has every generated section as in the code; 'npm run docs' updates them", () => {
    const old = pages().filter((file) => update(readPage(file), file) !== readPage(file))
    assert.deepStrictEqual(old, [])
  })
})

describe("the event catalogue", () => {
  it("has a heading for every kind, and the table of kinds links to it", () => {
    const headings = [...readPage("docs/events.md").matchAll(/^## `(.*)`$/gm)].map(([, kind]) => kind ?? "")
    const links = [...readPage("docs/consuming.md").matchAll(/\[`(.*)`\]\(events\.md#(.*?)\)/g)]
    assert.strictEqual(headings.length, eventKinds.length)
    assert.deepStrictEqual(links.map(([, kind]) => kind), headings)
    assert.deepStrictEqual(
      links.map(([, , anchor]) => anchor),
      headings.map((kind) => kind.toLowerCase().replaceAll(/[^a-z0-9_-]/g, ""))
    )
  })
})

describe("the table of settings", () => {
  it("has for every variable the default as one writes it, or the behaviour without a value", () => {
    for (const { fallback, name, unset } of Object.values<Variable<unknown>>(variables)) {
      assert.isTrue((fallback === null) !== (unset === null), name)
      assert.notInclude(["null", "", "[object Set]"], fallback, name)
    }
  })
})

describe("a generated section", () => {
  it("is replaced between its markers, and the rest of the page stays", () => {
    const page = "# A\n\n<!-- settings: generated from x -->\nold\n<!-- /settings -->\n\nend\n"
    const updated = update(page, "a.md")
    assert.match(updated, /^# A\n\n<!-- settings: generated from x -->\n\| variable \| flag /)
    assert.include(updated, "| `PORT` | `--port` | port of API, docs, streams and RPC | `8080` |\n")
    assert.match(updated, /\|\n<!-- \/settings -->\n\nend\n$/)
    assert.strictEqual(update(updated, "a.md"), updated)
  })

  it("without a generator is an error that names the page", () => {
    assert.throws(
      () => update("<!-- nonsense: generated -->\n<!-- /nonsense -->", "a.md"),
      /a\.md has a generated section/
    )
  })
})
