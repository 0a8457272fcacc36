/** Modules that are handlers of messages: which are accepted, and what their failures mean. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { load } from "../../src/layers/handlers/HandlerModules.ts"
import { readMessage } from "../../src/actors/consuming/LogSource.ts"
import { toWire } from "../../src/domain/Event.ts"
import type { LoggedEvent } from "../../src/domain/Event.ts"
import { freshDirectory } from "../support/directory.ts"
import { messageDraft } from "../support/surface.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"

const noDatabase = {} as SqlClient.SqlClient

const loadAll = (...paths: ReadonlyArray<string>) => Effect.provideService(load(paths), SqlClient.SqlClient, noDatabase)

const logged = (): LoggedEvent => {
  const { data, deviceId, id, kind, occurredAt, via } = messageDraft(`dev_${"0".repeat(25)}1` as DeviceId, 1)
  const text = JSON.stringify(data)
  return { seq: 1, id, kind, deviceId, occurredAt, recordedAt: occurredAt, via, data: text, bytes: text.length }
}

describe("handlers that are modules", () => {
  it.live("are refused at the start if they are no handler, with path and reason", () =>
    Effect.gen(function*() {
      const directory = yield* freshDirectory
      const write = (name: string, text: string): string => {
        const path = join(directory, name)
        writeFileSync(path, text)
        return path
      }
      const good = write("good.mjs", "export default { name: 'shop', handle: async () => {} }")
      const wrong: ReadonlyArray<readonly [paths: ReadonlyArray<string>, reason: RegExp]> = [
        [[join(directory, "absent.mjs")], /absent\.mjs.*cannot be loaded/],
        [[write("broken.mjs", "export default {")], /broken\.mjs.*cannot be loaded/],
        [[write("empty.mjs", "export const x = 1")], /no \{ name, handle \}/],
        [[write("named.mjs", "export default { name: 'Shop!', handle() {} }")], /no \{ name, handle \}/],
        [[write("reserved.mjs", "export default { name: 'auto-reply', handle() {} }")], /'auto-reply' is taken/],
        [[good, good], /'shop' is taken/]
      ]
      for (const [paths, reason] of wrong) assert.match((yield* Effect.flip(loadAll(...paths))).message, reason)
      assert.deepStrictEqual((yield* loadAll(good)).map(({ name }) => name), ["shop"])
    }))

  it.live("receive the event like every reader; an exception is a failure, permanent if it says so", () =>
    Effect.gen(function*() {
      const directory = yield* freshDirectory
      const path = join(directory, "throws.mjs")
      writeFileSync(
        path,
        `export default { name: "throws", handle: async (event) => {
          throw Object.assign(new Error(JSON.stringify(event)), { permanent: true })
        } }`
      )
      const [handler] = yield* loadAll(path)
      const event = logged()
      const failed = yield* Effect.match(handler!.handle(readMessage(event)[0]!), {
        onFailure: (failure) => failure._tag === "HandlerFailed" && failure.permanent ? failure.message : failure._tag,
        onSuccess: () => "handled"
      })
      assert.deepStrictEqual(JSON.parse(failed.replace(/^Error: /, "")), JSON.parse(toWire(event)))
    }))
})
