/**
 * One process per directory. The lock is a Unix domain socket in the directory on which its owner listens. The kernel
 * closes it with the process, however that ends, and it is the same for all containers that share the volume,
 * where a process id means nothing. A socket that refuses connections is a dead owner's, and any process removes it.
 *
 * A process that wants the directory first listens there under its own name, and then looks for other listeners.
 * Of two that start at the same time, the later to listen sees the other, so they never both get the lock. Two that see each
 * other compare their names: the greater withdraws and tries again, the smaller waits for the outcome.
 */
import { Effect, Schema } from "effect"
import type { Scope } from "effect"
import { randomBytes } from "node:crypto"
import { closeSync, existsSync, openSync, readdirSync, renameSync, rmSync, statSync } from "node:fs"
import { connect, createServer } from "node:net"
import type { Server } from "node:net"
import { hostname } from "node:os"
import { join, relative } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

/** Another process uses this directory. */
export class DirectoryInUse extends Schema.TaggedError<DirectoryInUse>()("DirectoryInUse", {
  message: Schema.String,
  dataDir: Schema.String,
  processId: Schema.Int
}) {
  static of(dataDir: string, processId: number, host = hostname()): DirectoryInUse {
    const where = host === hostname() ? "" : ` on ${host}`
    return new DirectoryInUse({
      dataDir,
      processId,
      message: `The embedded database in ${dataDir} is open in process ${processId}${where}; stop that one, ` +
        "choose another COLUMBA_DATA_DIR, or set DATABASE_URL to share a Postgres server"
    })
  }
}

/** The directory or its files cannot be opened. */
export class EmbeddedDatabaseUnusable extends Schema.TaggedError<EmbeddedDatabaseUnusable>()(
  "EmbeddedDatabaseUnusable",
  { message: Schema.String, dataDir: Schema.String, cause: Schema.Defect() }
) {
  static of(dataDir: string, cause: unknown): EmbeddedDatabaseUnusable {
    const detail = cause instanceof Error ? cause.message : String(cause)
    return new EmbeddedDatabaseUnusable({
      dataDir,
      cause,
      message: `The embedded database in ${dataDir} cannot be opened: ${detail}`
    })
  }
}

/** The directory was deleted or replaced: the engine's writes reach no database. */
export class DirectoryLost extends Error {
  constructor(dataDir: string) {
    super(`${dataDir} was deleted or replaced while its database was open; put it back and start again`)
  }
}

/**
 * A check that throws once the lock is gone, or `file` (which is never rewritten) differs from the one at the start:
 * two system calls, some ten microseconds.
 */
export const makeDirectoryCheck = (dataDir: string, file: string, lock: string): () => void => {
  const identify = (): string | null => {
    const found = statSync(file, { throwIfNoEntry: false })
    return found === undefined ? null : `${found.dev} ${found.ino} ${found.birthtimeMs}`
  }
  const opened = identify()
  return () => {
    if (identify() !== opened || !existsSync(lock)) throw new DirectoryLost(dataDir)
  }
}

/** The length of a socket's address on every system: 104 bytes with the terminating zero. */
const addressBytesMax = 103

/** A process that does not answer within this time is busy, as the database can be for seconds: it has the lock. */
const answerMillisMax = 1_000

/** Two processes that start together need one or two rounds. More rounds mean that the lock cannot be taken. */
const roundsMax = 40
const roundMillis = 50

/** Process id and a random part: a name is used only once, so a dead one can be removed without a race. */
const namePattern = /^columba\.lock\.(\d+)\.[0-9a-f]{16}$/

/** Holds the directory until the scope closes. Returns the path of the lock, which is gone if the directory is. */
export const acquireDirectoryLock = (
  dataDir: string
): Effect.Effect<string, DirectoryInUse | EmbeddedDatabaseUnusable, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.tryPromise({
        try: () => take(dataDir),
        catch: (cause) => cause instanceof DirectoryInUse ? cause : EmbeddedDatabaseUnusable.of(dataDir, cause)
      }),
      (lock) => Effect.sync(lock.letGo)
    ),
    (lock) => join(dataDir, lock.name)
  )

const take = async (dataDir: string): Promise<Presence> => {
  const address = addresses(dataDir)
  try {
    for (let round = 0; round < roundsMax; round++) {
      const own = await appear(dataDir, address)
      if (await settle(dataDir, address, own)) return own
      own.letGo()
      await sleep(roundMillis * (1 + Math.random()))
    }
  } finally {
    address.close()
  }
  throw new Error("processes that start in it keep each other out")
}

