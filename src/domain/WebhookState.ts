/**
 * How the webhook of a device stands at its gateway.
 *
 * `set`: the gateway posts the device's events to us, as it said when it was last asked. `pending`: it was not asked
 * yet. `failed`: it did not answer; it is asked again. `unsupported`: it cannot be told for one device.
 * `no-address`: nobody has said where gateways reach us. `no-secret`: there is no key to make a secret from.
 */
import { Schema } from "effect"
import { Timestamp } from "./Ids.ts"

export const WebhookStatus = Schema.Literals(["set", "pending", "failed", "unsupported", "no-address", "no-secret"])
export type WebhookStatus = typeof WebhookStatus.Type

export const WebhookState = Schema.Struct({
  status: WebhookStatus,
  /** When the gateway was last asked. */
  checkedAt: Schema.NullOr(Timestamp),
  /** Why it failed. */
  detail: Schema.NullOr(Schema.String)
}).annotate({ identifier: "WebhookState", description: "How the webhook of a device stands at its gateway" })
export type WebhookState = typeof WebhookState.Type
