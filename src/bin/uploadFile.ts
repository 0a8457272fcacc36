/**
 * A file of this machine that a command sends: streamed to the server while it is read. A URL is passed on to the
 * server.
 */
import { openAsBlob } from "node:fs"
import { basename } from "node:path"
import { Effect } from "effect"
import type { DeviceId } from "../domain/Ids.ts"
import type { FileId } from "../domain/OutgoingFile.ts"
import { CommandFailed, exitCode } from "./failures.ts"
import { withClient } from "./remote.ts"
import type { Remote } from "./remote.ts"

/** Where the server finds the file. */
export type Source = { readonly url: string } | { readonly file: FileId }

export const isUrl = (given: string): boolean => /^https?:\/\//i.test(given)

/** The name that the recipient sees, for a file of this machine. */
export const nameOf = (given: string): string | undefined => isUrl(given) ? undefined : basename(given)

export const makeSource = Effect.fnUntraced(function*(
  remote: Remote,
  device: DeviceId,
  given: string
): Effect.fn.Return<Source, CommandFailed> {
  if (isUrl(given)) return { url: given }
  const content = yield* Effect.tryPromise({
    try: () => openAsBlob(given),
    catch: () =>
      CommandFailed.of(`'${given}' cannot be read`, "name a file, or a URL with http:// or https://", exitCode.misused)
  })
  const { id } = yield* withClient(remote, ({ files }) => files.upload({ id: device, content }))
  return { file: id }
})
