/** Every endpoint, every RPC and every scope: who gets in, and what each caller learns. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { Api } from "../../src/contracts/Api.ts"
import { RequiredScope, Scope } from "../../src/contracts/Authorization.ts"
import { ColumbaRpcs } from "../../src/contracts/ColumbaRpcs.ts"
import { ask, startServer } from "../support/surface.ts"
import type { Key } from "../support/surface.ts"

const keys: ReadonlyArray<Key> = Scope.literals.map((scope) => [`only-${scope}`, [scope], `secret-${scope}`])

const readScope = (annotations: Context.Context<never>) =>
  Context.getUnsafe(annotations as never, RequiredScope) as Scope

const endpoints = Object.values(Api.groups).flatMap((group) =>
  Object.values(group.endpoints).map((endpoint) => ({
    name: `${endpoint.method} ${endpoint.path}`,
    method: endpoint.method as string,
    path: endpoint.path.replace(
      ":id",
      endpoint.path.includes("/messages") ? `msg_${"0".repeat(26)}` : `dev_${"0".repeat(26)}`
    ),
    scope: readScope(endpoint.annotations)
  }))
).concat({ name: "GET /metrics", method: "GET", path: "/metrics", scope: "read" })

/** One request over `/rpc`, and the first answer to it. Streams are cut off after that. */
const callRpc = (url: string, tag: string, headers: Record<string, string>) =>
  Effect.promise(async () => {
    const abort = new AbortController()
    const response = await fetch(`${url}/rpc`, {
      method: "POST",
      signal: abort.signal,
      headers: { "content-type": "application/x-ndjson", ...headers },
      body: `${JSON.stringify({ _tag: "Request", id: "1", tag, payload: makePayload(tag), headers: [] })}\n`
    })
    const reader = response.body!.getReader()
    let text = ""
    while (!text.includes("\n")) {
      const { done, value } = await reader.read()
      if (done) break
      text += new TextDecoder().decode(value)
    }
    abort.abort()
    return text.split("\n", 1)[0]!
  })

const makePayload = (tag: string): unknown => {
  if (tag === "WatchDevices") return null
  if (tag === "Devices.Create") return { name: "a", gateway: "none" }
  if (tag === "Gateways.Create") return { name: "none", dialect: "waha", url: "http://none" }
  if (tag === "Subscriptions.Create") return { url: "https://127.0.0.1./" }
  if (tag === "Subscriptions.List") return {}
  if (tag.startsWith("Subscriptions.")) return { id: `sub_${"0".repeat(26)}`, after: "0" }
  if (tag.startsWith("Gateways.")) return { name: "none" }
  if (tag === "Devices.Edit") return { id: `dev_${"0".repeat(26)}`, name: "a" }
  if (tag === "Devices.EraseChat") return { id: `dev_${"0".repeat(26)}`, chat: "62811@s.whatsapp.net" }
  if (tag === "Devices.AnswerPasskey") return { id: `dev_${"0".repeat(26)}`, assertion: {} }
  if (tag === "Keys.Create") return { name: "none", scopes: ["read"] }
  if (tag.startsWith("Keys.") && tag !== "Keys.List") return { id: `key_${"0".repeat(26)}` }
  if (tag === "Login") return { id: `dev_${"0".repeat(26)}`, method: "qr" }
  if (tag === "DeadLetters.Drop") return { ids: ["a"] }
  if (tag === "Messages.Send") return { id: `dev_${"0".repeat(26)}`, to: "62811", text: "a" }
  if (tag === "Schedules.Create") {
    return { device: `dev_${"0".repeat(26)}`, message: { to: "62811", text: "a" }, cron: "0 9 * * *", zone: "UTC" }
  }
  if (tag.startsWith("Schedules.") && tag !== "Schedules.List") return { id: `sch_${"0".repeat(26)}` }
  if (tag === "Messages.Typing") return { id: `dev_${"0".repeat(26)}`, chat: "62811@s.whatsapp.net", active: true }
  if (tag === "Messages.React") return { id: `msg_${"0".repeat(26)}`, emoji: "👍" }
  if (tag === "Messages.Edit") return { id: `msg_${"0".repeat(26)}`, text: "a" }
  if (tag === "Messages.Revoke" || tag === "Messages.MarkRead") return { id: `msg_${"0".repeat(26)}` }
  if (tag === "Messages.Get" || tag === "Messages.Cancel") return { id: `msg_${"0".repeat(26)}` }
  return tag.startsWith("Devices.") && tag !== "Devices.List" ? { id: `dev_${"0".repeat(26)}` } : {}
}

describe("authorization", () => {
  it.live("every HTTP endpoint answers only keys with its scope", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys })
      for (const { method, name, path, scope } of endpoints) {
        const knock = (headers: Record<string, string>) => ask(url + path, { method, headers })
        const nobody = yield* knock({})
        assert.deepStrictEqual([nobody.status, nobody.body._tag], [401, "Unauthorized"], name)
        assert.strictEqual(nobody.headers.get("www-authenticate"), "Bearer", name)
        const wrong = yield* knock({ authorization: "Bearer wrong", "x-api-key": "secret-" })
        assert.include(["401 Unauthorized", "429 TooManyRequests"], `${wrong.status} ${wrong.body._tag}`, name)
        assert.include(nobody.body.message, "asks for an API key", name)
        assert.match(wrong.body.message, /does not know this API key|Too many unknown API keys/, name)
        for (const [caller, scopes, key] of keys) {
          for (const headers of [{ authorization: `Bearer ${key}` }, { "x-api-key": key }]) {
            const { body, status } = yield* knock(headers)
            if (scopes.includes(scope)) {
              assert.notInclude([401, 403], status, `${name} as ${caller}`)
            } else {
              assert.deepStrictEqual(
                [status, body._tag, body.required],
                [403, "Forbidden", scope],
                `${name} as ${caller}`
              )
            }
            assert.notInclude(JSON.stringify(body), "secret-")
          }
        }
      }
    }))

  it.live("every RPC answers only keys with its scope, on both ways to send one", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys })
      for (const rpc of ColumbaRpcs.requests.values()) {
        const scope = readScope(rpc.annotations)
        assert.include(yield* callRpc(url, rpc._tag, {}), "\"Unauthorized\"", rpc._tag)
        const wrong = yield* callRpc(url, rpc._tag, { "x-api-key": "wrong" })
        assert.match(wrong, /"(Unauthorized|TooManyRequests)"/, rpc._tag)
        for (const [caller, scopes, key] of keys) {
          for (const headers of [{ authorization: `Bearer ${key}` }, { "x-api-key": key }]) {
            const answer = yield* callRpc(url, rpc._tag, headers)
            if (scopes.includes(scope)) {
              assert.notMatch(answer, /"Unauthorized"|"Forbidden"/, `${rpc._tag} as ${caller}`)
              assert.notMatch(answer, /"Die"|"Defect"/, `${rpc._tag} as ${caller}`)
            } else {
              assert.include(answer, "\"Forbidden\"", `${rpc._tag} as ${caller}`)
            }
          }
        }
      }
    }))

  it.live("without keys everybody may do everything", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      for (const { method, name, path } of endpoints) {
        assert.notInclude([401, 403], (yield* ask(url + path, { method })).status, name)
      }
    }))

  it.live("health and documents are open to all", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys })
      for (const path of ["/", "/healthz", "/readyz", "/docs", "/openapi.json"]) {
        assert.strictEqual((yield* ask(url + path)).status, 200, path)
      }
    }))

  it.live("what is wrong with a request is shown only to callers who may send it", () =>
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
