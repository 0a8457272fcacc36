/** Answers a request that cannot be decoded with its faults, field by field. */
import { Effect } from "effect"
import type { Layer } from "effect"
import { HttpApiMiddleware } from "effect/http-api"
import { InternalError, RequestInvalid, RequestValidation } from "../contracts/Failures.ts"

export const layer: Layer.Layer<RequestValidation> = HttpApiMiddleware.layerSchemaErrorTransform(
  RequestValidation,
  (error, { endpoint }) =>
    error.kind === "Body" || error.kind === "ResponseHeaders"
      // The server's own answer does not match its contract.
      ? Effect.andThen(
        Effect.logError(`The answer of ${endpoint.method} ${endpoint.path} does not fit its contract`, error.cause),
        Effect.fail(InternalError.of())
      )
      : Effect.fail(RequestInvalid.ofIssue(error.kind.toLowerCase(), error.cause.issue))
)
