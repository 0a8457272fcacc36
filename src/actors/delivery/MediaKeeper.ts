/**
 * Keeps the files of messages while their gateways still have them: follows the log, and requests each file as soon as its
 * message is committed. Best effort: a file that could not be fetched after some attempts is skipped, and a caller may
 * still request it from the gateway. The position in the log is recorded beside the files, so a restart continues there.
 *
 * A file is kept before the position is recorded: a crash requests some files again, which costs one check each.
 */
import { Duration, Effect, Metric, Schedule, Stream } from "effect"
import type { Scope } from "effect"
import type { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import type { MessageData } from "../../domain/EventData.ts"
import type { LoggedEvent } from "../../domain/Event.ts"
import { positionAfter, readPosition } from "../../domain/Ids.ts"
import { EventLog } from "../../services/EventLog.ts"
import type { EventPage, ReadFrom } from "../../services/EventLog.ts"
import { MediaStore } from "../../services/MediaStore.ts"
import type { MediaStoreFailed } from "../../services/MediaStore.ts"
import { MessageMedia } from "../../services/MessageMedia.ts"
import * as Metrics from "../../services/Metrics.ts"

/** Maximum number of concurrent fetches: one large file must not delay the small ones until gateways have deleted them. */
const fetchesMax = 8

/** A gateway that is unavailable for a moment is asked again; a longer outage does not delay the files of other gateways. */
const retries = { times: 2, schedule: Schedule.spaced("4 seconds") }

/** Pause after the log was unavailable or has gone back. */
const pause = Duration.seconds(5)

/** How often old files, and files beyond the maximum, are deleted. */
const tidyInterval = Duration.minutes(10)

/** Runs with its scope. */
export const make: Effect.Effect<void, never, EventLog | MediaStore | MessageMedia | Scope.Scope> = Effect.gen(
  function*() {
    const log = yield* EventLog
    const store = yield* MediaStore
    const media = yield* MessageMedia

    const report = (outcome: string) => Metric.update(Metric.withAttributes(Metrics.mediaKept, { outcome }), 1)

    const keepOne = (id: MessageData["messageId"]) =>
      media.keep(id).pipe(
        Effect.retry({ ...retries, while: ({ _tag }) => _tag === "GatewayUnavailable" }),
        Effect.matchEffect({
          onSuccess: () => report("kept"),
          onFailure: (error) =>
            error._tag === "MediaStoreFailed"
              ? Effect.andThen(report(error._tag), Effect.logWarning("a file could not be kept", error))
              : report(error._tag)
        }),
        Effect.catchDefect((defect) =>
          Effect.andThen(report("defect"), Effect.logError("keeping a file crashed", defect))
        )
      )

    const measure = Effect.flatMap(
      store.view,
      ({ bytes, files }) =>
        Effect.andThen(Metric.update(Metrics.mediaBytes, bytes), Metric.update(Metrics.mediaFiles, files))
    )

    const keepPage = (page: EventPage) =>
      Effect.forEach(page.events.flatMap(listFiles), keepOne, { concurrency: fetchesMax, discard: true }).pipe(
        Effect.andThen(Effect.ignore(store.writePlace(positionAfter(page.through, page.throughId)))),
        Effect.andThen(measure)
      )

    /** On the first start, or when the log is not the recorded one: keeps files from now on. */
    const startAnew = Effect.gen(function*() {
      const { head, headId } = yield* log.bounds
      yield* store.writePlace(positionAfter(head, headId))
      return { after: head, mark: null }
    })

    const findStart = Effect.flatMap(
      store.readPlace,
      (text): Effect.Effect<ReadFrom, StorageUnavailable | MediaStoreFailed> => {
        const place = readPosition(text ?? "")
        return place === null ? startAnew : Effect.succeed({ after: place.seq, mark: place.mark })
      }
    )

    const follow = Effect.flatMap(
      findStart,
      (from) =>
        log.follow({ ...from, kinds: ["message.received", "message.sent"] }).pipe(
          Stream.runForEach(keepPage)
        )
    ).pipe(
      Effect.catch((error) =>
        error._tag === "LogReset" || error._tag === "EventsExpired" ? Effect.ignore(startAnew) : Effect.void
      ),
      Effect.andThen(Effect.sleep(pause))
    )

    const tidy = Effect.gen(function*() {
      for (const device of yield* store.devices) {
        yield* media.forget(device)
      }
      const deleted = yield* store.tidy
      if (deleted > 0) yield* Effect.logInfo("Deleted kept files that were old or too many", { count: deleted })
      yield* measure
    }).pipe(
      Effect.catch((error) => Effect.logWarning("Kept files could not be looked over; tried again later", error))
    )

    // Before the process accepts events: a message that is committed after this is not missed.
    yield* Effect.ignore(findStart)
    yield* Effect.forkScoped(Effect.forever(follow))
    yield* Effect.forkScoped(Effect.repeat(tidy, Schedule.spaced(tidyInterval)))
  }
)

const listFiles = (event: LoggedEvent): ReadonlyArray<MessageData["messageId"]> => {
  // Most messages have no file, and parsing all of them to find out would cost more than this check saves.
  if (!event.data.includes("\"media\"")) return []
  const { media, messageId } = JSON.parse(event.data) as Partial<MessageData>
  return media === undefined || messageId === undefined ? [] : [messageId]
}
