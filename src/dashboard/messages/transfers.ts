/**
 * Uploads to the server and downloads from it. They are bytes of any size and therefore no calls of the client; the
 * key is sent in a header as with those.
 */
import { Data, Effect, Schema } from "effect"
import { FileToSend } from "../../contracts/FileEndpoint.ts"
import type { DeviceId, MessageId } from "../../domain/Ids.ts"
import type { Session } from "../session.ts"

/** The server ends an upload after five minutes, and then has to accept the message. */
export const uploadTimeout = "6 minutes"

/** Gateways fetch old files from WhatsApp first. */
export const downloadTimeout = "3 minutes"

class TransferFailed extends Data.TaggedError("TransferFailed")<{ readonly message: string }> {}

const lost = new TransferFailed({ message: "The connection to the server was lost during the transfer of the file." })

const Refusal = Schema.fromJsonString(Schema.Struct({ message: Schema.String }))
const readRefusal = Schema.decodeUnknownOption(Refusal)
const readUploaded = Schema.decodeUnknownEffect(Schema.fromJsonString(FileToSend))

const refused = (status: number, text: string): TransferFailed => {
  const said = readRefusal(text)
  return new TransferFailed({
    message: said._tag === "Some" ? said.value.message : `The server refused the file with status ${status}.`
  })
}

const headersOf = (session: Session | null): Readonly<Record<string, string>> =>
  session?.apiKey === undefined ? {} : { authorization: `Bearer ${session.apiKey}` }

/**
 * With `XMLHttpRequest`, the only browser API that reports the progress of a request body. `progress` goes from 0 to
 * 1.
 */
export const uploadFile = (
  session: Session | null,
  device: DeviceId,
  file: Blob,
  progress: (part: number) => void
): Effect.Effect<FileToSend, TransferFailed> =>
  Effect.callback<string, TransferFailed>((resume) => {
    const request = new XMLHttpRequest()
    request.open("POST", `/api/v1/devices/${encodeURIComponent(device)}/files`)
    for (const [name, value] of Object.entries(headersOf(session))) request.setRequestHeader(name, value)
    request.setRequestHeader("content-type", "application/octet-stream")
    request.upload.addEventListener("progress", ({ loaded, total }) => progress(total === 0 ? 0 : loaded / total))
    request.addEventListener("error", () => resume(Effect.fail(lost)))
    request.addEventListener("load", () =>
      resume(
        request.status === 201
          ? Effect.succeed(request.responseText)
          : Effect.fail(refused(request.status, request.responseText))
      ))
    request.send(file)
    return Effect.sync(() => request.abort())
  }).pipe(Effect.flatMap((text) => Effect.orDie(readUploaded(text))))

export interface MessageFile {
  readonly content: Blob
  /** The name from the sender; null if it has no name. */
  readonly name: string | null
}

/** The server's name for the file, escaped according to RFC 8187. */
const readName = (disposition: string | null): string | null => {
  const [, name] = /filename\*=UTF-8''([^;]+)/.exec(disposition ?? "") ?? []
  try {
    return name === undefined ? null : decodeURIComponent(name)
  } catch {
    return null
  }
}

/** The server sends no larger ones. */
export const savedBytesMax = 128 * 1024 * 1024

const tooLarge = (bytesMax: number) =>
  new TransferFailed({
    message: `This file has more than ${
      Math.floor(bytesMax / 1_000_000)
    } MB, which is too large for this page; save it instead.`
  })

/** Null as soon as it is larger: the rest is not awaited. */
const readContent = async (answer: Response, bytesMax: number): Promise<Blob | null> => {
  const parts: Array<Uint8Array<ArrayBuffer>> = []
  let size = Number(answer.headers.get("content-length") ?? 0)
  const reader = answer.body?.getReader()
  for (let read = 0; reader !== undefined;) {
    const part = size > bytesMax ? undefined : await reader.read()
    if (part === undefined) {
      await reader.cancel()
      return null
    }
    if (part.done) break
    read += part.value.length
    size = Math.max(size, read)
    parts.push(part.value)
  }
  return new Blob(parts, { type: answer.headers.get("content-type") ?? "" })
}

/** At most `bytesMax` bytes, which are held in memory. */
export const downloadFile = (
  session: Session | null,
  message: MessageId,
  bytesMax: number
): Effect.Effect<MessageFile, TransferFailed> =>
  Effect.tryPromise({
    try: async (signal) => {
      const answer = await fetch(`/api/v1/messages/${encodeURIComponent(message)}/media`, {
        headers: headersOf(session),
        signal
      })
      if (!answer.ok) return refused(answer.status, await answer.text())
      const content = await readContent(answer, bytesMax)
      return content === null
        ? tooLarge(bytesMax)
        : { content, name: readName(answer.headers.get("content-disposition")) }
    },
    catch: () => lost
  }).pipe(Effect.flatMap((got) => got instanceof TransferFailed ? Effect.fail(got) : Effect.succeed(got)))
