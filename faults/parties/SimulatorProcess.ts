/** The simulated gateway as a separate process, driven by its control API. Its ledger is a file. */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Duration, Effect } from "effect"
import type { Scope } from "effect"
import type { SimulatedDialect } from "../../src/simulator/Dialect.ts"
import type { ActiveFault, Fault as GatewayFault } from "../../src/simulator/FaultPlan.ts"
import type { LedgerEntry } from "../../src/simulator/Ledger.ts"
import type { SimulatorStats } from "../../src/simulator/SimulatorCore.ts"
import type { SocketChange } from "../../src/simulator/SocketRecord.ts"
import { toEmitted } from "../../test/support/Ledger.ts"
import type { TimedEmitted } from "../../test/support/Ledger.ts"
import { listSent } from "../../test/support/SendChecker.ts"
import type { SendLedgers } from "../../test/support/SendChecker.ts"
import { freePort, serverHome } from "../../test/support/servers/ServerHome.ts"
import { until } from "../../test/support/until.ts"

/** The credentials that the program needs, by dialect. */
export const credentials: Readonly<Record<SimulatedDialect, Readonly<Record<string, string>>>> = {
  bridge: { WHATSAPP_API_USER: "columba", WHATSAPP_API_PASSWORD: "gateway-password" },
  gowa: { WHATSAPP_API_USER: "columba", WHATSAPP_API_PASSWORD: "gateway-password" },
  waha: { WHATSAPP_API_KEY: "gateway-key" }
}

const locks: Readonly<Record<SimulatedDialect, Readonly<Record<string, string>>>> = {
  bridge: { user: "columba", password: "gateway-password" },
  gowa: { user: "columba", password: "gateway-password" },
  waha: { "api-key": "gateway-key" }
}

export interface SimulatorProcess {
  readonly port: number
  readonly stats: Effect.Effect<SimulatorStats>
  /** Without a count: until `stopEmitting`. */
  readonly emit: (load: { readonly count?: number; readonly rate: number }) => Effect.Effect<void>
  readonly stopEmitting: Effect.Effect<void>
  /** The sockets that opened and closed after change number `after`. */
  readonly sockets: (after: number) => Effect.Effect<ReadonlyArray<SocketChange>>
  readonly addFault: (fault: GatewayFault) => Effect.Effect<void>
  readonly clearFaults: Effect.Effect<void>
  /** How often all existing faults together have struck. */
  readonly strikes: Effect.Effect<number>
  /** Ends like its process would, and starts again after this time. Returns when it answers again. */
  readonly restart: (millis: number) => Effect.Effect<void>
  /** All events that it has emitted, and among them the messages that it was asked to send. */
  readonly ledger: Effect.Effect<{
    readonly emitted: ReadonlyArray<TimedEmitted>
    readonly sent: SendLedgers["sent"]
  }>
}

const timeoutMillis = 30_000

export const make = Effect.fnUntraced(function*(options: {
  readonly program: string
  readonly directory: string
  readonly seed: string
  readonly dialect: SimulatedDialect
  /** 127.0.0.1 unless set. */
  readonly host?: string
}): Effect.fn.Return<SimulatorProcess, never, Scope.Scope> {
  const port = yield* freePort
  const ledger = join(options.directory, "emitted.ndjson")
  const { dialect, seed } = options
  const settings = { host: options.host ?? "127.0.0.1", port: String(port), seed, dialect, ledger, ...locks[dialect] }
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
  const { remember } = yield* serverHome("simulator", undefined)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [options.program, "simulator", ...flags], {
        cwd: options.directory,
        env: { PATH: process.env["PATH"], HOME: options.directory },
        stdio: "ignore"
      })
    ),
    (child: ChildProcess) => Effect.sync(() => child.kill("SIGKILL"))
  )
  // It has no pipe to the suite by whose end it could tell that it is alone.
  yield* remember([child.pid ?? 0])
  const askText = (method: string, path: string, body?: object) =>
    Effect.promise(async () => {
      const response = await fetch(`http://127.0.0.1:${port}/__sim/${path}`, {
        method,
        // A new connection each time: a kept one may be closed at the moment of its use.
        headers: { connection: "close" },
        signal: AbortSignal.timeout(timeoutMillis),
        ...(body === undefined ? {} : { body: JSON.stringify(body) })
      })
      const text = await response.text()
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
      return text
    })
  const ask = <A>(method: string, path: string, body?: object) =>
    Effect.map(askText(method, path, body), (text) => JSON.parse(text) as A)
  const stats = ask<SimulatorStats>("GET", "stats")
  const answers = until(
    "the simulator answers",
    Effect.as(stats, true).pipe(Effect.catchDefect(() => Effect.succeed(false)))
  )
  yield* answers
  return {
    port,
    stats,
    emit: (load) => Effect.asVoid(ask("POST", "emit", load)),
    stopEmitting: Effect.asVoid(ask("DELETE", "emit")),
    sockets: (after) =>
      Effect.map(
        askText("GET", `sockets?after=${after}`),
        (text) => text.split("\n").flatMap((line) => line === "" ? [] : [JSON.parse(line) as SocketChange])
      ),
    addFault: (fault) => Effect.asVoid(ask("POST", "faults", fault)),
    clearFaults: Effect.asVoid(ask("DELETE", "faults")),
    strikes: Effect.map(
      ask<ReadonlyArray<ActiveFault>>("GET", "faults"),
      (faults) => faults.reduce((sum, { strikes }) => sum + strikes, 0)
    ),
    restart: (millis) =>
      ask("POST", "restart", { millis }).pipe(
        Effect.andThen(Effect.sleep(Duration.millis(millis))),
        Effect.andThen(answers)
      ),
    ledger: Effect.sync(() => {
      const entries = readFileSync(ledger, "utf8").split("\n").filter((line) => line !== "")
        .map((line) => JSON.parse(line) as LedgerEntry)
      return { emitted: entries.map(toEmitted), sent: listSent(entries) }
    })
  }
})
