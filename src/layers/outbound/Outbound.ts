/**
 * Requests to servers that a caller has named, over Node's own HTTP client. A name is resolved once per connection, all
 * of its addresses are checked, and the connection goes to one of these very addresses: a name that resolves to another
 * address a moment later changes nothing. A connection that is kept for the next request was checked when it was made.
 */
import { lookup, Resolver } from "node:dns/promises"
import * as http from "node:http"
import * as https from "node:https"
import { isIP } from "node:net"
import type { LookupFunction } from "node:net"
import { networkInterfaces } from "node:os"
import { Effect, Layer } from "effect"
import { OutboundFailed, OutboundHttp, OutboundRefused } from "../../services/OutboundHttp.ts"
import type { OutboundPost, OutboundReply } from "../../services/OutboundHttp.ts"
import { isPublicAddress } from "./addresses.ts"
import { readOutboundUrl, refusedAddress } from "./outboundUrl.ts"

/** From the first step (resolving) to the head of the answer: what Standard Webhooks asks a sender to allow. */
const requestMillisMax = 15_000

/** What is read of an answer's body, and for how long, so that its connection can be used again. */
const bodyBytesMax = 64 * 1024
const bodyMillis = 1_000

/** A head is short; Node's default of 16 KiB is what servers are built for. */
const headBytesMax = 16 * 1024

/**
 * Connections kept for the next request: per server as many as a subscription uses at a time, because a connection costs
 * more than a request. Closed before servers usually close them.
 */
const idleConnectionsMax = 8
const idleMillis = 15_000

/** A name server that does not answer is asked twice; the rest of the time is for the request. */
const resolveMillis = 2_500
const resolveTries = 2

/** Addresses that are looked at of one name; a name with more has its first ones. */
const addressesMax = 16

export type Resolve = (hostname: string) => Promise<ReadonlyArray<string>>

export interface OutboundOptions {
  /** Allows private addresses, every port, and http. */
  readonly allowPrivate: boolean
  /** How names become addresses; by default by the name servers, or where private names are allowed, as the machine does. */
  readonly resolve?: Resolve | undefined
  /** How long a request may take; tests have less time. */
  readonly requestMillis?: number | undefined
}

export const layer = (options: OutboundOptions): Layer.Layer<OutboundHttp> =>
  Layer.effect(
    OutboundHttp,
    Effect.gen(function*() {
      const { allowPrivate, requestMillis = requestMillisMax } = options
      const resolve = options.resolve ?? (allowPrivate ? resolveAsMachine : resolveWith())
      const resolveChecked = async (hostname: string): Promise<ReadonlyArray<string>> => {
        const addresses = (await resolve(hostname)).slice(0, addressesMax)
        if (addresses.length === 0) throw OutboundRefused.of("unresolved", "The name of the host has no address")
        if (!allowPrivate && !addresses.every(isReachable)) throw refusedAddress()
        return addresses
      }
      const kept = makeAgents(resolveChecked, { keepAlive: true, maxFreeSockets: idleConnectionsMax })
      const fresh = makeAgents(resolveChecked, { keepAlive: false })
      yield* Effect.addFinalizer(() => Effect.sync(() => [kept, fresh].forEach((agents) => agents.destroy())))

      const read = (text: string) =>
        Effect.suspend(() => {
          const url = readOutboundUrl(text, allowPrivate)
          return url instanceof OutboundRefused ? Effect.fail(url) : Effect.succeed(url)
        })

      const check = Effect.fn("Outbound.check")(function*(text: string) {
        const url = yield* read(text)
        const address = readAddress(url)
        if (address !== null) return allowPrivate || isReachable(address) ? undefined : yield* refusedAddress()
        yield* Effect.tryPromise({
          try: () => resolveChecked(url.hostname),
          catch: (cause) =>
            cause instanceof OutboundRefused
              ? cause
              : OutboundRefused.of("unresolved", `The name of the host could not be resolved (${describe(cause)})`)
        })
      })

      const post = (request: OutboundPost) =>
        Effect.flatMap(read(request.url), (url) => {
          const address = readAddress(url)
          if (!allowPrivate && address !== null && !isReachable(address)) return Effect.fail(refusedAddress())
          return send(kept, url, request).pipe(
            // The server had closed the kept connection before it got the request; a new one tells how it is.
            Effect.catchIf((error) => error === staleConnection, () => send(fresh, url, request)),
            Effect.catchIf((error) => error === staleConnection, () => Effect.fail(closedEarly)),
            Effect.timeoutOrElse({
              duration: requestMillis,
              orElse: () => Effect.fail(OutboundFailed.of("timeout", `no answer within ${requestMillis / 1000} s`))
            })
          )
        })

      return OutboundHttp.of({ check, post })
    })
  )

