/**
 * A WhatsApp gateway that misbehaves on request: a real HTTP and WebSocket server with simulated accounts.
 * The demo and the tests use it. One process has one dialect (`bridge/`, `gowa/`, `waha/`).
 *
 * `/__sim/…` controls it from another process (`ControlRoutes`); in the same process the handle does. All other paths
 * are the dialect's.
 */
import { createServer, type IncomingMessage, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import { Console, Effect, Schema, type Scope } from "effect"
import * as BridgeServer from "./bridge/BridgeServer.ts"
import { control } from "./ControlRoutes.ts"
import type { Dialect, SimulatedDialect } from "./Dialect.ts"
import { plain, readJson, refuse, send } from "./http.ts"
import type { GowaOptions } from "./gowa/GowaServer.ts"
import { GowaServer } from "./gowa/GowaServer.ts"
import { SimulatorCore } from "./SimulatorCore.ts"
import * as WahaServer from "./waha/WahaServer.ts"

export interface SimulatorOptions {
  /** `bridge` by default. */
  readonly dialect?: SimulatedDialect | undefined
  readonly host?: string | undefined
  /** 0, the default, uses a free one. */
  readonly port?: number | undefined
  readonly seed?: string | undefined
  /** Seeds the conversations, so that they can differ between runs with the same accounts. The seed by default. */
  readonly conversation?: string | undefined
  /** HTTP Basic. Without it the gateway needs no credentials. */
  readonly auth?: { readonly user: string; readonly password: string } | undefined
  /** Options of the `waha` dialect. */
  readonly waha?: WahaServer.WahaOptions | undefined
  /** Options of GOWA. */
  readonly gowa?: Omit<GowaOptions, "auth"> | undefined
  /** Slots that exist from the start: `sim-1`, `sim-2` … */
  readonly devices?: number | undefined
  /** True by default: a slot is paired once it exists. */
  readonly autoPair?: boolean | undefined
  /** The file that the ledger is appended to, each line before its frame is sent. */
  readonly ledgerFile?: string | undefined
  /** The clock for timestamps, rates and faults; the machine's by default. */
  readonly now?: (() => number) | undefined
}

/** A running simulator. */
export interface SimulatorHandle {
  readonly url: string
  readonly port: number
  readonly core: SimulatorCore
  /** Ends it like a crash of its process: every connection breaks, and state in memory is lost. */
  readonly crash: Effect.Effect<void>
  /** Starts it again after `crash`, on the same port, with its slots and its history. */
  readonly revive: Effect.Effect<void, SimulatorNotStarted>
}

export class SimulatorNotStarted extends Schema.TaggedError<SimulatorNotStarted>()("SimulatorNotStarted", {
  message: Schema.String
}) {}

const makeDialect: Readonly<Record<SimulatedDialect, (core: SimulatorCore, options: SimulatorOptions) => Dialect>> = {
  bridge: (core, { auth }) => BridgeServer.make(core, auth),
  waha: (core, { waha = {} }) => WahaServer.make(core, waha),
  gowa: (core, { auth, gowa }) => new GowaServer(core, { auth, ...gowa })
}

export const start = Effect.fnUntraced(function*(
  options: SimulatorOptions
): Effect.fn.Return<SimulatorHandle, SimulatorNotStarted, Scope.Scope> {
  const host = options.host ?? "127.0.0.1"
  const core = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const core = new SimulatorCore({
        seed: options.seed ?? "columba",
        conversation: options.conversation,
        ledgerFile: options.ledgerFile,
        autoPair: options.autoPair ?? true,
        now: options.now ?? Date.now
      })
      core.use(makeDialect[options.dialect ?? "bridge"](core, options))
      return core
    }),
    (core) => Effect.sync(() => core.close())
  )
  core.addDevices(options.devices ?? 0)
  let running = makeServer(core)
  yield* Effect.acquireRelease(
    listen(running.server, host, options.port ?? 0),
    () => Effect.sync(() => running.close())
  )
  const { port } = running.server.address() as AddressInfo
  const crash = () => {
    running.close()
    core.dialect.crashed()
  }
  core.crash = crash
  const revive = Effect.suspend(() => {
    running = makeServer(core)
    return Effect.as(listen(running.server, host, port), undefined)
  }).pipe(Effect.tap(() => Effect.sync(() => core.dialect.revived())))
  core.restart = (millis) => {
    crash()
    core.after(millis, () => Effect.runFork(revive))
  }
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    port,
    core,
    crash: Effect.sync(crash),
    revive
  }
})

