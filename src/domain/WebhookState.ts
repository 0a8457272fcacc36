/**
 * The state of a device's webhook at its gateway.
 * `set`: the gateway posts the device's events to Columba, as it last confirmed. `pending`: it was not asked yet.
 * `failed`: it did not answer; it is asked again. `unsupported`: the gateway cannot set a webhook for one device.
 * `no-address`: the URL under which gateways reach Columba is not configured. `no-secret`: there is no key from which
 * to derive a secret.
 */
import { Schema } from "effect"
import { Timestamp } from "./Ids.ts"

export const WebhookStatus = Schema.Literals(["set", "pending", "failed", "unsupported", "no-address", "no-secret"])
export type WebhookStatus = typeof WebhookStatus.Type

export const WebhookState = Schema.Struct({
  status: WebhookStatus,
  /** When the gateway was last asked. */
  checkedAt: Schema.NullOr(Timestamp),
  /** Why the attempt failed. */
  detail: Schema.NullOr(Schema.String)
}).annotate({ identifier: "WebhookState", description: "The state of a device's webhook at its gateway" })
export type WebhookState = typeof WebhookState.Type
