/**
 * The public HTTP API, derived from the table of operations. Unknown fields of a request are refused: a misspelt
 * filter must not silently mean no filter. The order of the middlewares matters: authorization is outermost, so that a
 * caller without a key learns nothing about the form of a request.
 */
import { Array } from "effect"
import { HttpApi, HttpApiGroup, OpenApi } from "effect/http-api"
import { HttpAuthorization } from "./Authorization.ts"
import { deadLetterOperations } from "./DeadLetterOperations.ts"
import { deviceOperations } from "./DeviceOperations.ts"
import { eventsEndpoint } from "./EventOperations.ts"
import { uploadEndpoint } from "./FileEndpoint.ts"
import { gapOperations } from "./GapOperations.ts"
import { gatewayOperations } from "./GatewayOperations.ts"
import { RequestValidation } from "./Failures.ts"
import { keyOperations } from "./KeyOperations.ts"
import { loginOperations, qrPngEndpoint, qrSvgEndpoint } from "./LoginOperations.ts"
import { mediaEndpoint } from "./MediaEndpoint.ts"
import { messageOperations } from "./MessageOperations.ts"
import { complete } from "./openApi.ts"
import { apiPrefix } from "./Operation.ts"
import { scheduleOperations } from "./ScheduleOperations.ts"
import { serverOperations } from "./ServerOperations.ts"
import { subscriptionOperations } from "./SubscriptionOperations.ts"

export const Api = HttpApi.make("columba")
  .add(
    HttpApiGroup.make("devices").add(
      ...Array.map([...deviceOperations, ...loginOperations] as const, ({ endpoint }) => endpoint)
    ).annotate(
      OpenApi.Description,
      "WhatsApp accounts that are kept connected."
    ),
    HttpApiGroup.make("qr").add(qrPngEndpoint, qrSvgEndpoint).annotate(
      OpenApi.Description,
      "The QR codes of logins as pictures."
    ),
    HttpApiGroup.make("gateways").add(...Array.map(gatewayOperations, ({ endpoint }) => endpoint)).annotate(
      OpenApi.Description,
      "The servers that hold the connections to WhatsApp."
    ),
    HttpApiGroup.make("messages").add(...Array.map(messageOperations, ({ endpoint }) => endpoint)).annotate(
      OpenApi.Description,
      "Stored messages, incoming and outgoing."
    ),
    HttpApiGroup.make("files").add(uploadEndpoint).annotate(OpenApi.Description, "Files to send."),
    HttpApiGroup.make("schedules").add(...Array.map(scheduleOperations, ({ endpoint }) => endpoint)).annotate(
      OpenApi.Description,
      "Messages that are sent at recurring times."
    ),
    HttpApiGroup.make("media").add(mediaEndpoint).annotate(OpenApi.Description, "The files of messages."),
    HttpApiGroup.make("gaps").add(...Array.map(gapOperations, ({ endpoint }) => endpoint)).annotate(
      OpenApi.Description,
      "Intervals in which a device could not receive."
    ),
    HttpApiGroup.make("events").add(eventsEndpoint).annotate(OpenApi.Description, "The log: every fact, in order."),
    HttpApiGroup.make("subscriptions").add(...Array.map(subscriptionOperations, ({ endpoint }) => endpoint)).annotate(
      OpenApi.Description,
      "Servers that get events by HTTP."
    ),
    HttpApiGroup.make("deadLetters").add(...Array.map(deadLetterOperations, ({ endpoint }) => endpoint)).annotate(
      OpenApi.Description,
      "Incoming messages that could not be handled."
    ),
    HttpApiGroup.make("keys").add(...Array.map(keyOperations, ({ endpoint }) => endpoint)).annotate(
      OpenApi.Description,
      "Who may call, and what for."
    ),
    HttpApiGroup.make("server").add(...Array.map(serverOperations, ({ endpoint }) => endpoint)).annotate(
      OpenApi.Description,
      "The answering process."
    )
  )
  .prefix(apiPrefix)
  .middleware(RequestValidation)
  .middleware(HttpAuthorization)
  .annotate(HttpApi.PayloadParseOptions, { onExcessProperty: "error", errors: "all" })
  .annotate(HttpApi.QueryParseOptions, { onExcessProperty: "error", errors: "all" })
  .annotate(OpenApi.Title, "Columba")
  .annotate(OpenApi.Version, "1")
  .annotate(
    OpenApi.Description,
    "Keeps a fleet of WhatsApp devices connected and turns what they receive into a durable, replayable event log."
  )
  .annotate(OpenApi.Servers, [{ url: "/", description: "The server that this document came from" }])
  .annotate(OpenApi.Transform, complete)
