/**
 * Reading the log: from the tail in memory where it covers what is asked, else from the store; and following it, which
 * is one loop of reads woken by commits, of this process or of others.
 */
import { Clock, Duration, Effect, Stream } from "effect"
import type { Scope } from "effect"
import type { EventLog, EventPage } from "../services/EventLog.ts"
import type { LogStore } from "./LogStore.ts"
import type { LogTail } from "./LogTail.ts"

/** An idle reader hears the watermark this often: below the 30 s after which proxies cut silent connections. */
export const heartbeat = Duration.seconds(15)

/** For commits of other processes whose signal was lost. */
export const headPoll = Duration.seconds(1)

/** Events of one page of `follow`. */
const followPage = 500

const readLimitMax = 1000

const clamp = (limit: number): number => Math.min(Math.max(limit, 1), readLimitMax)

export type LogReader = Pick<EventLog["Service"], "read" | "follow" | "latest">

export const makeReader = Effect.fnUntraced(function*(
  store: LogStore["Service"],
  tail: LogTail
): Effect.fn.Return<LogReader, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  if (store.shared) yield* hearOthers(store, tail)

  const read: LogReader["read"] = (options) =>
    Effect.suspend(() => {
      const limit = clamp(options.limit)
      const page = tail.read(options, options.after, limit)
      if (page !== null) return Effect.succeed<EventPage>(page)
      return Effect.map(store.read({ ...options, limit }), ({ events, head, through }): EventPage => {
        tail.advance(head)
        return { events, through }
      })
    })

  const follow: LogReader["follow"] = (options) =>
    Stream.unfold(
      { after: options.after, saidAt: null as bigint | null },
      Effect.fnUntraced(function*(state) {
        let after = state.after
        const saidAt = state.saidAt ?? clock.currentTimeNanosUnsafe()
        while (true) {
          const page = yield* read({ ...options, after, limit: followPage })
          after = page.through
          const now = clock.currentTimeNanosUnsafe()
          const left = saidAt + Duration.toNanosUnsafe(heartbeat) - now
          if (page.events.length > 0 || left <= 0n) return [page, { after, saidAt: now }] as const
          yield* Effect.timeoutOption(tail.awaitAfter(after), Duration.nanos(left))
        }
      })
    )

  return { read, follow, latest: (options) => store.latest({ ...options, limit: clamp(options.limit) }) }
})

/** Keeps the known head in step with other processes: by their signals, and by asking while somebody waits. */
const hearOthers = Effect.fnUntraced(function*(store: LogStore["Service"], tail: LogTail) {
  const askHead = Effect.ignore(Effect.tap(store.bounds, (bounds) => Effect.sync(() => tail.advance(bounds.head))))
  yield* Effect.forkScoped(
    Stream.runForEach(store.commits, (head) => head === null ? askHead : Effect.sync(() => tail.hear(head)))
  )
  yield* Effect.forkScoped(Effect.forever(
    Effect.andThen(Effect.sleep(headPoll), Effect.suspend(() => tail.waiting > 0 ? askHead : Effect.void))
  ))
})
