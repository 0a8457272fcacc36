/** A reader of server-sent events that a test can stop at any point, by the rules of the specification. */
import { Effect } from "effect"
import type { Scope } from "effect"
import type { Json } from "./surface.ts"

export interface SseReader {
  /** The next event's data, parsed. Null when the stream has ended. */
  readonly next: Effect.Effect<Json>
  /** The id that a browser would send back. */
  readonly lastEventId: () => string
  readonly close: Effect.Effect<void>
  readonly headers: Headers
}

export const openSse = (
  url: string,
  headers: Record<string, string> = {}
): Effect.Effect<SseReader, never, Scope.Scope> =>
  Effect.gen(function*() {
    const abort = new AbortController()
    const close = Effect.sync(() => abort.abort())
    yield* Effect.addFinalizer(() => close)
    const response = yield* Effect.promise(() =>
      fetch(url, { signal: abort.signal, headers: { accept: "text/event-stream", ...headers } })
    )
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let buffer = ""
    let lastEventId = headers["last-event-id"] ?? ""
    const next = Effect.promise(async () => {
      while (true) {
        const end = buffer.indexOf("\n\n")
        if (end !== -1) {
          const block = buffer.slice(0, end)
          buffer = buffer.slice(end + 2)
          const data: Array<string> = []
          for (const line of block.split("\n")) {
            if (line.startsWith("id: ")) lastEventId = line.slice(4)
            if (line.startsWith("data: ")) data.push(line.slice(6))
          }
          if (data.length > 0) return JSON.parse(data.join("\n"))
          continue
        }
        const { done, value } = await reader.read()
        if (done) return null
        buffer += value
      }
    })
    return { next, lastEventId: () => lastEventId, close, headers: response.headers }
  })
