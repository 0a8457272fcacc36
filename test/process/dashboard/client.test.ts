/** The client's package in a page of another origin: bundled as its author would, with a key, through a kill of the server. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as esbuild from "esbuild"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { freshDirectory } from "../../support/directory.ts"
import { makeProject } from "../support/clientPackage.ts"
import * as ColumbaProcess from "../support/ColumbaProcess.ts"
import { launch, visit } from "./support/Browser.ts"

const script = `
import { beginning, ColumbaClient } from "columba-client"
import { connect, isFailure } from "columba-client/promise"
import { Effect, Stream } from "effect"

const note = (seen, item) => { if (item._tag === "Event") seen.push(Number(item.event.seq)) }

window.start = async (url, apiKey) => {
  window.seen = { websocket: [], http: [], effect: [] }
  const loop = async (transport) => {
    const columba = connect({ url, apiKey, transport })
    for await (const item of columba.events.follow({ after: beginning })) note(window.seen[transport], item)
  }
  void loop("websocket")
  void loop("http")
  void Effect.runPromise(Effect.flatMap(ColumbaClient, ({ events }) =>
    Stream.runForEach(events.follow({ after: beginning }), (item) => Effect.sync(() => note(window.seen.effect, item)))
  ).pipe(Effect.provide(ColumbaClient.layer({ url, apiKey }))))
  const columba = connect({ url, apiKey })
  const { items } = await columba.devices.list()
  const content = new File(["a".repeat(1000)], "letter.txt")
  const { size } = await columba.files.upload({ id: items[0].id, content })
  const refused = await columba.devices.create({ name: "x" }).catch((error) => error)
  return { devices: items.length, size, refused: isFailure(refused) && refused._tag }
}
`

/** A page and its script, from an origin of their own. */
const servePage = (scriptText: string) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly origin: string; readonly close: () => void }>((resume) => {
      const server = createServer((request, response) => {
        const isScript = request.url === "/page.js"
        response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" })
        response.end(isScript ? scriptText : `<!doctype html><script type="module" src="/page.js"></script>`)
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        resume(Effect.succeed({ origin: `http://127.0.0.1:${port}`, close: () => void server.close() }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

interface ClientPage {
  readonly seen: Readonly<Record<"websocket" | "http" | "effect", ReadonlyArray<number>>>
  readonly start: (url: string, apiKey: string) => Promise<unknown>
}

describe("the client in a browser", () => {
  it.live("calls with a key, and resumes its streams over both transports after a kill of the server", () =>
    Effect.gen(function*() {
      const project = yield* freshDirectory
      yield* Effect.promise(() => makeProject(project))
      const built = yield* Effect.promise(() =>
        esbuild.build({
          stdin: { contents: script, resolveDir: project, sourcefile: join(project, "page.js") },
          bundle: true,
          minify: true,
          format: "esm",
          write: false
        })
      )
      const { origin } = yield* servePage(built.outputFiles[0]?.text ?? "")
      const key = "page-key-0123456789"
      const columba = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: { COLUMBA_DEMO_DEVICES: "3", COLUMBA_CORS_ORIGINS: origin, COLUMBA_API_KEYS: `page:read+send:${key}` }
      })
      yield* columba.start
      const { page, problems } = yield* visit(yield* launch, origin)
      const answers = yield* Effect.promise(async () => {
        await page.waitForFunction(() => "start" in window)
        return await page.evaluate(
          ([url, apiKey]) => (window as unknown as ClientPage).start(url, apiKey),
          [columba.url, key] as const
        )
      })
      assert.deepStrictEqual(answers, { devices: 3, size: 1000, refused: "Forbidden" })
      /** Waits until every stream has returned this many more events, and returns all of each. */
      const handedOut = (more: number, before: ClientPage["seen"] | null) =>
        Effect.promise(async () => {
          const floor = before === null ? 0 : Math.max(...Object.values(before).map((seqs) => seqs.length))
          await page.waitForFunction(
            (count) => Object.values((window as unknown as ClientPage).seen).every((seqs) => seqs.length >= count),
            floor + more
          )
          return await page.evaluate(() => (window as unknown as ClientPage).seen)
        })
      const before = yield* handedOut(20, null)
      yield* columba.kill
      yield* columba.start
      const after = yield* handedOut(20, before)
      for (const [name, seqs] of Object.entries(after)) {
        assert.deepStrictEqual(seqs, seqs.map((_, index) => index + 1), name)
      }
      assert.deepStrictEqual(yield* Effect.promise(problems), [])
    }))
})
