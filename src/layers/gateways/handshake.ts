/**
 * The opening of a WebSocket to a gateway: one deadline for all of it, and the gateway's refusal as a failure class.
 *
 * The handshake is done here, over a plain or TLS connection, and `ws` takes the connection over once the protocol has
 * changed. Through Node's HTTP client a handshake costs twice the work, which a whole fleet that reconnects would feel.
 */
import { hash, randomFillSync } from "node:crypto"
import type { Failure } from "../../domain/DeviceState.ts"
import { readEnvelope } from "./envelope.ts"
import type { ClientSocket } from "./http/ClientSocket.ts"
import { Origin, renderHeaders } from "./http/Origin.ts"
import { ReplyReader } from "./http/ReplyReader.ts"
import { dependsOnBody, handshakeTimeout, notAWebSocket, ofConnectError, ofStatus } from "./socketFailures.ts"
import type { Refusal } from "./socketFailures.ts"

/** A refusal is some hundred bytes; what is longer is not in the gateway's envelope. */
const refusalBytesMax = 16 * 1024

/** RFC 6455: proves that the other side has read the key as a WebSocket server. */
const acceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/** What the sockets of one gateway have in common. */
export interface HandshakeOptions {
  readonly origin: Origin
  /** For the whole opening. */
  readonly millis: number
  readonly frameBytesHardMax: number
}

/** Where one socket is, and what its upgrade carries. Either may hold secrets, and is shown nowhere. */
export interface SocketAddress {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

/** An upgrade that is done and not yet a connection that the gateway has accepted. The first call counts. */
export interface Opening {
  readonly accepted: () => void
  readonly refused: (failure: Failure) => void
}

/** `ws://` or `wss://`. */
export const makeOrigin = (url: string): Origin => new Origin(new URL(url))

/**
 * Opens the connection for this socket, and calls one of the two callbacks once. Returns a function that cancels, after
 * which neither is called. However it fails, the connection is closed: no handshake outlives its deadline. `onOpen` is
 * called before a frame can be read, so that what it attaches misses none.
 *
 * Some gateways refuse a client only after the upgrade. With `onUpgrade` the caller says what the upgrade led to, and
 * the deadline holds until then.
 */
export const openWebSocket = <Socket extends ClientSocket>(
  { frameBytesHardMax, millis, origin }: HandshakeOptions,
  { headers, url }: SocketAddress,
  socket: Socket,
  onOpen: (socket: Socket) => void,
  onRefused: (refusal: Refusal) => void,
  onUpgrade?: (socket: Socket, opening: Opening) => void
): () => void => {
  const key = makeKey()
  const head = origin.writeHead(
    "GET",
    new URL(url),
    `${
      renderHeaders(headers)
    }Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
  )
  const connection = origin.connect()
  const reader = new ReplyReader(refusalBytesMax)
  let settled = false
  let upgraded = false
  const settle = (): boolean => {
    if (settled) return false
    settled = true
    clearTimeout(deadline)
    return true
  }
  const abandon = () => {
    if (upgraded) socket.terminate()
    else connection.destroy()
  }
  const refuse = (refusal: Refusal) => {
    if (settle()) {
      abandon()
      onRefused(refusal)
    }
  }
  const fail = (failure: Failure) => refuse({ failure, retryAfter: null })
  const accepted = () => {
    if (settle()) onOpen(socket)
  }
  const upgrade = () => {
    upgraded = true
    connection.off("data", onData)
    connection.off("end", onEnd)
    connection.off("error", onError)
    socket.take(connection, reader.rest, frameBytesHardMax)
    if (onUpgrade === undefined) accepted()
    else onUpgrade(socket, { accepted, refused: fail })
  }
  const refuseByStatus = (text: string | null) =>
    refuse(ofStatus(reader.status, reader.headers, readEnvelope(text), Date.now()))
  const onData = (chunk: Buffer) => {
    if (settled) return
    reader.read(chunk)
    if (reader.state === "upgraded" && acceptsKey(reader.headers, key)) upgrade()
    else if (reader.state === "upgraded" || reader.state === "malformed") fail(notAWebSocket)
    else if (reader.state === "complete") refuseByStatus(reader.readText())
    else if (reader.state === "body" && !dependsOnBody(reader.status)) refuseByStatus(null)
  }
  /** A refusal whose body broke off is judged by its status. */
  const onEnd = () => {
    reader.end()
    if (reader.state === "complete") refuseByStatus(reader.readText())
    else if (reader.state === "body") refuseByStatus(null)
    else fail(ofConnectError({ code: "ECONNRESET" }))
  }
  const onError = (error: NodeJS.ErrnoException) => {
    if (reader.state === "body") refuseByStatus(null)
    else fail(ofConnectError(error))
  }
  // For the whole handshake rather than an idle time: a gateway that sends byte by byte gets no more time.
  const deadline = setTimeout(() => fail(handshakeTimeout(millis)), millis)
  connection.on("data", onData)
  connection.on("end", onEnd)
  // Stays after a refusal: a connection that is given up may still report an error.
  connection.on("error", onError)
  connection.write(head, "latin1")
  return () => {
    if (settle()) abandon()
  }
}

/** No extension and no protocol was asked for: a server that names one has read something else. */
const acceptsKey = (headers: Readonly<Record<string, string>>, key: string): boolean =>
  headers["upgrade"]?.toLowerCase() === "websocket" &&
  headers["sec-websocket-accept"] === hash("sha1", key + acceptSuffix, "base64") &&
  headers["sec-websocket-extensions"] === undefined &&
  headers["sec-websocket-protocol"] === undefined

/** A key must not be predictable, but it is no secret: random bytes are drawn for many at once. */
const keyBytes = 16
const randomBytes = Buffer.alloc(keyBytes * 256)
let nextKey = randomBytes.length

const makeKey = (): string => {
  if (nextKey === randomBytes.length) {
    randomFillSync(randomBytes)
    nextKey = 0
  }
  nextKey += keyBytes
  return randomBytes.toString("base64", nextKey - keyBytes, nextKey)
}
