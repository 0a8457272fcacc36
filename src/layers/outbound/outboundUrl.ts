/**
 * Reads a URL that a caller has given. It must be in canonical form: another parser may repair an invalid URL differently,
 * and a check that saw one server would let a request through to another.
 */
import { isIP } from "node:net"
import { OutboundRefused } from "../../services/OutboundHttp.ts"
import { isPublicAddress } from "./publicAddresses.ts"

/** Maximum length of a stored URL, more than any server needs. */
export const urlLengthMax = 2048

/** Servers of other protocols listen below this port; 80 and 443 are those of HTTP. */
const privilegedPorts = 1024

/** Ports above it that browsers refuse, because servers there can be made to read an HTTP request as their own protocol. */
const refusedPorts: ReadonlySet<number> = new Set([
  1719,
  1720,
  1723,
  2049,
  3659,
  4045,
  4190,
  5060,
  5061,
  6000,
  6566,
  6665,
  6666,
  6667,
  6668,
  6669,
  6679,
  6697,
  10080
])

const invalid = (detail: string) => OutboundRefused.of("invalid", detail)

/** The URL, or why no request may go there. `allowPrivate` allows http, every port and every address. */
export const readOutboundUrl = (text: string, allowPrivate: boolean): URL | OutboundRefused => {
  // oxlint-disable-next-line no-control-regex
  if (text.length > urlLengthMax || /[\s\\\u0000-\u001f\u007f]/.test(text)) {
    return invalid(`Expected a URL of at most ${urlLengthMax} characters without spaces and backslashes`)
  }
  const authority = /^https?:\/\/([^/?#]*)/i.exec(text)?.[1]
  if (authority === undefined) return OutboundRefused.of("scheme", "Expected a URL that begins with https://")
  const url = URL.parse(text)
  if (url === null) return invalid("Expected a URL like https://hooks.example.com/columba")
  if (authority.includes("@")) return invalid("Expected a URL without user and password; use a header instead")
  if (url.hash !== "") return invalid("Expected a URL without a fragment")
  const host = authority.replace(/:(0|[1-9]\d{0,4})$/, "").toLowerCase()
  if (host !== url.hostname || host.endsWith(".")) {
    return invalid(
      "Expected the host as it is looked up: lower-case letters, digits and hyphens (punycode for others), " +
        "or an address in its usual form, without a dot at the end"
    )
  }
  if (allowPrivate) return url
  if (url.protocol !== "https:") return OutboundRefused.of("scheme", "Expected https: events hold messages of people")
  const port = url.port === "" ? 443 : Number(url.port)
  if ((port < privilegedPorts && port !== 80 && port !== 443) || refusedPorts.has(port)) {
    return OutboundRefused.of("port", `Port ${port} is not one of HTTP servers`)
  }
  const literal = host.startsWith("[") ? host.slice(1, -1) : host
  return isIP(literal) !== 0 && !isPublicAddress(literal) ? refusedAddress() : url
}

/** Without the address: callers that may not reach a network need not learn what its names resolve to. */
export const refusedAddress = (): OutboundRefused =>
  OutboundRefused.of(
    "address",
    "The host is not on the public internet; where that is meant, start Columba with COLUMBA_WEBHOOK_ALLOW_PRIVATE=true"
  )
