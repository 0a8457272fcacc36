/**
 * The origin of a gateway: plain or TLS connections to it, and the first lines of a request. Later connections resume
 * a TLS session, which saves both sides most of the handshake's work.
 */
import { validateHeaderName, validateHeaderValue } from "node:http"
import * as net from "node:net"
import * as tls from "node:tls"

/**
 * Receives the data and the end of a connection. All these connections share one read buffer: a silent connection
 * has none, and reading allocates nothing.
 */
export interface ConnectionReader {
  /** `data` is valid until the call returns. */
  readonly onRead: (data: Buffer) => void
  /** The other side sends nothing more. The connection closes itself. */
  readonly onEnd: () => void
  readonly onError: (error: NodeJS.ErrnoException) => void
  /** Called once, and last. */
  readonly onConnectionClose: () => void
}

/** The maximum that the system returns at once. */
const readBytesMax = 64 * 1024

interface ReadSocket extends net.Socket {
  reader?: ConnectionReader
}

const sharedReads = {
  buffer: Buffer.allocUnsafeSlow(readBytesMax),
  callback(this: ReadSocket, count: number, buffer: Uint8Array): boolean {
    this.reader!.onRead((buffer as Buffer).subarray(0, count))
    return true
  }
}

function onEnd(this: ReadSocket): void {
  this.reader!.onEnd()
}

function onError(this: ReadSocket, error: NodeJS.ErrnoException): void {
  this.reader!.onError(error)
}

function onClose(this: ReadSocket): void {
  this.reader!.onConnectionClose()
}

/** From now on this reader receives the data of a connection that was opened with one. */
export const readBy = (connection: net.Socket, reader: ConnectionReader): void => {
  ;(connection as ReadSocket).reader = reader
}

export class Origin {
  readonly #secure: boolean
  readonly #host: string
  readonly #port: number
  readonly #hostHeader: string
  #session: Buffer | undefined

  /** `http(s)://` or `ws(s)://`. Only host and port are used. */
  constructor(url: URL) {
    this.#secure = url.protocol === "https:" || url.protocol === "wss:"
    this.#host = url.hostname.replace(/^\[(.*)\]$/, "$1")
    this.#port = url.port === "" ? (this.#secure ? 443 : 80) : Number(url.port)
    this.#hostHeader = url.host
  }

  /** Data written before the connection is up is sent once it is. */
  connect(): net.Socket {
    return this.#open({})
  }

  /** The same for a connection of which there are many. It emits no data: the reader receives it. */
  connectFor(reader: ConnectionReader): net.Socket {
    const connection = this.#open({ onread: sharedReads })
    readBy(connection, reader)
    connection.on("end", onEnd)
    connection.on("error", onError)
    connection.on("close", onClose)
    return connection
  }

  #open(reads: { readonly onread?: typeof sharedReads }): net.Socket {
    if (!this.#secure) return net.connect({ host: this.#host, port: this.#port, noDelay: true, ...reads })
    const socket = tls.connect({
      ...reads,
      host: this.#host,
      port: this.#port,
      // An address is not a name by which a certificate could be chosen.
      servername: net.isIP(this.#host) === 0 ? this.#host : "",
      session: this.#session
    })
    socket.setNoDelay(true)
    socket.once("session", (session: Buffer) => {
      this.#session = session
    })
    // A session that was part of a failure is not resumed again.
    socket.once("error", () => {
      this.#session = undefined
    })
    return socket
  }

  /** The request line and the headers, with the final empty line. One byte per character: not to be sent in UTF-8. */
  writeHead(method: string, url: URL, headers: string): string {
    return `${method} ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${this.#hostHeader}\r\n${headers}\r\n`
  }
}

/** Header lines. Throws for a name or a value that cannot be sent unchanged, as Node's own client does. */
export const renderHeaders = (headers: Readonly<Record<string, string>>): string => {
  let lines = ""
  for (const name of Object.keys(headers)) {
    const value = headers[name]!
    validateHeaderName(name)
    validateHeaderValue(name, value)
    lines += `${name}: ${value}\r\n`
  }
  return lines
}
