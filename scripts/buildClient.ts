/**
 * Builds `dist/client/`, the package `columba-client`: the client for Effect programs and, as `columba-client/promise`,
 * the one for all others. Effect is a peer dependency, so that both sides share the same classes. Version and
 * range of Effect are those of this project, and its README is `docs/client.md`.
 *
 * `npm pack ./dist/client` makes the installable package.
 */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as esbuild from "esbuild"
import { dist, root } from "./stamp.ts"
import { ensureTool } from "./tools.ts"

const entries = { index: "src/client/index.ts", promise: "src/client/promise.ts" }

/** Effect's requests need `AbortSignal.any`, which this version has and earlier ones lack. */
export const oldestNode = "20.3.0"

/** The language level of that Node and of browsers of its age. */
const target = "es2022"

const readManifest = () =>
  JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
    readonly version: string
    readonly license: string
    readonly devDependencies: { readonly effect: string }
  }

const entry = (name: keyof typeof entries) => ({ types: `./types/client/${name}.d.ts`, default: `./${name}.js` })

const makeManifest = () => {
  const { devDependencies, license, version } = readManifest()
  return {
    name: "columba-client",
    version,
    description:
      "The typed client of Columba: calls, and event streams that resume, for Effect and for plain promises.",
    type: "module",
    license,
    engines: { node: `>=${oldestNode}` },
    sideEffects: false,
    exports: { ".": entry("index"), "./promise": entry("promise"), "./package.json": "./package.json" },
    peerDependencies: { effect: `^${devDependencies.effect}` }
  }
}

/** Writes the package anew into `directory`. */
export const buildClient = async (directory = path.join(dist, "client")): Promise<string> => {
  fs.rmSync(directory, { recursive: true, force: true })
  await esbuild.build({
    absWorkingDir: root,
    bundle: true,
    platform: "neutral",
    format: "esm",
    target,
    logLevel: "warning",
    legalComments: "none",
    entryPoints: entries,
    outdir: directory,
    splitting: true,
    chunkNames: "shared-[hash]",
    packages: "external"
  })
  const types = spawnSync(
    ensureTool("tsc"),
    ["-p", "tsconfig.client.json", "--outDir", path.join(directory, "types")],
    {
      cwd: root,
      encoding: "utf8"
    }
  )
  if (types.status !== 0) throw new Error(`the types of the client could not be written:\n${types.stdout}`)
  fs.copyFileSync(path.join(root, "docs/client.md"), path.join(directory, "README.md"))
  fs.writeFileSync(path.join(directory, "package.json"), `${JSON.stringify(makeManifest(), null, 2)}\n`)
  return directory
}

if (import.meta.main) console.log(`built ${path.relative(root, await buildClient())}: npm pack ./dist/client`)
