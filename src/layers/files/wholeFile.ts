/**
 * A file that exists completely or not at all, whatever happens meanwhile: it is written under another name, flushed, renamed,
 * and its directory flushed, so that a power loss after the return takes neither the content nor the name.
 */
import { mkdir, open, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Stream } from "effect"

/** The ending of drafts; what a crash left with this ending is ignored. */
export const draftEnding = ".part"

export interface WholeFile<E, E2> {
  readonly directory: string
  /** Unique among the drafts of the directory. */
  readonly draft: string
  readonly content: Stream.Stream<Uint8Array, E>
  /** Called when the content is written. */
  readonly name: () => string
  readonly failed: (cause: unknown) => E2
}

export const writeWhole = <E, E2>(
  { content, directory, draft, failed, name }: WholeFile<E, E2>
): Effect.Effect<void, E | E2> => {
  const attempt = <A>(run: () => Promise<A>) => Effect.tryPromise({ try: run, catch: failed })
  const written = join(directory, `${draft}${draftEnding}`)
  return Effect.acquireUseRelease(
    attempt(async () => {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      return await open(written, "wx", 0o600)
    }),
    (file) =>
      Stream.runForEach(content, (part) => attempt(() => file.appendFile(part))).pipe(
        Effect.andThen(attempt(async () => {
          await file.sync()
          await rename(written, join(directory, name()))
          await syncDirectory(directory)
        }))
      ),
    (file) =>
      Effect.ignore(attempt(async () => {
        await file.close()
        await rm(written, { force: true })
      }))
  )
}

const syncDirectory = async (path: string): Promise<void> => {
  const directory = await open(path, "r")
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** The operating system's code of a failure. */
export const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "unknown"
