/**
 * The floor of idle memory, storm recovery and cold start: the same devices on `ws` alone. One callback per socket, one
 * timer wheel for all pings, a bound on concurrent connects, full jitter after a drop. It keeps no state and writes
 * nothing: Columba's additions are measured against it.
 */
import pg from "pg"
import WebSocket from "ws"
import { makeUpstreamId } from "../support/frames.ts"
import type { SocketsHandlers, SocketsOptions } from "../support/subjects.ts"
import { serveParent } from "../support/worker.ts"

/** Concurrent handshakes. 64 and 256 make no difference here; more takes memory that is never freed. */
const handshakesMax = 256
/** Full jitter: the first retry waits a random time up to this. */
const retryBaseMillis = 500
const retryCapMillis = 30_000
const pingMillis = 10_000
/** The wheel turns in steps, so that 10,000 pings are spread over the interval. */
const wheelMillis = 100
const wheelSlots = pingMillis / wheelMillis
const payloadMax = 1024 * 1024
const authorization = `Basic ${Buffer.from("bench:bench").toString("base64")}`

interface Socket {
  readonly upstreamId: string
  webSocket: WebSocket | undefined
  attempt: number
  alive: boolean
}

const wheel: Array<Set<Socket>> = Array.from({ length: wheelSlots }, () => new Set())
const queue: Array<Socket> = []
let handshakes = 0
let url = ""

const startNext = (): void => {
  while (handshakes < handshakesMax) {
    const next = queue.shift()
    if (next === undefined) return
    handshakes++
    connect(next)
  }
}

const connect = (socket: Socket): void => {
  const webSocket = new WebSocket(`${url}?device_id=${socket.upstreamId}`, {
    perMessageDeflate: false,
    maxPayload: payloadMax,
    handshakeTimeout: 15_000,
    headers: { authorization, "x-device-id": socket.upstreamId }
  })
  socket.webSocket = webSocket
  let opening = true
  const opened = () => {
    if (!opening) return
    opening = false
    handshakes--
    startNext()
  }
  webSocket.on("open", () => {
    opened()
    socket.attempt = 0
    socket.alive = true
    wheel[Math.floor(Math.random() * wheelSlots)]!.add(socket)
  })
  webSocket.on("message", onMessage)
  webSocket.on("pong", () => {
    socket.alive = true
  })
  webSocket.on("error", () => {})
  webSocket.on("close", () => {
    opened()
    retry(socket)
  })
}

const onMessage = (data: Buffer): void => {
  JSON.parse(data.toString())
}

const retry = (socket: Socket): void => {
  const delay = Math.random() * Math.min(retryCapMillis, retryBaseMillis * 2 ** socket.attempt)
  socket.attempt++
  setTimeout(() => {
    queue.push(socket)
    startNext()
  }, delay)
}

let turn = 0
setInterval(() => {
  const slot = wheel[turn++ % wheelSlots]!
  for (const socket of slot) {
    if (socket.webSocket?.readyState !== WebSocket.OPEN) {
      slot.delete(socket)
    } else if (!socket.alive) {
      socket.webSocket.terminate()
    } else {
      socket.alive = false
      socket.webSocket.ping()
    }
  }
}, wheelMillis)

const run = (upstreamIds: ReadonlyArray<string>): void => {
  for (const upstreamId of upstreamIds) queue.push({ upstreamId, webSocket: undefined, attempt: 0, alive: true })
  startNext()
}

const begin = (options: SocketsOptions): void => {
  url = `${options.secure === true ? "wss" : "ws"}://127.0.0.1:${options.gatewayPort}/ws`
}

const handlers: SocketsHandlers = {
  start: begin,
  connect: (count) => run(Array.from({ length: count }, (_, index) => makeUpstreamId(index)))
}

// A cold start begins with the process and not with a request, so the environment contains what to connect.
const coldStart = process.env["BENCH_COLD_START"]
if (coldStart !== undefined) {
  const options = JSON.parse(coldStart) as SocketsOptions
  begin(options)
  const client = new pg.Client({ connectionString: options.databaseUrl })
  await client.connect()
  const { rows } = await client.query<{ readonly upstream_id: string }>(
    "select upstream_id from devices where active order by created_at, id"
  )
  await client.end()
  run(rows.map((row) => row.upstream_id))
}
serveParent(handlers)
