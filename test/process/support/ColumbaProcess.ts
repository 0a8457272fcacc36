/**
 * The built program in a separate process, configured by its environment and queried over HTTP. It can be killed,
 * terminated and started again on the same port and data.
 */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { appendFileSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Duration, Effect } from "effect"
import type { Scope } from "effect"
import { freePort } from "../../support/servers/ServerHome.ts"
import { run } from "../../support/servers/ServerSource.ts"
import { until } from "../../support/until.ts"

export interface Readiness {
  readonly status: number
  readonly checks: ReadonlyArray<{ readonly name: string; readonly ready: boolean; readonly detail: string }>
}

export interface Exited {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly millis: number
}

/** The queries over HTTP. */
export interface Asked {
  readonly url: string
  /** Null while it does not answer. */
  readonly readiness: Effect.Effect<Readiness | null>
  readonly get: <A>(path: string) => Effect.Effect<A>
  readonly post: <A>(path: string, body: object) => Effect.Effect<A>
  /** The sum over all labels; 0 if there is none yet. */
  readonly metric: (name: string) => Effect.Effect<number>
}

export interface ColumbaProcess extends Asked {
  /** Starts it and returns when `/readyz` answers 200. Dies with the end of its log if it ends instead. */
  readonly start: Effect.Effect<void>
  /** Starts it, waits for its end and returns how it ended. */
  readonly runToEnd: Effect.Effect<Exited>
  readonly kill: Effect.Effect<void>
  /** SIGTERM, and how it ended. */
  readonly terminate: Effect.Effect<Exited>
  /** Suspends it: connections stay open and get no answer, until `thaw`. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  /** Requests a snapshot of its heap. The test that started it decides what it does then. */
  readonly snapshotHeap: Effect.Effect<void>
  readonly running: Effect.Effect<boolean>
  /** Of the process that runs. */
  readonly pid: Effect.Effect<number>
  readonly residentMegabytes: Effect.Effect<number>
  /** Open files and sockets. Linux only. */
  readonly openFiles: Effect.Effect<number>
  /** The end of its log. */
  readonly log: Effect.Effect<string>
  readonly logFile: string
}

/** Another build under test: `COLUMBA_TEST_MAIN` names its `main.js`. */
const builtProgram = process.env["COLUMBA_TEST_MAIN"] ?? join(import.meta.dirname, "../../../dist/main.js")

