/**
 * Uploading a file to send: one HTTP request, whichever transport the calls use. The content is streamed and never
 * held whole.
 */
import { ByteSize, Clock, Duration, Effect, Redacted, Schema, Stream } from "effect"
import { FetchHttpClient, HttpBody, HttpClient, HttpClientRequest } from "effect/http"
import type { HttpClientResponse } from "effect/http"
import type { RpcClientError } from "effect/rpc"
import { Forbidden, TooManyRequests, Unauthorized } from "../contracts/Authorization.ts"
import { InternalError, RequestInvalid } from "../contracts/Failures.ts"
import { FileToSend, uploadErrors, uploadTimeout } from "../contracts/FileEndpoint.ts"
import { apiPrefix } from "../contracts/Operation.ts"
import type { DeviceId } from "../domain/Ids.ts"
import { fileBytesMax } from "../domain/OutgoingFile.ts"
import { FileTooLarge } from "../domain/SendErrors.ts"
import { lost, mayPass, repeatPolicy, silenceMax } from "./reconnecting.ts"

/** The server's `uploadTimeout`, plus time for its answer to arrive. */
const answerTimeout = Duration.sum(uploadTimeout, silenceMax)

/** The server's own answers have a few hundred bytes. */
const answerBytesMax = ByteSize.kibibytes(64)

/** The errors that an upload can be answered with, by their `_tag`. */
export const UploadError = Schema.Union([
  ...uploadErrors,
  Unauthorized,
  Forbidden,
  TooManyRequests,
  RequestInvalid,
  InternalError
])

export type UploadFailure = typeof UploadError.Type | RpcClientError.RpcClientError

/** A `Blob` or `File` is read from where it is; a stream can be read once, so its upload is not repeated. */
export interface Upload<E = never> {
  readonly id: DeviceId
  readonly content: Blob | Uint8Array | Stream.Stream<Uint8Array, E>
}

export interface Files {
  /**
   * Uploads a file that messages of the device can be sent with, at most 95 MB. Its id is derived from its content, so
   * that a repeat gives the same one. Browsers send a stream only over HTTP/2, and only some of them: pass them a
   * `Blob`.
   */
  readonly upload: <E = never>(asked: Upload<E>) => Effect.Effect<FileToSend, UploadFailure | E>
}

export interface FilesOptions {
  /** The server's URL, without a slash at its end. */
  readonly url: string
  readonly apiKey: string | Redacted.Redacted | undefined
  readonly retryFor: Duration.Duration
}

export const makeFiles = (options: FilesOptions): Effect.Effect<Files> =>
  Effect.gen(function*() {
    const client = yield* HttpClient.HttpClient

    const post = Effect.fnUntraced(function*(id: DeviceId, body: HttpBody.HttpBody) {
      const request = HttpClientRequest.post(
        `${options.url}${apiPrefix}/devices/${encodeURIComponent(id)}/files`,
        {
          body,
          ...(options.apiKey === undefined ? {} : { headers: { authorization: `Bearer ${readKey(options.apiKey)}` } })
        }
      )
      const response = yield* Effect.mapError(client.execute(request), (error) => lost(error.message, error))
      return yield* readAnswer(response)
    }, (posting) =>
      Effect.timeoutOrElse(posting, {
        duration: answerTimeout,
        orElse: () => Effect.fail(lost(`No answer came within ${Duration.format(answerTimeout)}`, undefined))
      }))

    const postStream = <E>(id: DeviceId, content: Stream.Stream<Uint8Array, E>) =>
      Effect.suspend(() => {
        let failure: E | FileTooLarge | undefined
        const body = content.pipe(
          Stream.limitBytes<E | FileTooLarge, never>(
            ByteSize.bytes(fileBytesMax),
            () => Stream.fail(FileTooLarge.of(fileBytesMax))
          ),
          Stream.tapError((error) => Effect.sync(() => void (failure = error)))
        )
        // The reason why the content could not be read is more useful than the failure of the interrupted request.
        return Effect.mapError(post(id, HttpBody.stream(body, octets)), (error) => failure ?? error)
      })

    const postBytes = (id: DeviceId, content: Blob | Uint8Array) => {
      const size = content instanceof Uint8Array ? content.byteLength : content.size
      if (size > fileBytesMax) return Effect.fail(FileTooLarge.of(fileBytesMax))
      const body = content instanceof Uint8Array
        ? HttpBody.uint8Array(content, octets)
        : HttpBody.raw(content, { contentType: octets })
      return Effect.flatMap(Clock.currentTimeMillis, (began) =>
        Effect.retry(post(id, body), {
          schedule: repeatPolicy,
          while: (error) =>
            mayPass(error)
              ? Effect.map(Clock.currentTimeMillis, (now) => now - began < Duration.toMillis(options.retryFor))
              : Effect.succeed(false)
        }))
    }

    return {
      upload: ({ content, id }) => Stream.isStream(content) ? postStream(id, content) : postBytes(id, content)
    } satisfies Files
  }).pipe(Effect.provide(FetchHttpClient.layer))

const octets = "application/octet-stream"

const readKey = (key: string | Redacted.Redacted): string => Redacted.isRedacted(key) ? Redacted.value(key) : key

const readFile = Schema.decodeUnknownEffect(Schema.fromJsonString(FileToSend))
const readError = Schema.decodeUnknownEffect(Schema.fromJsonString(UploadError))

/** An answer that is not Columba's, but from something in between, is reported like a lost connection. */
const readAnswer = Effect.fnUntraced(function*(response: HttpClientResponse.HttpClientResponse) {
  const text = yield* response.stream.pipe(
    Stream.mapError((error) => lost(error.message, error)),
    Stream.limitBytes(answerBytesMax, () => Stream.fail(lost("The answer is longer than any of Columba's", undefined))),
    Stream.decodeText,
    Stream.mkString
  )
  const strange = (cause: unknown) => lost(`The upload was answered with status ${response.status}`, cause)
  if (response.status === 201) return yield* Effect.mapError(readFile(text), strange)
  return yield* Effect.flatMap(Effect.mapError(readError(text), strange), Effect.fail)
})
