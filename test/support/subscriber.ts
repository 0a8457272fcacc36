/**
 * A subscriber: an HTTP server that handles each delivery as the test says, and records the deliveries when they arrive,
 * whatever the answer.
 */
import { createServer } from "node:http"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect } from "effect"
import type { Scope } from "effect"
import { Condition } from "../../src/services/Condition.ts"

export interface Received {
  readonly id: string
  readonly headers: IncomingMessage["headers"]
  readonly text: string
  readonly seq: number
  readonly kind: string
  readonly deviceId: string
  /** The status of the answer; null while there is none. */
  status: number | null
}

/** Answers, or leaves the request open. */
export type Answer = (received: Received, response: ServerResponse) => void

export const status =
  (code: number, headers: Readonly<Record<string, string>> = {}): Answer => (received, response) => {
    received.status = code
    response.writeHead(code, headers).end()
  }

export interface Receiver {
  readonly url: string
  readonly port: number
  readonly received: ReadonlyArray<Received>
  /** The events that were answered with 2xx, each once, in the order of the first time. */
  readonly taken: () => ReadonlyArray<Received>
  answer: Answer
  readonly until: (ready: () => boolean) => Effect.Effect<void>
  readonly connections: () => number
}

export const start = (answer: Answer = status(204), port = 0): Effect.Effect<Receiver, never, Scope.Scope> =>
  Effect.gen(function*() {
    const received: Array<Received> = []
    const changes = new Condition()
    let connections = 0
    const running = { answer }
    const server = createServer((request, response) => {
      const chunks: Array<Buffer> = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        const text = Buffer.concat(chunks).toString()
        const { deviceId, kind, seq } = JSON.parse(text) as { seq: string; kind: string; deviceId: string }
        const { headers } = request
        const one = { id: String(headers["webhook-id"]), headers, text, seq: Number(seq), kind, deviceId, status: null }
        received.push(one)
        running.answer(one, response)
        changes.changed()
      })
    })
    server.on("connection", () => connections++)
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        server.listen(port, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    )
    const address = server.address() as AddressInfo
    const taken = () => {
      const seen = new Map<string, Received>()
      for (const one of received) {
        if (one.status !== null && one.status >= 200 && one.status < 300 && !seen.has(one.id)) seen.set(one.id, one)
      }
      return [...seen.values()]
    }
    return Object.assign(running, {
      url: `http://127.0.0.1:${address.port}/hook`,
      port: address.port,
      received,
      taken,
      until: (ready: () => boolean) => changes.waitUntil(ready),
      connections: () => connections
    })
  })
