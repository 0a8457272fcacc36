/** The answers for callers with and without access. `RouteMatrix.test.ts` checks on every route that nobody else has access. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Api } from "../../src/contracts/Api.ts"
import { Scope } from "../../src/contracts/Authorization.ts"
import { ask, startServer } from "../support/surface.ts"
import type { Key } from "../support/surface.ts"

const keys: ReadonlyArray<Key> = Scope.literals.map((scope) => [`only-${scope}`, [scope], `secret-${scope}`])

const endpoints = Object.values(Api.groups).flatMap((group) =>
  Object.values(group.endpoints).map((endpoint) => ({
    name: `${endpoint.method} ${endpoint.path}`,
    method: endpoint.method as string,
    path: endpoint.path.replace(
      ":id",
      endpoint.path.includes("/messages") ? `msg_${"0".repeat(26)}` : `dev_${"0".repeat(26)}`
    )
  }))
).concat({ name: "GET /metrics", method: "GET", path: "/metrics" })

describe("authorization", () => {
  it.live("lets everybody do everything on a server without keys", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      for (const { method, name, path } of endpoints) {
        assert.notInclude([401, 403], (yield* ask(url + path, { method })).status, name)
      }
    }))

  it.live("states why a caller without access was refused, and how to authenticate", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys })
      const knock = (headers: Record<string, string>) => ask(`${url}/api/v1/devices`, { headers })
      const nobody = yield* knock({})
      assert.deepStrictEqual([nobody.status, nobody.headers.get("www-authenticate")], [401, "Bearer"])
      assert.include(nobody.body.message, "requires an API key")
      assert.include((yield* knock({ authorization: "Bearer wrong" })).body.message, "does not accept this API key")
      const other = yield* knock({ authorization: "Bearer secret-send" })
      assert.deepStrictEqual([other.status, other.body.required], [403, "read"])
      assert.include(other.body.message, "'only-send' lacks the scope 'read'")
      assert.notInclude(JSON.stringify(other.body), "secret-")
    }))

  it.live("leaves health and documents open to all", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys })
      for (const path of ["/", "/healthz", "/readyz", "/docs", "/openapi.json"]) {
        assert.strictEqual((yield* ask(url + path)).status, 200, path)
      }
    }))

  it.live("shows the faults of a request only to callers who may send it", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys })
      const invalid = { method: "POST", json: { nmae: "" } }
      assert.strictEqual((yield* ask(`${url}/api/v1/devices`, invalid)).status, 401)
      const told = yield* ask(`${url}/api/v1/devices`, {
        ...invalid,
        headers: { authorization: "bearer  secret-manage" }
      })
      assert.strictEqual(told.body._tag, "RequestInvalid")
    }))
})
