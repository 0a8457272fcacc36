/** An HTTP server that gives one answer to every request, upgrades included, like a proxy without its gateway. */
import { createServer } from "node:http"
import { Effect, type Scope } from "effect"
import { listen } from "./listening.ts"

export interface Answer {
  readonly status: number
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  /** An upgrade gets the head of the answer and never its body. */
  readonly unfinished?: boolean
}

export interface AnsweringServer {
  readonly url: string
  /** The requested paths, in order. */
  readonly asked: ReadonlyArray<string>
  /** The answer from now on; a function may look at the path. */
  answer: Answer | ((path: string) => Answer)
}

export const start = (answer: AnsweringServer["answer"]): Effect.Effect<AnsweringServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const asked: Array<string> = []
    const running = { answer }
    const read = (path: string): Answer => {
      asked.push(path)
      return typeof running.answer === "function" ? running.answer(path) : running.answer
    }
    const server = createServer((request, response) => {
      const { body = "", headers, status } = read(request.url ?? "")
      response.writeHead(status, headers).end(body)
    })
    server.on("upgrade", (request, socket) => {
      socket.on("error", () => {})
      const { body = "", headers, status, unfinished = false } = read(request.url ?? "")
      const length = unfinished ? 100 : Buffer.byteLength(body)
      const lines = Object.entries({ ...headers, "content-length": length, connection: "close" })
        .map(([name, value]) => `${name}: ${value}\r\n`)
      const text = `HTTP/1.1 ${status} Answer\r\n${lines.join("")}\r\n${body}`
      if (unfinished) socket.write(text)
      else socket.end(text)
    })
    const port = yield* listen(server)
    return Object.assign(running, { url: `http://127.0.0.1:${port}`, asked })
  })
