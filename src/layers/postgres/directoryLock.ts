/**
 * One process a directory. The lock is a file with the owner's process id, made in one step that fails when it exists.
 * The file of a process that is gone is taken over: a crash or a `kill -9` never needs a hand.
 */
import { Effect, Schema } from "effect"
import type { Scope } from "effect"
import { linkSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"

/** Another process works in this directory. */
export class DirectoryInUse extends Schema.TaggedError<DirectoryInUse>()("DirectoryInUse", {
  message: Schema.String,
  dataDir: Schema.String,
  processId: Schema.Int
}) {
  static of(dataDir: string, processId: number): DirectoryInUse {
    return new DirectoryInUse({
      dataDir,
      processId,
      message: `The embedded database in ${dataDir} is open in process ${processId}; stop that one, ` +
        "choose another COLUMBA_DATA_DIR, or set DATABASE_URL to share a Postgres server"
    })
  }
}

/** The directory or what is in it cannot be opened. */
export class EmbeddedDatabaseUnusable extends Schema.TaggedError<EmbeddedDatabaseUnusable>()(
  "EmbeddedDatabaseUnusable",
  { message: Schema.String, dataDir: Schema.String, cause: Schema.Defect() }
) {
  static of(dataDir: string, cause: unknown): EmbeddedDatabaseUnusable {
    const detail = cause instanceof Error ? cause.message : String(cause)
    return new EmbeddedDatabaseUnusable({
      dataDir,
      cause,
      message: `The embedded database in ${dataDir} can not be opened: ${detail}`
    })
  }
}

/** Directories this process holds: its own process id says nothing about them. */
const held = new Set<string>()

/** Two processes may both find a stale lock; each try settles one such race. */
const triesMax = 5

/** Holds the directory until the scope closes. */
export const acquireDirectoryLock = (
  dataDir: string
): Effect.Effect<void, DirectoryInUse | EmbeddedDatabaseUnusable, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => take(dataDir),
      catch: (cause) => cause instanceof DirectoryInUse ? cause : EmbeddedDatabaseUnusable.of(dataDir, cause)
    }),
    () => Effect.sync(() => letGo(dataDir))
  )

const lockFile = (dataDir: string): string => join(dataDir, "columba.lock")

/** The start time besides the id: after a restart of the machine or container the same id may be somebody else. */
const own = (): string => `${process.pid} ${startedAt(process.pid)}`

const take = (dataDir: string): void => {
  const path = lockFile(dataDir)
  if (held.has(path)) throw DirectoryInUse.of(dataDir, process.pid)
  for (let attempt = 0; attempt < triesMax; attempt++) {
    if (create(path)) {
      held.add(path)
      return
    }
    const owner = ownerOf(path)
    if (owner === null) continue
    if (owner.alive) throw DirectoryInUse.of(dataDir, owner.processId)
    removeStale(path, owner.text)
  }
  throw new Error("the lock file keeps changing hands")
}

/** The file appears under its name with its content in it: nobody ever reads half a lock. */
const create = (path: string): boolean => {
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, own(), { mode: 0o600 })
  try {
    linkSync(draft, path)
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") return false
    throw cause
  } finally {
    rmSync(draft, { force: true })
  }
}

const ownerOf = (
  path: string
): { readonly text: string; readonly processId: number; readonly alive: boolean } | null => {
  let text: string
  try {
    text = readFileSync(path, "utf8")
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return null
    throw cause
  }
  const [id = "", started = ""] = text.split(" ")
  const processId = Number.parseInt(id, 10)
  const alive = Number.isInteger(processId) && processId > 0 && isRunning(processId) && startedAt(processId) === started
  return { text, processId: Number.isInteger(processId) ? processId : 0, alive }
}

/** Moved aside first: if meanwhile another took it over, the moved file is theirs and goes back. */
const removeStale = (path: string, stale: string): void => {
  const aside = `${path}.stale.${process.pid}`
  try {
    renameSync(path, aside)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return
    throw cause
  }
  if (readFileSync(aside, "utf8") !== stale) {
    try {
      linkSync(aside, path)
    } catch {
      // A third process has it by now; it keeps it.
    }
  }
  unlinkSync(aside)
}

const isRunning = (processId: number): boolean => {
  try {
    process.kill(processId, 0)
    return true
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** Clock ticks from the machine's start, where the system tells (Linux); empty elsewhere, and then the id decides. */
const startedAt = (processId: number): string => {
  try {
    const stat = readFileSync(`/proc/${processId}/stat`, "utf8")
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? ""
  } catch {
    return ""
  }
}

const letGo = (dataDir: string): void => {
  const path = lockFile(dataDir)
  held.delete(path)
  if (ownerOf(path)?.text === own()) rmSync(path, { force: true })
}
