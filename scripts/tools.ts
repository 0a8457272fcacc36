/**
 * The tools that only checks need (types, lint, format) are a separate package in `tools/`: they weigh as much as
 * everything that `npm ci && npm start` needs, so a machine that only runs Columba does not install them.
 *
 * `node scripts/tools.ts tsc -p .` installs them if that was not done for the current `tools/package-lock.json`, with a
 * message, and runs one of them in the project's folder.
 */
import { spawnSync } from "node:child_process"
import type { SpawnSyncOptions } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "./stamp.ts"

const folder = path.join(root, "tools")
const binaries = path.join(folder, "node_modules/.bin")

/** Holds the hash of the installed lockfile. Written last, so that an interrupted installation is repeated. */
const stampFile = path.join(folder, "node_modules/.columba-stamp")

const hashLockfile = (): string =>
  createHash("sha256").update(fs.readFileSync(path.join(folder, "package-lock.json"))).digest("hex")

const isInstalled = (): boolean => fs.existsSync(stampFile) && fs.readFileSync(stampFile, "utf8") === hashLockfile()

const run = (command: string, args: ReadonlyArray<string>, options: SpawnSyncOptions): number => {
  const { error, status } = spawnSync(command, args, { ...options, shell: process.platform === "win32" })
  if (error !== undefined) throw error
  return status ?? 1
}

/** Output goes to stderr: stdout is the tool's own. */
const prepare = (command: string, args: ReadonlyArray<string>): void => {
  const status = run(command, args, { cwd: folder, stdio: ["ignore", 2, 2] })
  if (status !== 0) throw new Error(`${path.basename(command)} ${args.join(" ")} failed in tools/ with ${status}`)
}

/** Installs the tools where they are missing or of another version, and returns the path of one. */
export const ensureTool = (name: string): string => {
  if (!isInstalled()) {
    process.stderr.write("installing the tools that only checks need, into tools/node_modules (once) …\n")
    prepare("npm", ["ci"])
    // Makes tsc report the findings of Effect's language service.
    prepare(path.join(binaries, "effect-tsgo"), ["patch"])
    fs.writeFileSync(stampFile, hashLockfile())
  }
  return path.join(binaries, name)
}

if (import.meta.main) {
  const [name, ...args] = process.argv.slice(2)
  if (name === undefined) throw new Error("usage: node scripts/tools.ts <tool> [arguments]")
  process.exitCode = run(ensureTool(name), args, { cwd: root, stdio: "inherit" })
}
