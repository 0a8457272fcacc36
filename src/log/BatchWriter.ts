/**
 * Writes one batch, with retries until it is written. While the store is unavailable, the batch is retried forever. A
 * batch that the store refuses for its data is halved until the offending entry is alone, and a `frame.rejected`
 * replaces it. If the store refuses that too, the data was not the reason: the original is retried as during an outage.
 */
import { Cause, Effect, Exit, Fiber, Option, Schedule } from "effect"
import type { Clock } from "effect"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { LoggedEvent } from "../domain/Event.ts"
import type { EventId } from "../domain/Ids.ts"
import type { EventTraces } from "../services/EventTraces.ts"
import { complete, findCut, groupEntries, refuse, settleEffects } from "./AppendQueue.ts"
import type { Entry } from "./AppendQueue.ts"
import type { CursorMoves } from "./CursorMoves.ts"
import { conflicting, renameMessage, unreadable } from "./PreparedDraft.ts"
import type { BatchRefused, CursorMove, FloorAboveHead, LogStore, PreparedDraft, WriteResult } from "./LogStore.ts"
import type { Knowledge, LogTail } from "./LogTail.ts"
import type { LogHealth } from "./LogHealth.ts"
import type { LogRecorder } from "./logRecorder.ts"

/**
 * Quick at first, since most failures are one dead connection; then every two seconds, a rate that a restarting
 * database can bear.
 */
const storeRetry = Schedule.min([Schedule.exponential("50 millis", 2), Schedule.spaced("2 seconds")]).pipe(
  Schedule.jittered
)

/** The store, and everything else that a written batch updates. */
interface BatchSurroundings {
  readonly store: LogStore["Service"]
  readonly moves: CursorMoves
  readonly tail: LogTail
  readonly record: LogRecorder
  readonly health: LogHealth
  readonly clock: Clock.Clock
  readonly makeId: () => EventId
  readonly traces: EventTraces | null
  readonly runFork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  /** After a defect of this program. Completes once the writer may continue. */
  readonly recover: (defect: unknown) => Effect.Effect<void>
}

/** What was known about the log when the request was sent, and the store's answer. */
interface Answer {
  readonly asked: Knowledge
  readonly result: WriteResult
}

/** Returns the entries that must be written again with other content: conflicts that became `frame.rejected`. */
type WriteBatch = (
  entries: ReadonlyArray<Entry>,
  piggybacked: ReadonlyArray<CursorMove>
) => Effect.Effect<ReadonlyArray<Entry>>

export interface BatchWriter {
  /**
   * Writes one batch, and calls `done` once, with the entries that must be written again. Plain code as long as the
   * store accepts the batch at the first attempt, since a batch may be a single event.
   */
  readonly write: (
    entries: ReadonlyArray<Entry>,
    piggybacked: ReadonlyArray<CursorMove>,
    done: (again: ReadonlyArray<Entry>) => void
  ) => void
  /** Abandons the batch that is being written; `done` is not called. */
  readonly interrupt: Effect.Effect<void>
}

