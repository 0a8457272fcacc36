/**
 * Reads of the log: from the tail in memory where it covers the request, otherwise from the store; and `follow`, one
 * loop of reads that commits of this or another process wake. Every answer of the store is compared with what is known
 * about the log; if the log went back, its readers end with `LogReset`.
 */
import { Clock, Duration, Effect, Latch, Semaphore, Stream } from "effect"
import type { Scope } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { isMarked } from "../domain/Ids.ts"
import { LogReset } from "../domain/MessageErrors.ts"
import type { EventLog, EventPage, ReadBudget } from "../services/EventLog.ts"
import { Deadlines } from "./Deadlines.ts"
import { pageBytesMax } from "./LogStore.ts"
import type { LogStore } from "./LogStore.ts"
import type { LogTail } from "./LogTail.ts"

/** An idle reader gets the watermark this often: below the 30 s after which proxies cut silent connections. */
export const heartbeat = Duration.seconds(15)

const heartbeatNanos = Duration.toNanosUnsafe(heartbeat)

/**
 * Poll intervals for the head while a reader waits, because a signal of another process's commit may be lost. Signals
 * may be missing after an outage, so the shorter interval applies until `waryTimes` answers in a row brought nothing
 * new.
 */
const headPoll = { usual: Duration.seconds(5), wary: Duration.seconds(1), waryTimes: 60 }

/** Events of one page of `follow`. */
const followPage = 500

/** Hardly any event's data is smaller, so a page of few bytes is limited to as many events as fit at this size. */
const eventBytesMin = 64

/**
 * Maximum number of concurrent reads for streams that are behind. Otherwise, a thousand of them would queue at the
 * database ahead of the readers that keep up, the relays and everything else.
 */
const catchUpReadsMax = 4

/**
 * A stream that lags by fewer events counts as keeping up, even if the events in memory do not reach back that far:
 * after a start, or where other processes write. A stream whose events are in memory never waits for a read.
 */
const keepsUpWithin = 1000

const readLimitMax = 1000

/**
 * Minimum pause after a fill of the tail, per follower that it has woken, in milliseconds. Waking a follower and sending it a
 * few events takes some 20 µs: without a pause, many followers would keep the process busy with wake-ups for each small
 * commit.
 */
const fillPausePerWoken = 0.02

const fillPauseMaxMillis = 250

/** Limits the reads of a process whose followers want little. */
const fillPauseMinMillis = 2

const clamp = (limit: number): number => Math.min(Math.max(limit, 1), readLimitMax)

export type LogReader = Pick<EventLog["Service"], "read" | "locate" | "follow" | "followEach" | "latest" | "bounds">

export const makeReader = Effect.fnUntraced(function*(
  store: LogStore["Service"],
  tail: LogTail
): Effect.fn.Return<LogReader, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const deadlines = new Deadlines(clock, Effect.runForkWith(yield* Effect.context<never>()), () => tail.look())
  /** `onAnswer` receives whether the answer showed commits that were not known before. */
  const askBounds = (onAnswer: (isNew: boolean) => void): LogReader["bounds"] =>
    Effect.suspend(() => {
      const asked = tail.now
      return Effect.map(store.bounds, (seen) => {
        const known = tail.head
        if (tail.observe(asked, seen) === "same") tail.advance(seen.head)
        onAnswer(tail.head > known)
        return seen
      })
    })
  const bounds = askBounds(() => {})
  if (store.shared) {
    yield* fillTail(store, tail)
    yield* followOthers(store, tail, askBounds)
  }

  /** With `following`, events that are being loaded into memory are not requested. */
  const readWithin = (
    options: Parameters<LogReader["read"]>[0],
    bytesMax: number,
    following = false
  ): ReturnType<LogReader["read"]> =>
    Effect.suspend(() => {
      const limit = clamp(options.limit)
      const page = tail.read(options, limit, bytesMax, following ? tail.shown : tail.head)
      if (page !== null) return Effect.succeed<EventPage>(page)
      const asked = tail.now
      return Effect.flatMap(
        store.read({ ...options, limit, bytesMax, anchor: asked.anchor.seq }),
        (page): Effect.Effect<EventPage, LogReset | StorageUnavailable> => {
          if (tail.observe(asked, page) !== "same") return Effect.fail(tail.findReset(asked.generation)!)
          const { afterId, events, head, through, throughId } = page
          if (options.after > head || (afterId !== null && !isMarked(afterId, options.mark ?? null))) {
            return Effect.flatMap(bounds, (now) => Effect.fail(LogReset.of(now)))
          }
          if (throughId !== null) tail.recall({ seq: through, id: throughId })
          tail.advance(head)
          return Effect.succeed({ events, through, throughId })
        }
      )
    })

  const readCutTo = (options: Parameters<LogReader["read"]>[0], following = false) => {
    const { bytesMax = pageBytesMax } = options
    return Effect.map(readWithin(options, Math.min(bytesMax, pageBytesMax), following), (page) => cutTo(page, bytesMax))
  }

  const read: LogReader["read"] = (options) => readCutTo(options)

  const catchUp = Semaphore.makeUnsafe(catchUpReadsMax)

  /** Evaluated for each page: while a reader lags, the events that it needs may be dropped from memory. */
  const inTurn = <A, E>(after: number, read: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => tail.covers(after) || after + keepsUpWithin >= tail.head ? read : catchUp.withPermit(read))

  const locate: LogReader["locate"] = (from) =>
    Effect.suspend(() =>
      tail.read(from, 1, 1) !== null
        ? Effect.void
        : Effect.asVoid(inTurn(from.after, readWithin({ ...from, limit: 1 }, 1)))
    )

  /** A page cut to the budget. A single event above the budget is discarded and read again once there is room for it. */
  const readCut = (
    options: Parameters<LogReader["read"]>[0],
    budget: ReadBudget
  ): ReturnType<LogReader["read"]> =>
    Effect.flatMap(
      inTurn(options.after, readOnce(options, budget)),
      ({ granted, page }) => {
        const bytes = sumBytes(page)
        if (bytes > granted) return Effect.andThen(budget.require(bytes), readCut(options, budget))
        budget.settle(bytes)
        return Effect.succeed(page)
      }
    )

  const readOnce = (options: Parameters<LogReader["read"]>[0], budget: ReadBudget) =>
    Effect.suspend(() => {
      const granted = budget.take()
      const limit = Math.min(options.limit, Math.ceil(granted / eventBytesMin))
      return Effect.map(
        readWithin({ ...options, limit }, granted, true),
        (page) => ({ granted, page: cutTo(page, granted) })
      )
    })

  /** The next page of a follower, once there is one. Each run of each reader needs its own. */
  const makeFollower = (
    { budget, generation: begun, ...options }: Parameters<LogReader["follow"]>[0]
  ): ReturnType<LogReader["read"]> => {
    let { after, mark } = options
    let answeredAt: bigint | null = null
    let known = begun ?? null
    const next: ReturnType<LogReader["read"]> = Effect.suspend(() => {
      const since = answeredAt ??= clock.monotonicTimeNanosUnsafe()
      const generation = known ??= tail.now.generation
      const reset = tail.findReset(generation)
      if (reset !== null) return Effect.fail(reset)
      const asked = { ...options, after, mark, limit: followPage }
      return Effect.flatMap(budget === undefined ? readCutTo(asked, true) : readCut(asked, budget), (page) => {
        after = page.through
        mark = null
        const now = clock.monotonicTimeNanosUnsafe()
        const deadline = since + heartbeatNanos
        if (page.events.length > 0 || now >= deadline) {
          answeredAt = now
          return Effect.succeed(page)
        }
        const match = tail.awaitMatch(options, after, generation, () => deadlines.passed(deadline))
        return Effect.flatMap(match, (passed) => {
          after = passed
          return next
        })
      })
    })
    return next
  }

  const follow: LogReader["follow"] = (options) =>
    Stream.suspend(() => {
      tail.follows(1)
      return Stream.ensuring(Stream.fromEffectRepeat(makeFollower(options)), Effect.sync(() => tail.follows(-1)))
    })

  const followEach: LogReader["followEach"] = (options, take) =>
    Effect.suspend(() => {
      tail.follows(1)
      return Effect.ensuring(
        Effect.forever(Effect.flatMap(makeFollower(options), take), { disableYield: true }),
        Effect.sync(() => tail.follows(-1))
      )
    })

  return {
    read,
    locate,
    follow,
    followEach,
    bounds,
    latest: (options) => store.latest({ ...options, limit: clamp(options.limit) })
  }
})

