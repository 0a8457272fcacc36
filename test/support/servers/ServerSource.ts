/**
 * The source of the tests' servers: a container engine that answers, else programs of this machine, else packages of
 * Debian. If there is none of these, one error says what is missing. Tests are never skipped.
 */
import { execFile } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schema, Semaphore } from "effect"
import type { Owner } from "./ServerHome.ts"

export type ServerSource =
  | { readonly _tag: "Container"; readonly image: string }
  | { readonly _tag: "Local"; readonly directory: string }

export class ServerMissing extends Schema.TaggedError<ServerMissing>()("ServerMissing", {
  message: Schema.String,
  server: Schema.String
}) {
  static of(server: string, detail: string): ServerMissing {
    return new ServerMissing({
      server,
      message: `The tests need ${server} and found neither a container engine that answers nor its programs here, ` +
        `and could not install them (${detail}). Fix it by one of: start Docker; install ${server} so that its ` +
        `programs are in PATH; run the tests as root on Debian or Ubuntu.`
    })
  }

  static withoutContainer(server: string, detail: string): ServerMissing {
    return new ServerMissing({
      server,
      message:
        `The tests need ${server}, did not find its programs here, and could not install them (${detail}). Fix it ` +
        `by one of: install ${server} so that its programs are in PATH; run the tests as root on Debian or Ubuntu.`
    })
  }
}

/** Installing waits for a package mirror; all other commands here answer at once. */
const installTimeout = 240_000
const answerTimeout = 10_000

const installing = Semaphore.makeUnsafe(1)

export interface Wanted {
  readonly server: string
  readonly image: string
  /** All of these must be in one directory. */
  readonly programs: ReadonlyArray<string>
  /** Searched after PATH. A `*` stands for one level of folders, newest version first. */
  readonly directories: ReadonlyArray<string>
  readonly debianPackage: string
}

export const findServer = Effect.fn("findServer")(function*(wanted: Wanted) {
  if (yield* succeeds("docker", ["info", "--format", "{{.ServerVersion}}"])) {
    return { _tag: "Container", image: wanted.image } satisfies ServerSource
  }
  const found = localDirectory(wanted)
  if (found !== undefined) return { _tag: "Local", directory: found } satisfies ServerSource
  // Not interruptible, because a package manager that is killed leaves a broken state. One at a time, because it has
  // one lock.
  const failure = yield* installing.withPermit(Effect.uninterruptible(installDebianPackage(wanted.debianPackage)))
  const installed = localDirectory(wanted)
  if (installed !== undefined) return { _tag: "Local", directory: installed } satisfies ServerSource
  return yield* ServerMissing.of(wanted.server, failure)
})

/** Programs of this machine, else packages of Debian: for servers that cannot run in a container next to the tests. */
export const findPrograms = Effect.fn("findPrograms")(function*(wanted: Omit<Wanted, "image">) {
  const found = localDirectory(wanted)
  if (found !== undefined) return found
  const failure = yield* installing.withPermit(Effect.uninterruptible(installDebianPackage(wanted.debianPackage)))
  return localDirectory(wanted) ?? (yield* ServerMissing.withoutContainer(wanted.server, failure))
})

/** The user for servers that refuse to run as root. Undefined if this process is not root. */
export const unprivilegedOwner = (names: ReadonlyArray<string>): Effect.Effect<Owner | undefined> =>
  process.getuid?.() !== 0 ? Effect.as(Effect.void, undefined) : Effect.gen(function*() {
    for (const name of [...names, "nobody"]) {
      const ids = yield* Effect.option(Effect.all([output("id", ["-u", name]), output("id", ["-g", name])]))
      if (ids._tag === "Some") return { uid: Number(ids.value[0]), gid: Number(ids.value[1]) }
    }
    return { uid: 65_534, gid: 65_534 }
  })

const localDirectory = (wanted: Pick<Wanted, "programs" | "directories">): string | undefined =>
  [...(process.env["PATH"] ?? "").split(":"), ...wanted.directories.flatMap(expand)]
    // The Debian wrappers in /usr/sbin change user and home, and with them the node they connect to.
    .filter((directory) => directory !== "" && !directory.endsWith("/sbin"))
    .find((directory) => wanted.programs.every((program) => existsSync(join(directory, program))))

const expand = (pattern: string): ReadonlyArray<string> => {
  const [before, after] = pattern.split("*")
  if (before === undefined || after === undefined) return [pattern]
  if (!existsSync(before)) return []
  return readdirSync(before)
    .sort((left, right) => right.localeCompare(left, "en", { numeric: true }))
    .map((version) => `${before}${version}${after}`)
}

/** Returns the reason of a failure, or "". Debian would start the server after installing it; that is prevented. */
const installDebianPackage = Effect.fnUntraced(function*(name: string) {
  const root = process.getuid?.() === 0 ? [] : ["sudo", "-n"]
  if (root.length > 0 && !(yield* succeeds("sudo", ["-n", "true"]))) return "neither root nor sudo without a password"
  if (!(yield* succeeds("apt-get", ["--version"]))) return "no apt-get"
  const install = [
    ...root,
    "env",
    "RUNLEVEL=1",
    "DEBIAN_FRONTEND=noninteractive",
    "apt-get",
    "install",
    "-o",
    "DPkg::Lock::Timeout=120",
    "-y",
    "--no-install-recommends",
    name
  ]
  const attempt = run(install, installTimeout)
  return yield* attempt.pipe(
    Effect.catch(() => Effect.andThen(run([...root, "apt-get", "update"], installTimeout), attempt)),
    Effect.as(""),
    Effect.catch((failure) => Effect.succeed(`apt-get install ${name}: ${failure.split("\n").slice(-3).join(" ")}`))
  )
})

export const run = (
  [command, ...args]: ReadonlyArray<string>,
  timeout: number,
  options?: { readonly env?: NodeJS.ProcessEnv; readonly uid?: number; readonly gid?: number; readonly cwd?: string }
): Effect.Effect<string, string> =>
  Effect.callback<string, string>((resume) => {
    const child = execFile(command!, args, { timeout, killSignal: "SIGKILL", ...options }, (error, stdout, stderr) =>
      resume(
        error === null
          ? Effect.succeed(stdout.trim())
          : Effect.fail(`${error.message}\n${stdout}\n${stderr}`.trim())
      ))
    return Effect.sync(() => {
      child.kill("SIGKILL")
    })
  })

const output = (command: string, args: ReadonlyArray<string>) => run([command, ...args], answerTimeout)

const succeeds = (command: string, args: ReadonlyArray<string>): Effect.Effect<boolean> =>
  output(command, args).pipe(Effect.as(true), Effect.orElseSucceed(() => false))
