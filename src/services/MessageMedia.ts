/**
 * The files of messages, from the store if they are kept, otherwise from their gateways. Gateways delete files after
 * minutes, and WhatsApp after weeks; a file that neither has and nobody kept is lost.
 */
import { Array as Arr, Context, Duration, Effect, Layer, Option, Stream } from "effect"
import type { Scope } from "effect"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { DeviceNotFound, GatewayUnknown, StorageUnavailable } from "../domain/DeviceErrors.ts"
import { GatewayUnavailable } from "../domain/DeviceErrors.ts"
import type { GatewayUnusable } from "../domain/GatewayErrors.ts"
import type { DeviceId, MessageId } from "../domain/Ids.ts"
import { MediaAbsent, MediaTooLarge } from "../domain/MediaErrors.ts"
import type { MessageNotFound } from "../domain/MessageErrors.ts"
import { DeviceRepository } from "./DeviceRepository.ts"
import { GatewayDirectory, openGateway } from "./GatewayDirectory.ts"
import { MediaStore } from "./MediaStore.ts"
import type { MediaStoreFailed } from "./MediaStore.ts"
import { MessageRepository } from "./MessageRepository.ts"
import type { MessageContent } from "./MessageRepository.ts"

/** The largest file that gateways accept and return; WhatsApp's own limit for documents is 2 GB. */
export const mediaBytesMax = 128 * 1024 * 1024

/** Maximum silence of a gateway that has begun to send a file. */
const silenceMax = Duration.seconds(30)

export interface Media {
  /** A type that a browser does not run, whatever the sender claimed. */
  readonly contentType: string
  /** Exactly, or null. */
  readonly size: number | null
  readonly fileName: string | null
  /** Fails if the gateway ends the transfer early, and above the size limit. */
  readonly content: Stream.Stream<Uint8Array, GatewayUnavailable | MediaTooLarge | MediaStoreFailed>
}

export type MediaFailure =
  | MessageNotFound
  | MediaAbsent
  | MediaTooLarge
  | DeviceNotFound
  | GatewayUnknown
  | GatewayUnusable
  | GatewayUnavailable
  | StorageUnavailable

export class MessageMedia extends Context.Service<MessageMedia, {
  /** The file of a message, for as long as the scope. A message of a device that is not `visible` is not found. */
  readonly open: (id: MessageId, visible: VisibleDevices) => Effect.Effect<Media, MediaFailure, Scope.Scope>
  /** Stores the file of a message, if files are kept and this one is not yet. */
  readonly keep: (id: MessageId) => Effect.Effect<void, MediaFailure | MediaStoreFailed>
  /** Deletes kept files of the device whose messages are no longer in the log. Returns how many. */
  readonly forget: (device: DeviceId) => Effect.Effect<number, StorageUnavailable | MediaStoreFailed>
}>()("columba/services/MessageMedia") {
  static readonly layer = Layer.effect(MessageMedia, Effect.suspend(() => make))
}

const make = Effect.gen(function*() {
  const messages = yield* MessageRepository
  const devices = yield* DeviceRepository
  const directory = yield* GatewayDirectory
  const kept = yield* Effect.serviceOption(MediaStore)
  const store = Option.getOrNull(kept)

  /** From the gateway. */
  const fetch = Effect.fnUntraced(function*(id: MessageId, { data, deviceId }: MessageContent) {
    const device = yield* devices.get(deviceId)
    const gateway = yield* openGateway(directory, device.gateway)
    if (gateway.media === undefined) return yield* MediaAbsent.of(id, "unsupported")
    const target = { deviceId, upstreamId: device.upstreamId, jid: device.jid }
    const file = yield* gateway.media(target, data).pipe(
      Effect.catchTag("MediaUnavailable", ({ reason }) => MediaAbsent.of(id, reason))
    )
    if (file.size !== null && file.size > mediaBytesMax) {
      return yield* MediaTooLarge.of(id, file.size, mediaBytesMax)
    }
    return {
      mimeType: file.mimeType,
      size: file.size,
      fileName: file.fileName ?? data.media?.fileName ?? null,
      content: bounded(id, gateway.name, file.content)
    }
  })

  /** A kept file that cannot be read is fetched again. */
  const readKept = (id: MessageId, deviceId: DeviceId) =>
    store === null ? Effect.succeed(null) : Effect.orElseSucceed(store.read(deviceId, id), () => null)

  const read = Effect.fnUntraced(function*(id: MessageId, visible: VisibleDevices) {
    const content = yield* messages.content(id, visible)
    return content.data.media === undefined ? yield* MediaAbsent.of(id, "none") : content
  })

  const open: MessageMedia["Service"]["open"] = Effect.fn("MessageMedia.open")(function*(id, visible) {
    const message = yield* read(id, visible)
    const { content, fileName, mimeType, size } = (yield* readKept(id, message.deviceId)) ?? (yield* fetch(id, message))
    return { contentType: chooseContentType(mimeType), size, fileName, content }
  })

  const keep: MessageMedia["Service"]["keep"] = Effect.fn("MessageMedia.keep")(function*(id) {
    if (store === null) return
    const message = yield* read(id, undefined)
    const { deviceId } = message
    if (yield* store.has(deviceId, id)) return
    yield* Effect.scoped(Effect.flatMap(fetch(id, message), (file) => store.write(deviceId, id, file)))
    // The message was erased during the fetch, so the erasure did not find the file.
    yield* Effect.catchTag(messages.content(id), "MessageNotFound", () => store.remove(deviceId, [id]))
  })

  const forget: MessageMedia["Service"]["forget"] = Effect.fn("MessageMedia.forget")(function*(device) {
    if (store === null) return 0
    let count = 0
    for (const some of Arr.chunksOf(yield* store.list(device), lookedUpMax)) {
      const known = yield* messages.known(some)
      const gone = some.filter((id) => !known.has(id))
      yield* store.remove(device, gone)
      count += gone.length
    }
    return count
  })

  return MessageMedia.of({ open, keep, forget })
})

/** Ids in one question to the database. */
const lookedUpMax = 1000

const bounded = (
  id: MessageId,
  gateway: string,
  content: Stream.Stream<Uint8Array, GatewayUnavailable>
): Stream.Stream<Uint8Array, GatewayUnavailable | MediaTooLarge> =>
  Stream.suspend(() => {
    let size = 0
    const silent = GatewayUnavailable.of(gateway, "give a file", `it was silent for ${Duration.format(silenceMax)}`)
    return content.pipe(
      Stream.timeoutOrElse({ duration: silenceMax, orElse: () => Stream.fail(silent) }),
      Stream.mapEffect((bytes) => {
        size += bytes.length
        return size > mediaBytesMax ? Effect.fail(MediaTooLarge.of(id, size, mediaBytesMax)) : Effect.succeed(bytes)
      })
    )
  })

/** Pictures, sounds, films and documents. Types that could be a page or a script are sent as plain bytes. */
const harmless =
  /^(?:image\/(?:jpeg|png|webp|gif|heic|heif|bmp|tiff)|audio\/[\w.+-]+|video\/[\w.+-]+|application\/(?:pdf|zip|msword|vnd\.[\w.+-]+)|text\/(?:plain|csv|vcard|x-vcard|calendar))$/

const chooseContentType = (claimed: string | null): string => {
  const type = claimed?.split(";")[0]?.trim().toLowerCase() ?? ""
  return harmless.test(type) ? type : "application/octet-stream"
}
