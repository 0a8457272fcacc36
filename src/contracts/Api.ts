/**
 * The public HTTP API. Unknown fields of a request are refused: a misspelt filter must not quietly become no filter.
 * The order of the middlewares matters: authorization is outermost, so that nobody without a key learns what we accept.
 */
import { HttpApi, OpenApi } from "effect/http-api"
import { HttpAuthorization } from "./Authorization.ts"
import { DevicesApi } from "./DevicesApi.ts"
import { EventsApi } from "./EventsApi.ts"
import { RequestValidation } from "./Failures.ts"
import { MessagesApi } from "./MessagesApi.ts"

export const apiPrefix = "/api/v1"

export const Api = HttpApi.make("columba")
  .add(DevicesApi, MessagesApi, EventsApi)
  .prefix(apiPrefix)
  .middleware(RequestValidation)
  .middleware(HttpAuthorization)
  .annotate(HttpApi.PayloadParseOptions, { onExcessProperty: "error", errors: "all" })
  .annotate(HttpApi.QueryParseOptions, { onExcessProperty: "error", errors: "all" })
  .annotate(OpenApi.Title, "Columba")
  .annotate(OpenApi.Version, "1")
  .annotate(
    OpenApi.Description,
    "Keeps a fleet of WhatsApp devices connected and turns what they hear into a durable, replayable event log."
  )
