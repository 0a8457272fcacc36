/** Failures of the operations on keys that a caller can act on. No message contains a key. */
import { Schema } from "effect"
import { Scope } from "./ApiKey.ts"

export class ApiKeyNotFound extends Schema.TaggedError<ApiKeyNotFound>()("ApiKeyNotFound", {
  message: Schema.String,
  id: Schema.String
}, { httpApiStatus: 404 }) {
  static of(id: string): ApiKeyNotFound {
    return new ApiKeyNotFound({ id, message: `No key ${id}; those of COLUMBA_API_KEYS are changed there` })
  }
}

/** The log records under this name what its key has done, so no two keys have the same name at a time. */
export class ApiKeyNameTaken extends Schema.TaggedError<ApiKeyNameTaken>()("ApiKeyNameTaken", {
  message: Schema.String,
  name: Schema.String
}, { httpApiStatus: 409 }) {
  static of(name: string): ApiKeyNameTaken {
    return new ApiKeyNameTaken({ name, message: `There is a key named '${name}'; choose another name, or revoke it` })
  }
}

export class TooManyApiKeys extends Schema.TaggedError<TooManyApiKeys>()("TooManyApiKeys", {
  message: Schema.String,
  max: Schema.Int
}, { httpApiStatus: 409 }) {
  static of(max: number): TooManyApiKeys {
    return new TooManyApiKeys({ max, message: `There are ${max} keys already, which is the maximum` })
  }
}

/** The caller receives the key that it makes or rotates, so that key can have no more scopes than the caller. */
export class ScopeNotHeld extends Schema.TaggedError<ScopeNotHeld>()("ScopeNotHeld", {
  message: Schema.String,
  scope: Scope
}, { httpApiStatus: 403 }) {
  static of(caller: string, scope: Scope): ScopeNotHeld {
    return new ScopeNotHeld({
      scope,
      message: `Key '${caller}' does not have the scope '${scope}', so it cannot give it to another key`
    })
  }
}

export class ExpiryPassed extends Schema.TaggedError<ExpiryPassed>()("ExpiryPassed", {
  message: Schema.String
}, { httpApiStatus: 422 }) {
  static readonly instance = new ExpiryPassed({
    message: "expiresAt must be a time in the future, like 2027-01-31T00:00:00Z"
  })
}

/** A server without configured keys answers everyone on its machine, so a key would protect nothing. */
export class KeysNotAsked extends Schema.TaggedError<KeysNotAsked>()("KeysNotAsked", {
  message: Schema.String
}, { httpApiStatus: 409 }) {
  static readonly instance = new KeysNotAsked({
    message: "This server requires no keys. Start it with a first key in COLUMBA_API_KEYS that has the scope " +
      "'admin', and make the others with that key"
  })
}
