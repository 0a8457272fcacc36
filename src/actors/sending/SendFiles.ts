/**
 * The files of messages that are about to be sent to a gateway: opened if they were uploaded, fetched if they are given by
 * a URL. A file is fetched after its message was claimed, so that one process fetches it and the message keeps its place in
 * its chat, and before the request begins, so that a crash meanwhile leaves no doubt: the file is then fetched again.
 */
import { Duration, Effect, Option, Schedule, Semaphore } from "effect"
import type { Scope } from "effect"
import { kindRules, refuseFile } from "../../domain/OutgoingFile.ts"
import type { MediaKind } from "../../domain/OutgoingFile.ts"
import { isFetched, isMedia } from "../../domain/Send.ts"
import type { SendReason } from "../../domain/Send.ts"
import { safeFileName, chooseType } from "../../services/fileNames.ts"
import type { OutgoingFile } from "../../services/GatewayParts.ts"
import { OutboundHttp } from "../../services/OutboundHttp.ts"
import { OutgoingFiles } from "../../services/OutgoingFiles.ts"
import type { OpenedFile } from "../../services/OutgoingFiles.ts"
import type { ClaimedSend, SendRepository } from "../../services/SendRepository.ts"

/** The time limit of all attempts for one file. Its chat waits for it, and it occupies one of the device's places. */
const fetchMax = Duration.seconds(60)

/** Servers fail briefly; a longer outage is not waited for. */
const retries = { times: 2, schedule: Schedule.spaced("3 seconds") }

/** Maximum number of concurrent fetches among the messages in progress: a slow server must not block all sends. */
const fetchesMax = 16

/** How often files without a message are searched for. */
const sweepInterval = Duration.minutes(1)

/** The message cannot be sent with its file. `permanent`: not later either. */
export interface Unsendable {
  readonly _tag: "Unsendable"
  readonly reason: SendReason
  readonly detail: string
  readonly permanent: boolean
}

export interface SendFiles {
  /** The message's file, open until the scope closes. Null for a message without one. */
  readonly prepare: (claimed: ClaimedSend) => Effect.Effect<OutgoingFile | Unsendable | null, never, Scope.Scope>
  /** The message has ended. */
  readonly ended: (claimed: ClaimedSend) => Effect.Effect<void>
}

const unsendable = (reason: SendReason, detail: string, permanent = true): Unsendable => ({
  _tag: "Unsendable",
  reason,
  detail,
  permanent
})

const onDisk = ({ message }: { readonly message: string }) => unsendable("file-unavailable", message, false)

/** A fetch failure that may not recur on the next attempt. */
interface Stumble {
  readonly _tag: "Stumble"
  readonly detail: string
}

const stumble = (detail: string) => Effect.fail<Stumble>({ _tag: "Stumble", detail })

export const make = Effect.fnUntraced(function*(
  sends: SendRepository["Service"]
): Effect.fn.Return<SendFiles, never, Scope.Scope> {
  const found = Option.all([yield* Effect.serviceOption(OutgoingFiles), yield* Effect.serviceOption(OutboundHttp)])
  if (Option.isNone(found)) {
    return {
      prepare: ({ body: { content } }) =>
        Effect.succeed(isMedia(content) ? unsendable("unsupported", "this process keeps no files to send") : null),
      ended: () => Effect.void
    }
  }
  const [files, outbound] = found.value
  const places = yield* Semaphore.make(fetchesMax)

  const fetchOnce = ({ deviceId, id }: ClaimedSend, kind: MediaKind, url: string) => {
    const { bytesMax } = kindRules[kind]
    const tooLarge = unsendable("file-invalid", `the file has more than the ${bytesMax} bytes that this kind takes`)
    return Effect.scoped(Effect.gen(function*() {
      const { content, status } = yield* outbound.fetch({ url, bytesMax })
      if (status === 429 || status >= 500) return yield* stumble(`the server of the file answered ${status}`)
      if (status !== 200) {
        return unsendable("file-unavailable", `the server of the file answered ${status}; redirects are not followed`)
      }
      yield* files.keep(deviceId, id, content, bytesMax)
      return null
    })).pipe(Effect.catchTags({
      OutboundRefused: ({ message, reason }) =>
        reason === "unresolved" ? stumble(message) : Effect.succeed(unsendable("file-invalid", message)),
      OutboundFailed: ({ message }) => stumble(`the file could not be fetched: ${message}`),
      OutboundTooLarge: () => Effect.succeed(tooLarge),
      FileTooLarge: () => Effect.succeed(tooLarge),
      UploadRefused: (error) => Effect.succeed(onDisk(error)),
      OutgoingFilesFailed: (error) => Effect.succeed(onDisk(error))
    }))
  }

  const fetch = (claimed: ClaimedSend, kind: MediaKind, url: string) =>
    fetchOnce(claimed, kind, url).pipe(
      Effect.retry(retries),
      Effect.catchTag("Stumble", ({ detail }) => Effect.succeed(unsendable("file-unavailable", detail))),
      Effect.timeoutOrElse({
        duration: fetchMax,
        orElse: () => {
          const detail = `the file did not come within ${Duration.toSeconds(fetchMax)} s`
          return Effect.succeed(unsendable("file-unavailable", detail))
        }
      }),
      places.withPermits(1)
    )

  const describe = (kind: MediaKind, given: string | null, file: OpenedFile): OutgoingFile | Unsendable => {
    const refusal = refuseFile(kind, file)
    if (refusal !== null) return unsendable("file-invalid", refusal.detail)
    const fileName = safeFileName(given, kind, file.mimeType)
    const { content, size } = file
    return { size, content, fileName, mimeType: chooseType(kind, file.mimeType, fileName) }
  }

  const lost = unsendable("file-lost", "the file that was uploaded for it no longer exists")

  const prepare: SendFiles["prepare"] = Effect.fnUntraced(
    function*(claimed) {
      const { body: { content }, deviceId, id } = claimed
      if (!isMedia(content)) return null
      const { file, type } = content
      if ("id" in file) {
        const uploaded = yield* files.open(deviceId, file.id)
        return uploaded === null ? lost : describe(type, content.fileName, uploaded)
      }
      const failure = (yield* files.open(deviceId, id)) === null ? yield* fetch(claimed, type, file.url) : null
      if (failure !== null) return failure
      const fetched = yield* files.open(deviceId, id)
      if (fetched === null) return unsendable("file-unavailable", "the file that was fetched is gone", false)
      // The fetch may have taken a while: ownership of the device is checked as late as for any message.
      const begun = yield* sends.begin(claimed)
      return begun
        ? describe(type, content.fileName, fetched)
        : unsendable("gateway-unavailable", "the device has another owner", false)
    },
    Effect.catchTags({
      OutgoingFilesFailed: (error) => Effect.succeed(onDisk(error)),
      StorageUnavailable: ({ message }) => Effect.succeed(unsendable("gateway-unavailable", message, false))
    })
  )

  const sweep = Effect.catch(
    files.sweep(sends.filesInUse),
    (error) => Effect.logWarning("Files to send could not be looked over; tried again later", error)
  )
  yield* Effect.forkScoped(Effect.repeat(sweep, Schedule.spaced(sweepInterval)))

  return {
    prepare,
    ended: ({ body: { content }, deviceId, id }) =>
      isFetched(content) ? Effect.ignore(files.remove(deviceId, id)) : Effect.void
  }
})
