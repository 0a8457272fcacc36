/**
 * The key of an embedded database: created once, in a file next to it that only its owner may read. A copy of the data
 * directory holds the key too; on a server the key comes from the environment and is never in the database.
 */
import { randomBytes } from "node:crypto"
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { parseSecretKeys, secretKeyBytes } from "../../services/SecretSeal.ts"
import type { SecretKey } from "../../services/SecretSeal.ts"

/** In the format of `COLUMBA_SECRET_KEY`. */
const fileName = "secret.key"

export class KeyFileUnusable extends Schema.TaggedError<KeyFileUnusable>()("KeyFileUnusable", {
  message: Schema.String
}) {
  static of(file: string, detail: string): KeyFileUnusable {
    return new KeyFileUnusable({ message: `The key file ${file} is not usable: ${detail}` })
  }
}

/** Reads the keys of the directory; creates one where there is none. */
export const readOrMakeKeys = Effect.fn("keyFile.readOrMakeKeys")(function*(
  dataDir: string
): Effect.fn.Return<ReadonlyArray<SecretKey>, KeyFileUnusable> {
  const file = join(dataDir, fileName)
  const text = yield* Effect.try({
    try: () => readExisting(file) ?? make(dataDir, file),
    catch: (cause) =>
      KeyFileUnusable.of(file, cause instanceof Error && "code" in cause ? String(cause.code) : "unknown")
  })
  return parseSecretKeys(text) ?? (yield* KeyFileUnusable.of(file, "it does not hold base64 keys of 32 bytes"))
})

const readExisting = (file: string): string | null => {
  try {
    return readFileSync(file, "utf8")
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return null
    throw cause
  }
}

/**
 * Written completely under another name and then linked: a crash leaves no partial key, and two processes that create one at
 * the same time both read the one that was linked first.
 */
const make = (dataDir: string, file: string): string => {
  mkdirSync(dataDir, { recursive: true })
  const draft = `${file}.${process.pid}.${randomBytes(4).toString("hex")}`
  writeFileSync(draft, `${randomBytes(secretKeyBytes).toString("base64")}\n`, { mode: 0o600, flag: "wx", flush: true })
  try {
    linkSync(draft, file)
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw cause
  } finally {
    rmSync(draft)
  }
  return readFileSync(file, "utf8")
}
