/** Failures of subscription operations that a caller can act on. No message contains a secret. */
import { Schema } from "effect"

export class SubscriptionNotFound extends Schema.TaggedError<SubscriptionNotFound>()("SubscriptionNotFound", {
  message: Schema.String,
  id: Schema.String
}, { httpApiStatus: 404 }) {
  static of(id: string): SubscriptionNotFound {
    return new SubscriptionNotFound({ id, message: `No subscription ${id}` })
  }
}

/** Columba sends no requests to this URL. The message does not repeat it, because it may hold a secret. */
export class SubscriptionUrlRefused extends Schema.TaggedError<SubscriptionUrlRefused>()("SubscriptionUrlRefused", {
  message: Schema.String,
  reason: Schema.Literals(["invalid", "scheme", "port", "address", "unresolved"])
}, { httpApiStatus: 422 }) {
  static of(reason: SubscriptionUrlRefused["reason"], message: string): SubscriptionUrlRefused {
    return new SubscriptionUrlRefused({ reason, message })
  }
}

/** A header that Columba sets itself, or that no client may set. */
export class HeaderRefused extends Schema.TaggedError<HeaderRefused>()("HeaderRefused", {
  message: Schema.String,
  header: Schema.String
}, { httpApiStatus: 422 }) {
  static of(header: string, why: string): HeaderRefused {
    const shown = header.slice(0, 64)
    return new HeaderRefused({ header: shown, message: `The header '${shown}' ${why}` })
  }
}

/** The secret does not have the form of Standard Webhooks. */
export class SecretInvalid extends Schema.TaggedError<SecretInvalid>()("SecretInvalid", {
  message: Schema.String
}, { httpApiStatus: 422 }) {
  static readonly instance = new SecretInvalid({
    message:
      "Expected a secret like whsec_…: 24 to 64 random bytes in base64 after the prefix; or none, to have one made"
  })
}

export class TooManySubscriptions extends Schema.TaggedError<TooManySubscriptions>()("TooManySubscriptions", {
  message: Schema.String,
  max: Schema.Int
}, { httpApiStatus: 409 }) {
  static of(max: number): TooManySubscriptions {
    return new TooManySubscriptions({ max, message: `There are ${max} subscriptions already, which is the maximum` })
  }
}

/** The keys of the answering process cannot decrypt the secrets. */
export class SubscriptionUnreadable extends Schema.TaggedError<SubscriptionUnreadable>()("SubscriptionUnreadable", {
  message: Schema.String,
  id: Schema.String
}, { httpApiStatus: 409 }) {
  static of(id: string): SubscriptionUnreadable {
    return new SubscriptionUnreadable({
      id,
      message: `The secrets of subscription ${id} cannot be decrypted with the keys of this process; check ` +
        "COLUMBA_SECRET_KEY, or set new ones"
    })
  }
}
