/** A server with the part of OpenAI's chat completions API that Columba uses; it fails on request. */
import { createServer } from "node:http"
import type { ServerResponse } from "node:http"
import { Effect } from "effect"
import type { Scope } from "effect"
import { listen } from "./listening.ts"

export interface Asked {
  readonly path: string
  readonly authorization: string | undefined
  readonly model: string
  readonly stream: boolean
  readonly messages: ReadonlyArray<{ readonly role: string; readonly content: string }>
}

/** What to do with a request. Unanswered requests stay open until the server ends. */
export type Behaviour = (response: ServerResponse, asked: Asked) => void

export interface OpenAiServer {
  /** The base URL for a client. */
  readonly url: string
  readonly asked: ReadonlyArray<Asked>
  behaviour: Behaviour
  /** Requests that their clients aborted. */
  readonly abandoned: () => number
}

const chunk = (delta: object, finish: string | null): string =>
  `data: ${
    JSON.stringify({
      id: "chatcmpl-1",
      object: "chat.completion.chunk",
      created: 1,
      model: "test",
      choices: [{ index: 0, delta, finish_reason: finish }]
    })
  }\n\n`

const begin = (response: ServerResponse) => response.writeHead(200, { "content-type": "text/event-stream" })

/** One word per chunk. */
export const says = (text: string, finish = "stop"): Behaviour => (response) => {
  begin(response)
  for (const word of text.split(/(?<= )/)) response.write(chunk({ content: word }, null))
  response.end(`${chunk({}, finish)}data: [DONE]\n\n`)
}

export const refusesWith = (
  status: number,
  headers: Record<string, string> = {},
  body: object = { error: { message: "no", code: "some_code" } }
): Behaviour =>
(response) =>
  void response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))

export const raw = (contentType: string, body: string): Behaviour => (response) =>
  void response.writeHead(200, { "content-type": contentType }).end(body)

/** Starts, and is cut off. */
export const breaksOff: Behaviour = (response) => {
  begin(response)
  response.write(chunk({ content: "half an " }, null), () => response.destroy())
}

/** Ends cleanly without being finished. */
export const endsEarly: Behaviour = (response) => {
  begin(response)
  response.end(chunk({ content: "half an " }, null))
}

export const neverEnds: Behaviour = (response) => {
  begin(response)
  const write = (): void => {
    while (response.writable && response.write(`: ${"x".repeat(16_000)}\n\n`));
    if (response.writable) response.once("drain", write)
  }
  write()
}

export const hangs: Behaviour = (response) => void begin(response).flushHeaders()

export const start = (behaviour: Behaviour): Effect.Effect<OpenAiServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const asked: Array<Asked> = []
    let abandoned = 0
    const running = { behaviour }
    const server = createServer((request, response) => {
      let body = ""
      request.on("data", (data) => {
        body += data
      })
      response.on("close", () => {
        if (!response.writableFinished) abandoned++
      })
      response.on("error", () => {})
      request.on("end", () => {
        const { messages, model, stream } = JSON.parse(body) as Pick<Asked, "messages" | "model" | "stream">
        const one = { path: request.url ?? "", authorization: request.headers.authorization, model, stream, messages }
        asked.push(one)
        running.behaviour(response, one)
      })
    })
    const port = yield* listen(server)
    return Object.assign(running, { url: `http://127.0.0.1:${port}/v1`, asked, abandoned: () => abandoned })
  })
