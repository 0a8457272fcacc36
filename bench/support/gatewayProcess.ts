/**
 * The gateway of the benchmarks: it accepts every device, counts open sockets, and sends events on request.
 *
 * It does less work than `src/simulator`, and the floors and Columba use the same one: on two cores, all CPU time of
 * the gateway is missing for the measured process. Cold start and storm are timed here, by the sockets that are open at
 * the gateway, so that the measured process cannot report better times than its real ones.
 */
import { createServer } from "node:http"
import { createServer as createSecureServer } from "node:https"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import { WebSocketServer } from "ws"
import { localhost } from "../../test/support/certificate.ts"
import { frameText, wireFrame } from "./frames.ts"
import { serveParent } from "./worker.ts"

/** Unsent bytes of a socket above which a burst skips it: a few frames, not a backlog. */
const aheadMax = 8 * 1024

/** A connected device: its raw socket, because frames are written as finished bytes. */
interface Device {
  readonly upstreamId: string
  readonly socket: Duplex
  sent: number
}

const devices = new Map<string, Device>()
/** Event numbers never repeat within a run, not even over reconnects: a repeat would be a duplicate. */
const numbers = new Map<string, number>()
const waiting = new Set<{ readonly count: number; readonly reached: (atMillis: number) => void }>()

/** Milliseconds of the machine's monotonic clock, which all processes share. */
const now = (): number => Number(process.hrtime.bigint()) / 1e6

const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, clientTracking: false })
const answer = (request: IncomingMessage, response: ServerResponse): void => answerHttp(request, response)
const server = process.env["BENCH_TLS"] === undefined ? createServer(answer) : createSecureServer(localhost, answer)
server.on("upgrade", (request, socket, head) => {
  const upstreamId = request.headers["x-device-id"]
  if (typeof upstreamId !== "string") return void socket.destroy()
  sockets.handleUpgrade(request, socket, head, (webSocket) => {
    const device: Device = { upstreamId, socket, sent: 0 }
    devices.set(upstreamId, device)
    webSocket.on("error", () => {})
    webSocket.on("close", () => {
      if (devices.get(upstreamId) === device) devices.delete(upstreamId)
    })
    for (const waiter of waiting) {
      if (devices.size < waiter.count) continue
      waiting.delete(waiter)
      waiter.reached(now())
    }
  })
})

/** Answers the status requests of the `bridge` dialect: every slot exists and is logged in. */
const answerHttp = (request: IncomingMessage, response: ServerResponse): void => {
  request.resume()
  const path = new URL(request.url ?? "/", "http://gateway").pathname
  if (path === "/health") return void response.end("OK")
  const slot = /^\/devices\/([^/]+)/.exec(path)?.[1] ?? ""
  const results = {
    device_id: slot,
    id: slot,
    is_connected: true,
    is_logged_in: true,
    jid: `62811${slot.replace(/\D/g, "").padStart(8, "0")}@s.whatsapp.net`
  }
  response.setHeader("content-type", "application/json")
  response.end(JSON.stringify({ code: "SUCCESS", message: "ok", results }))
}

const sendNext = (device: Device): boolean => {
  const number = numbers.get(device.upstreamId) ?? 0
  numbers.set(device.upstreamId, number + 1)
  return device.socket.write(wireFrame(frameText(device.upstreamId, number, now())))
}

/** Sends as fast as the sockets accept it, in turn over all devices, and waits for clients that pause. */
const burst = async (total: number): Promise<void> => {
  const all = [...devices.values()]
  let left = total
  while (left > 0) {
    let sentInRound = 0
    for (const device of all) {
      if (left === 0) break
      if (device.socket.writableLength > aheadMax || device.socket.destroyed) continue
      sendNext(device)
      left--
      sentInRound++
      // The event loop must run at intervals, or no written data is sent.
      if (sentInRound % 250 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    if (all.every((device) => device.socket.destroyed)) throw new Error("Every device left during the burst")
    await new Promise((resolve) => sentInRound === 0 ? setTimeout(resolve, 1) : setImmediate(resolve))
  }
}

/** Sends at a steady rate, each event when it is due by the clock, in turn over all devices. */
const steady = async (perSecond: number, seconds: number): Promise<number> => {
  const all = [...devices.values()]
  const total = perSecond * seconds
  const start = now()
  for (let sent = 0; sent < total;) {
    const due = Math.min(total, Math.floor((now() - start) * perSecond / 1000))
    for (; sent < due; sent++) sendNext(all[sent % all.length]!)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  return total
}

const handlers = {
  listen: () =>
    new Promise<{ readonly port: number }>((resolve) => {
      // The whole fleet may connect at once; the system limits the backlog to net.core.somaxconn.
      server.listen({ port: 0, host: "127.0.0.1", backlog: 16_384 }, () => {
        resolve({ port: (server.address() as AddressInfo).port })
      })
    }),
  openCount: () => devices.size,
  /** The time at which this many devices are open; at once if they are. */
  awaitOpen: (count: number) =>
    new Promise<number>((resolve) => {
      if (devices.size >= count) resolve(now())
      else waiting.add({ count, reached: resolve })
    }),
  /** Drops every socket in one turn of the event loop, and returns the time before the first drop. */
  dropAll: () => {
    const at = now()
    const all = [...devices.values()]
    devices.clear()
    for (const device of all) device.socket.destroy()
    return at
  },
  sendOneEach: () => {
    for (const device of devices.values()) sendNext(device)
    return devices.size
  },
  burst,
  steady: ({ perSecond, seconds }: { readonly perSecond: number; readonly seconds: number }) =>
    steady(perSecond, seconds)
}
export type GatewayHandlers = typeof handlers

serveParent(handlers)
