/**
 * A sink in memory: it records the events that it receives, and a hook decides when a batch is confirmed, or how it fails.
 * It keeps the contract of `EventSink` (see test/conformance/sink.ts), so that tests of its callers are valid.
 */
import { Deferred, Effect } from "effect"
import type { LoggedEvent } from "../../src/domain/Event.ts"
import { Condition } from "../../src/services/Condition.ts"
import { SinkUnavailable } from "../../src/services/EventSink.ts"
import type { EventSink } from "../../src/services/EventSink.ts"

export interface RecordingSink {
  readonly sink: EventSink
  /** Everything the other side received, repeats included. */
  readonly received: ReadonlyArray<LoggedEvent>
  /** Returns once `ready` holds, which may be a condition over `received`. */
  readonly waitUntil: (ready: () => boolean) => Effect.Effect<void>
}

export interface RecordingSinkOptions {
  readonly name?: string | undefined
  readonly overlap?: number | undefined
  /** Called before a batch is accepted. A failure means that the other side cannot be reached. */
  readonly reach?: Effect.Effect<void, SinkUnavailable> | undefined
  /** Succeeds when the batch counts as confirmed. A failure ends the attempt. */
  readonly confirm?: ((events: ReadonlyArray<LoggedEvent>) => Effect.Effect<void, SinkUnavailable>) | undefined
}

interface Attempt {
  readonly number: number
  /** Set once, by the first failure of the attempt. */
  readonly ended: Deferred.Deferred<never, SinkUnavailable>
}

export const make = (options: RecordingSinkOptions = {}): RecordingSink => {
  const name = options.name ?? "recording"
  const received: Array<LoggedEvent> = []
  const condition = new Condition()
  let current: Attempt = { number: 0, ended: Deferred.makeUnsafe() }

  const end = (attempt: Attempt, reason: SinkUnavailable["reason"], detail: string) =>
    Deferred.fail(attempt.ended, SinkUnavailable.of(name, reason, detail))

  const begin = (number: number) =>
    Effect.gen(function*() {
      if (number < current.number) return yield* SinkUnavailable.of(name, "disconnected", "a later attempt has started")
      if (number > current.number) {
        yield* end(current, "disconnected", "a later attempt has started")
        current = { number, ended: Deferred.makeUnsafe() }
      }
      return current
    })

  const take = (events: ReadonlyArray<LoggedEvent>) =>
    Effect.suspend(() => {
      // Called first, since a test that waits for the events may then change how the next batch is confirmed.
      const confirmed = options.confirm?.(events) ?? Effect.void
      received.push(...events)
      condition.changed()
      return confirmed
    })

  const publish = Effect.fnUntraced(function*(events: ReadonlyArray<LoggedEvent>, number: number) {
    const attempt = yield* begin(number)
    if (Deferred.isDoneUnsafe(attempt.ended)) return yield* Deferred.await(attempt.ended)
    if (events.length === 0) return
    if (options.reach !== undefined) yield* options.reach
    yield* take(events).pipe(
      Effect.raceFirst(Deferred.await(attempt.ended)),
      Effect.tapError((error) => Deferred.fail(attempt.ended, error)),
      Effect.onInterrupt(() => end(attempt, "disconnected", "a batch was interrupted"))
    )
  })

  return {
    sink: { name, overlap: options.overlap, publish },
    received,
    waitUntil: (ready) => condition.waitUntil(ready)
  }
}
