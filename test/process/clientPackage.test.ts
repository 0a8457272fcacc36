/**
 * The client's package in a separate project: type-checked and run against a live server, in this Node and in an old one,
 * and over twenty kills of the server.
 */
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as esbuild from "esbuild"
import { gzipSync } from "node:zlib"
import { oldestNode } from "../../scripts/buildClient.ts"
import { ensureTool } from "../../scripts/tools.ts"
import { freshDatabase } from "../support/database.ts"
import { freshDirectory } from "../support/directory.ts"
import { readLog } from "../support/Ledger.ts"
import { until } from "../support/until.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"
import { borrow, installNode, makeProject } from "./support/clientPackage.ts"
import * as Rig from "./support/Rig.ts"
import { runProgram } from "./support/runProgram.ts"

const effectProgram = `
import { beginning, ColumbaClient, type Device, DeviceNotFound } from "columba-client"
import { Effect, Stream } from "effect"
import { WebSocket } from "ws"

const program = Effect.gen(function*() {
  const columba = yield* ColumbaClient
  const { items } = yield* columba.devices.list({ limit: 5 })
  const first: Device | undefined = items[0]
  // @ts-expect-error a device has no such field: the types are the real ones
  first?.nonsense
  const missing = yield* Effect.flip(columba.devices.get({ id: "dev_00000000000000000000000000" as Device["id"] }))
  const events = yield* columba.events.follow({ after: beginning, kinds: ["device.state"] }).pipe(
    Stream.filter((item) => item._tag === "Event"),
    Stream.take(2),
    Stream.runCollect
  )
  const file = yield* columba.files.upload({ id: first!.id, content: Stream.make(new Uint8Array(70_000), new Uint8Array(1)) })
  return { names: items.length, typed: missing instanceof DeviceNotFound, events: events.length, size: file.size }
})

const url = process.argv[2] ?? ""
for (const layer of [ColumbaClient.layer({ url, webSocket: WebSocket }), ColumbaClient.layerHttp({ url })]) {
  console.log(JSON.stringify(await Effect.runPromise(Effect.provide(program, layer))))
}
`

const plainProgram = `
import { beginning, connect, isFailure } from "columba-client/promise"
import { openAsBlob } from "node:fs"

const run = async (transport: "websocket" | "http" | undefined) => {
  const columba = connect({ url: process.argv[2] ?? "", transport })
  const { items } = await columba.devices.list({ limit: 5 })
  // @ts-expect-error a device has no such field: the types are the real ones
  items[0]?.nonsense
  const missing = await columba.devices.get({ id: "dev_00000000000000000000000000" }).catch((error: unknown) => error)
  const typed = isFailure(missing) && missing._tag === "DeviceNotFound"
  let events = 0
  for await (const item of columba.events.follow({ after: beginning, kinds: ["device.state"] })) {
    if (item._tag !== "Event") continue
    // The kind narrows the data.
    if (item.event.kind === "message.received") console.log(item.event.data.body?.length)
    events++
    if (events === 2) break
  }
  const blob = await openAsBlob("large")
  const { size } = await columba.files.upload({ id: items[0]!.id, content: blob })
  await columba.close()
  console.log(JSON.stringify({ names: items.length, typed, events, size }))
}

await run(undefined)
await run("http")
`

/** Writes the events of all three ways to a file each, in the order in which they came. */
const readers = `
import { ColumbaClient, beginning } from "columba-client"
import { connect } from "columba-client/promise"
import { Effect, Stream } from "effect"
import { appendFileSync } from "node:fs"

const [, , url] = process.argv
const write = (name, item) => {
  if (item._tag === "Event") appendFileSync(name, \`\${item.event.seq} \${item.event.id}\\n\`)
}
const read = (name, layer) =>
  Effect.flatMap(ColumbaClient, ({ events }) =>
    Stream.runForEach(events.follow({ after: beginning }), (item) => Effect.sync(() => write(name, item)))
  ).pipe(Effect.provide(layer), Effect.runPromise)

const loop = async () => {
  for await (const item of connect({ url }).events.follow({ after: beginning })) write("promise", item)
}
await Promise.all([
  read("websocket", ColumbaClient.layer({ url })),
  read("http", ColumbaClient.layerHttp({ url })),
  loop()
])
`

const root = resolve(import.meta.dirname, "../..")

