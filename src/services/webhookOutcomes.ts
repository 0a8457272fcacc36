/** The outcomes of a webhook: the label of the metric, the HTTP status, and the message of a refusal. */
import { Duration } from "effect"

/**
 * The largest body. A message is some KiB, one with a thumbnail some 100 KiB; gateways send references to files, not
 * the files. It is also the maximum size of one transaction of the log.
 */
export const webhookBodyMax = 4 * 1024 * 1024

/**
 * From the first byte to the answer. Gateways stop waiting after 10 s, and nobody reads a later answer. An earlier
 * refusal would be worse if the database is unavailable for a moment: a gateway tries a few times at growing
 * intervals, so with slow answers its attempts cover a longer time.
 */
export const webhookAnswerMax = Duration.seconds(8)

export const webhookOutcomes = {
  accepted: { status: 200, message: null },
  /** Everything in it was in the log before. */
  repeated: { status: 200, message: null },
  "gateway-unknown": { status: 404, message: "There is no gateway of this name that sends webhooks" },
  "slot-unknown": { status: 404, message: "No device holds this slot of the gateway" },
  "device-inactive": { status: 404, message: "The device of this slot is deactivated" },
  unsigned: { status: 401, message: "The signature does not verify" },
  /** This side has no secret to verify with. The answer reveals no more to the sender than a wrong signature. */
  "no-secret": { status: 401, message: "The signature does not verify" },
  /** Signed with the secret of a device, but about another one. */
  "wrong-device": { status: 401, message: "The signature does not verify" },
  unreadable: { status: 422, message: "The body is signed, and could not be read" },
  "gateway-unusable": { status: 503, message: "This process cannot use the gateway now" },
  "no-room": { status: 503, message: "The log has no room now; try again" },
  "no-database": { status: 503, message: "The database does not answer; try again" },
  "too-late": { status: 503, message: "The events could not be committed in time; try again" },
  busy: { status: 503, message: "Too many webhooks at once; try again" },
  "too-large": { status: 413, message: `A webhook may have ${webhookBodyMax} bytes` },
  "too-slow": { status: 408, message: "The body did not arrive in time" },
  encoded: { status: 415, message: "Send the body as it was signed, without Content-Encoding" },
  broken: { status: 400, message: "The body broke off" }
} as const satisfies Readonly<Record<string, { readonly status: number; readonly message: string | null }>>

export type WebhookOutcome = keyof typeof webhookOutcomes
