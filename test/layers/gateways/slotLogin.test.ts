/** Logins at a gateway that is hostile or broken: bounds, its own address, and no leaked code. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { createServer } from "node:http"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { inspect } from "node:util"
import type { GatewayName } from "../../../src/domain/Ids.ts"
import * as GowaGateway from "../../../src/layers/gateways/gowa/GowaGateway.ts"
import { drawPng } from "../../../src/services/qrCode.ts"
import { makeTarget } from "../../support/gateway.ts"

type Handler = (request: IncomingMessage, response: ServerResponse) => void

const text = "https://wa.me/settings/linked_devices#2@CANARY,abc,def"

const listen = (handler: Handler) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const server = createServer(handler)
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    ),
    (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  )

const json = (response: ServerResponse, status: number, code: string, message: string, results?: unknown) =>
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ code, message, results }))

const target = makeTarget("sim-1")

/** A GOWA with one slot whose login answers like this, and with these public files. */
const begin = Effect.fnUntraced(function*(
  logIn: (response: ServerResponse, url: string, asked: ReadonlyArray<string>) => void,
  serveFile: Handler = (_, response) => response.writeHead(404).end(),
  method: "qr" | "code" = "qr"
) {
  const asked: Array<string> = []
  let own = ""
  const url = yield* listen((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    const path = request.url ?? ""
    if (path === "/base/devices/sim-1") {
      return json(response, 200, "SUCCESS", "Device info", { id: "sim-1", state: "x" })
    }
    if (path.startsWith("/base/statics/")) return serveFile(request, response)
    logIn(response, own, asked)
  })
  own = url
  const gateway = yield* GowaGateway.make({
    name: "default" as GatewayName,
    url: `${url}/base`,
    user: "u",
    password: Redacted.make("p")
  })
  const request = method === "qr" ? { method } : { method, phone: Redacted.make("6281234567890") }
  const result = yield* Effect.result(gateway.login.begin(target, request))
  return { result, asked }
})

const link = (path: string): Parameters<typeof begin>[0] => (response) =>
  void json(response, 200, "SUCCESS", "Login success", { device_id: "sim-1", qr_link: path, qr_duration: 30 })

const picture: Handler = (_, response) =>
  void response.writeHead(200, { "content-type": "image/png" }).end(drawPng(text))

describe("a login at GOWA", () => {
  it.live("takes only the path of the picture's address, and requests it from its own gateway", () =>
    Effect.gen(function*() {
      const visited: Array<string> = []
      const stranger = yield* listen((request, response) => {
        visited.push(request.url ?? "")
        picture(request, response)
      })
      const { asked, result } = yield* begin(link(`${stranger}/statics/qrcode/scan.png`), picture)
      assert.strictEqual(result._tag, "Success")
      assert.deepStrictEqual(visited, [])
      assert.include(asked, "GET /base/statics/qrcode/scan.png")
    }))

  it.live.each([
    "http://gateway/statics/../devices",
    "http://gateway/statics/%2e%2e/devices",
    "http://gateway/statics/a%2fb.png",
    "http://gateway/elsewhere/scan.png",
    "http://gateway/statics//x",
    "javascript:alert(1)",
    "",
    "\u001b[2J"
  ])("requests no path except public files: %s", (path) =>
    Effect.gen(function*() {
      const { asked, result } = yield* begin(link(path), picture)
      assert.strictEqual(result._tag === "Failure" && result.failure._tag, "GatewayUnavailable")
      assert.lengthOf(asked, 2)
    }))

  it.live.each<readonly [string, Handler]>([
    ["is gone", (_, response) => response.writeHead(401).end("Unauthorized")],
    ["leads to another server", (_, response) => response.writeHead(302, { location: "http://127.0.0.1:1/x" }).end()],
    ["is a page", (_, response) => response.writeHead(200, { "content-type": "image/png" }).end("<html>")],
    ["never ends", (_, response) => {
      response.writeHead(200, { "content-type": "image/png" })
      const more = () => {
        while (response.write(Buffer.alloc(64 * 1024))) { /* as fast as it is read */ }
      }
      response.on("drain", more)
      more()
    }],
    ["breaks off", (_, response) => {
      response.writeHead(200, { "content-length": "5000" })
      response.write(drawPng(text).subarray(0, 100), () => response.destroy())
    }]
  ])("fails clearly if the picture %s", ([, handler]) =>
    Effect.gen(function*() {
      const { result } = yield* begin(link("/statics/qrcode/scan.png"), handler)
      assert.strictEqual(result._tag === "Failure" && result.failure._tag, "GatewayUnavailable")
      assert.notInclude(inspect(result, { depth: 9 }), "CANARY")
    }))

  it.live.each<readonly [string, number, string, string, string]>([
    ["an account that is there", 400, "ALREADY_LOGGED_IN", "you are already logged in.", "logged-in"],
    ["credentials that are there", 500, "SESSION_SAVED_ERROR", "wait", "logged-in"],
    ["a phone number", 400, "VALIDATION_ERROR", "phone: must be a valid number.", "phone"]
  ])("reports the reason of a refusal: %s", ([, status, code, message, reason]) =>
    Effect.gen(function*() {
      const { result } = yield* begin((response) => void json(response, status, code, message), picture, "code")
      assert.isTrue(
        result._tag === "Failure" && result.failure._tag === "LoginRefused" && result.failure.reason === reason
      )
      assert.notInclude(inspect(result, { depth: 9 }), "6281234567890")
    }))

  it.live("requests a QR code first if a pairing code comes too early, and then the code again", () =>
    Effect.gen(function*() {
      const { asked, result } = yield* begin(
        (response, _, all) => {
          const last = all.at(-1)!
          if (last.startsWith("GET")) return link("/statics/x.png")(response, "", all)
          const isFirst = all.filter((one) => one.startsWith("POST")).length === 1
          return isFirst
            ? json(response, 500, "INTERNAL_SERVER_ERROR", "info query timed out")
            : json(response, 200, "SUCCESS", "", { device_id: "sim-1", pair_code: "ABCD-EFGH" })
        },
        picture,
        "code"
      )
      assert.strictEqual(
        result._tag === "Success" && result.success._tag === "Code" && Redacted.value(result.success.code),
        "ABCD-EFGH"
      )
      assert.deepStrictEqual(asked.map((one) => one.split("?")[0]), [
        "GET /base/devices/sim-1",
        "POST /base/devices/sim-1/login/code",
        "GET /base/devices/sim-1/login",
        "POST /base/devices/sim-1/login/code"
      ])
    }))

  it.live("uses the paths of version 8 if those of a slot do nothing", () =>
    Effect.gen(function*() {
      const { asked, result } = yield* begin((response, _, all) =>
        all.at(-1)!.includes("/app/login")
          ? link("/statics/x.png")(response, "", all)
          : json(response, 500, "INTERNAL_SERVER_ERROR", "not implemented yet"), picture)
      assert.strictEqual(result._tag, "Success")
      assert.include(asked, "GET /base/app/login")
    }))

  it.live.each(
    [
      ["a code that is none", { pair_code: "\u001b[31mABCD" }],
      ["no code", { pair_code: "" }]
    ] as const
  )("fails if a pairing code is %s", ([, results]) =>
    Effect.gen(function*() {
      const { result } = yield* begin((response) => void json(response, 200, "SUCCESS", "", results), picture, "code")
      assert.strictEqual(result._tag === "Failure" && result.failure._tag, "GatewayUnavailable")
      assert.notInclude(inspect(result, { depth: 9 }), "31mABCD")
    }))
})
