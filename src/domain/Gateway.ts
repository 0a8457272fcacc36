/**
 * A gateway as a row: its address and its dialect. Its secrets are not part of it: callers see only which of them are
 * set.
 */
import { Schema } from "effect"
import { noControlCharacters } from "./Device.ts"
import { GatewayName, Timestamp } from "./Ids.ts"

/** The protocol of a gateway. A build may have adapters for only some of them. */
export const GatewayDialect = Schema.Literals(["bridge", "gowa", "waha"])
export type GatewayDialect = typeof GatewayDialect.Type

/** Secrets that a gateway may need: HTTP Basic, an API key, and the key that signs its webhooks. */
export const GatewaySecretName = Schema.Literals(["password", "apiKey", "webhookSecret"])
export type GatewaySecretName = typeof GatewaySecretName.Type

/** Secrets that gateways of a dialect do not have, and why. */
export const unusedSecrets: Readonly<Record<GatewayDialect, Readonly<Partial<Record<GatewaySecretName, string>>>>> = {
  bridge: {
    apiKey: "the bridge dialect uses user and password",
    webhookSecret: "the bridge dialect sends no webhooks"
  },
  gowa: { apiKey: "the gowa dialect uses user and password" },
  waha: { password: "the waha dialect uses an API key" }
}

/**
 * The origin of a gateway's row: the API, the `WHATSAPP_*` variables, or the built-in simulator. The last two set
 * their URL and secrets at each start of a process, and cannot be changed by the API.
 */
export const GatewaySource = Schema.Literals(["api", "environment", "simulator"])
export type GatewaySource = typeof GatewaySource.Type

export const Gateway = Schema.Struct({
  name: GatewayName,
  dialect: GatewayDialect,
  /** `http(s)://` or `ws(s)://`, without credentials, query and fragment. */
  url: Schema.String,
  /** The user of HTTP Basic, or null. */
  user: Schema.NullOr(Schema.String),
  /** Which secrets are set. */
  secrets: Schema.Array(GatewaySecretName),
  source: GatewaySource,
  /** Whether its devices should connect. */
  active: Schema.Boolean,
  createdAt: Timestamp,
  updatedAt: Timestamp
}).annotate({ identifier: "Gateway", description: "A server that holds connections to WhatsApp" })
export type Gateway = typeof Gateway.Type

/** A user of HTTP Basic, which ends the user at the first colon. */
export const GatewayUser = Schema.String.check(
  Schema.isBetweenLength(1, 256),
  noControlCharacters,
  Schema.isPattern(/^[^:]*$/, { message: "Expected no colon" })
)

/** Parses the URL of a gateway. Null if it is no valid URL of a gateway. */
export const parseGatewayUrl = (
  text: string
): { readonly url: string; readonly user: string | null; readonly password: string | null } | null => {
  if (!URL.canParse(text)) return null
  const { hash, hostname, password, pathname, protocol, search, host, username } = new URL(text)
  if (!/^(http|ws)s?:$/.test(protocol) || hostname === "" || search !== "" || hash !== "") return null
  const decoded = [username, password].map(decode)
  if (decoded.includes(undefined)) return null
  return {
    url: `${protocol}//${host}${pathname === "/" ? "" : pathname}`,
    user: decoded[0] || null,
    password: decoded[1] || null
  }
}

/** Whether two URLs of gateways lead to one server: the same host and port, both with TLS or both without. */
export const isSameServer = (one: string, other: string): boolean =>
  [one, other].every((url) => URL.canParse(url)) && readServer(one) === readServer(other)

const readServer = (url: string): string => new URL(url.replace(/^ws/i, "http")).origin

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
