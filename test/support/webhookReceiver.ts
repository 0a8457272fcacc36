/** An HTTP server in Columba's place: records a gateway's posts, and answers as a test says. */
import { createServer } from "node:http"
import { Effect, type Scope } from "effect"
import { listen } from "./listening.ts"

export interface Received {
  readonly path: string
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Buffer
  /** When it was complete, in milliseconds since the epoch. */
  readonly at: number
}

export interface WebhookReceiver {
  readonly url: string
  readonly received: ReadonlyArray<Received>
  /** The status of the answers from now on; null: none comes. */
  status: number | null
  /** Succeeds once the condition holds. It is checked after every request. */
  readonly until: (condition: (received: ReadonlyArray<Received>) => boolean) => Effect.Effect<void>
}

export const start: Effect.Effect<WebhookReceiver, never, Scope.Scope> = Effect.gen(function*() {
  const received: Array<Received> = []
  const waiting = new Set<() => void>()
  const running: { status: number | null } = { status: 200 }
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("error", () => {})
    request.on("end", () => {
      const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
      received.push({ path: request.url ?? "", headers, body: Buffer.concat(chunks), at: Date.now() })
      if (running.status !== null) response.writeHead(running.status).end()
      for (const look of [...waiting]) look()
    })
  })
  const port = yield* listen(server)
  return Object.assign(running, {
    url: `http://127.0.0.1:${port}/webhooks/default`,
    received,
    until: (condition: (received: ReadonlyArray<Received>) => boolean) =>
      Effect.callback<void>((resume) => {
        const look = () => {
          if (!condition(received)) return
          waiting.delete(look)
          resume(Effect.void)
        }
        waiting.add(look)
        look()
        return Effect.sync(() => waiting.delete(look))
      })
  })
})
