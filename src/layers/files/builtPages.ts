/**
 * Reads the pages that the build wrote into `web/` next to `main.js` (`scripts/buildWeb.ts`). They are compressed already
 * and about two megabytes, so all are kept in memory: a build that replaces them does not affect a running process.
 */
import { existsSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import type { WebAsset } from "../../services/WebAssets.ts"

const Manifest = Schema.fromJsonString(Schema.Array(Schema.Struct({
  path: Schema.String,
  file: Schema.String,
  contentType: Schema.String,
  immutable: Schema.Boolean,
  etag: Schema.String
})))

/** Next to the bundle, or in the `dist/` of the checkout whose sources run. */
const folders = [join(import.meta.dirname, "web"), join(import.meta.dirname, "../../../dist/web")]

/** Without them the program runs as well, and logs where its pages would be. */
export const readBuiltPages: Effect.Effect<ReadonlyMap<string, WebAsset>> = Effect.gen(function*() {
  const folder = folders.find((one) => existsSync(join(one, "manifest.json")))
  if (folder === undefined) return new Map<string, WebAsset>()
  const read = (name: string) => Effect.tryPromise(() => readFile(join(folder, name)))
  const listed = yield* Schema.decodeUnknownEffect(Manifest)((yield* read("manifest.json")).toString("utf8"))
  return new Map(
    yield* Effect.forEach(listed, ({ file, path, ...about }) =>
      Effect.map(
        Effect.all({ gzip: read(`${file}.gz`), brotli: read(`${file}.br`) }),
        (encoded): readonly [string, WebAsset] => [path, { ...about, ...encoded }]
      ))
  )
}).pipe(
  Effect.catchCause((cause) =>
    Effect.as(Effect.logWarning("The built pages could not be read; there is no dashboard", cause), new Map())
  )
)
