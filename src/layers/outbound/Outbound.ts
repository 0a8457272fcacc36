/**
 * Requests to servers that a caller has named, over Node's own HTTP client and connections to checked addresses only
 * (`pinnedAgents`): events that are posted, and files that are fetched. Both use the same guard.
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

/** From resolving the name to the head of the answer: the time that Standard Webhooks asks a sender to allow. */
const requestMillisMax = 15_000

/** Maximum size and time of reading an answer's body, so that its connection can be reused. */
const bodyBytesMax = 64 * 1024
const bodyMillis = 1_000

/** A head is short; servers are built for Node's default of 16 KiB. */
const headBytesMax = 16 * 1024

/**
 * Idle connections kept per server: as many as a subscription uses at a time, because a connection costs
 * more than a request.
 */
const idleConnectionsMax = 8

/** Concurrent files per server: a slow server delays no other. */
const filesMax = 8

export interface OutboundOptions {
  /** Allows private addresses, every port, and http. */
  readonly allowPrivate: boolean
  /** Resolves names; by default with the name servers, or where private names are allowed, with the machine's resolver. */
  readonly resolve?: Resolve | undefined
  /** Time limit of a request up to the head of its answer; tests have less time. */
  readonly requestMillis?: number | undefined
  /** Time limits of a file in all, and without progress; tests have less time. */
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

      /** Before connecting: an address in place of a name is connected to without a DNS query. */
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
            // The server had closed the kept connection before it received the request; a new connection shows the server's state.
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
      // The head is the answer. The body is read to free the connection; a long or slow body costs the connection.
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
      // The answer came before all of the body was sent, and nobody reads the rest.
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
