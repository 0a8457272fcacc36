/**
 * Incoming messages out of the log, for a consumer without a broker. The cursor `consumer` says how far they are
 * handled; it begins with what comes after the first start. Retention waits for it, but not for ever: nothing tells the log
 * that there is to be no consumer any more. What failed is tried again from the inbox, so that it holds
 * up nothing behind it, and what was given up stays there as a dead letter.
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

/** Events wait so long for a consumer that does not run. One that comes back later goes on with the oldest that is kept. */
const unhandledKeepMax = Duration.days(7)

/** Each may wait for another service; the database has room for as many. */
const inFlightMax = 32

/** How often it is looked for what is to be tried again: one small query. */
const lookInterval = Duration.seconds(1)

/** Of those at most so many at a time. */
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
      // Erased, deleted by retention, or of a log that was put back: there is nothing to handle any more.
      if (messages.length === 0) yield* inbox.once({ eventId, handler, seq }, Effect.void)
      else yield* Effect.forEach(messages, take)
    })

    const look = Effect.flatMap(
      inbox.due(dueMax),
      (due) => Effect.forEach(due, again, { concurrency: inFlightMax, discard: true })
    ).pipe(Effect.catch((error) => Effect.logDebug("What is to be tried again could not be read", error)))

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

/** An event of another kind or form is no message. */
export const readMessage = (event: LoggedEvent): ReadonlyArray<MessageReceived> => {
  if (event.kind !== "message.received") return []
  const { bytes: _, data, ...fields } = event
  const candidate: unknown = { ...fields, data: JSON.parse(data) }
  return isEvent(candidate) && candidate.kind === "message.received" ? [candidate] : []
}

const isEvent = Schema.is(Event)