/**
 * The command `columba simulator`: starts, prints the address, emits events if asked to, and runs until interrupted.
 */
export const runSimulator = (
  options: SimulatorOptions & {
    /** Events per second over all devices, including later ones. */
    readonly rate?: number | undefined
    /** Instead of a rate: conversations in their own time, this many times faster than real time. */
    readonly speed?: number | undefined
  }
): Effect.Effect<never, SimulatorNotStarted> =>
  Effect.scoped(Effect.flatMap(start(options), ({ core, url }) => {
    const { rate, speed } = options
    // GOWA, too, ends when one account's session is taken over: at once, and with exit code 0.
    core.crash = () => process.exit(0)
    if (rate !== undefined || speed !== undefined) core.keepEmitting({ rate, speed })
    return Effect.andThen(
      Console.log(
        `Simulated gateway at ${url} (${options.dialect ?? "bridge"}) with ${core.devices.size} devices, ` +
          `seed '${core.options.seed}'`
      ),
      Effect.never
    )
  }))

const listen = (server: Server, host: string, port: number) =>
  Effect.callback<Server, SimulatorNotStarted>((resume) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const message = `The simulator could not listen on ${host}:${port} (${error.code ?? error.message})`
      resume(Effect.fail(new SimulatorNotStarted({ message })))
    })
    server.listen(port, host, 1024, () => resume(Effect.succeed(server)))
  })

/** Strikes a request for a page of a chat's messages; all dialects end its path in the same way. */
const strikeHistory = (core: SimulatorCore, request: IncomingMessage, url: URL): void => {
  if (core.faults.quiet || !url.pathname.endsWith("/messages")) return
  const name = String(request.headers["x-device-id"] ?? url.pathname.split("/")[2])
  const device = core.devices.get(name) ?? [...core.devices.values()].find(({ jid }) => jid === name)
  const struck = device === undefined ? undefined : core.faults.strike("shrink", device.id, core.now())
  if (device !== undefined && struck !== undefined) core.emitter.takeBack(device, struck.rows)
}

const makeServer = (core: SimulatorCore): { readonly server: Server; readonly close: () => void } => {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://simulator")
    if (!url.pathname.startsWith("/__sim/")) {
      const struck = core.faults.strike("http", String(request.headers["x-device-id"] ?? ""), core.now())
      strikeHistory(core, request, url)
      const answer = () =>
        struck?.status === undefined
          ? core.dialect.request(request, response, url)
          : send(response, plain(struck.status, "no"))
      return struck?.millis === undefined ? answer() : core.after(struck.millis, answer)
    }
    readJson(request, (body) => control(core, request.method ?? "", url, body, (reply) => send(response, reply)))
  })
  // Upgraded and hung connections no longer belong to the HTTP server: it would not close them.
  const upgraded = new Set<Duplex>()
  server.on("upgrade", (request, socket, head) => {
    upgraded.add(socket)
    socket.on("close", () => upgraded.delete(socket))
    socket.on("error", () => {})
    const url = new URL(request.url ?? "/", "http://simulator")
    const reply = core.dialect.upgrade(request, socket, head, url)
    if (reply === null) return
    core.refused++
    refuse(socket, reply)
  })
  const close = () => {
    server.close()
    server.closeAllConnections()
    for (const socket of upgraded) socket.destroy()
  }
  return { server, close }
}
