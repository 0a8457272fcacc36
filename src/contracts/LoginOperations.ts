/**
 * Logging a device in and out. Answers contain codes, so all of them need the scope `manage`, and none may be cached.
 * The whole login as one stream is the RPC `Login`; the pictures are separate endpoints, since they are not JSON.
 */
import { Context, Schema } from "effect"
import { HttpApiEndpoint, HttpApiSchema, OpenApi } from "effect/http-api"
import { Device } from "../domain/Device.ts"
import {
  DeviceNotFound,
  DeviceStateConflict,
  DeviceUnreachable,
  GatewayUnavailable,
  GatewayUnknown,
  StorageUnavailable
} from "../domain/DeviceErrors.ts"
import { GatewayUnusable } from "../domain/GatewayErrors.ts"
import {
  DeviceElsewhere,
  LoginFailed,
  LoginIncomplete,
  LoginInProgress,
  LoginNotFound,
  LoginStep,
  LoginWay,
  PhoneInvalid,
  TooManyLogins
} from "../domain/Login.ts"
import { deeperThan, depthMax } from "../domain/nesting.ts"
import { RequiredReach, RequiredScope } from "./Authorization.ts"
import { device } from "./examples.ts"
import * as Operation from "./Operation.ts"
import { DeviceIdField } from "./DevicePayloads.ts"

/** How an account is to be linked. */
export const LoginFields = {
  /** `qr` if omitted. */
  method: Schema.optionalKey(LoginWay),
  /** For a pairing code: the number of the phone, as people write it. */
  phone: Schema.optionalKey(Schema.RedactedFromValue(Schema.String.check(Schema.isMaxLength(32))))
}

/** The request for the stream of a login's steps. */
export const FollowLoginFields = { ...DeviceIdField, ...LoginFields }

/** The body of a WebAuthn assertion is some kilobytes. */
const AssertionField = {
  assertion: Schema.RedactedFromValue(Schema.Json.check(
    Schema.makeFilter((json) =>
      typeof json !== "object" || json === null || !deeperThan(json, depthMax) || `Expected at most ${depthMax} levels`
    )
  ))
}

const deviceErrors = [DeviceNotFound, StorageUnavailable] as const

/** Why no login begins; the stream fails with these too. */
export const loginErrors = [
  ...deviceErrors,
  DeviceStateConflict,
  DeviceElsewhere,
  DeviceUnreachable,
  LoginFailed,
  LoginInProgress,
  PhoneInvalid,
  TooManyLogins
] as const

const currentErrors = [...deviceErrors, DeviceElsewhere, DeviceUnreachable, LoginNotFound] as const

/** A picture of a few pixels without a code: the one in the documents is not to be scanned. */
const step: typeof LoginStep.Encoded = {
  _tag: "Qr",
  image: "data:image/png;base64,iVBORw0KGgo…",
  text: "https://wa.me/settings/linked_devices#…",
  expiresAt: "2026-11-22T10:01:00Z",
  attempt: 1
}

