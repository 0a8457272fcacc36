/** Files to send, streamed to the disk, bounded in bytes, in time and in silence. */
import { DateTime, Duration, Effect, Option, Semaphore, Stream } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "../contracts/Api.ts"
import { CurrentCaller, isVisible } from "../contracts/Authorization.ts"
import { DeviceNotFound } from "../domain/DeviceErrors.ts"
import { fileBytesMax } from "../domain/OutgoingFile.ts"
import { FileInvalid, FileTooLarge, UploadMisdirected, UploadRefused } from "../domain/SendErrors.ts"
import { DeviceRepository } from "../services/DeviceRepository.ts"
import { OutgoingFiles } from "../services/OutgoingFiles.ts"

/** Concurrent uploads: each holds a file and 64 KiB. */
const uploadsMax = 32

/** Maximum silence of a client before it counts as gone or stuck. */
const silenceMax = Duration.seconds(30)

const broken = UploadRefused.of("broken", "The upload ended before its last byte, or stalled")

export const FilesHttp = HttpApiBuilder.group(
  Api,
  "files",
  Effect.fnUntraced(function*(handlers) {
    const devices = yield* DeviceRepository
    const files = Option.getOrNull(yield* Effect.serviceOption(OutgoingFiles))
    const places = yield* Semaphore.make(uploadsMax)
    return handlers.handleRaw(
      "upload",
      Effect.fnUntraced(function*({ params: { id }, request }) {
        const { devices: visible } = yield* CurrentCaller
        if (!isVisible(visible, id)) return yield* DeviceNotFound.of(id)
        if (files === null) return yield* UploadMisdirected.of()
        if (Number(request.headers["content-length"] ?? 0) > fileBytesMax) return yield* FileTooLarge.of(fileBytesMax)
        yield* devices.get(id)
        const content = request.stream.pipe(
          Stream.mapError(() => broken),
          Stream.timeoutOrElse({ duration: silenceMax, orElse: () => Stream.fail(broken) })
        )
        const kept = yield* files.upload(id, content).pipe(
          Effect.catchTag("OutgoingFilesFailed", ({ message }) => UploadRefused.of("disk", message)),
          places.withPermitsIfAvailable(1)
        )
        if (Option.isNone(kept)) {
          return yield* UploadRefused.of("busy", `${uploadsMax} uploads are under way; try again in a moment`)
        }
        const { size } = kept.value
        if (size === 0) return yield* FileInvalid.of("empty", "The file has no bytes")
        const now = yield* DateTime.now
        return { ...kept.value, expiresAt: DateTime.formatIso(DateTime.addDuration(now, files.unusedFor)) }
      })
    )
  })
)
