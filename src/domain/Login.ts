/**
 * The login of a device: its steps, as callers see them, and why one cannot begin. Codes are secrets: whoever has one
 * can link the account. They appear only in the answers to callers who may log a device in.
 */
import { Schema } from "effect"
import { Timestamp } from "./Ids.ts"

/** How an account is linked: a picture that the phone scans, or a code that is typed into it. */
export const LoginWay = Schema.Literals(["qr", "code"])
export type LoginWay = typeof LoginWay.Type

const Secret = Schema.RedactedFromValue(Schema.String)

/** Why a login ended without an account. Later versions may add reasons. */
export const LoginFailure = Schema.Literals([
  "logged-in",
  "method",
  "phone",
  "gateway",
  "not-connected",
  "stopped",
  "cancelled",
  "other"
]).annotate({
  description:
    "`logged-in`: the slot has an account that does not connect; `method`: the gateway does not support it; " +
    "`phone`: it refuses the number; `gateway`: it does not answer, or not as expected; `not-connected`: the phone " +
    "accepted, and the account did not connect; `stopped`: the device's actor stopped; `cancelled`: the last caller left"
})
export type LoginFailure = typeof LoginFailure.Type

const attempt = Schema.Int.annotate({ description: "The number of the code within this login, from 1" })

export const LoginStep = Schema.Union([
  Schema.TaggedStruct("Starting", {}).annotate({ description: "A code has been requested from the gateway" }),
  Schema.TaggedStruct("Qr", {
    image: Secret.annotate({ description: "A PNG as `data:image/png;base64,…`" }),
    text: Schema.optionalKey(
      Secret.annotate({ description: "The content of the picture, to draw it oneself; absent if it could not be read" })
    ),
    expiresAt: Timestamp.annotate({ description: "It is replaced before then" }),
    attempt
  }),
  Schema.TaggedStruct("Code", {
    code: Secret.annotate({ description: "`ABCD-EFGH`: typed into WhatsApp, at Linked devices" }),
    expiresAt: Timestamp.annotate({ description: "It is replaced before then" }),
    attempt
  }),
  Schema.TaggedStruct("Passkey", {
    challenge: Schema.NullOr(Schema.RedactedFromValue(Schema.Json)).annotate({
      description: "WhatsApp wants a passkey: the options for WebAuthn; null once it has been answered"
    }),
    code: Schema.NullOr(Secret).annotate({
      description: "Compare it with the code on the phone, then confirm"
    })
  }),
  Schema.TaggedStruct("Linking", {}).annotate({
    description: "The phone has accepted; the gateway connects the account"
  }),
  Schema.TaggedStruct("LoggedIn", {
    jid: Schema.NullOr(Schema.String).annotate({ description: "The address of the account" }),
    phone: Schema.NullOr(Schema.String).annotate({ description: "Its phone number, if the address contains one" })
  }),
  Schema.TaggedStruct("Failed", {
    reason: LoginFailure,
    message: Schema.String.annotate({ description: "One sentence for people" })
  }),
  Schema.TaggedStruct("Expired", {}).annotate({ description: "None of the codes was used" })
]).annotate({ identifier: "LoginStep", description: "The current step of a login" })
export type LoginStep = typeof LoginStep.Type

/** Whether the step is final. */
export const isLast = (step: LoginStep): boolean =>
  step._tag === "LoggedIn" || step._tag === "Failed" || step._tag === "Expired"

/** Of `device.login`. Nothing in it links an account. */
export const DeviceLoginData = Schema.Struct({
  method: LoginWay.annotate({ description: "`qr`: a picture is scanned; `code`: a code is typed in" }),
  outcome: Schema.Literals(["begun", "succeeded", "failed", "expired"]).annotate({
    description: "`begun` when it begins; the others when it ends. A process that dies records no end"
  }),
  reason: Schema.NullOr(LoginFailure).annotate({ description: "Why it failed; else null" }),
  codes: Schema.Int.annotate({ description: "How many codes were shown" }),
  jid: Schema.NullOr(Schema.String).annotate({ description: "The address of the account, if it is known" })
})
export type DeviceLoginData = typeof DeviceLoginData.Type

