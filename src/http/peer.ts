/**
 * The origin of a request, for counts per address. RPC handlers see the headers of a request and not its connection,
 * so the edge writes the address into a header, with a secret mark: a client may send headers of its own inside an RPC
 * request, and must not choose the address that its failures are counted for.
 *
 * Behind a proxy it is the proxy's address. Headers that proxies add are not trusted, because anyone can send them.
 */
import { Option } from "effect"
import { Headers } from "effect/http"
import type { HttpServerRequest } from "effect/http"
import { randomBytes } from "node:crypto"

const header = "x-columba-peer"
const mark = randomBytes(16).toString("hex")

/** All requests without a known address share one. */
const unknown = "unknown"

export const withPeer = (request: HttpServerRequest.HttpServerRequest): HttpServerRequest.HttpServerRequest =>
  request.modify({
    headers: Headers.set(request.headers, header, `${mark} ${Option.getOrElse(request.remoteAddress, () => unknown)}`)
  })

/** The network of the caller: an IPv4 address, or the 64 bits of an IPv6 address that every subscriber has at least. */
export const readPeer = (headers: Headers.Headers): string => {
  const [given, address] = (headers[header] ?? "").split(" ")
  return given === mark && address !== undefined ? networkOf(address) : unknown
}

export const networkOf = (address: string): string => {
  const plain = address.split("%", 1)[0]!.toLowerCase()
  const v4 = /^(?:::ffff:)?(\d{1,3}(?:\.\d{1,3}){3})$/.exec(plain)?.[1]
  if (v4 !== undefined) return v4
  if (!plain.includes(":")) return plain
  const [head, tail] = plain.split("::").map((part) => part === "" ? [] : part.split(":"))
  const groups = tail === undefined ? head! : [
    ...head!,
    ...Array.from({ length: Math.max(0, 8 - head!.length - tail.length) }, () => "0"),
    ...tail
  ]
  return `${groups.slice(0, 4).join(":")}::/64`
}
