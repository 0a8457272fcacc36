/**
 * The opening of a WebSocket to a gateway: one deadline for all of it, and the gateway's refusal as a failure class.
 */
import type { ClientRequest, IncomingMessage } from "node:http"
import type { ClientOptions, WebSocket } from "ws"
import { readEnvelope } from "./envelope.ts"
import type { Failure } from "../../domain/DeviceState.ts"
import { dependsOnBody, handshakeTimeout, ofConnectError, ofStatus, type Refusal } from "./socketFailures.ts"

/** How long a gateway may take to answer our close frame before the connection is cut. */
const closeMillis = 1000

/** A refusal is some hundred bytes; what is longer is not in the gateway's envelope. */
const refusalBytesMax = 16 * 1024

/** `ws` ends a connection that sends a frame above `frameBytesHardMax`, before the frame is in memory. */
export const makeSocketOptions = (
  headers: Readonly<Record<string, string>>,
  frameBytesHardMax: number
): ClientOptions & { readonly closeTimeout: number } => ({
  headers,
  // Negotiated compression costs a zlib context per socket, and frames are small.
  perMessageDeflate: false,
  maxPayload: frameBytesHardMax,
  closeTimeout: closeMillis
})

/** An upgrade that is done and not yet a connection that the gateway has accepted. The first call counts. */
export interface Opening {
  readonly accepted: () => void
  readonly refused: (failure: Failure) => void
}

/**
 * Calls one of the two callbacks once. Returns a function that cancels, after which neither is called. However it
 * fails, the connection is closed: no handshake outlives its deadline. `onOpen` is called in the event itself, so that
 * what it attaches misses no frame.
 *
 * Some gateways refuse a client only after the upgrade. With `onUpgrade` the caller says what the upgrade led to, and
 * the deadline holds until then.
 */
export const awaitHandshake = (
  socket: WebSocket,
  millis: number,
  onOpen: () => void,
  onRefused: (refusal: Refusal) => void,
  onUpgrade?: (opening: Opening) => void
): () => void => {
  let settled = false
  const settle = (): boolean => {
    if (settled) return false
    settled = true
    clearTimeout(deadline)
    socket.removeListener("unexpected-response", onResponse)
    socket.removeListener("open", onOpened)
    return true
  }
  const refuse = (refusal: Refusal) => {
    if (settle()) {
      socket.terminate()
      onRefused(refusal)
    }
  }
  const accepted = () => {
    if (settle()) onOpen()
  }
  const onOpened = () => {
    if (settled) return
    socket.removeListener("error", onFailed)
    if (onUpgrade === undefined) accepted()
    else onUpgrade({ accepted, refused: (failure) => refuse({ failure, retryAfter: null }) })
  }
  const onFailed = (error: Error) => refuse({ failure: ofConnectError(error), retryAfter: null })
  const onResponse = (_request: ClientRequest, response: IncomingMessage) => {
    const status = response.statusCode ?? 0
    const answer = (text: string | null) => {
      response.destroy()
      refuse(ofStatus(status, response.headers, readEnvelope(text), Date.now()))
    }
    if (dependsOnBody(status)) readRefusal(response, answer)
    else answer(null)
  }
  // For the whole handshake rather than an idle time: a gateway that sends byte by byte gets no more time.
  const deadline = setTimeout(() => refuse({ failure: handshakeTimeout(millis), retryAfter: null }), millis)
  socket.on("open", onOpened)
  socket.on("unexpected-response", onResponse)
  // Stays after a refusal: aborting a handshake emits one more error, which must find a listener.
  socket.on("error", onFailed)
  return () => {
    if (settle()) socket.terminate()
  }
}

/** The body of a refusal, or null where it breaks off or is too long. `done` may be called again: the first one counts. */
const readRefusal = (response: IncomingMessage, done: (text: string | null) => void): void => {
  const chunks: Array<Buffer> = []
  let size = 0
  response.on("data", (chunk: Buffer) => {
    size += chunk.length
    if (size > refusalBytesMax) done(null)
    else chunks.push(chunk)
  })
  response.on("end", () => done(Buffer.concat(chunks).toString("utf8")))
  response.on("error", () => done(null))
}
