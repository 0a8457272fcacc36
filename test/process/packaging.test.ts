/** The package as another project gets it: packed, installed elsewhere, type-checked and run against a live server. */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { buildLibrary } from "../../scripts/build.ts"
import { ensureTool } from "../../scripts/tools.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"
import { runProgram } from "./support/runProgram.ts"

const root = resolve(import.meta.dirname, "../..")
const effectVersion = (JSON.parse(readFileSync(join(root, "node_modules/effect/package.json"), "utf8")) as {
  version: string
}).version

const consumer = `
import { Effect, Stream } from "effect"
import { ColumbaClient } from "columba/client"
import { beginning, type Device, DeviceNotFound } from "columba/contracts"

const program = Effect.gen(function*() {
  const client = yield* ColumbaClient
  const { items } = yield* client.devices.list({ limit: 5 })
  const first: Device | undefined = items[0]
  // @ts-expect-error a device has no such field: the types are the real ones
  first?.nonsense
  const missing = yield* Effect.flip(client.devices.get({ id: "dev_00000000000000000000000000" as Device["id"] }))
  const events = yield* client.events.follow({ after: beginning, kinds: ["device.state"] }).pipe(
    Stream.filter((item) => item._tag === "Event"),
    Stream.take(2),
    Stream.runCollect
  )
  return { names: items.length, typed: missing instanceof DeviceNotFound, events: events.length }
})

const url = process.argv[2] ?? ""
for (const layer of [ColumbaClient.layer({ url }), ColumbaClient.layerHttp({ url })]) {
  console.log(JSON.stringify(await Effect.runPromise(Effect.provide(program, layer))))
}
`

const compilerOptions = {
  target: "ES2024",
  lib: ["ES2024", "ESNext.Disposable", "DOM", "DOM.AsyncIterable"],
  module: "NodeNext",
  strict: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  types: ["node"],
  // Our declarations are checked like the program itself.
  skipLibCheck: false
}

let cwd = ""

/** Once for all tests here: it takes seconds, and none changes it. */
beforeAll(async () => {
  await buildLibrary()
  cwd = mkdtempSync(join(tmpdir(), "columba-consumer-"))
  const npm = (args: ReadonlyArray<string>, where: string) =>
    execFileSync("npm", [...args, "--loglevel=error"], {
      cwd: where,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"]
    })
  const packed = npm(["pack", "--ignore-scripts", "--pack-destination", cwd], root).trim().split("\n").pop() ?? ""
  writeFileSync(join(cwd, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }))
  writeFileSync(join(cwd, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["consumer.ts"] }))
  writeFileSync(join(cwd, "consumer.ts"), consumer)
  npm(["install", "--prefer-offline", "--no-audit", "--no-fund", `./${packed}`, `effect@${effectVersion}`], cwd)
  // Only for the type check; a consumer has its own.
  mkdirSync(join(cwd, "node_modules/@types"), { recursive: true })
  for (const name of ["@types/node", "undici-types"]) {
    symlinkSync(join(root, "node_modules", name), join(cwd, "node_modules", name))
  }
})

afterAll(() => rmSync(cwd, { recursive: true, force: true }))

describe("the package", () => {
  it.live("gives an Effect program elsewhere a typed client that works over both transports", () =>
    Effect.gen(function*() {
      const tsc = ensureTool("tsc")
      const checked = yield* runProgram(["-p", "."], { cwd, command: [tsc] })
      assert.deepStrictEqual([checked.code, checked.out], [0, ""])

      const server = yield* ColumbaProcess.make({ directory: cwd, env: { COLUMBA_DEMO_DEVICES: "2" } })
      yield* server.start
      const ran = yield* runProgram(["consumer.ts", server.url], { cwd, command: [process.execPath] })
      assert.strictEqual(ran.code, 0, ran.err)
      const expected = JSON.stringify({ names: 2, typed: true, events: 2 })
      assert.strictEqual(ran.out.trim(), `${expected}\n${expected}`)
    }))

  it.live("installs nothing but itself and Effect, and brings the program along", () =>
    Effect.gen(function*() {
      const lock = JSON.parse(readFileSync(join(cwd, "package-lock.json"), "utf8")) as { packages: object }
      assert.deepStrictEqual(Object.keys(lock.packages), ["", "node_modules/columba", "node_modules/effect"])
      const ran = yield* runProgram(["--version"], { cwd, command: [process.execPath, "node_modules/.bin/columba"] })
      assert.strictEqual(ran.code, 0, ran.err)
    }))
})
