/**
 * A WhatsApp gateway that misbehaves on request: a real HTTP and WebSocket server with simulated accounts behind it.
 * The demo and the tests use it.
 *
 * - `/ws` speaks the `bridge` dialect, behind HTTP Basic where credentials are set;
 * - `/devices…`, `/chats`, `/chat/…/messages` and `/health` answer as gateways do (`GatewayRoutes`);
 * - `/__sim/…` controls it from another process (`ControlRoutes`); in the same process the handle does.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import { Console, Effect, Schema, type Scope } from "effect"
import { WebSocketServer } from "ws"
import { control } from "./ControlRoutes.ts"
import { gatewayReply, plain, type Reply, scopedDevice, sessionNotReady, unauthorized } from "./GatewayRoutes.ts"
import { SimulatorCore } from "./SimulatorCore.ts"

export interface SimulatorOptions {
  readonly host?: string | undefined
  /** 0, the default, takes a free one. */
  readonly port?: number | undefined
  readonly seed?: string | undefined
  /** Seeds the conversations, so that they can differ between runs while the accounts stay. The seed by default. */
  readonly conversation?: string | undefined
  /** Without it the gateway needs no credentials. */
  readonly auth?: { readonly user: string; readonly password: string } | undefined
  /** Slots that exist from the start: `sim-1`, `sim-2` … */
  readonly devices?: number | undefined
  /** True by default: a slot is paired once it exists. */
  readonly autoPair?: boolean | undefined
  /** The file that the ledger is appended to, each line before its frame is sent. */
  readonly ledgerFile?: string | undefined
  /** The clock of its timestamps, rates and faults; the machine's by default. */
  readonly now?: (() => number) | undefined
}

/** A running simulator. */
export interface SimulatorHandle {
  readonly url: string
  readonly port: number
  readonly core: SimulatorCore
}

export class SimulatorNotStarted extends Schema.TaggedError<SimulatorNotStarted>()("SimulatorNotStarted", {
  message: Schema.String
}) {}

/** Control requests carry at most a list of devices. */
const bodyBytesMax = 4 * 1024 * 1024

export const start = Effect.fnUntraced(function*(
  options: SimulatorOptions
): Effect.fn.Return<SimulatorHandle, SimulatorNotStarted, Scope.Scope> {
  const host = options.host ?? "127.0.0.1"
  const core = yield* Effect.acquireRelease(
    Effect.sync(() =>
      new SimulatorCore({
        seed: options.seed ?? "columba",
        conversation: options.conversation,
        ledgerFile: options.ledgerFile,
        autoPair: options.autoPair ?? true,
        now: options.now ?? Date.now
      })
    ),
    (core) => Effect.sync(() => core.close())
  )
  core.addDevices(options.devices ?? 0)
  const { close, server } = makeServer(core, options)
  yield* Effect.acquireRelease(listen(server, host, options.port ?? 0), () => Effect.sync(close))
  const { port } = server.address() as AddressInfo
  return { url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`, port, core }
})

/**
 * The command `columba simulator`: starts, prints the address, emits events if asked to, and runs until interrupted.
 */
export const runSimulator = (
  options: SimulatorOptions & {
    /** Events per second over all devices, also those that are added later. */
    readonly rate?: number | undefined
    /** Instead of a rate: conversations in their own time, this many times as fast as real time. */
    readonly speed?: number | undefined
  }
): Effect.Effect<never, SimulatorNotStarted> =>
  Effect.scoped(Effect.flatMap(start(options), ({ core, url }) => {
    const { rate, speed } = options
    if (rate !== undefined || speed !== undefined) core.keepEmitting({ rate, speed })
    return Effect.andThen(
      Console.log(`Simulated gateway at ${url} with ${core.devices.size} devices, seed '${core.options.seed}'`),
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

const makeServer = (
  core: SimulatorCore,
  options: SimulatorOptions
): { readonly server: Server; readonly close: () => void } => {
  const expected = options.auth === undefined
    ? null
    : `Basic ${Buffer.from(`${options.auth.user}:${options.auth.password}`).toString("base64")}`
  const allowed = (request: IncomingMessage) => expected === null || request.headers.authorization === expected
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://simulator")
    if (url.pathname === "/health") return send(response, plain(200, "OK"))
    const own = url.pathname.startsWith("/__sim/")
    if (!own && !allowed(request)) return send(response, unauthorized)
    readJson(request, (body) => {
      if (own) return control(core, request.method ?? "", url, body, (reply) => send(response, reply))
      send(response, gatewayReply(core, request, url, body) ?? plain(404, "Not Found"))
    })
  })
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 64 * 1024 })
  // Upgraded and hung connections no longer belong to the HTTP server: it would not close them.
  const upgraded = new Set<Duplex>()
  server.on("upgrade", (request, socket, head) => {
    upgraded.add(socket)
    socket.on("close", () => upgraded.delete(socket))
    socket.on("error", () => {})
    const reply = upgrade(core, request, socket, head, allowed(request), sockets)
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

/** Null if the upgrade was accepted, or by a fault is never answered; else the refusal. */
const upgrade = (
  core: SimulatorCore,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  allowed: boolean,
  sockets: WebSocketServer
): Reply | null => {
  const url = new URL(request.url ?? "/", "http://simulator")
  if (url.pathname !== "/ws") return plain(404, "Not Found")
  if (!allowed) return unauthorized
  const device = scopedDevice(core, request, url)
  if ("status" in device) return device
  device.handshake = {
    header: String(request.headers["x-device-id"] ?? "") || null,
    query: url.searchParams.get("device_id"),
    user: parseUser(request.headers.authorization)
  }
  const now = core.now()
  if (core.faults.strike("hang", device.id, now) !== undefined) {
    // A client that gives up closes the connection, and it must not count as open after that.
    socket.on("end", () => socket.destroy()).resume()
    return null
  }
  const refusal = core.faults.strike("refuse", device.id, now)
  if (refusal !== undefined) {
    const reply = refusal.json === true ? { ...sessionNotReady, status: refusal.status } : plain(refusal.status, "no")
    return refusal.retryAfter === undefined
      ? reply
      : { ...reply, headers: { ...reply.headers, "retry-after": refusal.retryAfter } }
  }
  sockets.handleUpgrade(request, socket, head, (opened) => core.attach(device, opened))
  return null
}

const parseUser = (authorization: string | undefined): string | null =>
  authorization === undefined
    ? null
    : Buffer.from(authorization.slice("Basic ".length), "base64").toString().split(":")[0]!

const refuse = (socket: Duplex, reply: Reply): void => {
  const headers = { ...reply.headers, "content-length": String(Buffer.byteLength(reply.body)), connection: "close" }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  socket.end(`HTTP/1.1 ${reply.status} Refused\r\n${lines.join("\r\n")}\r\n\r\n${reply.body}`)
}

const send = (response: ServerResponse, reply: Reply): void => {
  response.writeHead(reply.status, { ...reply.headers }).end(reply.body)
}

/** The body as JSON, or undefined if it is no JSON or above its bound. */
const readJson = (request: IncomingMessage, done: (body: unknown) => void): void => {
  const chunks: Array<Buffer> = []
  let size = 0
  request.on("data", (chunk: Buffer) => {
    size += chunk.length
    if (size <= bodyBytesMax) chunks.push(chunk)
  })
  request.on("error", () => {})
  request.on("end", () => {
    let body: unknown
    try {
      body = size > bodyBytesMax ? undefined : JSON.parse(Buffer.concat(chunks).toString("utf8"))
    } catch {
      body = undefined
    }
    done(body)
  })
}
