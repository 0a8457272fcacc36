/** What a failed statement means to the callers of our ports. */
import { Effect } from "effect"
import { SqlError } from "effect/sql"
import { StorageUnavailable } from "../../domain/DeviceErrors.ts"

const codeOf = (error: SqlError.SqlError): string => {
  const cause = error.reason.cause as { readonly code?: unknown } | undefined
  return typeof cause?.code === "string" ? cause.code : ""
}

/**
 * Whether the data itself is at fault, so that a repeat fails alike: data exceptions (class 22), constraints (23),
 * limits such as an over-long index entry or JSON nested too deeply (54), and values the driver cannot encode.
 */
export const isDataError = (error: SqlError.SqlError): boolean => {
  const reason = error.reason
  if (reason._tag === "UniqueViolation" || reason._tag === "ConstraintError") return true
  if (reason._tag !== "UnknownError") return false
  const code = codeOf(error)
  return code.startsWith("22") || code.startsWith("54") || reason.message?.includes("Failed to encode query") === true
}

/** One word of why, without the statement or its values. */
export const describe = (error: SqlError.SqlError): string => {
  const code = codeOf(error)
  return code === "" ? error.reason._tag : `${error.reason._tag}, SQLSTATE ${code}`
}

/** The cause stays in our log; the caller learns that nothing was changed. */
export const unavailable = (operation: string) =>
<A, E, R>(
  effect: Effect.Effect<A, E | SqlError.SqlError, R>
): Effect.Effect<A, Exclude<E, SqlError.SqlError> | StorageUnavailable, R> =>
  Effect.catchIf(
    effect,
    (error): error is Extract<E | SqlError.SqlError, SqlError.SqlError> => SqlError.isSqlError(error),
    (error) =>
      Effect.andThen(
        Effect.logDebug(`The database did not ${operation}: ${describe(error)}`),
        Effect.fail(StorageUnavailable.of(operation))
      )
  ) as Effect.Effect<A, Exclude<E, SqlError.SqlError> | StorageUnavailable, R>
