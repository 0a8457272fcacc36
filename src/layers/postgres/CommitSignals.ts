/**
 * Receives signals of other processes' commits. An append signals only while a process other than its own has a lease to
 * receive them, since a signal costs as much as a small batch. The lease is taken after listening has begun and under the
 * append's lock (`columba_listen_v1`). Commits without a signal before that are found because the reader asks for the head on
 * the null that follows. A process that dies without releasing its lease costs the others their signals until it ends.
 */
import { randomUUID } from "node:crypto"
import { Duration, Effect, Schedule, Stream } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { makeAnswered } from "./Migrations.ts"

/** The name that the append function uses. */
export const channel = "columba_log"

export const erasedSignal = "erased"

/** By the database's clock. Two consecutive renewals may fail. */
const lease = Duration.seconds(60)

/** Each renewal leaves a dead row version: 180 in an hour without a vacuum. */
const renewIntervalUsual = Duration.seconds(20)

/** After a failed renewal: the connection is gone, or the database. */
const renewAgain = Duration.seconds(1)

export interface CommitSignals {
  /** Identifies this process's lease to its own appends; null where there are no other processes. */
  readonly listener: string | null
  /** See `LogStore.commits`. */
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
  ).pipe(Effect.map((rows) => rows[0]!.kept), answered("ask for signals of commits"))

  const received = Stream.mapEffect(signals.listen(channel), (payload) =>
    payload === null
      // A failed renewal is repeated below, which ends with its own null.
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
  return { listener, commits: Stream.merge(received, broken) } satisfies CommitSignals
})

/** Every program that may connect may send anything on the channel. A payload that is no number makes the reader ask for the head. */
const readSignal = (payload: string): number | typeof erasedSignal | null => {
  if (payload === erasedSignal) return erasedSignal
  return /^\d{1,15}$/.test(payload) ? Number(payload) : null
}
