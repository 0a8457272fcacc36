/**
 * An API key: who calls, what it may do, on which devices and until when. The key itself is given out once, by the call
 * that made it; only a digest of it is kept.
 */
import { Schema } from "effect"
import { DeviceId, Timestamp } from "./Ids.ts"

/**
 * `read`: read everything. `send`: send messages. `manage`: change devices, gateways and subscriptions. `admin`: make and
 * revoke keys, and read who has changed what. None includes another.
 */
export const Scope = Schema.Literals(["read", "send", "manage", "admin"])
export type Scope = typeof Scope.Type

/** `key_` and 26 Crockford characters. The 26 are also in the key itself, so a key that was found tells its row. */
export const ApiKeyId = Schema.String.check(Schema.isPattern(/^key_[0-9A-Z]{26}$/u, {
  message: "Expected the id of a key like key_01K…"
})).pipe(Schema.brand("ApiKeyId")).annotate({
  description: "The id of an API key"
})
export type ApiKeyId = typeof ApiKeyId.Type

/** Names the caller in logs and in the audit trail. Of the keys there are at a time, each has its own. */
export const ApiKeyName = Schema.String.check(Schema.isPattern(/^[\w.-]{1,64}$/u, {
  message: "Expected 1-64 characters out of A-Z a-z 0-9 . _ -"
})).annotate({ description: "The name of the caller" })

export const ApiKey = Schema.Struct({
  id: ApiKeyId,
  name: ApiKeyName,
  scopes: Schema.Array(Scope),
  /** The devices that it is limited to; null for all. */
  devices: Schema.NullOr(Schema.Array(DeviceId)),
  /** Requests per second that each process takes of it; null for the server's own limit. */
  requestsPerSecond: Schema.NullOr(Schema.Int),
  /** The name of the key that made it. */
  createdBy: Schema.String,
  createdAt: Timestamp,
  /** From then on it is not known any more; null for never. */
  expiresAt: Schema.NullOr(Timestamp),
  rotatedAt: Schema.NullOr(Timestamp),
  /** Until when the key before the last rotation is accepted too. */
  previousUntil: Schema.NullOr(Timestamp)
}).annotate({ identifier: "ApiKey", description: "Who may call, and what for. The key itself is never given back" })
export type ApiKey = typeof ApiKey.Type
