/**
 * Writes one batch until it is written: tries again for ever while the store is away, halves what the store refuses
 * for its data until the offender stands alone, and puts a `frame.rejected` in the place of what cannot go in.
 */
import { Effect, Schedule } from "effect"
import type { Clock } from "effect"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { LoggedEvent } from "../domain/Event.ts"
import type { EventId } from "../domain/Ids.ts"
import { complete } from "./AppendQueue.ts"
import type { Entry } from "./AppendQueue.ts"
import type { CursorMoves } from "./CursorMoves.ts"
import { conflicting, unreadable } from "./PreparedDraft.ts"
import type { BatchRefused, CursorMove, LogStore, PreparedDraft, WriteResult } from "./LogStore.ts"
import type { LogTail } from "./LogTail.ts"
import type { LogRecorder } from "./logRecorder.ts"

/** Quick at first, since most failures are one dead connection; then once in two seconds, to leave a restart in peace. */
const storeRetry = Schedule.min([Schedule.exponential("50 millis", 2), Schedule.spaced("2 seconds")]).pipe(
  Schedule.jittered
)

/** What a batch touches besides the store. */
export interface BatchSurroundings {
  readonly store: LogStore["Service"]
  readonly moves: CursorMoves
  readonly tail: LogTail
  readonly record: LogRecorder
  readonly clock: Clock.Clock
  readonly makeId: () => EventId
}

/** Returns the entries that must be written once more, as something else: repeats with other content. */
export type WriteBatch = (
  entries: ReadonlyArray<Entry>,
  piggybacked: ReadonlyArray<CursorMove>
) => Effect.Effect<ReadonlyArray<Entry>>

export const makeBatchWriter = ({ clock, makeId, moves, record, store, tail }: BatchSurroundings): WriteBatch => {
  /** One transaction's answer: publishes what is new, answers who waits, returns what must be written once more. */
  const settle = (entries: ReadonlyArray<Entry>, result: WriteResult): ReadonlyArray<Entry> => {
    const fresh: Array<LoggedEvent> = []
    const again: Array<Entry> = []
    let duplicates = 0
    result.written.forEach((written, index) => {
      const entry = entries[index]!
      if (written._tag === "Conflict") {
        entry.draft = conflicting(entry.draft!, makeId())
        entry.replaced = true
        again.push(entry)
      } else if (written._tag === "Duplicate") {
        duplicates++
      } else if (written.fresh) {
        fresh.push(loggedFrom(entry.draft!, written.seq, result.recordedAt))
      }
    })
    tail.push(fresh)
    tail.advance(result.head)
    tail.writeEnds()
    result.written.forEach((written, index) => {
      if (written._tag === "Committed") complete(entries[index]!, { _tag: "Committed", seq: written.seq })
      else if (written._tag === "Duplicate") complete(entries[index]!, { _tag: "Duplicate" })
    })
    // Last: a figure that fails leaves nobody without an answer.
    record.batch(entries, fresh, { duplicates, conflicts: again.length }, clock.currentTimeNanosUnsafe())
    return again
  }

  const writeUntilTaken = (drafts: ReadonlyArray<PreparedDraft>, piggybacked: ReadonlyArray<CursorMove>) => {
    let failures = 0
    return Effect.suspend(() => {
      tail.writeBegins()
      return store.write(drafts, piggybacked)
    }).pipe(
      Effect.onError(() => Effect.sync(() => tail.writeEnds())),
      Effect.catchDefect((defect) =>
        Effect.andThen(
          Effect.logError("A defect while writing the log", defect),
          Effect.fail(StorageUnavailable.of("append to the log"))
        )
      ),
      Effect.tapError((error) =>
        error._tag === "BatchRefused" ? Effect.void : Effect.suspend(() => {
          record.retry()
          return failures++ === 0
            ? Effect.logWarning(`The log can not be written; ${drafts.length} events wait and are tried again`)
            : Effect.void
        })
      ),
      Effect.retry({ while: (error) => error._tag === "StorageUnavailable", schedule: storeRetry }),
      Effect.catchTag("StorageUnavailable", Effect.die),
      Effect.tap(() => failures === 0 ? Effect.void : Effect.logInfo("The log is written again"))
    )
  }

  /** Cursors go apart from a refused batch; it is halved until the offender stands alone, kept as `frame.rejected`. */
  const writeAll: WriteBatch = (entries, piggybacked) =>
    Effect.matchEffect(writeUntilTaken(entries.map((entry) => entry.draft!), piggybacked), {
      onSuccess: (result) =>
        Effect.sync(() => {
          moves.settle(piggybacked, result.lost)
          return settle(entries, result)
        }),
      onFailure: (error) => {
        if (entries.length > 0 && piggybacked.length > 0) return apart(writeAll(entries, []), writeAll([], piggybacked))
        if (entries.length > 1) {
          const half = entries.length >> 1
          return apart(writeAll(entries.slice(0, half), []), writeAll(entries.slice(half), []))
        }
        const entry = entries[0]
        if (entry === undefined) return refusedMoves(piggybacked, error)
        entry.draft = unreadable(entry.draft!, makeId(), error.message)
        entry.replaced = true
        return Effect.andThen(
          Effect.logWarning("An event that the store refuses is kept as frame.rejected", error.message),
          writeAll([entry], [])
        )
      }
    })

  /** Whoever moves a cursor to where the store lets it not go must claim it anew, and reads on from what is durable. */
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

  return writeAll
}

/** One after the other, in order; both write again what either must. */
const apart = (first: ReturnType<WriteBatch>, second: ReturnType<WriteBatch>): ReturnType<WriteBatch> =>
  Effect.zipWith(first, second, (early, late) => [...early, ...late])

const loggedFrom = (draft: PreparedDraft, seq: number, recordedAt: string): LoggedEvent => ({
  seq,
  id: draft.id,
  kind: draft.kind,
  deviceId: draft.deviceId,
  occurredAt: draft.occurredAt,
  recordedAt,
  via: draft.via,
  data: draft.data
})
