/**
 * Programs that differ from the sources in a few places: they die or fail exactly there while a file exists, they break a
 * promise on purpose, or they can be measured. A place that is not found is an error.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { buildProgram } from "../scripts/build.ts"
import { root } from "../scripts/stamp.ts"
import { freshDirectory } from "../test/support/directory.ts"

export interface Change {
  readonly name: string
  readonly file: string
  /** Each place is found exactly once. */
  readonly changes: ReadonlyArray<readonly [find: string, replace: string]>
}

export type Planted = Change

/** The changed source. */
export const changed = ({ changes, file, name }: Change): string =>
  changes.reduce((text, [find, replace]) => {
    const places = text.split(find).length - 1
    if (places !== 1) throw new Error(`${name}: ${file} has ${places} places instead of one: ${find}`)
    return text.replace(find, () => replace)
  }, readFileSync(join(root, file), "utf8"))

/** Builds a program with these changes and this version into the directory. Returns the path of its `main.js`. */
export const changedProgram = async (
  directory: string,
  all: ReadonlyArray<Change>,
  version?: string
): Promise<string> => {
  const contents = new Map(all.map((change) => [join(root, change.file), changed(change)]))
  if (contents.size < all.length) throw new Error("two changes of one file")
  await buildProgram({
    directory,
    version,
    plugins: [{
      name: "planted",
      setup: (build) =>
        build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
          const text = contents.get(path)
          return text === undefined ? undefined : { contents: text, loader: "ts" }
        })
    }]
  })
  return join(directory, "main.js")
}

/** The same in a directory of its own, which is removed with the scope. */
export const buildChanged = Effect.fnUntraced(function*(all: ReadonlyArray<Change>, version?: string) {
  const directory = yield* freshDirectory
  return yield* Effect.promise(() => changedProgram(directory, all, version))
})

/** The variable that names the file. */
export const plantVariable = "COLUMBA_FAULTS_PLANT"

/** Code that acts while the file exists. */
export const whilePlanted = (code: string): string =>
  `if (process.getBuiltinModule("node:fs").existsSync(process.env["${plantVariable}"] ?? "")) { ${code} }\n`

export const dieThere = whilePlanted(`process.kill(process.pid, "SIGKILL")`)
