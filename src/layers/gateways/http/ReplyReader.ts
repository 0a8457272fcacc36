/**
 * One answer of an HTTP/1.1 server, parsed as its bytes arrive. It does no I/O. Handshakes and requests share it.
 *
 * Strict where leniency has let two programs read one answer differently: both framings at once, a length that is not
 * plain digits, header lines that are folded or that end in a lone line feed are refused. It does not handle redirects,
 * compression and cookies. Everything is bounded: the head, the framing of chunks, and the body.
 */

/** Node's own limit for the head of an answer. Applies to the trailers after the last chunk, too. */
const headBytesMax = 16 * 1024

/** A chunk's size in hexadecimal digits, with any extension of the server. */
const chunkLineMax = 256

/**
 * `upgraded`: the protocol changes after the head. `malformed`: the server does not speak HTTP/1.1, or breaks its rules.
 * Nothing more is read in these states, nor in `complete`.
 */
export type ReplyState = "head" | "body" | "complete" | "upgraded" | "malformed"

type Framing = "length" | "chunk-size" | "chunk" | "chunk-end" | "trailers" | "until-end"

const empty = Buffer.alloc(0)
const headEnd = Buffer.from("\r\n\r\n")
const lineEnd = Buffer.from("\r\n")
const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [^\0]*)?$/
const headerName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** A line feed or carriage return alone, or a zero byte. */
const foreignControl = /\r(?!\n)|(?<!\r)\n|\0/
const prefix = "HTTP/1."

export class ReplyReader {
  state: ReplyState = "head"
  status = 0
  /** Keyed by the name in lower case; repeated headers are joined by commas. */
  headers: Readonly<Record<string, string>> = {}
  /** The body is above the bound: its text is not kept, and the connection cannot be used again. */
  tooLarge = false
  /** After `upgraded`: the first bytes of the other protocol. After `complete`: bytes that belong to no answer. */
  rest: Buffer = empty
  readonly #bodyBytesMax: number
  #framing: Framing = "length"
  #left = 0
  #body: Array<Buffer> = []
  #size = 0
  #keepAlive = false

  constructor(bodyBytesMax: number) {
    this.#bodyBytesMax = bodyBytesMax
  }

  /** Whether another request may follow on the connection. */
  get reusable(): boolean {
    return this.state === "complete" && this.#keepAlive && !this.tooLarge && this.rest.length === 0
  }

  /** Null where the body is above the bound. */
  readText(): string | null {
    if (this.tooLarge) return null
    const [only] = this.#body
    return this.#body.length > 1 ? Buffer.concat(this.#body, this.#size).toString("utf8") : only?.toString("utf8") ?? ""
  }

  /** The chunk may be retained: it must not change afterwards. */
  read(chunk: Buffer): void {
    if (this.#isOver()) return
    const data = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    this.rest = empty
    let at = 0
    while (!this.#isOver()) {
      const next = this.state === "head" ? this.#readHead(data, at) : this.#readBody(data, at)
      if (next === null) break
      at = next
    }
    if (at < data.length && this.state !== "malformed") this.rest = data.subarray(at)
  }

  /** The connection has ended. A body that lasts until then is complete; otherwise the answer stays unfinished. */
  end(): void {
    if (this.state === "body" && this.#framing === "until-end") this.state = "complete"
  }

  #isOver(): boolean {
    return this.state !== "head" && this.state !== "body"
  }

  /** Returns where to continue, or null until there are more bytes. */
  #readHead(data: Buffer, from: number): number | null {
    const begin = data.toString("latin1", from, from + prefix.length)
    if (!prefix.startsWith(begin)) return this.#refuse()
    const end = data.indexOf(headEnd, from)
    if ((end === -1 ? data.length : end) - from > headBytesMax) return this.#refuse()
    if (end === -1) return null
    const head = data.toString("latin1", from, end)
    const lines = head.split("\r\n")
    const status = statusLine.exec(lines[0]!)
    if (status === null || foreignControl.test(head)) return this.#refuse()
    const headers: Record<string, string> = Object.create(null)
    for (let index = 1; index < lines.length; index++) {
      const line = lines[index]!
      const colon = line.indexOf(":")
      const name = line.slice(0, Math.max(0, colon))
      if (!headerName.test(name)) return this.#refuse()
      const key = name.toLowerCase()
      const value = line.slice(colon + 1).trim()
      headers[key] = headers[key] === undefined ? value : `${headers[key]}, ${value}`
    }
    this.status = Number(status[2])
    this.headers = headers
    const body = end + headEnd.length
    if (this.status === 101) {
      this.state = "upgraded"
      return body
    }
    // An interim answer: the real one follows.
    if (this.status < 200) return body
    this.#keepAlive = status[1] === "1" && !/\bclose\b/i.test(headers["connection"] ?? "")
    return this.#frame(headers) ? body : this.#refuse()
  }

