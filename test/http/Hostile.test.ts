/** Malicious requests: none of them causes a defect, and every answer has the headers that protect browsers. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { connect } from "node:net"
import { ask, startServer } from "../support/surface.ts"
import type { Json, Key } from "../support/surface.ts"

const keys: ReadonlyArray<Key> = [["root", ["read", "send", "manage", "admin"], "root-key"], [
  "sender",
  ["send"],
  "send-key"
]]

const withKey = { "x-api-key": "root-key" }

/** Far deeper than any stack allows. */
const depth = 50_000

const nested = {
  list: "[".repeat(depth) + "]".repeat(depth),
  object: "{\"a\":".repeat(depth) + "1" + "}".repeat(depth)
}

const post = (url: string, body: string, type = "application/json") =>
  ask(url, { method: "POST", body, headers: { ...withKey, "content-type": type } })

describe("hostile requests", () => {
  it.live(
    "with endlessly nested bodies are refused by every route that accepts a body, and in RPC",
    () =>
      Effect.gen(function*() {
        const { url } = yield* startServer({ keys })
        const { body: device } = yield* post(`${url}/api/v1/devices`, JSON.stringify({ name: "one" }))
        const document: Json = (yield* ask(`${url}/openapi.json`)).body
        const taking = Object.entries<Json>(document.paths).flatMap(([path, methods]) =>
          Object.entries<Json>(methods).flatMap(([method, { requestBody }]) =>
            requestBody?.content?.["application/json"] === undefined
              ? []
              : [[method.toUpperCase(), path, requestBody] as const]
          )
        )
        assert.isAbove(taking.length, 15)
        for (const [method, path, { content: { "application/json": { example, schema } } }] of taking) {
          const fields = Object.keys(schema.properties ?? example)
          for (const deep of Object.values(nested)) {
            for (const body of [deep, ...fields.map((field) => `{${JSON.stringify(field)}:${deep}}`)]) {
              const { body: answer, status } = yield* ask(
                `${url}${path.replace("{id}", device.id).replace("{name}", "default")}`,
                { method, body, headers: { ...withKey, "content-type": "application/json" } }
              )
              assert.include([400, 401, 404, 429], status, `${method} ${path} ${JSON.stringify(answer).slice(0, 200)}`)
              assert.isBelow(JSON.stringify(answer).length, 5_000, path)
            }
          }
        }
        for (const deep of Object.values(nested)) {
          for (const payload of [deep, `{"id":"${device.id}","assertion":${deep}}`]) {
            const request =
              `{"_tag":"Request","id":"1","tag":"Devices.AnswerPasskey","headers":[],"payload":${payload}}\n`
            const answer = JSON.stringify((yield* post(`${url}/rpc`, request, "application/x-ndjson")).body)
            assert.include(answer, "RequestInvalid")
          }
        }
        assert.strictEqual((yield* ask(`${url}/api/v1/server/ping`, { headers: withKey })).status, 200)
      })
  )

  it.live("with names of prototypes are refused like any unknown field", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys })
      for (
        const body of [
          `{"name":"one","__proto__":{"polluted":true}}`,
          `{"name":"one","constructor":{"prototype":{"polluted":true}}}`
        ]
      ) {
        assert.strictEqual((yield* post(`${url}/api/v1/devices`, body)).status, 400)
      }
      for (const query of ["__proto__[polluted]=true", "constructor.prototype.polluted=true", "__proto__=polluted"]) {
        assert.strictEqual((yield* ask(`${url}/api/v1/devices?${query}`, { headers: withKey })).status, 400, query)
      }
      const payload = `{"name":"one","__proto__":{"polluted":true}}`
      yield* post(
        `${url}/rpc`,
        `{"_tag":"Request","id":"1","tag":"Devices.Create","headers":[],"payload":${payload}}\n`,
        "application/x-ndjson"
      )
      assert.notProperty({}, "polluted")
    }))

  it.live("cannot reach a file outside the pages", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys, pages: true })
      const steps = [
        "..",
        "%2e%2e",
        "..%2f",
        "..%5c",
        "..\\",
        "%2e%2e%2f",
        "%252e%252e%252f",
        "....//",
        "..%00/",
        "%c0%ae%c0%ae/"
      ]
      const files = ["package.json", "main.js", "manifest.json", ".stamp", "etc/passwd", "index.html.gz"]
      const paths = steps.flatMap((step) => files.map((file) => `/assets/${step}/${step}/${file}`))
        .concat(
          files.map((file) => `/assets/${file}`),
          files.map((file) => `/${file}`),
          "/assets/",
          "/assets/%00",
          "/.env"
        )
      for (const path of paths) {
        const told = yield* Effect.callback<string>((resume) => {
          const socket = connect(Number(new URL(url).port), "127.0.0.1", () =>
            // Sent unchanged: a client would resolve the steps itself.
            socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`))
          let text = ""
          socket.on("data", (chunk) => text += chunk)
          socket.on("close", () => resume(Effect.succeed(text)))
        })
        assert.match(told, /^HTTP\/1\.1 (400|404) /, path)
      }
    }))

  it.live("with line breaks in header names and values do not add headers to an answer", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys })
      const evil = "%0d%0aset-cookie:%20owned=1"
      for (const path of [`/api/v1/devices/${evil}`, `/api/v1/events?after=${evil}`, `/${evil}`, `/webhooks/${evil}`]) {
        const { headers, status } = yield* ask(url + path, { headers: withKey })
        assert.isNull(headers.get("set-cookie"), path)
        assert.isAtLeast(status, 400, path)
      }
    }))

  it.live(
    "that send their headers or their body a byte at a time lose their connection",
    () =>
      Effect.gen(function*() {
        const { port, url } = yield* startServer({ keys })
        const begin = performance.now()
        const post =
          "POST /api/v1/devices HTTP/1.1\r\nhost: a\r\nx-api-key: root-key\r\ncontent-type: application/json\r\n"
        const ways: ReadonlyArray<readonly [begins: string, goesOn: string]> = [
          ["GET /api/v1/devices HTTP/1.1\r\nhost: a\r\n", "x"],
          [`${post}content-length: 1000\r\n\r\n`, "x"],
          [`${post}transfer-encoding: chunked\r\n\r\n`, "1\r\nx\r\n"]
        ]
        const slow = yield* Effect.forkChild(Effect.forEach(
          ways.flatMap((way) => Array.from({ length: 40 }, () => way)),
          ([begins, goesOn]) =>
            Effect.callback<string>((resume) => {
              const socket = connect(port, "127.0.0.1", () => socket.write(begins))
              let text = ""
              const drip = setInterval(() => socket.write(goesOn), 1_000)
              socket.on("data", (chunk) => text += chunk)
              socket.on("error", () => {})
              socket.on("close", () => {
                clearInterval(drip)
                resume(Effect.succeed(text))
              })
            }),
          { concurrency: "unbounded" }
        ))
        // Others are served meanwhile.
        assert.strictEqual((yield* ask(`${url}/api/v1/server/ping`, { headers: withKey })).status, 200)
        for (const told of yield* Fiber.join(slow)) assert.match(told, /^(HTTP\/1\.1 (408|503) |$)/)
        assert.isBelow(performance.now() - begin, 60_000)
      })
  )

  it.live("of any kind get the headers that restrict browsers", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys, pages: true })
      const answers: ReadonlyArray<readonly [status: number, path: string, init: Json]> = [
        [200, "/", { headers: { accept: "text/html" } }],
        [200, "/docs", {}],
        [200, "/openapi.json", {}],
        [200, "/healthz", {}],
        [200, "/api/v1/devices", { headers: withKey }],
        [200, "/api/v1/events", { headers: { ...withKey, accept: "text/event-stream" } }],
        [201, "/api/v1/devices", { method: "POST", json: { name: "one" }, headers: withKey }],
        [400, "/api/v1/devices?limit=0", { headers: withKey }],
        [401, "/api/v1/devices", {}],
        [401, "/metrics", {}],
        [403, "/api/v1/devices", { headers: { "x-api-key": "send-key" } }],
        [404, "/nothing", {}],
        [404, "/assets/nothing.js", {}],
        [404, "/webhooks/nothing", { method: "POST", body: "{}" }],
        [405, "/healthz", { method: "DELETE" }],
        [413, "/api/v1/devices", { method: "POST", body: "x".repeat(2 ** 20 + 1), headers: withKey }],
        [415, "/api/v1/devices", { method: "POST", body: "a", headers: { ...withKey, "content-type": "text/plain" } }],
        [200, "/rpc", { method: "POST", body: "", headers: { ...withKey, "content-type": "application/x-ndjson" } }]
      ]
      for (const [status, path, init] of answers) {
        const abort = new AbortController()
        const response = yield* Effect.promise(() => {
          const { json, ...rest } = init
          return fetch(url + path, {
            signal: abort.signal,
            ...rest,
            ...(json === undefined
              ? {}
              : { body: JSON.stringify(json), headers: { "content-type": "application/json", ...rest.headers } })
          })
        })
        abort.abort()
        assert.strictEqual(response.status, status, path)
        checkHeaders(`${status} ${path}`, (name) => response.headers.get(name))
      }
      // What `fetch` cannot send. An invalid handshake is answered by the WebSocket library, without a page.
      const told = yield* Effect.callback<string>((resume) => {
        const socket = connect(Number(new URL(url).port), "127.0.0.1", () =>
          socket.write(
            "GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n" +
              "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
          ))
        let text = ""
        socket.on("data", (chunk) => {
          text += chunk
          socket.end()
        })
        socket.on("close", () => resume(Effect.succeed(text)))
      })
      assert.match(told, /^HTTP\/1\.1 404 /)
      checkHeaders("upgrade of /nothing", (name) => new RegExp(`^${name}: (.*)\r$`, "im").exec(told)?.[1] ?? null)
    }))
})

const checkHeaders = (what: string, get: (name: string) => string | null): void => {
  assert.strictEqual(get("x-content-type-options"), "nosniff", what)
  assert.strictEqual(get("x-frame-options"), "DENY", what)
  assert.strictEqual(get("referrer-policy"), "no-referrer", what)
  assert.strictEqual(get("cross-origin-opener-policy"), "same-origin", what)
  assert.strictEqual(get("cross-origin-resource-policy"), "same-origin", what)
  assert.match(get("permissions-policy") ?? "", /camera=\(\)/, what)
  const policy = get("content-security-policy") ?? ""
  assert.include(policy, "default-src 'none'", what)
  assert.include(policy, "frame-ancestors 'none'", what)
  assert.notInclude(policy, "unsafe-eval", what)
  assert.isNotNull(get("cache-control"), what)
}
