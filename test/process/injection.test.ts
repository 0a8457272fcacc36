/** SQL, header lines and paths in every text that the API accepts, over Postgres: they are values, wherever they are used. */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as SimulatedGateway from "../../src/simulator/SimulatedGateway.ts"
import { freshDatabase } from "../support/database.ts"
import { freshDirectory } from "../support/directory.ts"
import type { Json } from "../support/surface.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"

const vectors = [
  "'; drop table events; --",
  "' or '1'='1",
  "\\'; select pg_sleep(60); --",
  "$1",
  "%' or true or '%",
  "{\"a\":1}'::jsonb",
  "a\u0000b",
  "\ud800",
  "x\r\nset-cookie: a=b",
  "../../etc/passwd"
]

interface Route {
  readonly method: string
  readonly path: string
  readonly query: ReadonlyArray<string>
  readonly body: Readonly<Record<string, unknown>> | undefined
}

const routesOf = (document: Json): ReadonlyArray<Route> =>
  Object.entries<Json>(document.paths).flatMap(([path, methods]) =>
    Object.entries<Json>(methods).map(([method, { parameters = [], requestBody }]) => ({
      method: method.toUpperCase(),
      path,
      query: parameters.flatMap((one: Json) => one.in === "query" ? [one.name] : []),
      body: requestBody?.content?.["application/json"]?.example
    }))
  )

/** Each with one text of the body replaced, at whatever depth it is. */
const exchange = (value: unknown, vector: string): ReadonlyArray<unknown> =>
  typeof value === "string"
    ? [vector]
    : Array.isArray(value)
    ? value.flatMap((item, index) => exchange(item, vector).map((changed) => value.with(index, changed)))
    : typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([field, one]) =>
      exchange(one, vector).map((changed) => ({ ...value, [field]: changed }))
    )
    : []

describe("text in every field of the API", () => {
  it.live("is a value: no call fails internally, nothing is executed, and existing data stays", () =>
    Effect.gen(function*() {
      const gateway = yield* Effect.orDie(SimulatedGateway.start({ dialect: "bridge", devices: 1 }))
      const columba = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: { DATABASE_URL: yield* freshDatabase, WHATSAPP_API_URL: gateway.url }
      })
      yield* columba.start
      const { url } = columba
      const call = (path: string, method: string, body?: unknown) =>
        Effect.promise(async () => {
          const response = await fetch(url + path, {
            method,
            ...(body === undefined ? {} : {
              body: JSON.stringify(body),
              headers: { "content-type": "application/json", "idempotency-key": "k" }
            }),
            signal: AbortSignal.timeout(50_000)
          })
          const text = await response.text()
          return { status: response.status, text, cookie: response.headers.get("set-cookie") }
        })
      const { id } = yield* columba.post<{ readonly id: string }>("/api/v1/devices", { name: "stays" })
      const document = yield* columba.get<Json>("/openapi.json")
      let asked = 0
      for (const { body, method, path, query } of routesOf(document)) {
        // The objects changed and removed here do not exist, except for the name of the device.
        const fill = (vector: string) => path.replaceAll(/\{\w+\}/g, encodeURIComponent(vector))
        const usual = path.replaceAll("{id}", id).replaceAll("{chat}", "62811@s.whatsapp.net").replaceAll(
          "{name}",
          "none"
        )
        const keeps = method === "GET" || method === "POST"
        for (const vector of vectors) {
          const requests = [
            ...(path.includes("{") ? [[fill(vector.toWellFormed()), body] as const] : []),
            ...(keeps
              ? query.map((name) => [`${usual}?${new URLSearchParams({ [name]: vector })}`, body] as const)
              : []),
            ...(keeps ? exchange(body, vector).map((changed) => [usual, changed] as const) : [])
          ]
          for (const [target, payload] of requests) {
            const { cookie, status, text } = yield* call(target, method, payload)
            asked++
            // Nor does the database refuse a text that became part of a statement: that would be a 503.
            assert.notInclude([500, 503], status, `${method} ${target} ${JSON.stringify(payload)} ${text}`)
            assert.notMatch(text, /syntax error|SqlError|relation "|at .*\.ts:/, `${method} ${target}`)
            assert.isNull(cookie)
          }
        }
      }
      assert.isAbove(asked, 1_000)
      console.log(`${asked} requests`)
      assert.strictEqual((yield* columba.get<{ readonly name: string }>(`/api/v1/devices/${id}`)).name, "stays")
      assert.isArray((yield* columba.get<{ readonly items: unknown }>("/api/v1/events?after=0")).items)
      assert.notMatch(readFileSync(columba.logFile, "utf8"), /syntax error|SqlError|Defect/)
    }))
})