/** The address that a URL names instead of a host; null for a name. Node connects to it without asking anybody. */
const readAddress = ({ hostname }: URL): string | null => {
  const text = hostname.replace(/^\[|\]$/g, "")
  return isIP(text) === 0 ? null : text
}

/** Our own addresses are public ones on some machines, and what listens there may trust the machine. */
const isReachable = (address: string): boolean =>
  isPublicAddress(address) &&
  !Object.values(networkInterfaces()).some((own) => own?.some((one) => one.address === address) === true)

interface Agents {
  readonly of: (url: URL) => http.Agent
  readonly destroy: () => void
}

const makeAgents = (resolve: Resolve, options: http.AgentOptions): Agents => {
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

/** Node calls it once per connection and connects to what it answers. Addresses instead of names never get here. */
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

const staleConnection = "stale connection" as const
const closedEarly = OutboundFailed.of("connection", "the server closed the connection without an answer")

const send = (
  agents: Agents,
  url: URL,
  { body, headers }: OutboundPost
): Effect.Effect<OutboundReply, OutboundRefused | OutboundFailed | typeof staleConnection> =>
  Effect.callback((resume) => {
    const request = (url.protocol === "https:" ? https : http).request(url, {
      method: "POST",
      agent: agents.of(url),
      headers: { ...headers, "content-length": body.byteLength },
      maxHeaderSize: headBytesMax
    })
    let answered = () => false
    request.on("response", (response) => {
      const reply = {
        status: response.statusCode ?? 0,
        retryAfterSeconds: readRetryAfter(response.headers["retry-after"])
      }
      let bytes = 0
      // The head is the answer. The body is read to free the connection; one that is long or slow costs the connection.
      const ended = () => {
        clearTimeout(late)
        resume(Effect.succeed(reply))
      }
      const cut = () => {
        request.destroy()
        ended()
      }
      const late = setTimeout(cut, bodyMillis)
      answered = () => {
        ended()
        return true
      }
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > bodyBytesMax) cut()
      })
      // The connection is free a moment later, in time for a request that follows at once.
      response.on("end", () => setImmediate(ended)).on("error", ended)
    })
    request.on("error", (cause: NodeJS.ErrnoException) => {
      // An answer that came before all of the body was sent, which nobody reads any more.
      if (answered()) return
      if (cause instanceof OutboundRefused) return resume(Effect.fail(cause))
      resume(Effect.fail(
        request.reusedSocket && /^(ECONNRESET|EPIPE)$/.test(cause.code ?? "")
          ? staleConnection
          : OutboundFailed.of("connection", describe(cause))
      ))
    })
    request.end(body)
    return Effect.sync(() => request.destroy())
  })

/** Codes, because messages of errors quote addresses. */
const describe = (cause: unknown): string => {
  const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : ""
  return code === "" ? "the connection failed" : code
}

const readRetryAfter = (value: string | undefined): number | null =>
  value !== undefined && /^\d{1,6}$/.test(value) ? Number(value) : null

/**
 * Asks the name servers directly, because the machine's own resolver takes one of few threads of the process for as
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

/** Knows the names that only the machine knows: its hosts file, its search list. */
const resolveAsMachine: Resolve = async (hostname) =>
  (await lookup(hostname, { all: true })).map(({ address }) => address)
