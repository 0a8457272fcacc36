/**
 * An API key: who calls, what the caller may do, on which devices and until when. The call that creates a key returns
 * it once; only a digest of it is stored.
 */
import { Schema } from "effect"
import { DeviceId, Timestamp } from "./Ids.ts"

/**
 * `read`: read everything. `send`: send messages. `manage`: change devices, gateways and subscriptions. `admin`: make and
 * revoke keys, and read who has changed what. None includes another.
 */
export const Scope = Schema.Literals(["read", "send", "manage", "admin"])
export type Scope = typeof Scope.Type

/** `key_` and 26 Crockford characters. The key itself contains the same 26, so a leaked key identifies its row. */
export const ApiKeyId = Schema.String.check(Schema.isPattern(/^key_[0-9A-Z]{26}$/u, {
  message: "Expected the id of a key like key_01K…"
})).pipe(Schema.brand("ApiKeyId")).annotate({
  description: "The id of an API key"
})
export type ApiKeyId = typeof ApiKeyId.Type

/** Names the caller in logs and in the audit trail. Unique among the existing keys. */
export const ApiKeyName = Schema.String.check(Schema.isPattern(/^[\w.-]{1,64}$/u, {
  message: "Expected 1-64 characters out of A-Z a-z 0-9 . _ -"
})).annotate({ description: "The name of the caller" })

export const ApiKey = Schema.Struct({
  id: ApiKeyId,
  name: ApiKeyName,
  scopes: Schema.Array(Scope),
  /** The devices that the key is limited to; null for all. */
  devices: Schema.NullOr(Schema.Array(DeviceId)),
  /** Requests per second that each process accepts with this key; null for the server's own limit. */
  requestsPerSecond: Schema.NullOr(Schema.Int),
  /** The name of the key that created this one. */
  createdBy: Schema.String,
  createdAt: Timestamp,
  /** When the key expires; null for never. */
  expiresAt: Schema.NullOr(Timestamp),
  rotatedAt: Schema.NullOr(Timestamp),
  /** Until when the key from before the last rotation is accepted too. */
  previousUntil: Schema.NullOr(Timestamp)
}).annotate({ identifier: "ApiKey", description: "Who may call, and what for. The key itself is never returned" })
export type ApiKey = typeof ApiKey.Type
