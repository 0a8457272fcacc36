/**
 * The TCP connections to a Postgres server; silent ones are ended. The server ends every statement
 * within `statement_timeout`, so a connection with a running statement that receives no byte for longer than that is
 * dead: a proxy, a NAT or a partition has dropped it silently, and TCP itself would wait for a quarter of an hour. It
 * is destroyed, which fails all its statements and makes the pool open another one.
 */
import { Duplex } from "node:stream"
import { connect } from "node:net"
import type { Socket } from "node:net"

/** Checks per limit: a silent connection ends at most this share of the limit late. */
const looksPerLimit = 8

/** For a connection without a running statement. The system sends up to ten more probes, one second apart. */
const keepAliveMillis = 15_000

export interface ServerSockets {
  /** Returns a connection that is opening. */
  readonly open: () => Duplex
  /** The longest time that a statement on any connection has run without a byte from the server. */
  readonly silentMillis: () => number
  /** Ends all connections at once, with or without running statements. */
  readonly destroy: () => void
}

export interface ServerSocketsOptions {
  readonly host: string
  readonly port: number
  readonly silenceMillis: number
  /** Called with the number of destroyed connections. */
  readonly onSilent: (count: number) => void
}

export const makeServerSockets = (options: ServerSocketsOptions): ServerSockets => {
  const { host, onSilent, port, silenceMillis } = options
  const wires = new Set<Wire>()
  const period = silenceMillis / looksPerLimit
  let timer: NodeJS.Timeout | undefined
  let lookedAt = 0

  /**
   * Once one connection is dead, all that are equally silent are destroyed: idle ones are dead too, and each would take as
   * long to detect.
   */
  const look = (): void => {
    const now = performance.now()
    const late = now - lookedAt > period * 2
    lookedAt = now
    // This process itself was delayed: there may be unread answers in the sockets.
    if (late) return
    const isSilent = (since: number | null) => since !== null && now - since >= silenceMillis
    if (![...wires].some((wire) => isSilent(wire.askedAt))) return
    const silent = [...wires].filter((wire) => isSilent(wire.receivedAt))
    for (const wire of silent) wire.destroy(new Error(`The server was silent for ${silenceMillis} ms`))
    onSilent(silent.length)
  }

  const forget = (wire: Wire): void => {
    wires.delete(wire)
    if (wires.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  return {
    open: () => {
      const wire = new Wire(
        connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMillis })
      )
      wires.add(wire)
      wire.once("close", () => forget(wire))
      if (timer === undefined) {
        lookedAt = performance.now()
        timer = setInterval(look, period).unref()
      }
      return wire
    },
    silentMillis: () => {
      const now = performance.now()
      return Math.max(0, ...[...wires].map(({ askedAt }) => askedAt === null ? 0 : now - askedAt))
    },
    destroy: () => {
      for (const wire of wires) wire.destroy()
    }
  }
}

/** A socket with the time since which it waits for an answer. Not a `Socket` itself, so that TLS works through it. */
class Wire extends Duplex {
  readonly #socket: Socket
  /** The time of the first write since the last byte received; null if there was none. */
  askedAt: number | null = null
  receivedAt = performance.now()

  constructor(socket: Socket) {
    super({ allowHalfOpen: false })
    this.#socket = socket
    socket.on("data", (chunk) => {
      this.askedAt = null
      this.receivedAt = performance.now()
      if (!this.push(chunk)) socket.pause()
    })
    socket.on("end", () => this.push(null))
    socket.on("error", (error) => this.destroy(error))
    socket.on("close", () => this.destroy())
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.askedAt ??= performance.now()
    this.#socket.write(chunk, done)
  }

  override _writev(chunks: Array<{ chunk: Buffer }>, done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), "binary", done)
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }
}
