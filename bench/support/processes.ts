/**
 * Starts the processes of a benchmark, sends them requests, and reads their CPU time and memory from the kernel.
 *
 * Client and gateway never share a process: the figure of one would include the other. CPU time and resident memory
 * come from `/proc/PID`, so that the process has no work for its own measurement.
 */
import { fork } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import type { Handlers } from "./worker.ts"

/** A request that takes longer hangs. The longest one, a burst, takes well under a minute. */
const requestTimeout = 180_000

/** Kernel clock ticks are 10 ms everywhere Node runs on Linux. */
const tickMicros = 10_000

/**
 * If set, every process of the run writes its CPU profile there when it ends. The figures of such a run are not kept.
 */
const profileDirectory = process.env["BENCH_PROFILE"]

export interface Worker<H extends Handlers> extends AsyncDisposable {
  readonly pid: number
  /** The time of its start, on the machine's monotonic clock in milliseconds. */
  readonly startedAt: number
  readonly ended: () => boolean
  readonly ask: <Name extends keyof H & string>(
    name: Name,
    ...args: Parameters<H[Name]> extends [] ? [] : Parameters<H[Name]>
  ) => Promise<Awaited<ReturnType<H[Name]>>>
  /** Ends the process and waits until it is gone. */
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

const running = new Set<ChildProcess>()
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL")
})

/** Starts a worker module and returns once it answers. With `preload`, that module answers, and is loaded before the other. */
export const startWorker = async <H extends Handlers>(
  path: string,
  options: { readonly env?: Record<string, string>; readonly args?: Array<string>; readonly preload?: string } = {}
): Promise<Worker<H>> => {
  const { args = [], env, preload } = options
  const startedAt = Number(process.hrtime.bigint()) / 1e6
  const child = fork(path, args, {
    execArgv: [
      ...(profileDirectory === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profileDirectory}`]),
      ...(preload === undefined ? [] : ["--import", preload])
    ],
    env: { ...process.env, NODE_ENV: "production", ...env },
    stdio: ["ignore", preload === undefined ? "inherit" : "ignore", "inherit", "ipc"]
  })
  running.add(child)
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  void gone.then(() => running.delete(child))
  const pending = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  let ready: (value: void) => void
  let failed: (error: Error) => void
  const started = new Promise<void>((resolve, reject) => {
    ready = resolve
    failed = reject
  })
  child.once("exit", (code, signal) => {
    const error = new Error(`${path} ended by itself (${signal ?? code})`)
    failed(error)
    for (const request of pending.values()) request.reject(error)
  })
  child.on("message", (message: { ready?: true; id?: number; value?: never; error?: string }) => {
    if (message.ready === true) return ready()
    const request = pending.get(message.id ?? -1)
    if (request === undefined) return
    pending.delete(message.id ?? -1)
    if (message.error !== undefined) request.reject(new Error(message.error))
    else request.resolve(message.value as never)
  })
  let nextId = 0
  await started
  return {
    pid: child.pid ?? 0,
    startedAt,
    ended: () => child.exitCode !== null || child.signalCode !== null,
    ask: (name, ...args) =>
      new Promise((resolve, reject) => {
        const id = nextId++
        const timer = setTimeout(() => reject(new Error(`${path} did not answer '${name}' in time`)), requestTimeout)
        const settle = <A>(next: (value: A) => void) => (value: A) => {
          clearTimeout(timer)
          next(value)
        }
        pending.set(id, { resolve: settle(resolve), reject: settle(reject) })
        child.send({ id, name, args: args[0] ?? null })
      }),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGTERM")
      const forced = setTimeout(() => child.kill("SIGKILL"), 10_000)
      await gone
      clearTimeout(forced)
    }
  }
}

/** Resident memory in bytes. */
export const residentBytes = (pid: number): number => {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))
  return Number(line?.[1] ?? 0) * 1024
}

/**
 * CPU time used so far by these processes with all threads, in microseconds. A process that has ended counts as zero.
 */
export const cpuMicros = (pids: ReadonlyArray<number>): number =>
  pids.reduce((sum, pid) => {
    try {
      // The command name may hold spaces and brackets: fields are counted after its closing bracket.
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      // With the time of its ended children: a Postgres backend that has ended still counts for its postmaster.
      return sum + (Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14])) * tickMicros
    } catch {
      return sum
    }
  }, 0)

/** A process and everything below it. */
export const processTree = (root: number): ReadonlyArray<number> => {
  const children = new Map<number, Array<number>>()
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8")
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])
      children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    } catch {
      // It ended between listing and reading.
    }
  }
  const collect = (pid: number): ReadonlyArray<number> => [pid, ...(children.get(pid) ?? []).flatMap(collect)]
  return collect(root)
}

/** How many file descriptors a process may open; `Infinity` if there is no limit. */
const openFilesLimit = (): number => {
  const line = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))
  return line?.[1] === "unlimited" ? Infinity : Number(line?.[1] ?? 0)
}

/** Fails early, with advice, if one process cannot open that many sockets on this machine. */
export const requireSockets = (count: number): void => {
  // In addition to its sockets a process has open files, pipes and database connections: a few dozen.
  const needed = count + 200
  const limit = openFilesLimit()
  if (limit < needed) {
    throw new Error(
      `${count} sockets need ${needed} open files a process and this shell allows ${limit}: ulimit -n ${needed}`
    )
  }
}

export const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))
