/** What a failed statement means to the callers of our ports. */
import { Effect } from "effect"
import { SqlError } from "effect/sql"
import { StorageUnavailable } from "../../domain/DeviceErrors.ts"

const readCode = (error: SqlError.SqlError): string => {
  const cause = error.reason.cause as { readonly code?: unknown } | undefined
  return typeof cause?.code === "string" ? cause.code : ""
}

/**
 * Whether the data itself is at fault, so that a repeat fails alike: data exceptions (class 22), constraints (23),
 * limits such as an over-long index entry or JSON nested too deeply (54), and values the driver cannot encode.
 */
export const isDataError = (error: SqlError.SqlError): boolean => {
  const reason = error.reason
  if (isNumberTaken(error)) return false
  if (reason._tag === "UniqueViolation" || reason._tag === "ConstraintError") return true
  if (reason._tag !== "UnknownError") return false
  const code = readCode(error)
  return code.startsWith("22") || code.startsWith("54") || reason.message?.includes("Failed to encode query") === true
}

/**
 * A number of ours was given before: no data can cause it. Something writes the log past its lock, or the append read
 * an old head; a repeat reads it again.
 */
export const isNumberTaken = (error: SqlError.SqlError): boolean =>
  error.reason._tag === "UniqueViolation" &&
  (error.reason.constraint === "events_pkey" || error.reason.constraint === "messages_seq_key")

/** One word of why, without the statement or its values. */
export const describe = (error: SqlError.SqlError): string => {
  const code = readCode(error)
  return code === "" ? error.reason._tag : `${error.reason._tag}, SQLSTATE ${code}`
}

/**
 * The longest that a caller waits, for a connection and for what is ahead on it too: a little above what a server and
 * a connection to it are given (Postgres.ts), so that these are noticed first and replaced.
 */
const answerMax = "15 seconds"

/** The statement may have been done all the same. */
export const withinAnswerMax = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
  Effect.timeoutOrElse(effect, { duration: answerMax, orElse: () => Effect.fail(overdue) })

const overdue = new SqlError.SqlError({
  reason: new SqlError.StatementTimeoutError({
    cause: null,
    message: "The database did not answer in time",
    operation: "query"
  })
})

/** The cause stays in our log; the caller learns that it may try again. */
export const unavailable = (operation: string) =>
<A, E, R>(
  effect: Effect.Effect<A, E | SqlError.SqlError, R>
): Effect.Effect<A, Exclude<E, SqlError.SqlError> | StorageUnavailable, R> =>
  Effect.catchIf(
    withinAnswerMax(effect),
    (error): error is Extract<E | SqlError.SqlError, SqlError.SqlError> => SqlError.isSqlError(error),
    (error) =>
      Effect.andThen(
        Effect.logDebug(`The database did not ${operation}: ${describe(error)}`),
        Effect.fail(StorageUnavailable.of(operation))
      )
  ) as Effect.Effect<A, Exclude<E, SqlError.SqlError> | StorageUnavailable, R>
