/** Waits until a row has come to rest. */
import { Effect, Option } from "effect"
import type { Gap } from "../src/domain/Gap.ts"
import { check } from "../test/support/Checker.ts"
import { until } from "../test/support/until.ts"
import type { Arrangement } from "./Arrangement.ts"
import type { Scenario } from "./Scenario.ts"

/** Longer than the longest waits of the program's own: it looks at what was away, or is silent, every minute. */
const settleTimeout = "150 seconds"

/** Events that a recorder or a log may still be behind with when nothing more comes. */
const quietMillis = 1_000

/**
 * Until every gap is closed, every reader has the whole log and it no longer grows. No open gap means that nothing is missing,
 * except where nothing came without our notice, which is found by looking, within a minute. Returns what it still waits for
 * when the time is over; null if nothing.
 */
export const settle = Effect.fnUntraced(function*(on: Arrangement, scenario: Scenario) {
  const waiting = { for: "an answer" }
  const findMotion = Effect.gen(function*() {
    if (!(yield* on.online)) return "devices that are not online"
    const queued = yield* on.columba.metric("columba_log_queue_events")
    if (queued > 0) return `${queued} events that wait for the log`
    const before = yield* on.head
    yield* Effect.sleep(quietMillis)
    const head = yield* on.head
    if (head !== before) return `the log, which grew from ${before} to ${head}`
    const [delivered, streamed] = [yield* on.recorder.highest, yield* on.reader.highest]
    if (Math.min(delivered, streamed) < head) return `readers that have ${delivered} and ${streamed} of ${head}`
    const behind = yield* on.behind
    if (behind > 0) return `the endpoint of the subscription, which is ${behind} behind`
    const { items } = yield* on.columba.get<{ readonly items: ReadonlyArray<Gap> }>("/api/v1/gaps?status=open")
    const [gap] = items
    if (gap !== undefined) return `${items.length} open gaps, one ${gap.cause} since ${gap.openedAt}: ${gap.detail}`
    // Deafness leaves no gap before it is found, and a consumer has no place at which one could look.
    const { unrecovered, violations } = check(yield* on.ledgers)
    const unhandled = violations.lost.filter((one) => one.startsWith("consumer"))
    if (unhandled.length > 0) return `the consumer, which has not handled ${unhandled.length} events`
    return unrecovered.length === 0 ? null : `${unrecovered.length} messages of the history`
  })
  const quiet = Effect.map(findMotion, (motion) => {
    waiting.for = motion ?? ""
    return motion === null
  })
  const settled = yield* until("nothing is missing and nothing moves", quiet, "10 minutes").pipe(
    Effect.andThen(on.recorder.drained),
    Effect.timeoutOption(scenario.settle ?? settleTimeout)
  )
  return Option.isSome(settled) ? null : `it waited for ${waiting.for}`
})
