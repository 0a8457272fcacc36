/** A file server that answers as a test says, and records the requests. */
import { createServer } from "node:http"
import type { IncomingMessage, ServerResponse } from "node:http"
import { Effect } from "effect"
import type { Scope } from "effect"
import { listen } from "./listening.ts"

export interface FileServer {
  readonly url: string
  readonly port: number
  readonly requests: Array<IncomingMessage>
}

export const serveFile = (answer: (response: ServerResponse) => void): Effect.Effect<FileServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const requests: Array<IncomingMessage> = []
    const server = createServer((request, response) => {
      requests.push(request)
      answer(response)
    })
    const port = yield* listen(server)
    return { url: `http://127.0.0.1:${port}/file`, port, requests }
  })