  #frame({ "content-length": length, "transfer-encoding": encoding }: Readonly<Record<string, string>>): boolean {
    this.state = "body"
    if (encoding !== undefined) {
      this.#framing = "chunk-size"
      return length === undefined && encoding.toLowerCase() === "chunked"
    }
    if (this.status === 204 || this.status === 304) {
      this.state = "complete"
      return true
    }
    if (length === undefined) {
      this.#framing = "until-end"
      this.#keepAlive = false
      return true
    }
    if (!/^\d{1,15}$/.test(length)) return false
    this.#framing = "length"
    this.#left = Number(length)
    if (this.#left > this.#bodyBytesMax) this.#cut()
    else if (this.#left === 0) this.state = "complete"
    return true
  }

  #readBody(data: Buffer, from: number): number | null {
    switch (this.#framing) {
      case "until-end":
        return from === data.length ? null : this.#keep(data, from, data.length)
      case "length":
      case "chunk": {
        if (from === data.length) return null
        const end = Math.min(data.length, from + this.#left)
        this.#left -= end - from
        if (this.#left === 0 && this.#framing === "length") this.state = "complete"
        else if (this.#left === 0) this.#framing = "chunk-end"
        return this.#keep(data, from, end)
      }
      case "chunk-end":
        if (data.length - from < lineEnd.length) return null
        this.#framing = "chunk-size"
        return data[from] === 13 && data[from + 1] === 10 ? from + lineEnd.length : this.#refuse()
      case "chunk-size":
        return this.#readChunkSize(data, from)
      case "trailers": {
        const end = data.indexOf(lineEnd, from)
        this.#left -= (end === -1 ? data.length : end + lineEnd.length) - from
        if (this.#left < 0) return this.#refuse()
        if (end === from) this.state = "complete"
        // The rest of the line is counted again with its next bytes: the bound is smaller by that.
        return end === -1 ? null : end + lineEnd.length
      }
    }
  }

  #readChunkSize(data: Buffer, from: number): number | null {
    const end = data.indexOf(lineEnd, from)
    if ((end === -1 ? data.length : end) - from > chunkLineMax) return this.#refuse()
    if (end === -1) return null
    const size = /^([0-9a-f]{1,12})[ \t]*(?:;[^\n\r]*)?$/i.exec(data.toString("latin1", from, end))
    if (size === null) return this.#refuse()
    this.#left = Number.parseInt(size[1]!, 16)
    this.#framing = "chunk"
    if (this.#left === 0) {
      this.#framing = "trailers"
      this.#left = headBytesMax
    }
    return end + lineEnd.length
  }

  #keep(data: Buffer, from: number, end: number): number {
    this.#size += end - from
    if (this.#size > this.#bodyBytesMax) this.#cut()
    else if (end > from) this.#body.push(data.subarray(from, end))
    return end
  }

  /** The status has been read, and nobody needs to wait for an unwanted body. */
  #cut(): void {
    this.tooLarge = true
    this.#body = []
    this.state = "complete"
  }

  #refuse(): null {
    this.state = "malformed"
    return null
  }
}
