/**
 * One GET whose answer is read at the caller's pace. Bounded in bytes, in time and in time without progress, so that a server
 * that a caller has named can neither fill our memory nor hold a connection forever.
 */
import * as http from "node:http"
import * as https from "node:https"
import * as NodeStream from "@effect/platform-node/NodeStream"
import { Effect, Scope, Stream } from "effect"
import { OutboundFailed, OutboundRefused, OutboundTooLarge } from "../../services/OutboundHttp.ts"
import type { OutboundFetch, OutboundFile } from "../../services/OutboundHttp.ts"
import { describeCause } from "./pinnedAgents.ts"

/** The largest file that is worth sending (128 MiB), over a slow line of 4 Mbit/s. */
const fileMillisMax = 5 * 60_000

/** Maximum time without progress once a server has begun to send. Time in which the caller does not read counts too. */
const silenceMillisMax = 30_000

/** A head is short; servers are built for Node's default of 16 KiB. */
const headBytesMax = 16 * 1024

export interface FileLimits {
  readonly fileMillis?: number | undefined
  readonly silenceMillis?: number | undefined
}

/** The request and its connection end with the scope. */
export const openFile = (
  agent: http.Agent,
  url: URL,
  { bytesMax, headers }: OutboundFetch,
  { fileMillis = fileMillisMax, silenceMillis = silenceMillisMax }: FileLimits
): Effect.Effect<OutboundFile, OutboundRefused | OutboundFailed | OutboundTooLarge, Scope.Scope> =>
  Effect.flatMap(Effect.scope, (scope) => {
    let end = () => {}
    const opened = Effect.callback<http.IncomingMessage, OutboundRefused | OutboundFailed>((resume) => {
      const request = (url.protocol === "https:" ? https : http).request(url, {
        method: "GET",
        agent,
        // Uncompressed: the server's headers give no bound for unpacked content.
        headers: { "accept-encoding": "identity", ...headers },
        maxHeaderSize: headBytesMax
      })
      end = () => request.destroy()
      request.on("response", (response) => {
        const giveUp = (detail: string) => response.destroy(OutboundFailed.of("timeout", detail))
        const late = setTimeout(() => giveUp(`the file did not come within ${fileMillis / 1000} s`), fileMillis)
        request.setTimeout(silenceMillis, () => giveUp(`nothing came for ${silenceMillis / 1000} s`))
        // Also where nobody reads the body.
        response.on("error", () => {}).on("close", () => clearTimeout(late))
        resume(Effect.succeed(response))
      })
      request.on("error", (cause) => resume(Effect.fail(cause instanceof OutboundRefused ? cause : broken(cause))))
      request.end()
      return Effect.sync(() => request.destroy())
    })
    // Registered first, so that no interruption can fall between an open connection and its end.
    return Effect.andThen(Scope.addFinalizer(scope, Effect.sync(() => end())), opened)
  }).pipe(Effect.flatMap((response) => {
    const size = readSize(response.headers["content-length"])
    if (size !== null && size > bytesMax) return Effect.fail(OutboundTooLarge.of(bytesMax))
    return Effect.succeed({
      status: response.statusCode ?? 0,
      contentType: response.headers["content-type"] ?? null,
      size,
      content: bounded(response, bytesMax)
    })
  }))

const bounded = (
  response: http.IncomingMessage,
  bytesMax: number
): Stream.Stream<Uint8Array, OutboundFailed | OutboundTooLarge> =>
  Stream.suspend(() => {
    let bytes = 0
    return NodeStream.fromReadable<Uint8Array, OutboundFailed>({
      evaluate: () => response,
      onError: (cause) => cause instanceof OutboundFailed ? cause : broken(cause)
    }).pipe(Stream.mapEffect((chunk) => {
      bytes += chunk.byteLength
      return bytes > bytesMax ? Effect.fail(OutboundTooLarge.of(bytesMax)) : Effect.succeed(chunk)
    }))
  })

const broken = (cause: unknown): OutboundFailed => OutboundFailed.of("connection", describeCause(cause))

const readSize = (value: string | undefined): number | null => {
  const size = value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : null
  return size
}
