/**
 * Requests to one origin over a few shared connections. First come, first served; the queue is bounded by its
 * callers, each of whom waits for an answer.
 *
 * Plain callbacks: a reconnecting fleet makes one request for each device, and through Node's client and streams a request
 * costs several times the work and leaves kilobytes for the garbage collector.
 */
import type { Socket } from "node:net"
import type { Origin } from "./Origin.ts"
import { ReplyReader } from "./ReplyReader.ts"

export interface PooledRequest {
  /** Request line and headers, with the final empty line. One byte per character, as in headers. */
  readonly head: string
  /** Sent in UTF-8; empty where there is none. */
  readonly body: string
  /** May be sent again on a new connection where a kept one turns out to have been closed before any answer. */
  readonly repeatable: boolean
  readonly bodyBytesMax: number
  readonly onReply: (status: number, text: string | null) => void
  /** With a code or a few words: never an address or a path. */
  readonly onFailure: (detail: string) => void
}

export interface RequestPoolOptions {
  readonly connectionsMax: number
  /** Unused connections are closed after this time; 0: after each answer. */
  readonly idleMillisMax: number
}

const noHttp = "what answered does not speak HTTP"

class Connection {
  readonly socket: Socket
  request: PooledRequest | null = null
  reader: ReplyReader | null = null
  /** The connection has answered at least one request. */
  used = false
  idleSince = 0
  /** The server closes the connection after this time without a request, if it states one. */
  idleMillisMax: number
  readonly #pool: RequestPool

  constructor(pool: RequestPool, socket: Socket, idleMillisMax: number) {
    this.socket = socket
    this.idleMillisMax = idleMillisMax
    this.#pool = pool
    socket.on("data", (chunk: Buffer) => this.#onData(chunk))
    socket.on("end", () => this.#onEnd("ECONNRESET"))
    socket.on("error", (error: NodeJS.ErrnoException) => this.#onEnd(error.code ?? "the connection failed"))
    socket.on("close", () => this.#onEnd("ECONNRESET"))
  }

  send(request: PooledRequest): void {
    this.request = request
    this.reader = new ReplyReader(request.bodyBytesMax)
    if (request.body === "") {
      this.socket.write(request.head, "latin1")
      return
    }
    this.socket.cork()
    this.socket.write(request.head, "latin1")
    this.socket.write(request.body)
    this.socket.uncork()
  }

  #onData(chunk: Buffer): void {
    const { reader, request } = this
    // No request is running: the data belongs to none, or to the cancelled one.
    if (reader === null || request === null) return this.#pool.drop(this)
    reader.read(chunk)
    if (reader.state === "head" || reader.state === "body") return
    this.#settle(reader, request)
  }

  #settle(reader: ReplyReader, request: PooledRequest): void {
    this.request = null
    this.reader = null
    this.used = true
    if (reader.reusable) {
      const seconds = /\btimeout=(\d{1,6})/.exec(reader.headers["keep-alive"] ?? "")
      // A second early: a request must not cross the server's close.
      if (seconds !== null) this.idleMillisMax = Math.min(this.idleMillisMax, Number(seconds[1]) * 1000 - 1000)
      this.#pool.release(this)
    } else this.#pool.drop(this)
    if (reader.state === "complete") request.onReply(reader.status, reader.readText())
    else request.onFailure(noHttp)
  }

  #onEnd(detail: string): void {
    const { reader, request } = this
    reader?.end()
    if (reader !== null && request !== null && reader.state === "complete") return this.#settle(reader, request)
    this.request = null
    this.reader = null
    this.#pool.drop(this)
    if (request === null || reader === null) return
    const untouched = reader.state === "head" && reader.rest.length === 0
    if (this.used && untouched && request.repeatable) this.#pool.submit(request)
    else request.onFailure(untouched ? detail : "its answer broke off")
  }
}

export class RequestPool {
  readonly #origin: Origin
  readonly #options: RequestPoolOptions
  readonly #all = new Set<Connection>()
  /** The most recently used one is taken first: the others become old and are closed. */
  readonly #free: Array<Connection> = []
  readonly #waiting = new Set<PooledRequest>()
  #sweeper: NodeJS.Timeout | null = null
  #closed = false

  constructor(origin: Origin, options: RequestPoolOptions) {
    this.#origin = origin
    this.#options = options
  }

  submit(request: PooledRequest): void {
    if (this.#closed) return request.onFailure("the gateway is not used any more")
    const connection = this.#take()
    if (connection === null) this.#waiting.add(request)
    else connection.send(request)
  }

  /** Neither of its callbacks is called afterwards. What it has sent cannot be undone. */
  withdraw(request: PooledRequest): void {
    if (this.#waiting.delete(request)) return
    for (const connection of this.#all) {
      if (connection.request !== request) continue
      connection.request = null
      this.drop(connection)
    }
  }

  close(): void {
    this.#closed = true
    if (this.#sweeper !== null) clearTimeout(this.#sweeper)
    for (const connection of [...this.#all]) {
      const { request } = connection
      connection.request = null
      this.drop(connection)
      request?.onFailure("the gateway is not used any more")
    }
    for (const request of [...this.#waiting]) {
      if (this.#waiting.delete(request)) request.onFailure("the gateway is not used any more")
    }
  }

  release(connection: Connection): void {
    const next = this.#next()
    if (next !== null) return connection.send(next)
    if (connection.idleMillisMax <= 0) return this.drop(connection)
    connection.idleSince = performance.now()
    this.#free.push(connection)
    this.#sweeper ??= setTimeout(() => this.#sweep(), this.#options.idleMillisMax).unref()
  }

  /** Closes a connection; waiting requests get a new one. */
  drop(connection: Connection): void {
    if (!this.#all.delete(connection)) return
    const place = this.#free.indexOf(connection)
    if (place !== -1) this.#free.splice(place, 1)
    connection.socket.destroy()
    const next = this.#next()
    if (next !== null) this.submit(next)
  }

  #next(): PooledRequest | null {
    const [next] = this.#waiting
    if (next === undefined) return null
    this.#waiting.delete(next)
    return next
  }

  /** A connection without a request, a new one where there is room for it, or null. */
  #take(): Connection | null {
    for (let kept = this.#free.pop(); kept !== undefined; kept = this.#free.pop()) {
      if (!this.#isOld(kept) && kept.socket.writable) return kept
      this.drop(kept)
    }
    if (this.#all.size >= this.#options.connectionsMax) return null
    const connection = new Connection(this, this.#origin.connect(), this.#options.idleMillisMax)
    this.#all.add(connection)
    return connection
  }

  #isOld({ idleMillisMax, idleSince }: Connection): boolean {
    return performance.now() - idleSince >= idleMillisMax
  }

  #sweep(): void {
    this.#sweeper = null
    for (const connection of [...this.#free]) if (this.#isOld(connection)) this.drop(connection)
    if (this.#free.length > 0) this.#sweeper = setTimeout(() => this.#sweep(), this.#options.idleMillisMax).unref()
  }
}