export const makeBatchWriter = (
  { clock, health, makeId, moves, record, recover, runFork, store, tail, traces }: BatchSurroundings
): BatchWriter => {
  const trace = (traces: EventTraces, event: LoggedEvent, { arrivedAt }: Entry): void => {
    const to = clock.currentTimeNanosUnsafe()
    traces.committed(event, { from: to - (clock.monotonicTimeNanosUnsafe() - arrivedAt), to })
  }

  /** Publishes the committed events, completes their callers, and returns the entries that must be written again. */
  const settle = (batch: ReadonlyArray<Entry>, { asked, result }: Answer): ReadonlyArray<Entry> => {
    // One entry per result: a group of effects alone has no result.
    const entries = batch.length === result.written.length ? batch : batch.filter((entry) => entry.draft !== null)
    const fresh: Array<LoggedEvent> = []
    const again: Array<Entry> = []
    let duplicates = 0
    result.written.forEach((written, index) => {
      const entry = entries[index]!
      if (written._tag === "Conflict") {
        entry.draft = conflicting(entry.draft!, makeId())
        entry.replaced = true
        entry.group = null
        again.push(entry)
      } else if (written._tag === "Duplicate") {
        duplicates++
      } else if (written._tag === "Committed" && written.fresh) {
        const event = loggedFrom(entry.draft!, written.seq, result.recordedAt, result.named.get(index))
        fresh.push(event)
        if (traces?.sampled(event.id) === true) trace(traces, event, entry)
      }
    })
    // Before this batch, the head was lower by the number of new events. If it was below the known head, numbers were
    // assigned again.
    if (tail.observe(asked, result, result.head - fresh.length) !== "stale") {
      tail.push(fresh)
      tail.advance(result.head)
    }
    tail.writeEnds()
    result.written.forEach((written, index) => {
      if (written._tag === "Committed") complete(entries[index]!, { _tag: "Committed", seq: written.seq })
      else if (written._tag === "Duplicate") complete(entries[index]!, { _tag: "Duplicate" })
      else if (written._tag === "Fenced") refuse(entries[index]!)
    })
    if (entries !== batch) settleEffects(batch, result.refused)
    // Last: a metric that fails must not leave a caller without its result.
    record.batch(batch, fresh, { duplicates, conflicts: again.length }, clock.monotonicTimeNanosUnsafe())
    return again
  }

  /** The head must be known before the first write: repeats are searched only above it. */
  const readHead = Effect.suspend(() => {
    const asked = tail.now
    return Effect.map(store.bounds, (seen) => {
      if (tail.observe(asked, seen) === "same") tail.advance(seen.head)
    })
  })

  /** An entry keeps the floor of its first attempt: a later attempt may follow a commit whose answer was lost. */
  const lowestFloor = (entries: ReadonlyArray<Entry>): number => {
    let floor = tail.head
    for (const entry of entries) {
      entry.floor ??= tail.head
      floor = Math.min(floor, entry.floor)
    }
    return floor
  }

  /** The log went back below the floor, so no attempt of these entries is in it. */
  const lowerFloor = (entries: ReadonlyArray<Entry>, asked: Knowledge, error: FloorAboveHead): void => {
    for (const entry of entries) entry.floor = error.head
    tail.observe(asked, error)
    tail.writeEnds()
  }

  /** The request to the store. */
  const makeWrite = (entries: ReadonlyArray<Entry>, piggybacked: ReadonlyArray<CursorMove>, { anchor }: Knowledge) =>
    store.write({
      groups: groupEntries(entries),
      moves: piggybacked,
      floor: lowestFloor(entries),
      anchor: anchor.seq
    })

  type WriteCause = Cause.Cause<StorageUnavailable | BatchRefused | FloorAboveHead>

  const noteFailure = (entries: ReadonlyArray<Entry>, asked: Knowledge, cause: WriteCause): void => {
    const error = Option.getOrNull(Cause.findErrorOption(cause))
    if (error?._tag === "FloorAboveHead") lowerFloor(entries, asked, error)
    else tail.writeEnds()
  }

  /** Sends one request to the store. */
  const attempt = (entries: ReadonlyArray<Entry>, piggybacked: ReadonlyArray<CursorMove>) => {
    const write = Effect.suspend(() => {
      const asked = tail.writeBegins()
      return Effect.matchCauseEffect(makeWrite(entries, piggybacked, asked), {
        onSuccess: (result): Effect.Effect<Answer> => {
          health.written()
          return Effect.succeed({ asked, result })
        },
        onFailure: (cause) => {
          noteFailure(entries, asked, cause)
          return Effect.failCause(cause)
        }
      })
    })
    return Effect.suspend(() => tail.known ? write : Effect.andThen(readHead, write))
  }

  const writeUntilTaken = (
    entries: ReadonlyArray<Entry>,
    piggybacked: ReadonlyArray<CursorMove>
  ): Effect.Effect<Answer, BatchRefused> =>
    Effect.catchCause(attempt(entries, piggybacked), (cause) => writeAgain(entries, piggybacked, cause))

  /** Retries after the failure of a first attempt. */
  const writeAgain = (
    entries: ReadonlyArray<Entry>,
    piggybacked: ReadonlyArray<CursorMove>,
    first: WriteCause
  ): Effect.Effect<Answer, BatchRefused> => {
    let failures = 0
    let begun = false
    return Effect.suspend(() => {
      if (begun) return attempt(entries, piggybacked)
      begun = true
      return Effect.failCause(first)
    }).pipe(
      Effect.catchDefect((defect) =>
        Effect.andThen(
          Effect.logError("A defect while writing the log", defect),
          Effect.fail(StorageUnavailable.of("append to the log", "a defect in this program; its log has the trace"))
        )
      ),
      Effect.tapError((error) =>
        error._tag !== "StorageUnavailable" ? Effect.void : Effect.suspend(() => {
          health.failed(error.message)
          record.retry()
          return failures++ === 0
            ? Effect.logWarning(
              `The log cannot be written; ${entries.length} events wait and are tried again`,
              error.message
            )
            : Effect.void
        })
      ),
      Effect.retry({ while: (error) => error._tag !== "BatchRefused", schedule: storeRetry }),
      Effect.catchTags({ StorageUnavailable: Effect.die, FloorAboveHead: Effect.die }),
      Effect.tap(() => failures === 0 ? Effect.void : Effect.logInfo("The log is written again"))
    )
  }

  const writeAll: WriteBatch = (entries, piggybacked) =>
    settleOnce(entries, piggybacked, writeUntilTaken(entries, piggybacked))

  const settleAll = (
    entries: ReadonlyArray<Entry>,
    piggybacked: ReadonlyArray<CursorMove>,
    answer: Answer
  ): ReadonlyArray<Entry> => {
    moves.settle(piggybacked, answer.result.lost)
    return settle(entries, answer)
  }

  /**
   * A refused batch is written without its cursor moves, which are written separately; then it is halved down to the
   * offender.
   */
  const settleOnce = (
    entries: ReadonlyArray<Entry>,
    piggybacked: ReadonlyArray<CursorMove>,
    taken: Effect.Effect<Answer, BatchRefused>
  ): ReturnType<WriteBatch> =>
    Effect.matchEffect(taken, {
      onSuccess: (answer) => Effect.sync(() => settleAll(entries, piggybacked, answer)),
      onFailure: (error) => {
        if (entries.length > 0 && piggybacked.length > 0) return apart(writeAll(entries, []), writeAll([], piggybacked))
        if (entries.length > 1) {
          const cut = findCut(entries)
          if (cut === 0) return writeAll(dismantle(entries), [])
          return apart(writeAll(entries.slice(0, cut), []), writeAll(entries.slice(cut), []))
        }
        const entry = entries[0]
        if (entry === undefined) return refusedMoves(piggybacked, error)
        return entry.draft === null ? dropEffects(entry, error) : writeOffender(entry, error)
      }
    })

  /**
   * A single refused entry. A `frame.rejected` is never replaced by another one: if the store refuses both, the reason
   * lies outside the data, so the original event is retried with the usual pauses until one of them can be written.
   */
  const writeOffender = (entry: Entry, refusal: BatchRefused): ReturnType<WriteBatch> => {
    const original = entry.draft!
    const standIn = entry.replaced ? original : unreadable(original, makeId(), refusal.message)
    let refused = false
    const write = (draft: PreparedDraft, replaced: boolean) =>
      Effect.tap(writeUntilTaken([{ ...entry, draft }], []), () =>
        Effect.sync(() => {
          entry.draft = draft
          entry.replaced = replaced
        }))
    const writeStandIn = Effect.tap(
      write(standIn, true),
      () => Effect.logWarning("An event that the store refuses is kept as frame.rejected", refusal.message)
    )
    const either = entry.replaced
      ? write(original, true)
      : Effect.catchTag(write(original, false), "BatchRefused", () => writeStandIn)
    return either.pipe(
      Effect.tapError((error) => {
        health.failed(error.message)
        record.retry()
        if (refused) return Effect.void
        refused = true
        return Effect.logError(
          "The store refuses an event and its frame.rejected alike; the event waits",
          error.message
        )
      }),
      Effect.retry(storeRetry),
      Effect.orDie,
      Effect.map((answer) => settle([entry], answer))
    )
  }

  /**
   * Effects without events come from this program and are checked before they are queued: a refusal by the store is a
   * defect.
   */
  const dropEffects = (entry: Entry, error: BatchRefused): ReturnType<WriteBatch> =>
    Effect.andThen(
      Effect.logError("The store refuses effects that no event carries; they are dropped", error.message),
      Effect.sync(() => {
        entry.answered = true
        entry.waiter?.failed(error)
        return []
      })
    )

  /** A reader whose cursor the store refuses to move must claim it again, and continues from the durable position. */
  const refusedMoves = (piggybacked: ReadonlyArray<CursorMove>, error: BatchRefused): ReturnType<WriteBatch> => {
    if (piggybacked.length > 1) return Effect.as(Effect.forEach(piggybacked, (move) => writeAll([], [move])), [])
    return Effect.andThen(
      Effect.logError("The store refuses to move a cursor; its reader must claim it anew", error.message),
      Effect.sync(() => {
        moves.settle(piggybacked, [0])
        return []
      })
    )
  }

  /** The batch that is being written; null between batches. */
  let running: Fiber.Fiber<unknown, unknown> | null = null
  let interrupted = false

  const run = <A, E>(effect: Effect.Effect<A, E>, ended: (exit: Exit.Exit<A, E>) => void): void => {
    const fiber = runFork(effect)
    running = fiber
    fiber.addObserver((exit) => {
      if (running === fiber) running = null
      ended(exit)
    })
  }

  /** The slow path: an outage, a refusal or a defect. Writing a known event again returns its number. */
  const writeSlowly = (
    entries: ReadonlyArray<Entry>,
    writing: ReturnType<WriteBatch>,
    done: (again: ReadonlyArray<Entry>) => void
  ): void => {
    const rescued = Effect.catchDefect(
      writing,
      (defect) => Effect.as(recover(defect), entries.filter((entry) => !entry.answered))
    )
    run(rescued, (exit) => {
      if (Exit.isSuccess(exit)) done(exit.value)
      else if (!interrupted) writeSlowly(entries, Effect.die(Cause.squash(exit.cause)), done)
    })
  }

  const write: BatchWriter["write"] = (entries, piggybacked, done) => {
    if (!tail.known) return writeSlowly(entries, writeAll(entries, piggybacked), done)
    const asked = tail.writeBegins()
    run(Effect.suspend(() => makeWrite(entries, piggybacked, asked)), (exit) => {
      if (Exit.isSuccess(exit)) {
        health.written()
        let again: ReadonlyArray<Entry>
        try {
          again = settleAll(entries, piggybacked, { asked, result: exit.value })
        } catch (defect) {
          return writeSlowly(entries, Effect.die(defect), done)
        }
        return done(again)
      }
      noteFailure(entries, asked, exit.cause)
      if (interrupted) return
      writeSlowly(entries, settleOnce(entries, piggybacked, writeAgain(entries, piggybacked, exit.cause)), done)
    })
  }

  const interrupt = Effect.suspend(() => {
    interrupted = true
    return running === null ? Effect.void : Fiber.interrupt(running)
  })

  return { write, interrupt }
}

/**
 * If the store refuses a group for the data of one draft, the drafts are committed one by one, so that one unwritable
 * event does not lose the others. Its effects go with the last draft.
 */
const dismantle = (entries: ReadonlyArray<Entry>): ReadonlyArray<Entry> => {
  entries.forEach((entry, index) => {
    const group = entry.group!
    const effects = index === entries.length - 1 ? group.effects : []
    entry.group = { fence: group.fence, effects, events: 1, bytes: entry.draft!.bytes }
  })
  return entries
}

/** Runs both in order. Returns the entries that either of them must write again. */
const apart = (first: ReturnType<WriteBatch>, second: ReturnType<WriteBatch>): ReturnType<WriteBatch> =>
  Effect.zipWith(first, second, (early, late) => [...early, ...late])

const loggedFrom = (
  draft: PreparedDraft,
  seq: number,
  recordedAt: string,
  messageId: string | undefined
): LoggedEvent => ({
  seq,
  id: draft.id,
  kind: draft.kind,
  deviceId: draft.deviceId,
  occurredAt: draft.occurredAt,
  recordedAt,
  via: draft.via,
  data: messageId === undefined ? draft.data : renameMessage(draft.data, messageId),
  bytes: draft.dataBytes
})
