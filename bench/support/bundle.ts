/**
 * Bundles a process before it is measured, as the product is bundled before it is shipped: stripping types and loading
 * hundreds of modules is a cost of development only. Floors and Columba are treated alike.
 */
import { build } from "esbuild"
import { rmSync } from "node:fs"
import { basename, join } from "node:path"

const bench = join(import.meta.dirname, "..")
const bundled = new Map<string, Promise<string>>()

/** The bundle of this module of `bench/`, made once per run. */
export const bundle = (module: string): Promise<string> => {
  const known = bundled.get(module)
  if (known !== undefined) return known
  const outfile = join(bench, "..", ".tmp", "bench", `${basename(module, ".ts")}-${process.pid}.mjs`)
  const made = build({
    entryPoints: [join(bench, module)],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22",
    logLevel: "warning",
    // Optional native helpers of `ws` and `pg`, and the embedded database, which is not measured.
    external: ["bufferutil", "utf-8-validate", "pg-native", "@electric-sql/pglite"],
    banner: { js: `import{createRequire as r}from"node:module";const require=r(import.meta.url);` }
  }).then(() => outfile)
  process.on("exit", () => rmSync(outfile, { force: true }))
  bundled.set(module, made)
  return made
}
