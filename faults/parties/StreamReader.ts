/**
 * A reader of the event stream (SSE) that resumes after its last event, as a browser does. Its events must be
 * the whole log, each once and in order, however often it was cut off.
 */
import { Effect } from "effect"
import type { Scope } from "effect"
import type { Streamed } from "../../test/support/Ledger.ts"

export interface StreamReader {
  readonly entries: Effect.Effect<ReadonlyArray<Streamed>>
  readonly highest: Effect.Effect<number>
  /** Number of reconnects. */
  readonly resumed: Effect.Effect<number>
}

const againMillis = 100

export const make = (url: string): Effect.Effect<StreamReader, never, Scope.Scope> =>
  Effect.gen(function*() {
    const entries: Array<Streamed> = []
    const abort = new AbortController()
    let opened = 0
    let last = "0"
    const read = async () => {
      const response = await fetch(`${url}/api/v1/events`, {
        signal: abort.signal,
        headers: { accept: "text/event-stream", "last-event-id": last }
      })
      if (!response.ok || response.body === null) return
      opened++
      let rest = ""
      for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
        const blocks = (rest + text).split("\n\n")
        rest = blocks.pop()!
        for (const block of blocks) {
          const lines = block.split("\n")
          const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n")
          if (data === "") continue
          const { id, seq } = JSON.parse(data) as { readonly id?: string; readonly seq?: string }
          if (id === undefined || seq === undefined) continue
          entries.push({ seq: Number(seq), id })
          last = lines.find((line) => line.startsWith("id: "))?.slice(4) ?? last
        }
      }
    }
    const run = async () => {
      while (!abort.signal.aborted) {
        await read().catch(() => {})
        await new Promise((resolve) => setTimeout(resolve, againMillis))
      }
    }
    const running = run()
    yield* Effect.addFinalizer(() =>
      Effect.promise(() => {
        abort.abort()
        return running
      })
    )
    return {
      entries: Effect.sync(() => [...entries]),
      highest: Effect.sync(() => entries.at(-1)?.seq ?? 0),
      resumed: Effect.sync(() => Math.max(0, opened - 1))
    }
  })