/** Loads events that other processes commit into memory, with one read for all followers. */
const fillTail = Effect.fnUntraced(function*(store: LogStore["Service"], tail: LogTail) {
  const wanted = Latch.makeUnsafe(false)
  const fill = Effect.suspend(() => {
    const after = tail.findMissing()
    if (after === null) return Effect.void
    const asked = tail.now
    return store.read({ after, limit: readLimitMax, bytesMax: pageBytesMax, anchor: asked.anchor.seq }).pipe(
      Effect.map((page) => {
        if (tail.observe(asked, page) === "same") tail.filled(page.events, page.through)
      }),
      Effect.catchCause(() => Effect.sync(() => tail.unfilled()))
    )
  })
  tail.fillBy(() => wanted.openUnsafe())
  yield* Effect.forkScoped(Effect.forever(Effect.gen(function*() {
    yield* wanted.await
    wanted.closeUnsafe()
    tail.takeWoken()
    yield* fill
    if (tail.findMissing() !== null) wanted.openUnsafe()
    const pause = tail.takeWoken() * fillPausePerWoken
    yield* Effect.sleep(Math.min(Math.max(pause, fillPauseMinMillis), fillPauseMaxMillis))
  })))
})

/** Removes the last event if it brings the page over its bytes; a page of one event is not cut. */
const cutTo = (page: EventPage, bytesMax: number): EventPage => {
  if (page.events.length < 2 || sumBytes(page) <= bytesMax) return page
  const events = page.events.slice(0, -1)
  const last = events.at(-1)!
  return { events, through: last.seq, throughId: last.id }
}

const sumBytes = (page: EventPage): number => page.events.reduce((sum, event) => sum + event.bytes, 0)

/** Keeps the known head up to date with other processes: by their signals, and by polling while a reader waits. */
const followOthers = Effect.fnUntraced(function*(
  store: LogStore["Service"],
  tail: LogTail,
  askBounds: (onAnswer: (isNew: boolean) => void) => LogReader["bounds"]
) {
  let inVain = 0
  const beWary = Effect.sync(() => {
    inVain = 0
  })
  // After an outage, the database may be an older one. More frequent requests detect that sooner.
  const askHead = Effect.ignore(Effect.tapError(
    askBounds((isNew) => {
      inVain = isNew ? 0 : inVain + 1
    }),
    () => beWary
  ))
  yield* Effect.forkScoped(
    Stream.runForEach(store.commits, (signal) => {
      if (signal === null) {
        // An erasure may have been missed as well.
        tail.forget()
        return Effect.andThen(beWary, askHead)
      }
      return Effect.sync(() => signal === "erased" ? tail.forget() : tail.signal(signal))
    })
  )
  const poll = Effect.suspend(() => tail.waiting > 0 ? askHead : Effect.void)
  const pause = Effect.suspend(() => Effect.sleep(inVain < headPoll.waryTimes ? headPoll.wary : headPoll.usual))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(pause, poll)))
})
