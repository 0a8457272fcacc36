/** The files of messages over HTTP: streamed, never run by a browser, and counted among the open streams. */
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "../contracts/Api.ts"
import { CurrentCaller } from "../contracts/Authorization.ts"
import { MessageMedia } from "../services/MessageMedia.ts"
import type { Media } from "../services/MessageMedia.ts"
import { dropConnection } from "./dropConnection.ts"
import { OpenStreams } from "./OpenStreams.ts"

/** Longer names fit no file system. */
const fileNameMax = 200

export const MediaHttp = HttpApiBuilder.group(
  Api,
  "media",
  Effect.fnUntraced(function*(handlers) {
    const media = yield* MessageMedia
    const { admit } = yield* OpenStreams
    return handlers.handle(
      "download",
      Effect.fnUntraced(function*({ params, request }) {
        const { devices: visible } = yield* CurrentCaller
        // The request's scope closes when all of its answer is sent, or its client is gone, and closes the file.
        const { guard } = yield* admit
        const file = yield* media.open(params.id, visible)
        return HttpServerResponse.stream(guard(file.content, dropConnection(request)), {
          contentType: file.contentType,
          ...(file.size === null ? undefined : { contentLength: file.size }),
          headers: {
            "content-disposition": describeDisposition(file),
            "cache-control": "private, no-store"
          }
        })
      })
    )
  })
)

/** The sender chose the name, so it is escaped according to RFC 8187. */
const describeDisposition = ({ fileName }: Media): string => {
  if (fileName === null) return "attachment"
  const name = encodeURIComponent(fileName.slice(0, fileNameMax).toWellFormed()).replace(/['()*]/g, escapeByte)
  return `attachment; filename*=UTF-8''${name}`
}

const escapeByte = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase()}`
