/** A file of this machine that a command sends: given to the server as it is read. A URL is left to the server. */
import { openAsBlob } from "node:fs"
import { basename } from "node:path"
import { Effect, Option, Redacted, Schema } from "effect"
import { FileToSend } from "../contracts/FileEndpoint.ts"
import type { DeviceId } from "../domain/Ids.ts"
import type { FileId } from "../domain/OutgoingFile.ts"
import { contactFailed } from "./contact.ts"
import { CommandFailed, exitCode } from "./failures.ts"
import type { Remote } from "./remote.ts"

/** The server gives up an upload after five minutes. */
const uploadMillis = 5 * 60_000

const decodeFile = Schema.decodeUnknownEffect(FileToSend)

const isRefusal = Schema.is(Schema.Struct({ message: Schema.String }))

/** Where the server finds it. */
export type Source = { readonly url: string } | { readonly file: FileId }

export const isUrl = (given: string): boolean => /^https?:\/\//i.test(given)

/** The name that its recipient sees, of a file of this machine. */
export const nameOf = (given: string): string | undefined => isUrl(given) ? undefined : basename(given)

export const makeSource = Effect.fnUntraced(function*(
  remote: Remote,
  device: DeviceId,
  given: string
): Effect.fn.Return<Source, CommandFailed> {
  if (isUrl(given)) return { url: given }
  const body = yield* Effect.tryPromise({
    try: () => openAsBlob(given),
    catch: () =>
      CommandFailed.of(`'${given}' cannot be read`, "name a file, or a URL with http:// or https://", exitCode.misused)
  })
  const key = Option.map(remote.apiKey, Redacted.value)
  const { answer, status } = yield* Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(`${remote.url.replace(/\/+$/, "")}/api/v1/devices/${device}/files`, {
        method: "POST",
        body,
        headers: {
          "content-type": "application/octet-stream",
          ...(Option.isSome(key) ? { authorization: `Bearer ${key.value}` } : {})
        },
        signal: AbortSignal.any([signal, AbortSignal.timeout(uploadMillis)])
      })
      return { status: response.status, answer: await response.json().catch(() => null) as unknown }
    },
    catch: String
  }).pipe(Effect.catch((detail) => Effect.flatMap(contactFailed(remote.url, detail), Effect.fail)))
  if (status === 201) {
    const { id } = yield* Effect.orDie(decodeFile(answer))
    return { file: id }
  }
  return yield* CommandFailed.of(
    isRefusal(answer) ? answer.message : `the server answered the upload with ${status}`,
    null
  )
})