export const loginOperations = [
  Operation.post("Devices", "InitiateLogin", "/devices/:id/login", {
    scope: "manage",
    reach: "device",
    summary: "Log a device in",
    description: "Begins a login, or joins the one under way, and returns its step: a QR code or a pairing code, or " +
      "`Starting` if the gateway takes long. Read `GET /devices/{id}/login` every few seconds for the steps that " +
      "follow: codes are replaced before they expire. A caller that does not ask again within 30 s after the code " +
      "expired has left; when the last caller has left, the login is cancelled.",
    params: DeviceIdField,
    body: LoginFields,
    bodyExample: { method: "qr" },
    success: LoginStep,
    example: step,
    errors: loginErrors
  }),
  Operation.get("Devices", "CurrentLogin", "/devices/:id/login", {
    scope: "manage",
    reach: "device",
    summary: "Get the step of a login",
    description:
      "The step of the device's login, or for five minutes the result of the last one. Each request keeps it going.",
    params: DeviceIdField,
    success: LoginStep,
    example: step,
    errors: currentErrors
  }),
  Operation.remove("Devices", "CancelLogin", "/devices/:id/login", {
    scope: "manage",
    reach: "device",
    summary: "Cancel a login",
    description:
      "Ends the login under way for all its callers, and returns its last step. The gateway's own attempt expires by " +
      "itself.",
    params: DeviceIdField,
    success: LoginStep,
    example: { _tag: "Failed", reason: "cancelled", message: "No caller is waiting for the login" },
    errors: currentErrors
  }),
  Operation.act("Devices", "CompleteLogin", "/devices/:id/login/complete", {
    scope: "manage",
    reach: "device",
    summary: "Verify a login",
    description:
      "Asks the gateway whether the account is connected and logged in, and if so records its JID and phone " +
      "number. A login that a caller follows does the same automatically.",
    params: DeviceIdField,
    success: Device,
    example: device,
    errors: [
      ...deviceErrors,
      DeviceStateConflict,
      DeviceElsewhere,
      DeviceUnreachable,
      LoginIncomplete,
      GatewayUnknown,
      GatewayUnusable,
      GatewayUnavailable
    ]
  }),
  Operation.post("Devices", "AnswerPasskey", "/devices/:id/login/passkey", {
    scope: "manage",
    reach: "device",
    summary: "Answer the passkey of a login",
    description:
      "If a login's step is `Passkey` with a challenge: sends WhatsApp the assertion that an authenticator " +
      "made for it, as WebAuthn's `PublicKeyCredential.toJSON()`.",
    params: DeviceIdField,
    body: AssertionField,
    bodyExample: { assertion: { id: "…", rawId: "…", type: "public-key", response: {} } },
    success: LoginStep,
    example: { _tag: "Passkey", challenge: null, code: "4711" },
    errors: [...currentErrors, LoginFailed, GatewayUnavailable]
  }),
  Operation.act("Devices", "ConfirmPasskey", "/devices/:id/login/passkey/confirm", {
    scope: "manage",
    reach: "device",
    summary: "Confirm the passkey of a login",
    description: "If a login's step is `Passkey` with a code: confirms that the phone shows the same one.",
    params: DeviceIdField,
    success: LoginStep,
    example: { _tag: "Linking" },
    errors: [...currentErrors, LoginFailed, GatewayUnavailable]
  }),
  Operation.act("Devices", "Disconnect", "/devices/:id/disconnect", {
    scope: "manage",
    reach: "device",
    summary: "Log a device out",
    description:
      "Unlinks the account at the gateway and at WhatsApp. The device and its slot stay, and it can be logged in " +
      "again. Repeating it is harmless.",
    params: DeviceIdField,
    success: Device,
    example: { ...device, jid: null, phone: null, state: { _tag: "LoggedOut", reason: "logged out by an operator" } },
    errors: [...deviceErrors, DeviceUnreachable, LoginFailed, GatewayUnknown, GatewayUnusable, GatewayUnavailable]
  })
] as const

const pictureErrors = [...currentErrors] as const

const annotations = (summary: string) =>
  Context.make(RequiredScope, "manage" as const).pipe(
    Context.add(RequiredReach, "device" as const),
    Context.merge(OpenApi.annotations({
      summary,
      description:
        `${summary} of a login that is under way, drawn by Columba, for a page that shows it. It is a secret and ` +
        "must not be cached. Each request for it keeps the login going. 404 while no QR code is shown."
    }))
  )

export const qrPngEndpoint = HttpApiEndpoint.get("qrPng", "/devices/:id/qr.png", {
  params: DeviceIdField,
  success: HttpApiSchema.StreamUint8Array({ contentType: "image/png" }),
  error: pictureErrors
}).annotateMerge(annotations("The QR code as PNG"))

export const qrSvgEndpoint = HttpApiEndpoint.get("qrSvg", "/devices/:id/qr.svg", {
  params: DeviceIdField,
  success: HttpApiSchema.StreamUint8Array({ contentType: "image/svg+xml" }),
  error: pictureErrors
}).annotateMerge(annotations("The QR code as SVG"))
