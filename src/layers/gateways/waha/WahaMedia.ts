/**
 * The files of messages. A WAHA server keeps a file for minutes and then deletes it; when the message is requested again, it
 * downloads the file once more, as long as WhatsApp has it.
 *
 * The address of a file contains the host that the server believes to have, which may not be how we reach it, and a sender who
 * could choose it would receive our key: only its path below `/api/files/` is used, at the gateway's own address.
 */
import { Effect } from "effect"
import type { MessageData } from "../../../domain/EventData.ts"
import type { GatewayName } from "../../../domain/Ids.ts"
import {
  type FetchMedia,
  type MediaFile,
  MediaUnavailable,
  type SessionTarget
} from "../../../services/GatewayParts.ts"
import type { RestClient } from "../RestClient.ts"
import { asPayload, textIn } from "./payloads.ts"
import { isSuccess, type WahaRest } from "./WahaRest.ts"

/** For a server that downloads a large file from WhatsApp first. */
const downloadMillis = 60_000

/** An existing file begins at once. */
const fileMillis = 10_000

const filesPath = "/api/files/"

export const make = (name: GatewayName, client: RestClient, rest: WahaRest): FetchMedia => {
  const operation = "give the file of a message"

  const openFile = Effect.fnUntraced(function*(url: string) {
    const at = locate(client, url)
    if (at === null) return null
    const file = yield* client.open({ operation, url: at, millis: fileMillis })
    return file.status === 200 ? file : null
  })

  /** The address of the file after the server has downloaded it again. */
  const downloadAgain = Effect.fnUntraced(function*(target: SessionTarget, message: MessageData) {
    for (const [chat, id] of messageNames(message)) {
      const url = client.at("api", target.upstreamId, "chats", chat, "messages", id)
      url.searchParams.set("downloadMedia", "true")
      const reply = yield* rest.ask({ operation, method: "GET", url, millis: downloadMillis })
      if (isSuccess(reply)) return textIn(asPayload(asPayload(reply.own)?.media) ?? {}, "url")
      if (reply.status !== 404) return yield* rest.refused(operation, reply)
    }
    return null
  })

  return Effect.fn("WahaGateway.media")(function*(target, message) {
    if (message.media === undefined) return yield* unavailable(name, "none", "the message has no file")
    const first = textIn(asPayload(message.extra?.media) ?? {}, "url")
    const kept = first === null ? null : yield* openFile(first)
    const again = kept === null ? yield* downloadAgain(target, message) : null
    const file = kept ?? (again === null ? null : yield* openFile(again))
    if (file === null) return yield* unavailable(name, "gone", "the gateway does not have the file any more")
    const { fileName = null, mimeType } = message.media
    const length = Number(file.headers["content-length"])
    return {
      mimeType: mimeType ?? file.headers["content-type"] ?? null,
      size: Number.isSafeInteger(length) ? length : null,
      fileName,
      content: file.content
    } satisfies MediaFile
  })
}

const unavailable = (name: GatewayName, reason: MediaUnavailable["reason"], detail: string) =>
  new MediaUnavailable({ message: `Gateway '${name}' has no file for the message: ${detail}`, reason })

/** The address below the gateway's own, or null where it is not a file of the server. */
const locate = (client: RestClient, text: string): URL | null => {
  if (!URL.canParse(text)) return null
  const { pathname } = new URL(text)
  const begin = pathname.indexOf(filesPath)
  if (begin === -1) return null
  const segments = pathname.slice(begin + filesPath.length).split("/").map(decode)
  return segments.some((segment) => segment === null || segment === "" || segment === "." || segment === "..")
    ? null
    : client.at("api", "files", ...segments as ReadonlyArray<string>)
}

const decode = (segment: string): string | null => {
  try {
    return decodeURIComponent(segment)
  } catch {
    return null
  }
}

const wahaAddress = (jid: string): string => jid.replace(/@s\.whatsapp\.net$/, "@c.us")

/** The names that may find the message: the composed id in its chat, then the raw one over all chats. */
const messageNames = ({ chat, fromMe, sender, waId }: MessageData): ReadonlyArray<readonly [string, string]> => {
  const place = wahaAddress(chat)
  const participant = chat.endsWith("@g.us") && sender !== "" ? `_${wahaAddress(sender)}` : ""
  return [[place, `${String(fromMe)}_${place}_${waId}${participant}`], ["all", waId]]
}
