/** Waits until a row has come to rest. */
import { Duration, Effect, Option } from "effect"
import type { Gap } from "../src/domain/Gap.ts"
import { check } from "../test/support/Checker.ts"
import { until } from "../test/support/until.ts"
import type { Arrangement } from "./Arrangement.ts"
import { doubtfulShare } from "./judge.ts"
import type { SendingClient } from "./parties/SendingClient.ts"
import type { Scenario } from "./Scenario.ts"

/** Longer than the program's longest waits: it checks services that are away or silent every minute. */
const stillMax = Duration.seconds(150)

/** Progress on a busy machine may be slow, but must end. */
const settleMaxDefault = Duration.minutes(15)

/** Time that a recorder or a log may lag behind the last event. */
const quietMillis = 1_000

/**
 * Returns when every gap is closed, every reader has the whole log and it no longer grows. No open gap means that nothing is missing,
 * except for unnoticed silence, which the program detects by checking, within a minute. Returns what it still waits for
 * once nothing has changed for the row's time; null if nothing.
 */
export const settle = Effect.fnUntraced(function*(
  on: Arrangement,
  scenario: Scenario,
  client: SendingClient | null
) {
  const waiting = { for: "an answer", since: performance.now() }
  const findMotion = Effect.gen(function*() {
    if (!(yield* on.online)) return "devices that are not online"
    const queued = yield* on.columba.metric("columba_log_queue_events")
    if (queued > 0) return `${queued} events that wait for the log`
    if (client !== null) {
      const { doubtful, waiting } = yield* client.open
      if (waiting > 0) return `${waiting} messages that wait to be sent`
      if (doubtful > Math.floor((scenario.sends ?? 0) * doubtfulShare)) return `${doubtful} messages in doubt`
    }
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
    // Unnoticed silence leaves no gap before it is detected, and a consumer has no position to check.
    if (scenario.consumer === true || scenario.handler === true) {
      const { violations } = check(yield* on.ledgers)
      const unhandled = violations.lost.filter((one) => /^(consumer|handler)/.test(one))
      if (unhandled.length > 0) return `a consumer that has not handled ${unhandled.length} events`
    }
    const unrecovered = yield* on.unrecovered
    return unrecovered === 0 ? null : `${unrecovered} messages of the history`
  })
  const quiet = Effect.map(findMotion, (motion) => {
    if (motion !== waiting.for) Object.assign(waiting, { for: motion ?? "", since: performance.now() })
    return motion === null
  })
  const settleMax = scenario.settleMax ?? settleMaxDefault
  const patience = Duration.toMillis(Duration.fromInputUnsafe(scenario.settle ?? stillMax))
  const still = until(
    "nothing has moved for long",
    Effect.sync(() => performance.now() - waiting.since > patience),
    settleMax
  )
  const settled = yield* until("nothing is missing and nothing moves", quiet, settleMax).pipe(
    Effect.andThen(on.recorder.drained),
    Effect.as(Option.some(true)),
    Effect.raceFirst(Effect.as(still, Option.none())),
    Effect.catchDefect(() => Effect.succeed(Option.none()))
  )
  return Option.isSome(settled) ? null : `it waited for ${waiting.for}`
})
