/** The built pages, as browsers get them: small, compressed, cached by content, and working under their policy. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ask, startServer } from "../../support/surface.ts"
import { launch, visit } from "./support/Browser.ts"

/** Size of the whole dashboard, compressed. */
const bytesMax = 250_000

const html = { accept: "text/html" }

/** The files that a page names. */
const filesOf = (page: string): ReadonlyArray<string> =>
  [...page.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, file]) => file ?? "")

describe("the built pages", () => {
  it.live("are small, compressed as the caller accepts, and cached for ever if they are named by content", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ pages: true })
      const { body: page, headers } = yield* ask(url, { headers: html })
      assert.strictEqual(headers.get("cache-control"), "no-cache")
      assert.notMatch(headers.get("content-security-policy") ?? "", /unsafe/)
      assert.notMatch(page, /<script(?![^>]* src=)|<style| on\w+=/, "nothing is inline")
      let bytes = 0
      for (const file of filesOf(page)) {
        // Compressed: fetch would unpack it.
        const sizes = yield* Effect.forEach(
          ["br", "gzip", "identity", "br;q=0, gzip"],
          (accepted) =>
            Effect.promise(async () => {
              const answer = await fetch(url + file, { headers: { "accept-encoding": accepted } })
              assert.strictEqual(answer.headers.get("cache-control"), "public, max-age=31536000, immutable", file)
              const plain = (await answer.arrayBuffer()).byteLength
              const travelled = answer.headers.get("content-length")
              return { encoding: answer.headers.get("content-encoding"), plain, travelled: Number(travelled) }
            })
        )
        assert.deepStrictEqual(sizes.map(({ encoding }) => encoding), ["br", "gzip", null, "gzip"], file)
        assert.deepStrictEqual(new Set(sizes.map(({ plain }) => plain)).size, 1, file)
        bytes += sizes[1]?.travelled ?? 0
      }
      console.log(`the dashboard has ${bytes} bytes in gzip`)
      assert.isAbove(bytes, 0)
      assert.isBelow(bytes, bytesMax)

      const tag = headers.get("etag") ?? ""
      const again = yield* ask(url, { headers: { ...html, "if-none-match": tag } })
      assert.deepStrictEqual([again.status, again.body], [304, ""])
      assert.strictEqual((yield* ask(`${url}/assets/nothing-1.js`)).status, 404)
      assert.strictEqual((yield* ask(`${url}/assets/..%2fmanifest.json`)).status, 404)
      assert.include((yield* ask(url)).body, "/openapi.json", "programs get words")
    }))

  it.live("show the documents of the API, from a script that is sent once", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ pages: true })
      const { page, problems } = yield* visit(yield* launch, `${url}/docs`)
      yield* Effect.promise(async () => {
        await page.getByText("Add a device").first().waitFor()
        // Its script tries to evaluate text, is refused, and continues without.
        const others = (await problems()).filter((problem) => !problem.startsWith("script-src refused eval"))
        assert.deepStrictEqual(others, [])
      })
      assert.isBelow((yield* ask(`${url}/docs`)).body.length, 2000)
    }))
})
