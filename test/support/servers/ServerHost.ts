/**
 * One server program as a process or as a container, which can be started, signalled, awaited and started again with
 * the same data. `PostgresServer` and `RabbitMqServer` know what it serves and when it is ready.
 */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { closeSync, openSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schedule } from "effect"
import type { Owner, ServerHome } from "./ServerHome.ts"
import { run } from "./ServerSource.ts"

export type ServerSignal = "SIGKILL" | "SIGTERM" | "SIGINT" | "SIGQUIT" | "SIGSTOP" | "SIGCONT"

export interface ServerHost {
  /** Starts it. It is not ready yet. */
  readonly begin: Effect.Effect<void>
  /** Signals the server, and all its children too unless the server handles the signal itself. */
  readonly signal: (signal: ServerSignal) => Effect.Effect<void>
  /** Returns when it has ended. */
  readonly gone: Effect.Effect<void>
  /**
   * The command line that runs one of the server's own programs. Plain data, so that other processes can run it too.
   */
  readonly command: (program: string, args: ReadonlyArray<string>) => Command
  readonly logTail: Effect.Effect<string>
}

/** A command line with the environment it needs. */
export interface Command {
  readonly line: ReadonlyArray<string>
  readonly env: Record<string, string>
}

/** Runs it to its end and returns its output. Dies with its output when it fails. */
export const runCommand = (command: Command): Effect.Effect<string> =>
  Effect.orDie(run(command.line, runTimeout, { env: { ...process.env, ...command.env } }))

export interface LocalProgram {
  readonly directory: string
  readonly program: string
  readonly args: ReadonlyArray<string>
  readonly env: Record<string, string>
  readonly owner: Owner | undefined
  /** Processes that belong to it and live as long as the home. */
  readonly companions: ReadonlyArray<number>
}

/** The time after which a program of a server counts as stuck. */
const runTimeout = 120_000

export const localHost = (home: ServerHome, local: LocalProgram): ServerHost => {
  const logFile = join(home.directory, "server.log")
  const identity = local.owner ?? {}
  let child: ChildProcess | undefined
  const begin = Effect.suspend(() => {
    const log = openSync(logFile, "a")
    child = spawn(join(local.directory, local.program), local.args, {
      detached: true,
      cwd: home.directory,
      env: local.env,
      stdio: ["ignore", log, log],
      ...identity
    })
    child.unref()
    closeSync(log)
    return home.remember([...local.companions, ...(child.pid === undefined ? [] : [child.pid])])
  })
  return {
    begin,
    signal: (signal) =>
      Effect.gen(function*() {
        if (child?.pid === undefined || exited(child)) return
        const whole = signal === "SIGKILL" || signal === "SIGSTOP" || signal === "SIGCONT"
        const pids = whole ? [child.pid, ...(yield* descendants(child.pid))] : [child.pid]
        for (const pid of pids) send(pid, signal)
      }),
    gone: Effect.callback<void>((resume) => {
      if (child === undefined || exited(child)) return resume(Effect.void)
      const ended = () => resume(Effect.void)
      child.ref()
      child.once("exit", ended)
      return Effect.sync(() => {
        child?.removeListener("exit", ended)
        child?.unref()
      })
    }).pipe(Effect.andThen(home.remember(local.companions))),
    command: (program, args) => ({ line: [join(local.directory, program), ...args], env: local.env }),
    logTail: Effect.sync(() => readFileSync(logFile, "utf8").split("\n").slice(-20).join("\n"))
  }
}

/** `options` are those of `docker create`; the container keeps its data over restarts and is removed with the home. */
export const containerHost = Effect.fnUntraced(function*(
  home: ServerHome,
  container: {
    readonly image: string
    readonly options: ReadonlyArray<string>
    readonly args: ReadonlyArray<string>
  }
) {
  const name = home.directory.replace(/.*\//, "")
  yield* home.rememberContainer(name)
  const docker = (...args: ReadonlyArray<string>) => Effect.orDie(run(["docker", ...args], pullTimeout))
  yield* docker("create", "--name", name, ...container.options, container.image, ...container.args)
  return {
    begin: Effect.asVoid(docker("start", name)),
    signal: (signal) =>
      Effect.asVoid(
        signal === "SIGSTOP"
          ? docker("pause", name)
          : signal === "SIGCONT"
          ? docker("unpause", name)
          : docker("kill", `--signal=${signal}`, name)
      ),
    gone: Effect.asVoid(docker("wait", name)),
    command: (program, args) => ({ line: ["docker", "exec", name, program, ...args], env: {} }),
    logTail: docker("logs", "--tail", "20", name)
  } satisfies ServerHost
})

/** Creating a container may have to fetch its image. */
const pullTimeout = 240_000

/** The interval between readiness checks of a booting server. Short, because boots take a large part of a short run. */
const askAgain = Schedule.spaced("50 millis")

/** Starts it and returns when `probe` succeeds. If it ends or takes too long, dies with the end of the server's log. */
export const beginReady = (
  host: ServerHost,
  probe: Effect.Effect<unknown, unknown>,
  timeout: "60 seconds" | "120 seconds"
): Effect.Effect<void> => {
  const failed = (what: string) =>
    Effect.flatMap(host.logTail, (tail) => Effect.die(new Error(`A server of the tests ${what}. Its log:\n${tail}`)))
  return host.begin.pipe(
    Effect.andThen(Effect.raceFirst(
      Effect.retry(Effect.timeout(probe, "5 seconds"), askAgain).pipe(Effect.asVoid, Effect.orDie),
      Effect.andThen(host.gone, failed("ended while it was starting"))
    )),
    Effect.timeoutOrElse({ duration: timeout, orElse: () => failed(`was not ready within ${timeout}`) })
  )
}

const exited = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

/** A process that has already ended needs no signal. */
const send = (pid: number, signal: ServerSignal) => {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error
  }
}

const descendants = (root: number): Effect.Effect<ReadonlyArray<number>> =>
  Effect.map(Effect.orDie(run(["ps", "-A", "-o", "pid=,ppid="], runTimeout)), (listing) => {
    const found = [root]
    const pairs = listing.split("\n").map((line) => line.trim().split(/\s+/).map(Number))
    for (const parent of found) {
      for (const [pid, of] of pairs) if (of === parent && pid !== undefined) found.push(pid)
    }
    return found.slice(1)
  })
