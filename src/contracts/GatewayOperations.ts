/** The operations on gateways. Secrets can be written and never read: a gateway only shows which of them are set. */
import { Schema } from "effect"
import { HttpApiSchema } from "effect/http-api"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { Gateway, GatewayDialect, GatewayUser } from "../domain/Gateway.ts"
import {
  DialectUnsupported,
  GatewayInUse,
  GatewayNameTaken,
  GatewayNotEditable,
  GatewayNotFound,
  GatewaySecretsNeeded,
  GatewayUrlInvalid,
  SecretKeyMissing
} from "../domain/GatewayErrors.ts"
import { GatewayName } from "../domain/Ids.ts"
import { gateway } from "./examples.ts"
import * as Operation from "./Operation.ts"

/** Longer texts are not credentials; the bound keeps a row small. */
const secretLengthMax = 4096

const UrlText = Schema.RedactedFromValue(Schema.String.check(Schema.isBetweenLength(1, 2048)))
const Secret = Schema.RedactedFromValue(Schema.String.check(Schema.isBetweenLength(1, secretLengthMax)))

const GatewayNameField = { name: GatewayName }

const CreateGatewayFields = {
  name: GatewayName,
  dialect: GatewayDialect,
  /** `http(s)://` or `ws(s)://` with the base path. Credentials in it are extracted and stored as secrets. */
  url: UrlText,
  user: Schema.optionalKey(GatewayUser),
  password: Schema.optionalKey(Secret),
  apiKey: Schema.optionalKey(Secret),
  webhookSecret: Schema.optionalKey(Secret)
}

/** Null removes a secret; omitted fields are unchanged. */
const EditGatewayFields = {
  url: Schema.optionalKey(UrlText),
  user: Schema.optionalKey(Schema.NullOr(GatewayUser)),
  password: Schema.optionalKey(Schema.NullOr(Secret)),
  apiKey: Schema.optionalKey(Schema.NullOr(Secret)),
  webhookSecret: Schema.optionalKey(Schema.NullOr(Secret)),
  active: Schema.optionalKey(Schema.Boolean)
}

/** All gateways: an installation has a handful. */
const GatewayList = Schema.Struct({ items: Schema.Array(Gateway), next: Schema.Null }).annotate({
  identifier: "GatewayList"
})

export const gatewayOperations = [
  Operation.post("Gateways", "Create", "/gateways", {
    scope: "manage",
    reach: "fleet",
    summary: "Add a gateway",
    description: "Adds an active gateway. Devices can use it at once; no connection is made before one does. Secrets " +
      "are stored sealed.",
    body: CreateGatewayFields,
    bodyExample: {
      name: "main",
      dialect: "bridge",
      url: "https://gateway.example",
      user: "columba",
      password: "secret"
    },
    success: Gateway.pipe(HttpApiSchema.status(201)),
    example: gateway,
    errors: [DialectUnsupported, GatewayUrlInvalid, GatewayNameTaken, SecretKeyMissing, StorageUnavailable]
  }),
  Operation.get("Gateways", "List", "/gateways", {
    scope: "read",
    reach: "fleet",
    summary: "List gateways",
    description: "All gateways by name.",
    success: GatewayList,
    example: { items: [gateway], next: null },
    errors: [StorageUnavailable]
  }),
  Operation.get("Gateways", "Get", "/gateways/:name", {
    scope: "read",
    reach: "fleet",
    summary: "Get a gateway",
    description: "The gateway's address, its dialect and which secrets are set.",
    params: GatewayNameField,
    success: Gateway,
    example: gateway,
    errors: [GatewayNotFound, StorageUnavailable]
  }),
  Operation.patch("Gateways", "Edit", "/gateways/:name", {
    scope: "manage",
    reach: "fleet",
    summary: "Change a gateway",
    description:
      "Changes URL, credentials or whether the gateway is used. Its devices reconnect, or stop and report why. " +
      "With the URL of another server, password and API key must be set again: stored ones are not sent there. " +
      "Of a gateway that comes from the environment only `active` can be changed.",
    params: GatewayNameField,
    body: EditGatewayFields,
    bodyExample: { active: false },
    success: Gateway,
    example: gateway,
    errors: [
      GatewayNotFound,
      GatewayNotEditable,
      GatewayUrlInvalid,
      GatewaySecretsNeeded,
      SecretKeyMissing,
      StorageUnavailable
    ]
  }),
  Operation.remove("Gateways", "Remove", "/gateways/:name", {
    scope: "manage",
    reach: "fleet",
    summary: "Remove a gateway",
    description: "Removes a gateway that no active device uses. Inactive devices keep its name.",
    params: GatewayNameField,
    success: HttpApiSchema.NoContent,
    example: undefined,
    errors: [GatewayNotFound, GatewayNotEditable, GatewayInUse, StorageUnavailable]
  })
] as const
