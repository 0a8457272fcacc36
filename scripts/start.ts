/**
 * `npm start`: builds the program where sources changed since the last build, then runs it in this same process, so
 * that signals and exit codes are the program's own. Arguments after `--` are the program's. Should npm be killed, the
 * program stops in order instead of staying behind without a parent.
 */
import { pathToFileURL } from "node:url"
import * as path from "node:path"
import { dist, isProgramCurrent } from "./stamp.ts"

if (!isProgramCurrent()) {
  const started = performance.now()
  process.stderr.write("building dist/main.js … ")
  const { buildProgram } = await import("./build.ts")
  await buildProgram()
  const { stop } = await import("esbuild")
  await stop()
  process.stderr.write(`${((performance.now() - started) / 1000).toFixed(1)} s\n`)
}

/** A lookup of the parent's id costs nothing at this rate. */
const parentCheckMillis = 1000
const parent = process.ppid
const parentCheck = setInterval(() => {
  if (process.ppid === parent) return
  clearInterval(parentCheck)
  process.kill(process.pid, "SIGTERM")
}, parentCheckMillis)
parentCheck.unref()

const main = path.join(dist, "main.js")
process.argv[1] = main
await import(pathToFileURL(main).href)
