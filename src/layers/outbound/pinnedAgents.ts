/**
 * Connections only to addresses that were checked. A name is resolved once per connection, all of its addresses are
 * checked, and the connection uses one of these very addresses: a name that resolves to another address a moment later
 * changes nothing. A connection that is kept for the next request was checked when it was made.
 */
import { lookup, Resolver } from "node:dns/promises"
import * as http from "node:http"
import * as https from "node:https"
import { isIP } from "node:net"
import type { LookupFunction } from "node:net"
import { networkInterfaces } from "node:os"
import { OutboundRefused } from "../../services/OutboundHttp.ts"
import { isPublicAddress } from "./publicAddresses.ts"
import { refusedAddress } from "./outboundUrl.ts"

/** Unused connections are closed before servers usually close them. */
const idleMillis = 15_000

/** A name server that does not answer is asked twice; the remaining time is for the request. */
const resolveMillis = 2_500
const resolveTries = 2

/** Maximum number of addresses of one name that are considered: the first ones. */
const addressesMax = 16

export type Resolve = (hostname: string) => Promise<ReadonlyArray<string>>

/** Returns addresses that may be connected to, or fails with `OutboundRefused`. */
export const makeCheckedResolve = (resolve: Resolve, allowPrivate: boolean): Resolve => async (hostname) => {
  const addresses = (await resolve(hostname)).slice(0, addressesMax)
  if (addresses.length === 0) throw OutboundRefused.of("unresolved", "The name of the host has no address")
  if (!allowPrivate && !addresses.every(isReachable)) throw refusedAddress()
  return addresses
}

/** The address in the place of a URL's host; null for a name. Node connects to it without a DNS query. */
export const readAddress = ({ hostname }: URL): string | null => {
  const text = hostname.replace(/^\[|\]$/g, "")
  return isIP(text) === 0 ? null : text
}

/** On some machines our own addresses are public ones, and servers there may trust the machine. */
export const isReachable = (address: string): boolean =>
  isPublicAddress(address) &&
  !Object.values(networkInterfaces()).some((own) => own?.some((one) => one.address === address) === true)

export interface Agents {
  readonly of: (url: URL) => http.Agent
  readonly destroy: () => void
}

export const makeAgents = (resolve: Resolve, options: http.AgentOptions): Agents => {
  const all: https.AgentOptions = { ...options, timeout: idleMillis, lookup: makeLookup(resolve) }
  const plain = new http.Agent(all)
  const secure = new https.Agent(all)
  return {
    of: (url) => url.protocol === "https:" ? secure : plain,
    destroy: () => {
      plain.destroy()
      secure.destroy()
    }
  }
}

/** Node calls it once per connection and connects to the result. It is not called for addresses in place of names. */
const makeLookup = (resolve: Resolve): LookupFunction => (hostname, { all }, done) => {
  resolve(hostname).then(
    (addresses) => {
      const found = addresses.map((address) => ({ address, family: isIP(address) }))
      if (all === true) done(null, found)
      else done(null, found[0]!.address, found[0]!.family)
    },
    (cause: Error) => done(cause, [])
  )
}

/** Codes, because error messages quote addresses. */
export const describeCause = (cause: unknown): string => {
  const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : ""
  return code === "" ? "the connection failed" : code
}

/**
 * Asks the name servers directly, because the machine's own resolver occupies one of the few threads of the process for as
 * long as a name server does not answer.
 */
export const resolveWith = (servers?: ReadonlyArray<string>): Resolve => {
  const resolver = new Resolver({ timeout: resolveMillis, tries: resolveTries })
  if (servers !== undefined) resolver.setServers(servers)
  return async (hostname) => {
    const answers = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)])
    const found = answers.flatMap((answer) => answer.status === "fulfilled" ? answer.value : [])
    const failed = answers.find((answer) => answer.status === "rejected")
    if (found.length === 0 && failed !== undefined) throw failed.reason
    return found
  }
}

/** Resolves also the names that only the machine has: its hosts file, its search list. */
export const resolveAsMachine: Resolve = async (hostname) =>
  (await lookup(hostname, { all: true })).map(({ address }) => address)
