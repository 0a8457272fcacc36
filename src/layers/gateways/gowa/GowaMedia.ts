/**
 * The files of messages at GOWA. A file that GOWA downloaded when the message arrived is among its public files, under a
 * path that the message names; GOWA downloads every other file from WhatsApp on request.
 *
 * Only paths are used, at the gateway's own address: GOWA's links contain the host that it believes to have, and
 * a sender who could choose one would choose where we connect to.
 */
import { Effect, Predicate, Result, Schema } from "effect"
import type { GatewayName } from "../../../domain/Ids.ts"
import type { MessageData } from "../../../domain/EventData.ts"
import type { FetchMedia, MediaFile, SessionTarget } from "../../../services/GatewayParts.ts"
import { MediaUnavailable } from "../../../services/GatewayParts.ts"
import type { RestClient } from "../RestClient.ts"
import type { GowaRest } from "./GowaRest.ts"

/** GOWA's own limit is 45 s. */
const downloadMillis = 60_000

/** An existing file begins at once. */
const fileMillis = 10_000

const operation = "give the file of a message"

const decodeDownload = Schema.decodeUnknownResult(Schema.Struct({
  file_path: Schema.String,
  filename: Schema.optionalKey(Schema.NullOr(Schema.String))
}))

export const make = (name: GatewayName, client: RestClient, { ask, refused }: GowaRest): FetchMedia => {
  /** Null where it is not a file: a missing path is answered like a request, with any status but 200. */
  const openFile = Effect.fnUntraced(function*(path: string) {
    const at = locate(client, path)
    if (at === null) return null
    const file = yield* client.open({ operation, url: at, millis: fileMillis })
    return file.status === 200 ? file : null
  })

  const download = Effect.fnUntraced(function*({ upstreamId }: SessionTarget, message: MessageData) {
    for (const chat of listChats(message)) {
      const url = client.at("message", message.waId, "download")
      url.searchParams.set("phone", chat)
      const reply = yield* ask({ operation, method: "GET", url, slot: upstreamId, millis: downloadMillis })
      const results = decodeDownload(reply.envelope?.results)
      if (reply.status === 200 && Result.isSuccess(results)) return results.success
      // Unknown messages, other chats and files that WhatsApp has deleted are all answered so.
      if (reply.status !== 500 || reply.envelope?.code !== "INTERNAL_SERVER_ERROR") {
        return yield* refused(operation, reply)
      }
    }
    return null
  })

  return Effect.fn("GowaGateway.media")(function*(target, message) {
    if (message.media === undefined) return yield* unavailable(name, "none", "the message has no file")
    const known = readPath(message)
    const kept = known === null ? null : yield* openFile(known)
    const fetched = kept === null ? yield* download(target, message) : null
    const file = kept ?? (fetched === null ? null : yield* openFile(fetched.file_path))
    if (file === null) return yield* unavailable(name, "gone", "the gateway does not have the file any more")
    const length = Number(file.headers["content-length"])
    return {
      mimeType: message.media.mimeType ?? file.headers["content-type"] ?? null,
      size: Number.isSafeInteger(length) ? length : null,
      fileName: message.media.fileName ?? fetched?.filename ?? null,
      content: file.content
    } satisfies MediaFile
  })
}

const unavailable = (name: GatewayName, reason: MediaUnavailable["reason"], detail: string) =>
  new MediaUnavailable({ message: `Gateway '${name}' has no file for the message: ${detail}`, reason })

/** GOWA finds a message only under the spelling of the chat that it stored. */
const listChats = ({ chat, extra }: MessageData): ReadonlyArray<string> =>
  typeof extra?.chat_lid === "string" && extra.chat_lid !== chat ? [chat, extra.chat_lid] : [chat]

/** The path of a file that GOWA downloaded when the message arrived. */
const readPath = ({ extra, media }: MessageData): string | null => {
  const value = extra?.[media?.kind ?? ""]
  if (typeof value === "string") return value
  return Predicate.isObject(value) && typeof value.path === "string" ? value.path : null
}

/** Only paths below the gateway's public files. */
const locate = (client: RestClient, path: string): URL | null => {
  const segments = path.replace(/^\//, "").split("/")
  return segments[0] !== "statics" || segments.some((segment) => segment === "" || segment === "." || segment === "..")
    ? null
    : client.at(...segments)
}