/** True: this process has the lock. False: another starting process goes first. Throws when another has it. */
const settle = async (dataDir: string, address: Addresses, own: Presence): Promise<boolean> => {
  try {
    for (let round = 0; round < roundsMax; round++) {
      const others = await lookAround(dataDir, address, own.name)
      const holder = others.find((other) => other.holds)
      if (holder !== undefined) throw DirectoryInUse.of(dataDir, holder.processId, holder.host)
      if (others.some((other) => other.name < own.name)) return false
      if (others.length === 0) {
        own.holds = true
        return true
      }
      await sleep(roundMillis)
    }
    return false
  } catch (cause) {
    own.letGo()
    throw cause
  }
}

interface Presence {
  readonly name: string
  holds: boolean
  readonly letGo: () => void
}

/** Listens under its own name, which appears only once connections are accepted. */
const appear = async (dataDir: string, address: Addresses): Promise<Presence> => {
  const name = `columba.lock.${process.pid}.${randomBytes(8).toString("hex")}`
  const server = createServer((socket) => {
    socket.on("error", () => {})
    socket.end(JSON.stringify({ holds: own.holds, host: hostname() }))
  })
  const own: Presence = {
    name,
    holds: false,
    letGo: () => {
      rmSync(join(dataDir, name), { force: true })
      server.close()
    }
  }
  await listen(server, address.of(`${name}.new`))
  server.unref()
  renameSync(join(dataDir, `${name}.new`), join(dataDir, name))
  return own
}

const listen = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === "ENOTSUP" || cause.code === "EOPNOTSUPP" || cause.code === "EPERM"
          ? new Error("its file system has no sockets to lock it with; choose a directory on a local disk", { cause })
          : cause
      ))
    server.listen(path, resolve)
  })

interface Other {
  readonly name: string
  readonly processId: number
  readonly holds: boolean
  readonly host: string | undefined
}

/** The other live processes of the directory. Removes the sockets of dead ones. */
const lookAround = async (dataDir: string, address: Addresses, own: string): Promise<ReadonlyArray<Other>> => {
  const others: Array<Other> = []
  for (const name of readdirSync(dataDir)) {
    const processId = Number(namePattern.exec(name)?.[1] ?? Number.NaN)
    if (Number.isNaN(processId) || name === own) continue
    const answer = await ask(address.of(name))
    if (answer === "dead") rmSync(join(dataDir, name), { force: true })
    else if (answer !== "gone") others.push({ name, processId, ...answer })
  }
  return others
}

type Answer = "dead" | "gone" | Pick<Other, "holds" | "host">

const ask = (path: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const silent: Answer = { holds: true, host: undefined }
    let text = ""
    const socket = connect(path)
    socket.setTimeout(answerMillisMax, () => socket.destroy())
    socket.setEncoding("utf8")
    socket.on("data", (chunk) => {
      text += chunk
    })
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      if (cause.code === "ECONNREFUSED") resolve("dead")
      else if (cause.code === "ENOENT") resolve("gone")
      // A full connection queue or a broken connection: a process is listening.
      else if (cause.code === "EAGAIN" || cause.code === "ECONNRESET" || cause.code === "EPIPE") resolve(silent)
      else reject(cause)
    })
    socket.on("close", () => resolve(answerFrom(text) ?? silent))
  })

const answerFrom = (text: string): Answer | null => {
  try {
    return JSON.parse(text) as Pick<Other, "holds" | "host">
  } catch {
    return null
  }
}

interface Addresses {
  readonly of: (name: string) => string
  readonly close: () => void
}

/** Addresses that fit, however long the directory's path: relative to the working directory, or through an open descriptor. */
const addresses = (dataDir: string): Addresses => {
  const longest = `columba.lock.${process.pid}.${"0".repeat(16)}.new`
  for (const base of [dataDir, relative(process.cwd(), dataDir)]) {
    if (Buffer.byteLength(join(base, longest)) <= addressBytesMax) {
      return { of: (name) => join(base, name), close: () => {} }
    }
  }
  if (process.platform !== "linux") throw new Error("its path is too long for a lock; choose a shorter one")
  const directory = openSync(dataDir, "r")
  return { of: (name) => `/proc/self/fd/${directory}/${name}`, close: () => closeSync(directory) }
}