/** The programs that the pages show. */
const samples = ["README.md", "docs/client.md"].flatMap((page) =>
  [...readFileSync(join(root, page), "utf8").matchAll(/```ts\n([\s\S]*?)```/g)].map(([, text]) => text ?? "")
)

/** Ways in which programs find the declarations of a package. */
const resolutions = [
  { module: "NodeNext", moduleResolution: "NodeNext" },
  { module: "Node16", moduleResolution: "Node16" },
  { module: "ESNext", moduleResolution: "Bundler" }
]

const compilerOptions = {
  target: "ES2022",
  lib: ["ES2024", "ESNext.Disposable", "DOM", "DOM.AsyncIterable"],
  strict: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  types: ["node"],
  // Columba's declarations are checked like the program itself.
  skipLibCheck: false
}

/** Without types, for a Node that cannot strip them. */
const strip = (program: string): string =>
  program.replace(/\btype (?=Device,)|: Device \| undefined| as Device\["id"\]|(?<=(first|\]))!/g, "")
    .replace(/transport: "websocket" \| "http" \| undefined/, "transport").replace(/\(error: unknown\)/, "(error)")

const kills = 20

let cwd = ""

/** Once for all tests here: it takes seconds, and none changes it. */
beforeAll(async () => {
  cwd = mkdtempSync(join(tmpdir(), "columba-client-"))
  await makeProject(cwd)
  for (const resolution of resolutions) {
    writeFileSync(
      join(cwd, `${resolution.module}.json`),
      JSON.stringify({ compilerOptions: { ...compilerOptions, ...resolution }, include: ["*.ts"] })
    )
  }
  writeFileSync(join(cwd, "large"), new Uint8Array(70_001))
  writeFileSync(join(cwd, "effect.ts"), effectProgram)
  writeFileSync(join(cwd, "plain.ts"), plainProgram)
  writeFileSync(join(cwd, "effect.js"), strip(effectProgram))
  writeFileSync(join(cwd, "plain.js"), strip(plainProgram))
  writeFileSync(join(cwd, "readers.js"), readers)
  borrow(cwd, ["@types/node", "undici-types", "@types/ws", "ws"])
  samples.forEach((sample, index) => writeFileSync(join(cwd, `sample${index}.ts`), sample))
})

afterAll(() => rmSync(cwd, { recursive: true, force: true }))

/** What the programs print of a server with two devices, over both transports. */
const answers = `${JSON.stringify({ names: 2, typed: true, events: 2, size: 70_001 })}\n`.repeat(2)

const runAgainstServer = Effect.fnUntraced(function*(node: string, extension: "ts" | "js") {
  const server = yield* ColumbaProcess.make({ directory: yield* freshDirectory, env: { COLUMBA_DEMO_DEVICES: "2" } })
  yield* server.start
  for (const name of ["effect", "plain"]) {
    const ran = yield* runProgram([`${name}.${extension}`, server.url], { cwd, command: [node] })
    assert.deepStrictEqual([ran.code, ran.out], [0, answers], `${name}: ${ran.err}`)
  }
})

