/**
 * Builds what ships.
 *
 * - `dist/main.js`: the whole program in one file, next to the embedded database's assets. Built-in modules are
 *   required instead of imported, because static imports run before any code and could fail on an old Node before
 *   `src/bin/runtimeGuard.ts` has run.
 * - `dist/sbom.cdx.json`: the packages whose code is in the program (`scripts/sbom.ts`).
 * - `dist/web/`: the pages for browsers (`scripts/buildWeb.ts`).
 * - `dist/client/`: the package that other programs install (`scripts/buildClient.ts`).
 *
 * `node scripts/build.ts` builds all, with `--program` the program and its pages, which `npm ci` does too (`scripts/prepare.ts`);
 * `scripts/start.ts` builds the program where its sources changed.
 */
import * as fs from "node:fs"
import { builtinModules, createRequire } from "node:module"
import * as path from "node:path"
import * as esbuild from "esbuild"
import { buildClient } from "./buildClient.ts"
import { buildWeb } from "./buildWeb.ts"
import { writeSbom } from "./sbom.ts"
import { dist, root, writeStamp } from "./stamp.ts"

export { isProgramCurrent } from "./stamp.ts"

const builtin = new RegExp(`^(node:.+|${builtinModules.filter((name) => !name.startsWith("_")).join("|")})$`)

const requireBuiltins: esbuild.Plugin = {
  name: "require-builtins",
  setup(build) {
    build.onResolve(
      { filter: builtin },
      ({ namespace, path: name }) =>
        namespace === "builtin" ? { path: name, external: true } : { path: name, namespace: "builtin" }
    )
    build.onLoad({ filter: /.*/, namespace: "builtin" }, ({ path: name }) => ({
      contents: `module.exports = require(${JSON.stringify(name)})`
    }))
  }
}

/** The guard as text, in its own block, so that its names do not collide with names of the bundle. */
const guard = async (): Promise<string> => {
  const { code } = await esbuild.transform(fs.readFileSync(path.join(root, "src/bin/runtimeGuard.ts"), "utf8"), {
    loader: "ts",
    target: "node16",
    minify: true
  })
  return `{${code.replace(/export\s*\{\s*\};?/, "")}}`
}

const copyEmbeddedDatabase = (directory: string): void => {
  const source = path.dirname(createRequire(import.meta.url).resolve("@electric-sql/pglite"))
  for (const name of fs.readdirSync(source).filter((file) => /^(pglite|initdb)\.(data|wasm)$/.test(file))) {
    fs.copyFileSync(path.join(source, name), path.join(directory, name))
  }
}

const version = (JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as { version: string }).version

/** A build with changed sources in another directory, for tests of the tests. */
export interface Variant {
  readonly directory: string
  readonly plugins: ReadonlyArray<esbuild.Plugin>
  /** Instead of the one in `package.json`. */
  readonly version?: string | undefined
}

export const buildProgram = async (variant: Variant | null = null): Promise<void> => {
  const directory = variant?.directory ?? dist
  fs.mkdirSync(directory, { recursive: true })
  const requireLine =
    "import{createRequire as columbaCreateRequire}from\"node:module\";const require=columbaCreateRequire(import.meta.url);"
  const { metafile } = await esbuild.build({
    absWorkingDir: root,
    metafile: true,
    bundle: true,
    platform: "node",
    format: "esm",
    sourcemap: true,
    logLevel: "warning",
    legalComments: "none",
    entryPoints: { main: "src/bin/main.ts" },
    outdir: directory,
    // Old enough to be parsed by the Node versions that the guard refuses.
    target: "node18",
    // Names are kept: stack traces are readable, and no start has to restore them.
    minifyWhitespace: true,
    minifySyntax: true,
    sourcesContent: false,
    plugins: [requireBuiltins, ...variant?.plugins ?? []],
    // Optional native speed-ups of `ws`, which works without them.
    external: ["bufferutil", "utf-8-validate"],
    define: { "process.env.COLUMBA_VERSION": JSON.stringify(variant?.version ?? version) },
    banner: { js: `#!/usr/bin/env node\n${await guard()}\n${requireLine}` }
  })
  copyEmbeddedDatabase(directory)
  if (variant !== null) return
  const pages = await buildWeb()
  writeSbom([...Object.keys(metafile.inputs), ...pages], version)
  writeStamp()
}

if (import.meta.main) {
  const started = performance.now()
  const programOnly = process.argv.includes("--program")
  await buildProgram()
  if (!programOnly) await buildClient()
  const size = (fs.statSync(path.join(dist, "main.js")).size / 1e6).toFixed(1)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(`built dist/main.js (${size} MB)${programOnly ? "" : " and the client"} in ${seconds} s`)
}
