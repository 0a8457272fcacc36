/** The address of a gateway, and HTTP Basic for it. The URL that users give may hold credentials. */
import { Redacted } from "effect"
import { parseGatewayUrl } from "../../domain/Gateway.ts"

/** Without credentials, query and fragment: the URL is shown to users, and the socket's URL is derived from it. */
export const parseBase = (text: string): URL => {
  const base = new URL(parseGatewayUrl(text)?.url ?? text)
  base.protocol = base.protocol.replace(/^ws/, "http")
  base.pathname = base.pathname.replace(/\/(ws\/?)?$/, "")
  return base
}

/** The URL of the gateway's socket, without a query. */
export const socketUrl = (base: URL): string => `${base.href.replace(/^http/, "ws").replace(/\/$/, "")}/ws`

/** The `Authorization` header, or null where the gateway is open. */
export const makeBasic = (options: {
  readonly url: string
  readonly user?: string | null | undefined
  readonly password?: Redacted.Redacted | undefined
}): string | null => {
  const inUrl = parseGatewayUrl(options.url)
  const user = options.user ?? inUrl?.user ?? ""
  const password = options.password === undefined ? inUrl?.password ?? "" : Redacted.value(options.password)
  return user === "" && password === "" ? null : `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`
}
