/**
 * Writes the generated sections of the documentation: tables whose source is the code. A section is
 * between two markers, `<!-- settings: generated … -->` and `<!-- /settings -->`, in any page of docs/ or the README.
 * `npm run docs` updates all of them; a unit test fails where one is outdated.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { Context } from "effect"
import { Api } from "../src/contracts/Api.ts"
import { RequiredReach, RequiredScope } from "../src/contracts/Authorization.ts"
import type { Reach } from "../src/contracts/Authorization.ts"
import { variables } from "../src/layers/settingsVariables.ts"
import type { Variable } from "../src/layers/settingsVariables.ts"
import * as dashboard from "./dashboard.ts"
import { catalogue, envelope, kinds } from "./eventSections.ts"
import { cell, table } from "./markdown.ts"
import { root } from "./stamp.ts"

const settings = (): string =>
  table(
    ["variable", "flag", "meaning", "default"],
    Object.values<Variable<unknown>>(variables).map(({ about, fallback, flag, name, unset }) => [
      `\`${name}\``,
      `\`--${flag}\``,
      cell(about),
      fallback === null ? `unset: ${cell(unset ?? "")}` : `\`${fallback}\``
    ])
  )

/** The events of a limited key, as the page describes them. */
const limited = {
  device: "its devices; others look unknown",
  filter: "what belongs to its devices",
  fleet: "no",
  server: "yes"
} as const satisfies Record<Reach, string>

const scopes = (): string =>
  table(
    ["operation", "scope", "for a key with a list of devices"],
    Object.values(Api.groups).flatMap((group) =>
      Object.values(group.endpoints).map(({ annotations, method, path }) => [
        `\`${method} ${path.replace(/:(\w+)/g, "{$1}")}\``,
        `\`${Context.getUnsafe(annotations as Context.Context<RequiredScope>, RequiredScope)}\``,
        limited[Context.getUnsafe(annotations as Context.Context<RequiredReach>, RequiredReach)]
      ])
    )
  )

const sections: Readonly<Record<string, () => string>> = { catalogue, envelope, kinds, scopes, settings }

const marked = /(<!-- (\w+): generated[^\n]*-->\n)[\s\S]*?(<!-- \/\2 -->)/g

/** The page with every section generated from the current code. */
export const update = (text: string, file: string): string =>
  text.replace(marked, (_, begin: string, name: string, end: string) => {
    const section = sections[name]
    if (section === undefined) throw new Error(`${file} has a generated section '${name}' that nothing generates`)
    return `${begin}${section()}\n${end}`
  })

export const pages = (): ReadonlyArray<string> => [
  "README.md",
  ...fs.readdirSync(path.join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => path.join("docs", file))
]

export const readPage = (file: string): string => fs.readFileSync(path.join(root, file), "utf8")

if (import.meta.main) {
  for (const file of pages()) {
    const [before, after] = [readPage(file), update(readPage(file), file)]
    if (before === after) continue
    fs.writeFileSync(path.join(root, file), after)
    console.log(`updated ${file}`)
  }
  fs.writeFileSync(path.join(root, dashboard.file), dashboard.dashboard())
}