/** This process does not run the device's actor, and logins happen where the actor runs. */
export class DeviceElsewhere extends Schema.TaggedError<DeviceElsewhere>()("DeviceElsewhere", {
  message: Schema.String,
  id: Schema.String,
  /** The process that answered, by host name. */
  node: Schema.String,
  /** The process that owns the device, by host name and start; null if none does. */
  owner: Schema.NullOr(Schema.String)
}, { httpApiStatus: 421 }) {
  static of(id: string, node: string, owner: string | null): DeviceElsewhere {
    const where = owner === null
      ? "no process runs it yet: start one with the roles 'api' and 'devices'"
      : `${owner} runs it: call that process, which needs the role 'api' too`
    return new DeviceElsewhere({
      id,
      node,
      owner,
      message: `This process (${node}) does not run device ${id}, and logins happen where it runs; ${where}`
    })
  }
}

/** Another login of the device is under way, by another method or for another number. */
export class LoginInProgress extends Schema.TaggedError<LoginInProgress>()("LoginInProgress", {
  message: Schema.String,
  id: Schema.String,
  method: LoginWay
}, { httpApiStatus: 409 }) {
  static of(id: string, method: LoginWay): LoginInProgress {
    return new LoginInProgress({
      id,
      method,
      message: `Device ${id} is being logged in by ${method === "qr" ? "QR code" : "pairing code"}; one login at a time`
    })
  }
}

/** No login of the device is under way in this process, and none has ended recently. */
export class LoginNotFound extends Schema.TaggedError<LoginNotFound>()("LoginNotFound", {
  message: Schema.String,
  id: Schema.String
}, { httpApiStatus: 404 }) {
  static of(id: string): LoginNotFound {
    return new LoginNotFound({ id, message: `No login of device ${id} is under way` })
  }

  static withoutPicture(id: string): LoginNotFound {
    return new LoginNotFound({ id, message: `The login of device ${id} shows no QR code now` })
  }
}

/** A login could not begin, or the request does not fit its current step. */
export class LoginFailed extends Schema.TaggedError<LoginFailed>()("LoginFailed", {
  message: Schema.String,
  id: Schema.String,
  reason: LoginFailure
}, { httpApiStatus: 409 }) {}

/** The gateway does not report yet that the account is connected and logged in. */
export class LoginIncomplete extends Schema.TaggedError<LoginIncomplete>()("LoginIncomplete", {
  message: Schema.String,
  id: Schema.String,
  isConnected: Schema.Boolean,
  isLoggedIn: Schema.Boolean
}, { httpApiStatus: 409 }) {
  static of(
    id: string,
    { isConnected, isLoggedIn }: { readonly isConnected: boolean; readonly isLoggedIn: boolean }
  ): LoginIncomplete {
    const said = isLoggedIn
      ? "its account is logged in and not connected"
      : isConnected
      ? "its account is connected and not logged in"
      : "no account is logged in"
    return new LoginIncomplete({
      id,
      isConnected,
      isLoggedIn,
      message: `The login of device ${id} is not complete: its gateway reports that ${said}`
    })
  }
}

/** The number is missing or invalid. The message does not repeat it. */
export class PhoneInvalid extends Schema.TaggedError<PhoneInvalid>()("PhoneInvalid", {
  message: Schema.String
}, { httpApiStatus: 422 }) {
  static readonly instance = new PhoneInvalid({
    message: "A pairing code needs the phone's number: 7 to 15 digits with the country code, without a leading 0"
  })
}

/** The maximum number of logins is under way in this process. */
export class TooManyLogins extends Schema.TaggedError<TooManyLogins>()("TooManyLogins", {
  message: Schema.String,
  max: Schema.Int
}, { httpApiStatus: 503 }) {
  static of(max: number): TooManyLogins {
    return new TooManyLogins({ max, message: `This server has ${max} logins under way already` })
  }
}

/** The digits of a number as people write it; null if it is not a valid number. */
export const parseNumber = (text: string): string | null => {
  const digits = text.replace(/^\+/, "").replace(/[\s().-]/g, "")
  return /^[1-9]\d{6,14}$/.test(digits) ? digits : null
}
