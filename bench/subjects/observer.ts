/**
 * Loaded into the measured program before its own code (`node --import`). It answers the parent's requests, and takes the times
 * that the changes of `support/program.ts` report: when a session has pushed a message to the log, when the log's batch is
 * committed, and when the sink's batch is confirmed. While nothing is timed, only confirmed messages are counted.
 */
import { longestBlock, startBlocks } from "../support/loopBlocks.ts"
import { Latencies } from "../support/statistics.ts"
import type { Observed } from "../support/subjects.ts"
import { serveParent } from "../support/worker.ts"

interface Event {
  readonly id: string
  readonly kind: string
}

/** Times at which frames arrived, by event id: of events not yet committed, and of events not yet confirmed. */
const unstored = new Map<string, number>()
const unpublished = new Map<string, number>()
const stored = new Latencies()
const published = new Latencies()
/** Off while throughput is measured: the two maps would add a cost that Columba does not have. */
let timing = false
let publishedCount = 0
let publishedWanted: { readonly count: number; readonly reached: () => void } | undefined

const settle = (events: ReadonlyArray<Event>, waiting: Map<string, number>, latencies: Latencies): void => {
  if (waiting.size === 0) return
  const now = performance.now()
  for (const { id } of events) {
    const from = waiting.get(id)
    if (from === undefined) continue
    waiting.delete(id)
    latencies.add(now - from)
  }
}

/** Called by the changed program. */
const observer = {
  pushed: ({ id, kind }: Event): void => {
    if (!timing || kind !== "message.received") return
    const now = performance.now()
    unstored.set(id, now)
    unpublished.set(id, now)
  },
  stored: (groups: ReadonlyArray<{ readonly drafts: ReadonlyArray<Event> }>): void => {
    if (unstored.size > 0) { for (const { drafts } of groups) settle(drafts, unstored, stored) }
  },
  published: (events: ReadonlyArray<Event>): void => {
    settle(events, unpublished, published)
    for (const { kind } of events) if (kind === "message.received") publishedCount++
    if (publishedWanted === undefined || publishedCount < publishedWanted.count) return
    publishedWanted.reached()
    publishedWanted = undefined
  }
}
Object.assign(globalThis, { columbaBench: observer })

const handlers = {
  awaitPublished: (count: number): Promise<void> =>
    new Promise((resolve) => {
      if (publishedCount >= count) resolve()
      else publishedWanted = { count, reached: resolve }
    }),
  startBlocks,
  longestBlock,
  startLatencies: (): void => {
    timing = true
    stored.clear()
    published.clear()
  },
  latencies: () => ({ stored: stored.summary(), published: published.summary() })
} satisfies Observed

serveParent(handlers)
