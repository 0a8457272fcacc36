/**
 * Request bodies that carry a file: in a form, or in base64 within JSON. They are sent as the file is read, so no
 * file is held in memory, and their length is known in advance, so a truncated body is never taken for a complete one.
 */
import { randomUUID } from "node:crypto"
import { Stream } from "effect"
import type { OutgoingFile } from "../../services/GatewayParts.ts"

export interface FileBody {
  readonly contentType: string
  readonly size: number
  readonly content: Stream.Stream<Uint8Array, unknown>
}

const around = (contentType: string, before: string, file: FileBody, after: string): FileBody => {
  const [head, tail] = [Buffer.from(before), Buffer.from(after)]
  return {
    contentType,
    size: head.length + file.size + tail.length,
    content: Stream.make<[Uint8Array]>(head).pipe(Stream.concat(file.content), Stream.concat(Stream.make(tail)))
  }
}

/** As browsers write the name of a field or a file. */
const quote = (name: string): string =>
  `"${name.replaceAll("\r", "%0D").replaceAll("\n", "%0A").replaceAll("\"", "%22")}"`

/** `multipart/form-data`. */
export const formBody = (
  fields: Readonly<Record<string, string>>,
  field: string,
  file: OutgoingFile
): FileBody => {
  const boundary = `columba-${randomUUID()}`
  const part = (name: string, more: string) =>
    `--${boundary}\r\ncontent-disposition: form-data; name=${quote(name)}${more}`
  const texts = Object.entries(fields).map(([name, value]) => `${part(name, "\r\n\r\n")}${value}\r\n`)
  const head = part(field, `; filename=${quote(file.fileName)}\r\ncontent-type: ${file.mimeType}\r\n\r\n`)
  const body = { ...file, contentType: file.mimeType }
  return around(`multipart/form-data; boundary=${boundary}`, texts.join("") + head, body, `\r\n--${boundary}--\r\n`)
}

/** JSON with the file in the place where `write` puts its argument. */
export const jsonBody = (write: (file: string) => unknown, file: OutgoingFile): FileBody => {
  const mark = randomUUID()
  const [before = "", after = ""] = JSON.stringify(write(mark)).split(mark)
  const encoded = { contentType: "", size: Math.ceil(file.size / 3) * 4, content: toBase64(file.content) }
  return around("application/json", before, encoded, after)
}

/** Three bytes become four characters; remaining bytes wait for the next part. */
const toBase64 = <E>(content: Stream.Stream<Uint8Array, E>): Stream.Stream<Uint8Array, E> =>
  Stream.suspend(() => {
    let rest = Buffer.alloc(0)
    const encoded = Stream.map(content, (part): Uint8Array => {
      const all = rest.length === 0
        ? Buffer.from(part.buffer, part.byteOffset, part.byteLength)
        : Buffer.concat([rest, part])
      const whole = all.length - all.length % 3
      rest = Buffer.from(all.subarray(whole))
      return Buffer.from(all.toString("base64", 0, whole), "latin1")
    })
    return Stream.concat(
      encoded,
      Stream.suspend(() => Stream.make<[Uint8Array]>(Buffer.from(rest.toString("base64"), "latin1")))
    )
  })
