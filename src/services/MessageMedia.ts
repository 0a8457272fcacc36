/**
 * The files of messages, fetched from their gateways when somebody asks. Nothing is kept: a file goes through as it is
 * read. Gateways delete files after minutes, and WhatsApp after weeks; what neither has is gone.
 */
import { Context, Duration, Effect, Layer, Stream } from "effect"
import type { Scope } from "effect"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { DeviceNotFound, GatewayUnknown, StorageUnavailable } from "../domain/DeviceErrors.ts"
import { GatewayUnavailable } from "../domain/DeviceErrors.ts"
import type { GatewayUnusable } from "../domain/GatewayErrors.ts"
import type { MessageId } from "../domain/Ids.ts"
import { MediaAbsent, MediaTooLarge } from "../domain/MediaErrors.ts"
import type { MessageNotFound } from "../domain/MessageErrors.ts"
import { DeviceRepository } from "./DeviceRepository.ts"
import { GatewayDirectory, openGateway } from "./GatewayDirectory.ts"
import { MessageRepository } from "./MessageRepository.ts"

/** The largest that gateways take and give; WhatsApp's own limit for documents is 2 GB. */
export const mediaBytesMax = 128 * 1024 * 1024

/** A gateway that has begun to give a file goes on giving it. */
const silenceMax = Duration.seconds(30)

export interface Media {
  /** One that a browser does not run, whatever the sender called it. */
  readonly contentType: string
  /** Exactly, or null. */
  readonly size: number | null
  readonly fileName: string | null
  /** Fails where the gateway breaks off, and above the size limit. */
  readonly content: Stream.Stream<Uint8Array, GatewayUnavailable | MediaTooLarge>
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
}>()("columba/services/MessageMedia") {
  static readonly layer = Layer.effect(
    MessageMedia,
    Effect.gen(function*() {
      const messages = yield* MessageRepository
      const devices = yield* DeviceRepository
      const directory = yield* GatewayDirectory

      return MessageMedia.of({
        open: Effect.fn("MessageMedia.open")(function*(id, visible) {
          const { data, deviceId } = yield* messages.content(id, visible)
          if (data.media === undefined) return yield* MediaAbsent.of(id, "none")
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
            contentType: chooseContentType(file.mimeType),
            size: file.size,
            fileName: file.fileName ?? data.media.fileName ?? null,
            content: bounded(id, gateway.name, file.content)
          }
        })
      })
    })
  )
}

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

/** Pictures, sounds, films and documents; what could be a page or a script is bytes to whoever asks. */
const harmless =
  /^(?:image\/(?:jpeg|png|webp|gif|heic|heif|bmp|tiff)|audio\/[\w.+-]+|video\/[\w.+-]+|application\/(?:pdf|zip|msword|vnd\.[\w.+-]+)|text\/(?:plain|csv|vcard|x-vcard|calendar))$/

const chooseContentType = (claimed: string | null): string => {
  const type = claimed?.split(";")[0]?.trim().toLowerCase() ?? ""
  return harmless.test(type) ? type : "application/octet-stream"
}
