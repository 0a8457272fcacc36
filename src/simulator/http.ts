/** HTTP for the simulator's servers: replies as values, and bodies with a size limit. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"

export interface Reply {
  readonly status: number
  readonly body: string | Buffer
  readonly headers?: Readonly<Record<string, string>>
  /** In place of an answer. `none`: the connection stays open and silent. */
  readonly broken?: "reset" | "none"
}

export const plain = (status: number, body: string, headers: Readonly<Record<string, string>> = {}): Reply => ({
  status,
  body,
  headers: { "content-type": "text/plain", ...headers }
})

export const json = (status: number, value: unknown): Reply => ({
  status,
  body: JSON.stringify(value),
  headers: { "content-type": "application/json" }
})

/** GOWA's limit: the largest of its files with the form around it. */
const bodyBytesMax = 100_000_000

/** The body as bytes, or null above its limit. */
export const readBody = (request: IncomingMessage, done: (body: Buffer | null) => void): void => {
  const chunks: Array<Buffer> = []
  let size = 0
  request.on("data", (chunk: Buffer) => {
    size += chunk.length
    if (size <= bodyBytesMax) chunks.push(chunk)
  })
  request.on("error", () => {})
  request.on("end", () => done(size > bodyBytesMax ? null : Buffer.concat(chunks)))
}

/** The body as JSON, or undefined if it is not JSON or above its limit. */
export const readJson = (request: IncomingMessage, done: (body: unknown) => void): void =>
  readBody(request, (body) => done(parseJson(body)))

/** A file of a form. */
export interface FormFile {
  readonly name: string
  readonly type: string
  readonly bytes: Buffer
}

/** The fields of a form or JSON body; undefined if it is neither, or above its limit. */
export const parseFields = async (request: IncomingMessage, body: Buffer | null): Promise<unknown> => {
  const type = request.headers["content-type"] ?? ""
  if (body === null || !type.startsWith("multipart/form-data")) return parseJson(body)
  try {
    const form = await new Response(new Uint8Array(body), { headers: { "content-type": type } }).formData()
    const fields: Record<string, string | FormFile> = {}
    for (const [name, value] of form.entries()) {
      fields[name] = typeof value === "string"
        ? value
        : { name: value.name, type: value.type, bytes: Buffer.from(await value.arrayBuffer()) }
    }
    return fields
  } catch {
    return undefined
  }
}

export const parseJson = (body: Buffer | null): unknown => {
  if (body === null) return undefined
  try {
    return JSON.parse(body.toString("utf8"))
  } catch {
    return undefined
  }
}

export const send = (response: ServerResponse, reply: Reply): void => {
  if (reply.broken === "none") return
  if (reply.broken === "reset") return void response.socket?.resetAndDestroy()
  const length = String(Buffer.byteLength(reply.body))
  response.writeHead(reply.status, { ...reply.headers, "content-length": length }).end(reply.body)
}

/** Answers an upgrade with an HTTP response instead of a socket. */
export const refuse = (socket: Duplex, reply: Reply): void => {
  const headers = { ...reply.headers, "content-length": String(Buffer.byteLength(reply.body)), connection: "close" }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  socket.write(`HTTP/1.1 ${reply.status} Refused\r\n${lines.join("\r\n")}\r\n\r\n`)
  socket.end(reply.body)
}

/** The `Authorization` header that is accepted, or null where none is required. */
export const expectedBasic = (auth: { readonly user: string; readonly password: string } | undefined): string | null =>
  auth === undefined ? null : `Basic ${Buffer.from(`${auth.user}:${auth.password}`).toString("base64")}`
