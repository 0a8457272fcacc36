/**
 * The floor of event streams: sockets of `ws` and Node's HTTP server alone. Each event is written to every open stream of its
 * device at once. Nothing is stored, numbered or bounded, and no stream can resume.
 */
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import type { ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import WebSocket from "ws"
import { makeUpstreamId } from "../support/frames.ts"
import type { StreamsHandlers } from "../support/subjects.ts"
import { serveParent } from "../support/worker.ts"

const authorization = `Basic ${Buffer.from("bench:bench").toString("base64")}`
const streams = new Map<string, Set<ServerResponse>>()
let seq = 0

const onMessage = (data: Buffer): void => {
  const { device_id, payload } = JSON.parse(data.toString()) as {
    readonly device_id: string
    readonly payload: Readonly<Record<string, unknown>>
  }
  const id = randomUUID()
  const event = {
    seq: String(++seq),
    id,
    kind: "message.received",
    deviceId: device_id,
    occurredAt: payload["timestamp"],
    recordedAt: new Date().toISOString(),
    via: "live",
    data: {
      messageId: `msg_${id}`,
      waId: payload["id"],
      chat: payload["chat_id"],
      sender: payload["from"],
      fromMe: payload["is_from_me"],
      type: "text",
      body: payload["body"],
      extra: { from_name: payload["from_name"], sender_display_name: payload["sender_display_name"] }
    }
  }
  const text = `id: ${seq}\nevent: message.received\ndata: ${JSON.stringify(event)}\n\n`
  for (const response of streams.get(device_id) ?? []) response.write(text)
}

const server = createServer((request, response) => {
  const device = new URL(request.url ?? "", "http://localhost").searchParams.get("device") ?? ""
  const open = streams.get(device) ?? new Set()
  streams.set(device, open.add(response))
  response.on("close", () => open.delete(response))
  response.writeHead(200, { "content-type": "text/event-stream" })
  response.write(": open\n\n")
})

const openSocket = (gatewayPort: number, index: number): Promise<void> => {
  const upstreamId = makeUpstreamId(index)
  const socket = new WebSocket(`ws://127.0.0.1:${gatewayPort}/ws?device_id=${upstreamId}`, {
    perMessageDeflate: false,
    headers: { authorization, "x-device-id": upstreamId }
  })
  socket.on("message", onMessage)
  return new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject))
}

const handlers: StreamsHandlers = {
  start: async ({ count, gatewayPort }) => {
    for (let index = 0; index < count; index++) await openSocket(gatewayPort, index)
    return new Promise((resolve) =>
      server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port))
    )
  }
}
serveParent(handlers)
