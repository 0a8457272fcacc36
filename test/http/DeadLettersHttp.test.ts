/** Dead letters over HTTP and RPC: who may see them, which requests are valid, and what happens to the letters. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { makeEventId } from "../../src/services/EventIdentity.ts"
import { MessageInbox } from "../../src/services/MessageInbox.ts"
import { ask, type Key, startServer } from "../support/surface.ts"

const keys: ReadonlyArray<Key> = [
  ["admin", ["manage"], "admin-key-0123456789"],
  ["reader", ["read", "send"], "reader-key-0123456789"],
  ["limited", ["manage"], "limited-key-0123456789", [`dev_${"0".repeat(25)}1` as DeviceId]]
]

const as = (key: string) => ({ authorization: `Bearer ${key}-key-0123456789` })

describe("dead letters over HTTP", () => {
  it.live("are for keys with the scope manage and without a limit to devices; nothing is lost by reading", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer({ keys })
      const inbox = yield* Effect.provideContext(MessageInbox, services)
      const [one, two] = [makeEventId(Date.now()), makeEventId(Date.now())]
      for (const [index, eventId] of [one, two].entries()) {
        yield* inbox.fail({ handler: "orders", eventId, seq: index + 7 }, {
          message: "no such product",
          keep: true,
          decide: () => ({ _tag: "Dead" })
        })
      }
      const base = `${url}/api/v1/dead-letters`
      const list = (key: string, query = "") => ask(`${base}${query}`, { headers: as(key) })
      const post = (path: string, json: object, key = "admin") =>
        ask(`${base}/${path}`, { method: "POST", json, headers: as(key) })

      for (const key of ["reader", "limited"]) {
        assert.strictEqual((yield* list(key)).status, 403)
        assert.strictEqual((yield* post("retry", {}, key)).status, 403)
        assert.strictEqual((yield* post("drop", { ids: [one] }, key)).status, 403)
      }
      const { body } = yield* list("admin", "?limit=1")
      assert.deepInclude(body, { total: 2, next: null })
      assert.deepInclude(body.items[0], { id: one, seq: "7", reason: "attempts", queue: null })
      assert.deepInclude(body.items[0].failures[0], { handler: "orders", attempts: 1, message: "no such product" })
      assert.strictEqual((yield* list("admin", "?limit=0")).status, 400)
      assert.strictEqual((yield* post("drop", {})).status, 400)
      assert.strictEqual((yield* post("drop", { ids: [] })).status, 400)
      assert.strictEqual((yield* post("retry", { ids: ["x".repeat(129)] })).status, 400)

      assert.deepStrictEqual((yield* post("drop", { ids: [one, "unknown"] })).body, { ids: [one] })
      const rpc = yield* Effect.gen(function*() {
        const client = yield* ColumbaClient
        return yield* client.deadLetters.retry({})
      }).pipe(Effect.provide(ColumbaClient.layerHttp({ url, apiKey: "admin-key-0123456789" })), Effect.orDie)
      assert.deepStrictEqual(rpc.ids, [two])
      assert.deepStrictEqual((yield* list("admin")).body, { items: [], next: null, total: 0 })
      assert.deepStrictEqual((yield* inbox.due(10)).map(({ eventId }) => eventId), [two])
    }))
})
