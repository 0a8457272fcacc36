/**
 * Incoming messages from the log, for a consumer without a broker. The cursor `consumer` holds the position up to which
 * they are handled; it starts with the events after the first start. Retention waits for it, but not forever: the log is
 * not informed when a consumer is removed. A failed message is retried from the inbox, so it does not block later ones, and
 * an abandoned message stays there as a dead letter.
 */
import { Duration, Effect, Schema } from "effect"
import type { LoggedEvent } from "../../domain/Event.ts"
import { Event } from "../../domain/Event.ts"
import { EventLog } from "../../services/EventLog.ts"
import type { MessageReceived } from "../../services/MessageHandler.ts"
import { MessageInbox } from "../../services/MessageInbox.ts"
import type { InboxEntry } from "../../services/MessageInbox.ts"
import type { MessageSource } from "../../services/MessageSource.ts"
import * as SinkRelay from "../delivery/SinkRelay.ts"

/** The name of the cursor. */
export const cursorName = "consumer"

/**
 * How long events wait for a consumer that does not run. One that returns later continues with the oldest event that is
 * kept.
 */
const unhandledKeepMax = Duration.days(7)

/** Maximum number of concurrent messages. Each may wait for another service; the database has room for this many. */
const inFlightMax = 32

/** How often messages that are due for a retry are looked up: one small query. */
const lookInterval = Duration.seconds(1)

/** Maximum number of such messages per query. */
const dueMax = 100

export const make = Effect.gen(function*() {
  const log = yield* EventLog
  const inbox = yield* MessageInbox
  let view: SinkRelay.SinkRelay | null = null

  const start: MessageSource["start"] = Effect.fnUntraced(function*(take) {
    const handleAll = (events: ReadonlyArray<LoggedEvent>) =>
      Effect.forEach(events.flatMap(readMessage), take, { concurrency: inFlightMax, discard: true })

    const again = Effect.fnUntraced(function*({ eventId, handler, seq }: InboxEntry) {
      const { events } = yield* log.read({ after: seq - 1, limit: 1 }).pipe(
        Effect.catchTag(["EventsExpired", "LogReset"], () => Effect.succeed({ events: [] }))
      )
      const messages = events.flatMap(readMessage).filter(({ id }) => id === eventId)
      // Erased, deleted by retention, or of a log that has since gone back: there is nothing left to handle.
      if (messages.length === 0) yield* inbox.once({ eventId, handler, seq }, Effect.void)
      else yield* Effect.forEach(messages, take)
    })

    const look = Effect.flatMap(
      inbox.due(dueMax),
      (due) => Effect.forEach(due, again, { concurrency: inFlightMax, discard: true })
    ).pipe(Effect.catch((error) => Effect.logDebug("Messages to be retried could not be read", error)))

    view = yield* SinkRelay.make({ name: cursorName, publish: handleAll }, { from: "now", keep: unhandledKeepMax })
      .pipe(
        Effect.provideService(EventLog, log)
      )
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(lookInterval), look)))
  })

  const source: MessageSource = {
    description: "the log is read",
    redelivers: false,
    start,
    state: Effect.suspend(() =>
      view === null
        ? Effect.succeed("starting")
        : Effect.map(view.view, ({ lag, state }) => `${state}, ${lag} behind`)
    )
  }
  return source
})

/** Empty for an event of another kind or form. */
export const readMessage = (event: LoggedEvent): ReadonlyArray<MessageReceived> => {
  if (event.kind !== "message.received") return []
  const { bytes: _, data, ...fields } = event
  const candidate: unknown = { ...fields, data: JSON.parse(data) }
  return isEvent(candidate) && candidate.kind === "message.received" ? [candidate] : []
}

const isEvent = Schema.is(Event)
