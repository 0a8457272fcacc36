/**
 * `npm start`: builds the program if sources changed since the last build, then runs it in this same process, so
 * that signals and exit codes are the program's own. Arguments after `--` are the program's. If npm is killed, the
 * program stops in order instead of continuing without a parent.
 */
import { pathToFileURL } from "node:url"
import * as fs from "node:fs"
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

/** Two small lookups cost nothing at this rate. */
const launcherCheckMillis = 1000

/** npm starts a shell, which starts this: a shell whose npm is gone stays, so both are checked where /proc has them. */
const readLauncher = (): string => {
  const shell = process.ppid
  try {
    const [, parent] = /\) \S (\d+) /.exec(fs.readFileSync(`/proc/${shell}/stat`, "latin1")) ?? []
    return `${shell} of ${parent}`
  } catch {
    return String(shell)
  }
}

const launcher = readLauncher()
const launcherCheck = setInterval(() => {
  if (readLauncher() === launcher) return
  clearInterval(launcherCheck)
  process.kill(process.pid, "SIGTERM")
}, launcherCheckMillis)
launcherCheck.unref()

const main = path.join(dist, "main.js")
process.argv[1] = main
await import(pathToFileURL(main).href)
