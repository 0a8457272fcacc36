/**
 * Hears of the commits of other processes. An append signals only while a process other than its own has a lease to be
 * told, since a signal costs as much as a small batch. The lease is taken after listening has begun and under the append's
 * lock (`columba_listen_v1`): whatever was committed without a signal before it, the null that follows makes the reader
 * ask for. A process that dies without a word costs the others their signals until its lease ends.
 */
import { randomUUID } from "node:crypto"
import { Duration, Effect, Schedule, Stream } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { makeAnswered } from "./Migrations.ts"

/** As the append function names it. */
export const channel = "columba_log"

export const erasedSignal = "erased"

/** By the database's clock. Two renewals may fail in a row. */
const lease = Duration.seconds(60)

/** Each renewal leaves a version of a row behind: 180 in an hour, if nothing removes them for so long. */
const renewIntervalUsual = Duration.seconds(20)

/** A renewal that failed: the connection is gone, or the database. */
const renewAgain = Duration.seconds(1)

export interface CommitSignals {
  /** By which the appends of this process know its own lease; null where there are no other processes. */
  readonly listener: string | null
  /** As `LogStore.commits`. */
  readonly commits: Stream.Stream<number | typeof erasedSignal | null>
}

export const makeCommitSignals = Effect.fnUntraced(function*(renewInterval: Duration.Duration = renewIntervalUsual) {
  const signals = yield* DatabaseSignals
  if (!signals.shared) return { listener: null, commits: Stream.empty } satisfies CommitSignals
  const sql = yield* SqlClient.SqlClient
  const answered = yield* makeAnswered
  const listener = randomUUID()

  /** Whether the lease has been unbroken since the last time. */
  const renew = sql.unsafe<{ readonly kept: boolean }>(
    "select columba_listen_v1($1, $2) as kept",
    [PgTypes.text(listener), PgTypes.float8(Duration.toMillis(lease))]
  ).pipe(Effect.map((rows) => rows[0]!.kept), answered("ask to be told of commits"))

  const heard = Stream.mapEffect(signals.listen(channel), (payload) =>
    payload === null
      // One that fails is repeated below, which ends with a null of its own.
      ? Effect.as(Effect.ignore(renew), null)
      : Effect.succeed(readSignal(payload)))

  const renewals = Effect.andThen(
    Effect.sleep(renewInterval),
    Effect.retry(renew, { schedule: Schedule.spaced(renewAgain) })
  )
  const broken = Stream.fromEffectRepeat(Effect.orDie(renewals)).pipe(
    Stream.filter((kept) => !kept),
    Stream.map(() => null)
  )
  return { listener, commits: Stream.merge(heard, broken) } satisfies CommitSignals
})

/** Every program that may connect may send anything on the channel. What is no number is a reason to ask for the head. */
const readSignal = (payload: string): number | typeof erasedSignal | null => {
  if (payload === erasedSignal) return erasedSignal
  return /^\d{1,15}$/.test(payload) ? Number(payload) : null
}
