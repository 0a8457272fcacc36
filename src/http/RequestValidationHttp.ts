/** Answers a request that cannot be decoded with what is wrong, field by field. */
import { Effect, SchemaIssue } from "effect"
import type { Layer } from "effect"
import { HttpApiMiddleware } from "effect/http-api"
import type { HttpApiError } from "effect/http-api"
import { InternalError, RequestInvalid, RequestValidation } from "../contracts/Failures.ts"
import type { RequestIssue } from "../contracts/Failures.ts"

/** Enough to fix a request by. A body can be wrong in a million places, so there is a bound. */
const issuesShown = 20

export const layer: Layer.Layer<RequestValidation> = HttpApiMiddleware.layerSchemaErrorTransform(
  RequestValidation,
  (error, { endpoint }) =>
    error.kind === "Body" || error.kind === "ResponseHeaders"
      // Our own answer does not match its contract.
      ? Effect.andThen(
        Effect.logError(`The answer of ${endpoint.method} ${endpoint.path} does not fit its contract`, error.cause),
        Effect.fail(InternalError.of())
      )
      : Effect.fail(RequestInvalid.of(listIssues(error)))
)

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const listIssues = (error: HttpApiError.HttpApiSchemaError): ReadonlyArray<RequestIssue> =>
  format(error.cause.issue).issues.slice(0, issuesShown).map(({ message, path }) => ({
    path: [error.kind.toLowerCase(), ...(path ?? []).map(formatSegment)],
    message
  }))

const formatSegment = (segment: PropertyKey | { readonly key: PropertyKey }): string | number => {
  const key = typeof segment === "object" ? segment.key : segment
  return typeof key === "number" ? key : String(key)
}