describe("the client's package", () => {
  it("is small, installs nothing but itself and its peer, and names this version everywhere", () => {
    const lock = JSON.parse(readFileSync(join(cwd, "package-lock.json"), "utf8")) as { packages: object }
    assert.deepStrictEqual(Object.keys(lock.packages), ["", "node_modules/columba-client", "node_modules/effect"])
    const read = (file: string) => JSON.parse(readFileSync(file, "utf8"))
    const { version } = read(join(root, "package.json"))
    assert.strictEqual(read(join(cwd, "node_modules/columba-client/package.json")).version, version)
    const packed = join(cwd, `columba-client-${version}.tgz`)
    console.log(`the package has ${statSync(packed).size} bytes`)
    assert.isBelow(statSync(packed).size, 200_000)
    for (const example of ["effectConsumer", "plainConsumer"]) {
      const { dependencies } = read(join(root, "examples", example, "package.json"))
      assert.strictEqual(dependencies["columba-client"], `file:../../columba-client-${version}.tgz`, example)
    }
  })

  it.live("gives Effect programs and plain ones a typed client that works over both transports", () =>
    Effect.gen(function*() {
      assert.lengthOf(samples, 5)
      for (const { module } of resolutions) {
        const checked = yield* runProgram(["-p", `${module}.json`], { cwd, command: [ensureTool("tsc")] })
        assert.deepStrictEqual([checked.code, checked.out], [0, ""], module)
      }
      yield* runAgainstServer(process.execPath, "ts")
    }))

  it.live("is bundled for a browser without a warning and without any part of Node", () =>
    Effect.gen(function*() {
      const bundled = yield* Effect.promise(() =>
        esbuild.build({
          stdin: {
            contents: `export * as effect from "columba-client"; export * as promise from "columba-client/promise"`,
            resolveDir: cwd
          },
          bundle: true,
          minify: true,
          platform: "browser",
          format: "esm",
          write: false,
          logLevel: "silent"
        })
      )
      assert.deepStrictEqual([bundled.warnings, bundled.errors], [[], []])
      const compressed = gzipSync(bundled.outputFiles[0]!.contents).byteLength
      console.log(`a page with all of it has ${compressed} bytes, compressed`)
      assert.isBelow(compressed, 280_000)
    }))

  it("names the Node that it needs, and has exactly the files that it names", () => {
    const folder = join(cwd, "node_modules/columba-client")
    const { engines, exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
      readonly engines: { readonly node: string }
      readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>
    }
    assert.strictEqual(engines.node, `>=${oldestNode}`)
    for (const entry of Object.values(exports)) {
      for (const file of typeof entry === "string" ? [entry] : [entry.types, entry.default]) {
        assert.isTrue(existsSync(join(folder, file)), file)
      }
    }
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    const strange = files.filter((file) =>
      !/^(types|types\/[a-z]+|types\/[a-z]+\/\w+\.d\.ts|[a-z]+(-\w+)?\.js|package\.json|README\.md)$/.test(file)
    )
    assert.deepStrictEqual(strange, [])
  })

  // The oldest one has no WebSocket, so plain requests are used by themselves.
  it.live.each([oldestNode, "22.23.3"])(
    "works in Node %s",
    (version) => Effect.flatMap(Effect.sync(() => installNode(cwd, version)), (node) => runAgainstServer(node, "js"))
  )

  it.live("returns every event once and in order, while the server is killed twenty times under load", () =>
    Effect.gen(function*() {
      const databaseUrl = yield* freshDatabase
      const rig = yield* Rig.make({ databaseUrl, rabbitUrl: null, devices: 10, seed: "client-package" })
      const directory = yield* freshDirectory
      const reader = spawn(process.execPath, [join(cwd, "readers.js"), rig.columba.url], {
        cwd: directory,
        stdio: ["ignore", "ignore", "inherit"]
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => void reader.kill("SIGKILL")))
      const linesOf = (name: string): ReadonlyArray<string> =>
        existsSync(join(directory, name)) ? readFileSync(join(directory, name), "utf8").trim().split("\n") : []
      const names = ["websocket", "http", "promise"]
      const job = rig.simulator.emit({ rate: 150 })
      const cut = new Map(names.map((name) => [name, 0]))
      for (let kill = 0; kill < kills; kill++) {
        const before = new Map(names.map((name) => [name, linesOf(name).length]))
        const inTheMiddle = () => names.filter((name) => linesOf(name).length > before.get(name)! + 10)
        // A WebSocket that is cut off again and again waits for up to ten seconds, so every second kill does not wait for it.
        const wanted = kill % 2 === 0 ? names.length : 1
        yield* until("streams are handed out", Effect.sync(() => inTheMiddle().length >= wanted))
        yield* rig.columba.kill
        for (const name of inTheMiddle()) cut.set(name, cut.get(name)! + 1)
        yield* rig.columba.start
      }
      for (const [name, times] of cut) assert.isAtLeast(times, kills / 2, `${name} was in the middle of its stream`)
      rig.simulator.emitter.stop(job)
      yield* rig.settled
      const log = (yield* readLog(databaseUrl)).map(({ id, seq }) => `${seq} ${id}`)
      assert.isAbove(log.length, 1_000)
      for (const name of names) {
        yield* until(`${name} has all`, Effect.sync(() => linesOf(name).length >= log.length))
        // What the last gap was read from may have been committed since.
        assert.deepStrictEqual(linesOf(name).slice(0, log.length), log, name)
      }
      assert.isNull(reader.exitCode)
    }))
})
