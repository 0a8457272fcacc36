/**
 * Requests to servers that a caller has named, over Node's own HTTP client and connections that go only where they may
 * (`pinnedAgents`): events that are posted, and files that are fetched. One guard for both.
 */
import * as http from "node:http"
import * as https from "node:https"
import { Effect, Layer } from "effect"
import { OutboundFailed, OutboundHttp, OutboundRefused } from "../../services/OutboundHttp.ts"
import type { OutboundPost, OutboundReply } from "../../services/OutboundHttp.ts"
import { openFile } from "./openFile.ts"
import { readOutboundUrl, refusedAddress } from "./outboundUrl.ts"
import {
  type Agents,
  describeCause,
  isReachable,
  makeAgents,
  makeCheckedResolve,
  readAddress,
  type Resolve,
  resolveAsMachine,
  resolveWith
} from "./pinnedAgents.ts"

/** From the first step (resolving) to the head of the answer: what Standard Webhooks asks a sender to allow. */
const requestMillisMax = 15_000

/** What is read of an answer's body, and for how long, so that its connection can be used again. */
const bodyBytesMax = 64 * 1024
const bodyMillis = 1_000

/** A head is short; Node's default of 16 KiB is what servers are built for. */
const headBytesMax = 16 * 1024

/**
 * Connections kept for the next request: per server as many as a subscription uses at a time, because a connection costs
 * more than a request.
 */
const idleConnectionsMax = 8

/** Files under way per server: one that is slow to give them holds up no other. */
const filesMax = 8

export interface OutboundOptions {
  /** Allows private addresses, every port, and http. */
  readonly allowPrivate: boolean
  /** How names become addresses; by default by the name servers, or where private names are allowed, as the machine does. */
  readonly resolve?: Resolve | undefined
  /** How long a request may take up to the head of its answer; tests have less time. */
  readonly requestMillis?: number | undefined
  /** How long a file may take in all, and how long it may stand still; tests have less time. */
  readonly fileMillis?: number | undefined
  readonly silenceMillis?: number | undefined
}

export const layer = (options: OutboundOptions): Layer.Layer<OutboundHttp> =>
  Layer.effect(
    OutboundHttp,
    Effect.gen(function*() {
      const { allowPrivate, requestMillis = requestMillisMax } = options
      const resolve = options.resolve ?? (allowPrivate ? resolveAsMachine : resolveWith())
      const resolveChecked = makeCheckedResolve(resolve, allowPrivate)
      const kept = makeAgents(resolveChecked, { keepAlive: true, maxFreeSockets: idleConnectionsMax })
      const fresh = makeAgents(resolveChecked, { keepAlive: false })
      const files = makeAgents(resolveChecked, { keepAlive: false, maxSockets: filesMax })
      yield* Effect.addFinalizer(() => Effect.sync(() => [kept, fresh, files].forEach((agents) => agents.destroy())))

      const read = (text: string) =>
        Effect.suspend(() => {
          const url = readOutboundUrl(text, allowPrivate)
          return url instanceof OutboundRefused ? Effect.fail(url) : Effect.succeed(url)
        })

      /** Before a connection: an address in the place of a name is connected to without a DNS query. */
      const readAllowed = (text: string) =>
        Effect.flatMap(read(text), (url) => {
          const address = readAddress(url)
          return allowPrivate || address === null || isReachable(address)
            ? Effect.succeed(url)
            : Effect.fail(refusedAddress())
        })

      const inTime = Effect.timeoutOrElse({
        duration: requestMillis,
        orElse: () => Effect.fail(OutboundFailed.of("timeout", `no answer within ${requestMillis / 1000} s`))
      })

      const check = Effect.fn("Outbound.check")(function*(text: string) {
        const url = yield* readAllowed(text)
        if (readAddress(url) !== null) return
        yield* Effect.tryPromise({
          try: () => resolveChecked(url.hostname),
          catch: (cause) =>
            cause instanceof OutboundRefused
              ? cause
              : OutboundRefused.of("unresolved", `The name of the host could not be resolved (${describeCause(cause)})`)
        })
      })

      const post: OutboundHttp["Service"]["post"] = (request) =>
        Effect.flatMap(readAllowed(request.url), (url) =>
          send(kept, url, request).pipe(
            // The server had closed the kept connection before it got the request; a new one tells how it is.
            Effect.catchIf((error) => error === staleConnection, () => send(fresh, url, request)),
            Effect.catchIf((error) => error === staleConnection, () => Effect.fail(closedEarly)),
            inTime
          ))

      const fetch: OutboundHttp["Service"]["fetch"] = Effect.fn("Outbound.fetch")(function*(request) {
        const url = yield* readAllowed(request.url)
        return yield* openFile(files.of(url), url, request, options).pipe(inTime)
      })

      return OutboundHttp.of({ check, post, fetch })
    })
  )

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
          : OutboundFailed.of("connection", describeCause(cause))
      ))
    })
    request.end(body)
    return Effect.sync(() => request.destroy())
  })

const readRetryAfter = (value: string | undefined): number | null =>
  value !== undefined && /^\d{1,6}$/.test(value) ? Number(value) : null
