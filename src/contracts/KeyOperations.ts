/**
 * The operations on API keys. Only the call that creates or rotates a key returns it. Keys of the environment are not
 * rows and do not occur here. A key that is limited to some devices may use none of these.
 */
import { Schema } from "effect"
import { HttpApiSchema } from "effect/http-api"
import { ApiKey, ApiKeyId, ApiKeyName, Scope } from "../domain/ApiKey.ts"
import {
  ApiKeyNameTaken,
  ApiKeyNotFound,
  ExpiryPassed,
  KeysNotAsked,
  ScopeNotHeld,
  TooManyApiKeys
} from "../domain/ApiKeyErrors.ts"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { DeviceId, Timestamp } from "../domain/Ids.ts"
import { apiKey, apiKeySecret } from "./examples.ts"
import * as Operation from "./Operation.ts"

/** For more devices, an unlimited key is the better choice. */
const devicesMax = 256

/** Above this rate the limit has no effect: a process answers some thousands of requests per second in all. */
export const requestsPerSecondMax = 1_000

/** How long the key before a rotation may be accepted. */
const keepSecondsDefault = 24 * 60 * 60
const keepSecondsMax = 7 * 24 * 60 * 60

/** How long the previous key is accepted if the caller sets no time. */
export const keepKeySeconds = (wanted: number | undefined): number => wanted ?? keepSecondsDefault

const IdField = { id: ApiKeyId }

const CreateFields = {
  name: ApiKeyName,
  scopes: Schema.Array(Scope).check(Schema.isBetweenLength(1, Scope.literals.length), Schema.isUnique()),
  devices: Schema.optionalKey(Schema.Array(DeviceId).check(Schema.isBetweenLength(1, devicesMax))),
  expiresAt: Schema.optionalKey(
    Timestamp.check(Schema.isMaxLength(64)).annotate({ description: "When it expires" })
  ),
  requestsPerSecond: Schema.optionalKey(
    Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: requestsPerSecondMax })).annotate({
      description: "Requests per second that each process accepts with it, twice as many at once"
    })
  )
}

const RotateFields = {
  keepSeconds: Schema.optionalKey(
    Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: keepSecondsMax })).annotate({
      description: "How long the previous key is accepted too; a day if omitted"
    })
  )
}

/** With the key itself, which no other answer contains. */
const ApiKeyWithKey = Schema.Struct({
  ...ApiKey.fields,
  key: Schema.RedactedFromValue(Schema.String)
}).annotate({ identifier: "ApiKeyWithKey" })

/** All keys: there are at most some hundreds. */
const ApiKeyList = Schema.Struct({ items: Schema.Array(ApiKey), next: Schema.Null }).annotate({
  identifier: "ApiKeyList"
})

const missing = [ApiKeyNotFound, StorageUnavailable] as const

export const keyOperations = [
  Operation.post("Keys", "Create", "/keys", {
    scope: "admin",
    reach: "fleet",
    summary: "Make an API key",
    description: "Only this answer contains the key: only a digest of it is stored. It can have no scope that " +
      "the caller's own key lacks. Every process accepts it within five seconds, the one that answers at once.",
    body: CreateFields,
    bodyExample: { name: apiKey.name, scopes: apiKey.scopes },
    audited: ["name", "scopes", "devices", "expiresAt", "requestsPerSecond"],
    success: ApiKeyWithKey.pipe(HttpApiSchema.status(201)),
    example: { ...apiKey, key: apiKeySecret },
    errors: [ApiKeyNameTaken, TooManyApiKeys, ScopeNotHeld, ExpiryPassed, KeysNotAsked, StorageUnavailable]
  }),
  Operation.get("Keys", "List", "/keys", {
    scope: "admin",
    reach: "fleet",
    summary: "List API keys",
    description:
      "All keys except those of the environment, oldest first, with expired ones. Keys themselves are not returned.",
    success: ApiKeyList,
    example: { items: [apiKey], next: null },
    errors: [StorageUnavailable]
  }),
  Operation.get("Keys", "Get", "/keys/:id", {
    scope: "admin",
    reach: "fleet",
    summary: "Get an API key",
    description: "Its scopes, its devices and its expiry; not the key itself.",
    params: IdField,
    success: ApiKey,
    example: apiKey,
    errors: missing
  }),
  Operation.remove("Keys", "Revoke", "/keys/:id", {
    scope: "admin",
    reach: "fleet",
    summary: "Revoke an API key",
    description:
      "Every process that reaches the database refuses it within five seconds, and ends the streams and the " +
      "WebSockets that were opened with it.",
    params: IdField,
    success: HttpApiSchema.NoContent,
    example: undefined,
    errors: missing
  }),
  Operation.post("Keys", "Rotate", "/keys/:id/rotate", {
    scope: "admin",
    reach: "fleet",
    summary: "Replace an API key",
    description: "A new key with the same name, scopes, devices and expiry. The previous key is accepted as well for " +
      "`keepSeconds` (a day unless given), so that its users can change over. Rotating twice ends the first at once.",
    params: IdField,
    body: RotateFields,
    bodyExample: { keepSeconds: keepSecondsDefault },
    audited: ["keepSeconds"],
    success: ApiKeyWithKey,
    example: { ...apiKey, key: apiKeySecret },
    errors: [ScopeNotHeld, ...missing]
  })
] as const
