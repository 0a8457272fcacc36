/**
 * Takes incoming messages from their source and passes each to all handlers, those of one chat in order. A message is done
 * when every handler has handled it; a repeat goes only to the handlers that have not.
 *
 * An unavailable database is not a failure of a message: the message waits, unacknowledged, and its source reads no further
 * than its bound. A handler that fails, hangs or crashes costs one attempt of that message and affects no other.
 */
import { Duration, Effect, Metric, Schedule } from "effect"
import type { Scope } from "effect"
import { ConsumerSettings } from "../../services/ConsumerSettings.ts"
import { HandlerFailed } from "../../services/MessageHandler.ts"
import type { HandlerFailure, MessageHandler, MessageReceived } from "../../services/MessageHandler.ts"
import { MessageInbox } from "../../services/MessageInbox.ts"
import type { InboxEntry } from "../../services/MessageInbox.ts"
import type { Handled, MessageSource } from "../../services/MessageSource.ts"
import * as Metrics from "../../services/Metrics.ts"
import { Readiness } from "../../services/Readiness.ts"
import { ChatOrder } from "./ChatOrder.ts"
import { judge } from "./attempts.ts"

/** While the database is unavailable: quickly at first, since most outages are a restart. Never ends. */
const storageRetry = Schedule.min([Schedule.exponential("200 millis", 2), Schedule.spaced("5 seconds")]).pipe(
  Schedule.jittered
)

/** How long notes of handled messages are kept: brokers and the log repeat a message within hours at most. */
const noteKeep = Duration.days(30)
const tidyInterval = Duration.hours(1)

/** Runs until its scope closes. */
export const make = Effect.fnUntraced(function*(
  source: MessageSource,
  handlers: ReadonlyArray<MessageHandler>
): Effect.fn.Return<void, never, MessageInbox | Readiness | Scope.Scope> {
  const inbox = yield* MessageInbox
  const readiness = yield* Readiness
  const settings = yield* ConsumerSettings
  const chats = new ChatOrder()
  let inFlight = 0

  const count = (handler: MessageHandler, outcome: "handled" | "repeated" | "failed" | "dead") =>
    Metric.update(Metric.withAttributes(Metrics.consumerMessages, { handler: handler.name, outcome }), 1)

  const attempt = Effect.fnUntraced(function*(handler: MessageHandler, event: MessageReceived, entry: InboxEntry) {
    if (yield* inbox.isDone(handler.name, event.id)) return yield* count(handler, "repeated")
    const commit = yield* within(handler.handle(event), settings.handlerTimeout, "no answer")
    const ran = yield* inbox.once(entry, within(commit, settings.commitTimeout, "the commit did not end"))
    yield* count(handler, ran ? "handled" : "repeated")
  })

  const fail = Effect.fnUntraced(function*(handler: MessageHandler, entry: InboxEntry, failure: HandlerFailed) {
    const { attempts, verdict } = yield* inbox.fail(entry, {
      message: failure.message,
      keep: !source.redelivers,
      decide: judge(settings, failure)
    })
    yield* count(handler, verdict._tag === "Dead" ? "dead" : "failed")
    yield* Effect.logWarning(
      verdict._tag === "Dead" ? "A message became a dead letter" : "A message could not be handled; it is tried again",
      { handler: handler.name, event: entry.eventId, attempts, reason: failure.message }
    )
    return { _tag: "Failed", attempts, verdict } as const
  })

  /** Waits for the database here, without a limit. */
  const handleBy = (handler: MessageHandler, event: MessageReceived): Effect.Effect<Handled> => {
    const entry = { handler: handler.name, eventId: event.id, seq: event.seq }
    return attempt(handler, event, entry).pipe(
      Effect.as<Handled>({ _tag: "Done" }),
      Effect.catchTag("HandlerFailed", (failure) => fail(handler, entry, failure)),
      Effect.catchDefect((defect) =>
        Effect.andThen(
          Effect.logError("A handler crashed", { handler: handler.name, event: event.id }, defect),
          fail(handler, entry, HandlerFailed.of("the handler crashed; the log says how"))
        )
      ),
      Effect.retry(storageRetry),
      Effect.orDie
    )
  }

  const take = (event: MessageReceived): Effect.Effect<Handled> =>
    chats.run(
      `${event.deviceId} ${event.data.chat}`,
      Effect.suspend(() => {
        inFlight++
        return Effect.andThen(
          Metric.update(Metrics.consumerInFlight, inFlight),
          Effect.map(Effect.forEach(handlers, (handler) => handleBy(handler, event)), worst)
        )
      }).pipe(Effect.ensuring(Effect.suspend(() => Metric.update(Metrics.consumerInFlight, --inFlight))))
    )

  const tidy = inbox.deleteOlderThan(noteKeep).pipe(
    Effect.repeat({ while: (deleted) => deleted > 0 }),
    Effect.catch((error) => Effect.logDebug("Old notes of handled messages could not be deleted", error))
  )

  const names = handlers.map(({ name }) => name).join(", ")
  yield* readiness.contribute(
    "consumer",
    Effect.map(source.state, (state) => `${source.description} for ${names}: ${state}, ${inFlight} in flight`)
  )
  yield* Effect.forkScoped(Effect.repeat(tidy, Schedule.spaced(tidyInterval)))
  yield* source.start(take)
})

const within = <A>(
  work: Effect.Effect<A, HandlerFailure>,
  time: Duration.Duration,
  otherwise: string
): Effect.Effect<A, HandlerFailure> =>
  Effect.timeoutOrElse(work, {
    duration: time,
    orElse: () => Effect.fail(HandlerFailed.of(`${otherwise} within ${Duration.format(time)}`))
  })

/**
 * An abandonment by one handler takes precedence, so that the message becomes a dead letter; handlers that are done stay
 * done.
 */
const worst = (all: ReadonlyArray<Handled>): Handled =>
  all.find((one) => one._tag === "Failed" && one.verdict._tag === "Dead") ??
    all.find(({ _tag }) => _tag === "Failed") ?? { _tag: "Done" }