export const make = Effect.fnUntraced(function*(options: {
  readonly directory: string
  readonly env: Readonly<Record<string, string>>
  /** Its `main.js`, if another than the one just built. */
  readonly program?: string | undefined
  /** Precedes the command line, such as a shell that sets a limit. */
  readonly wrapper?: ReadonlyArray<string> | undefined
}): Effect.fn.Return<ColumbaProcess, never, Scope.Scope> {
  const port = yield* freePort
  const url = `http://127.0.0.1:${port}`
  const logFile = join(options.directory, "columba.log")
  appendFileSync(logFile, "")
  let child: ChildProcess | undefined

  const begin = Effect.sync(() => {
    const [file = "", ...args] = [
      ...options.wrapper ?? [],
      process.execPath,
      options.program ?? builtProgram,
      "serve"
    ]
    child = spawn(file, args, {
      cwd: options.directory,
      env: {
        PATH: process.env["PATH"],
        HOME: options.directory,
        COLUMBA_DATA_DIR: join(options.directory, "data"),
        COLUMBA_LOG: "logfmt",
        HOST: "127.0.0.1",
        PORT: String(port),
        ...options.env
      },
      stdio: ["ignore", "pipe", "pipe"]
    })
    for (const output of [child.stdout, child.stderr]) {
      output?.on("data", (chunk: Buffer) => appendFileSync(logFile, chunk))
    }
    return child
  })
  const log = Effect.sync(() => readFileSync(logFile, "utf8").split("\n").slice(-40).join("\n"))
  const asked = asking(url)

  const fail = (what: string) =>
    Effect.flatMap(log, (tail) => Effect.die(new Error(`The program ${what}. The end of its log:\n${tail}`)))
  const start = Effect.gen(function*() {
    const begun = yield* begin
    yield* Effect.raceFirst(
      until("the program is ready", Effect.map(asked.readiness, (answer) => answer?.status === 200), Duration.infinity),
      Effect.flatMap(ended(begun), (exit) => fail(`ended with ${exit.code ?? exit.signal} instead of getting ready`))
    ).pipe(Effect.timeoutOrElse({ duration: startTimeout, orElse: () => fail(`was not ready in ${startTimeout}`) }))
  })

  const send = (signal: NodeJS.Signals) => Effect.sync(() => void child?.kill(signal))
  const signalled = (signal: NodeJS.Signals) =>
    Effect.suspend(() => {
      if (child === undefined) return Effect.die(new Error("the program was not started"))
      const end = ended(child)
      child.kill(signal)
      return end
    })

  yield* Effect.addFinalizer(() => Effect.suspend(() => child === undefined ? Effect.void : signalled("SIGKILL")))
  return {
    ...asked,
    start,
    runToEnd: Effect.flatMap(begin, ended),
    kill: Effect.asVoid(signalled("SIGKILL")),
    terminate: signalled("SIGTERM"),
    freeze: send("SIGSTOP"),
    thaw: send("SIGCONT"),
    snapshotHeap: send("SIGUSR2"),
    running: Effect.sync(() => child !== undefined && !hasEnded(child)),
    pid: Effect.sync(() => child?.pid ?? 0),
    residentMegabytes: Effect.map(
      Effect.suspend(() => run(["ps", "-o", "rss=", "-p", String(child?.pid)], requestTimeoutMillis)),
      (kilobytes) => Number(kilobytes) / 1024
    ).pipe(Effect.orDie),
    openFiles: Effect.sync(() => readdirSync(`/proc/${child?.pid}/fd`).length),
    log,
    logFile
  }
})

/** A process, or a load balancer before several, that answers at this address. */
export const asking = (url: string): Asked => {
  const request = <A>(path: string, init?: RequestInit) =>
    Effect.promise(async () => {
      const response = await ask(`${url}${path}`, init)
      if (!response.ok) throw new Error(`${init?.method ?? "GET"} ${path}: ${response.status} ${await response.text()}`)
      return await response.json() as A
    })
  return {
    url,
    readiness: Effect.promise(() => askReadiness(url)),
    get: (path) => request(path),
    post: (path, body) =>
      request(path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body)
      }),
    metric: (name) => Effect.promise(() => askMetric(url, name))
  }
}

const requestTimeoutMillis = 15_000

/** A connection that the server has just closed, or a busy machine, fails a question that may be asked again. */
const asksMax = 3

const ask = async (url: string, init?: RequestInit): Promise<Response> => {
  for (let asks = 1;; asks++) {
    try {
      return await fetch(url, { ...init, signal: AbortSignal.timeout(requestTimeoutMillis) })
    } catch (error) {
      if (init?.method !== undefined || asks === asksMax) throw error
    }
  }
}

/** Finds a start that hangs. Usually it is a second or two; recovery of a database and a busy machine add to it. */
const startTimeout = "150 seconds"

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

const ended = (child: ChildProcess): Effect.Effect<Exited> =>
  Effect.callback<Exited>((resume) => {
    const began = performance.now()
    const report = () =>
      resume(Effect.succeed({ code: child.exitCode, signal: child.signalCode, millis: performance.now() - began }))
    if (hasEnded(child)) return report()
    child.once("exit", report)
    return Effect.sync(() => child.removeListener("exit", report))
  })

const askReadiness = async (url: string): Promise<Readiness | null> => {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(requestTimeoutMillis) })
    const { checks } = await response.json() as Pick<Readiness, "checks">
    return { status: response.status, checks }
  } catch {
    return null
  }
}

const askMetric = async (url: string, name: string): Promise<number> => {
  const response = await ask(`${url}/metrics`)
  const lines = (await response.text()).split("\n").filter((line) =>
    line.startsWith(name) && /^[ {]/.test(line[name.length] ?? "")
  )
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0)
}
