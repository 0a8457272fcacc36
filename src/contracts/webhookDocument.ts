/**
 * The OpenAPI documentation of `POST /webhooks/{gateway}`. It is not an operation of the table: gateways call it and
 * clients do not, its body has the form of the gateway, and a signature replaces the API key.
 */
import { gateway } from "./examples.ts"

const receipt = { $ref: "#/components/schemas/WebhookReceipt" }
const refusal = { $ref: "#/components/schemas/WebhookRefused" }

const refused = (description: string) => ({
  description,
  content: { "application/json": { schema: refusal } }
})

export const webhookSchemas = {
  WebhookReceipt: {
    type: "object",
    required: ["status"],
    additionalProperties: false,
    properties: { status: { type: "string", enum: ["accepted", "repeated"] } },
    description: "The events of the webhook are in the log; `repeated`: all of them were in the log before"
  },
  WebhookRefused: {
    type: "object",
    required: ["_tag", "message"],
    additionalProperties: false,
    properties: { _tag: { type: "string" }, message: { type: "string" } },
    description: "Nothing is promised about the webhook"
  }
} as const

export const webhookPaths = {
  "/webhooks/{gateway}": {
    post: {
      tags: ["webhooks"],
      operationId: "webhooks.receive",
      summary: "Receive an event of a gateway",
      description:
        "Gateways post their events here, with the body and signature of their dialect: an HMAC over the raw body, with " +
        "the webhook secret of the gateway, or with the secret of the device that `device` names. Answered with 200 " +
        "only after the events are committed. A 503, at once or within 8 s, means that they are not: the gateway " +
        "must try again. Repeats are recognised.",
      security: [],
      parameters: [
        {
          name: "gateway",
          in: "path",
          required: true,
          description: "The name of the gateway",
          schema: { type: "string" },
          example: gateway.name
        },
        {
          name: "device",
          in: "query",
          required: false,
          description: "The device whose secret signs; part of the address that Columba sets at a gateway",
          schema: { type: "string" },
          example: "dev_01K5ZQ4J7V8XW2M3N6P9R0S1T4"
        }
      ],
      requestBody: {
        required: true,
        description: "The gateway's event, in its dialect",
        content: { "application/json": { schema: { type: "object" }, example: { event: "message", payload: {} } } }
      },
      responses: {
        200: {
          description: "Committed",
          content: { "application/json": { schema: receipt, example: { status: "accepted" } } }
        },
        400: refused("The body broke off"),
        401: refused("The signature does not verify"),
        404: refused("No gateway of this name sends webhooks, or no active device holds the slot"),
        408: refused("The body did not arrive in time"),
        413: refused("The body is too large"),
        415: refused("The body is compressed: the signature is over what was signed"),
        422: refused("The body is signed and could not be read, and names no device"),
        503: refused("Not committed: the log has no room, the database does not answer, or too many webhooks at once")
      }
    }
  }
} as const

export const webhookTag = { name: "webhooks", description: "What gateways post to Columba." } as const
