/** Failures of the operations on keys that a caller can act on. None of them names a key. */
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

/** A name is in the log for what its key has done, so two keys cannot have the same at a time. */
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
    return new TooManyApiKeys({ max, message: `There are ${max} keys, and no more than that can be` })
  }
}

/** Who makes or rotates a key gets it, so it can do no more than its caller. */
export class ScopeNotHeld extends Schema.TaggedError<ScopeNotHeld>()("ScopeNotHeld", {
  message: Schema.String,
  scope: Scope
}, { httpApiStatus: 403 }) {
  static of(caller: string, scope: Scope): ScopeNotHeld {
    return new ScopeNotHeld({
      scope,
      message: `Key '${caller}' has not the scope '${scope}', so it cannot give it to another key`
    })
  }
}

export class ExpiryPassed extends Schema.TaggedError<ExpiryPassed>()("ExpiryPassed", {
  message: Schema.String
}, { httpApiStatus: 422 }) {
  static readonly instance = new ExpiryPassed({
    message: "expiresAt must be a time to come, like 2027-01-31T00:00:00Z"
  })
}

/** A server without configured keys answers everyone on its machine, so a key would protect nothing. */
export class KeysNotAsked extends Schema.TaggedError<KeysNotAsked>()("KeysNotAsked", {
  message: Schema.String
}, { httpApiStatus: 409 }) {
  static readonly instance = new KeysNotAsked({
    message: "This server asks for no keys. Start it with a first key in COLUMBA_API_KEYS that has the scope " +
      "'admin', and make the others with that one"
  })
}
