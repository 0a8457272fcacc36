/** Failures of gateway operations that a caller can act on. No message contains a secret. */
import { Schema } from "effect"
import { GatewayDialect, GatewaySecretName } from "./Gateway.ts"

export class GatewayNotFound extends Schema.TaggedError<GatewayNotFound>()("GatewayNotFound", {
  message: Schema.String,
  gateway: Schema.String
}, { httpApiStatus: 404 }) {
  static of(gateway: string): GatewayNotFound {
    return new GatewayNotFound({ gateway, message: `No gateway '${gateway}'` })
  }
}

export class GatewayNameTaken extends Schema.TaggedError<GatewayNameTaken>()("GatewayNameTaken", {
  message: Schema.String,
  gateway: Schema.String
}, { httpApiStatus: 409 }) {
  static of(gateway: string): GatewayNameTaken {
    return new GatewayNameTaken({ gateway, message: `There is already a gateway '${gateway}'` })
  }
}

/** Active devices use the gateway. */
export class GatewayInUse extends Schema.TaggedError<GatewayInUse>()("GatewayInUse", {
  message: Schema.String,
  gateway: Schema.String,
  devices: Schema.Int
}, { httpApiStatus: 409 }) {
  static of(gateway: string, devices: number): GatewayInUse {
    const message = `${devices} active device(s) use the gateway '${gateway}'; deactivate them first`
    return new GatewayInUse({ gateway, devices, message })
  }
}

/** The row belongs to the environment or to the built-in simulator of a running process. */
export class GatewayNotEditable extends Schema.TaggedError<GatewayNotEditable>()("GatewayNotEditable", {
  message: Schema.String,
  gateway: Schema.String
}, { httpApiStatus: 409 }) {
  static of(gateway: string, source: "environment" | "simulator"): GatewayNotEditable {
    const owner = source === "environment"
      ? "the WHATSAPP_* variables; change them and restart"
      : "the built-in simulator, which exists only while its process runs"
    return new GatewayNotEditable({ gateway, message: `The gateway '${gateway}' belongs to ${owner}` })
  }
}

/** This build has no adapter for the dialect. */
export class DialectUnsupported extends Schema.TaggedError<DialectUnsupported>()("DialectUnsupported", {
  message: Schema.String,
  dialect: GatewayDialect,
  speaks: Schema.Array(GatewayDialect)
}, { httpApiStatus: 422 }) {
  static of(dialect: GatewayDialect, speaks: ReadonlyArray<GatewayDialect>): DialectUnsupported {
    const message = `This build does not support the dialect '${dialect}'; it supports: ${speaks.join(", ")}`
    return new DialectUnsupported({ dialect, speaks, message })
  }
}

export class GatewayUrlInvalid extends Schema.TaggedError<GatewayUrlInvalid>()("GatewayUrlInvalid", {
  message: Schema.String
}, { httpApiStatus: 422 }) {
  /** The URL is not repeated: it may hold a password. */
  static readonly instance = new GatewayUrlInvalid({
    message: "Expected a gateway URL like https://gateway:3000/base: http, https, ws or wss, without query and fragment"
  })
}

/**
 * The URL names another server. Stored secrets would be sent to that server, and the caller who changes the URL need
 * not have them.
 */
export class GatewaySecretsNeeded extends Schema.TaggedError<GatewaySecretsNeeded>()("GatewaySecretsNeeded", {
  message: Schema.String,
  gateway: Schema.String,
  secrets: Schema.Array(GatewaySecretName)
}, { httpApiStatus: 422 }) {
  static of(gateway: string, secrets: ReadonlyArray<GatewaySecretName>): GatewaySecretsNeeded {
    return new GatewaySecretsNeeded({
      gateway,
      secrets,
      message: `The URL names another server than before: set ${secrets.join(" and ")} of the gateway '${gateway}' ` +
        "again, or null to remove"
    })
  }
}

/** Secrets cannot be stored: this process has no key to seal them with. */
export class SecretKeyMissing extends Schema.TaggedError<SecretKeyMissing>()("SecretKeyMissing", {
  message: Schema.String
}, { httpApiStatus: 422 }) {
  static readonly instance = new SecretKeyMissing({
    message: "Secrets are stored sealed, and this process has no key: set COLUMBA_SECRET_KEY to 32 random bytes in " +
      "base64 (openssl rand -base64 32) in every process"
  })
}

/** The gateway exists, but this process cannot or must not use it now. */
export class GatewayUnusable extends Schema.TaggedError<GatewayUnusable>()("GatewayUnusable", {
  message: Schema.String,
  gateway: Schema.String,
  /** `inactive`: deactivated by an operator. The other reasons concern this process. */
  reason: Schema.Literals(["inactive", "no-variables", "no-simulator", "secrets-unreadable", "dialect"])
}, { httpApiStatus: 409 }) {
  static of(gateway: string, reason: GatewayUnusable["reason"]): GatewayUnusable {
    return new GatewayUnusable({ gateway, reason, message: `The gateway '${gateway}' ${reasons[reason]}` })
  }
}

const reasons: Readonly<Record<GatewayUnusable["reason"], string>> = {
  inactive: "is deactivated",
  "no-variables": "comes from the WHATSAPP_* variables, and this process has none",
  "no-simulator": "is the built-in simulator, which this process does not run",
  "secrets-unreadable": "has secrets that none of this process's keys can decrypt; check COLUMBA_SECRET_KEY",
  dialect: "speaks a dialect that this build does not support"
}
