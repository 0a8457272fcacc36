/** The meaning of a failed statement for the callers of our ports. */
import { Duration, Effect } from "effect"
import { SqlError } from "effect/sql"
import { DirectoryLost } from "./directoryLock.ts"
import { StorageUnavailable } from "../../domain/DeviceErrors.ts"

const readCode = (error: SqlError.SqlError): string => {
  const cause = error.reason.cause as { readonly code?: unknown } | undefined
  return typeof cause?.code === "string" ? cause.code : ""
}

/**
 * Whether the data itself is at fault, so that a repeat fails too: data exceptions (class 22) and values that the
 * driver cannot encode. No other error blames the data. Constraints (23) are those of our own schema or of an operator who
 * changed it, and program limits (54) depend on the server: both can be corrected while the events wait.
 */
export const isDataError = (error: SqlError.SqlError): boolean => {
  const reason = error.reason
  if (reason._tag !== "UnknownError") return false
  return readCode(error).startsWith("22") || reason.message?.includes("Failed to encode query") === true
}

/**
 * A number of ours is already in use: no data can cause it. Another program writes the log without its lock, or the append read
 * an old head; a repeat reads it again.
 */
export const isNumberTaken = (error: SqlError.SqlError): boolean =>
  error.reason._tag === "UniqueViolation" && /^events_\d+_pkey$/.test(error.reason.constraint)

/** A table, function or column of ours does not exist (SQLSTATE 42P01, 42883, 42703). */
export const isSchemaMissing = (error: unknown): boolean =>
  SqlError.isSqlError(error) && ["42P01", "42883", "42703"].includes(readCode(error))

/** The server is starting (57P03), or has no connection left for us (53300): waiting may help. */
export const isServerBusy = (error: SqlError.SqlError): boolean => ["53300", "57P03"].includes(readCode(error))

/** The connection is gone, or the server has ended it: by an administrator (57P01), or after a crash of another one (57P02). */
export const isConnectionLost = (error: SqlError.SqlError): boolean =>
  error.reason._tag === "ConnectionError" || ["57P01", "57P02"].includes(readCode(error))

/**
 * The server is up and has refused, because it is read-only or its disk is full, for instance. Every SQLSTATE in a refusal has a
 * digit; the names of network errors in its place have none.
 */
const isRefusal = (error: SqlError.SqlError): boolean =>
  isDataError(error) || /^(?=.*\d)[\dA-Z]{5}$/.test(readCode(error)) && !isConnectionLost(error) && !isServerBusy(error)

/**
 * The client's error for settings with which it does not even try, such as a URL without a user; null where it tried.
 * The client marks these only by their text.
 */
export const readConfigFault = (error: SqlError.SqlError): string | null =>
  error.reason._tag === "ConnectionError"
    ? /^PgConnection: ((?:No username|Invalid|Unsupported|Unrecognized|Startup|Reserved) .*)$/s
      .exec(error.reason.message ?? "")?.[1] ?? null
    : null

/** The reason in one word, without the statement or its values. */
export const describe = (error: SqlError.SqlError): string => {
  if (error.reason.cause instanceof DirectoryLost) return error.reason.cause.message
  const code = readCode(error)
  return code === "" ? error.reason._tag : `${error.reason._tag}, SQLSTATE ${code}`
}

/**
 * Maximum time that a caller waits, for a connection and for earlier statements on it too: a little above the limits of a server
 * and a connection to it (Postgres.ts), so that these are noticed first and replaced.
 */
export const answerMax = Duration.seconds(15)

/** The statement may have been executed all the same. */
export const withinAnswerMax = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError.SqlError, R> =>
  Effect.timeoutOrElse(effect, { duration: answerMax, orElse: () => Effect.fail(overdue) })

export const overdue = new SqlError.SqlError({
  reason: new SqlError.StatementTimeoutError({
    cause: null,
    message: "The database did not answer in time",
    operation: "query"
  })
})

/** The cause stays in our log; the caller is informed that it may retry. */
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
        Effect.fail(StorageUnavailable.of(operation, isRefusal(error) ? describe(error) : null))
      )
  ) as Effect.Effect<A, Exclude<E, SqlError.SqlError> | StorageUnavailable, R>
