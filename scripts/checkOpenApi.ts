/**
 * Checks the OpenAPI document with third-party tools: two linters find no error in it, and a client that is generated from
 * it compiles and talks to the real HTTP server. The tools are heavy, so they are not dependencies: they are installed,
 * at fixed versions, in a folder that is removed afterwards.
 */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ask, startServer } from "../test/support/surface.ts"

const tools = [
  "@redocly/cli@2.77.0",
  "@stoplight/spectral-cli@6.16.3",
  "openapi-typescript@7.13.0",
  "openapi-fetch@0.17.0",
  "typescript@5.9.3",
  "@types/node@22.18.0"
]

const client = `
import createClient from "openapi-fetch"
import type { components, paths } from "./api.d.ts"

const url = process.argv[2] ?? ""
const api = createClient<paths>({ baseUrl: url, headers: { authorization: "Bearer key-of-the-check" } })

const created = await api.POST("/api/v1/devices", { body: { name: "Front desk" } })
if (created.data === undefined) throw new Error(created.error.message)
const device: components["schemas"]["Device"] = created.data
// @ts-expect-error a device has no such field: the types are the real ones
device.nonsense

const list = await api.GET("/api/v1/devices", { params: { query: { limit: 10, state: "Inactive" } } })
if (list.data?.items[0]?.id !== device.id) throw new Error("the device is not listed")

const missing = await api.GET("/api/v1/devices/{id}", { params: { path: { id: "dev_00000000000000000000000000" } } })
if (missing.error?._tag !== "DeviceNotFound") throw new Error("an unknown device was found")

const page = await api.GET("/api/v1/events", { params: { query: { after: "0", kind: ["message.received"] } } })
// The same path also answers with a stream, which has no items.
if (page.data === undefined || !("items" in page.data)) throw new Error("no page of events")
for (const event of page.data.items) {
  if (event.kind === "message.received") console.log(event.data)
}
// One event that this key does not see: the creation of the device.
if (page.data.items.length !== 0 || !page.data.through.startsWith("1-")) throw new Error("the log has something else")
`

const folder = mkdtempSync(join(tmpdir(), "columba-openapi-"))

const run = (command: string, ...args: ReadonlyArray<string>) =>
  Effect.callback<void>((resume) => {
    const child = spawn(command, args, { cwd: folder, stdio: "inherit" })
    child.on("error", (error) => resume(Effect.die(error)))
    child.on("exit", (code) =>
      resume(code === 0 ? Effect.void : Effect.die(new Error(`${command} ${args.join(" ")} ended with ${code}`))))
  })

const check = Effect.gen(function*() {
  const { url } = yield* startServer({ keys: [["check", ["read", "manage"], "key-of-the-check"]] })
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  writeFileSync(join(folder, "openapi.json"), JSON.stringify((yield* ask(`${url}/openapi.json`)).body, null, 2))
  writeFileSync(join(folder, ".spectral.yaml"), "extends: [\"spectral:oas\"]\n")
  writeFileSync(join(folder, "client.ts"), client)
  yield* run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", ...tools)
  yield* run("npx", "redocly", "lint", "openapi.json", "--extends", "recommended")
  yield* run("npx", "spectral", "lint", "openapi.json", "--ruleset", ".spectral.yaml", "--fail-severity", "error")
  yield* run("npx", "openapi-typescript", "openapi.json", "-o", "api.d.ts")
  const options = ["--strict", "--target", "es2022", "--module", "nodenext", "--allowImportingTsExtensions", "--noEmit"]
  yield* run("npx", "tsc", ...options, "client.ts")
  yield* run(process.execPath, "client.ts", url)
  yield* Effect.log("the OpenAPI document passes both linters, and its generated client works")
}).pipe(
  Effect.scoped,
  Effect.ensuring(Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
)

Effect.runPromise(check).catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`)
  process.exitCode = 1
})
