/** Audio, video and documents of messages on a device's page, in a real browser. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Stream } from "effect"
import type { Page } from "playwright-core"
import { DeviceManager } from "../../../src/services/DeviceManager.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { sound } from "../../support/recordings.ts"
import { makeScript, messageDraft, startServer } from "../../support/surface.ts"
import { launch, visit } from "./support/Browser.ts"

interface File {
  readonly type: string
  readonly mimeType: string
  readonly content: Uint8Array
  /** The type that the gateway claims. */
  readonly size?: number | null
}

/** A device whose messages have these files, in this order. */
const setUp = Effect.fnUntraced(function*(files: ReadonlyArray<File>) {
  const script = makeScript()
  const given: Array<number> = []
  Object.assign(script.gateway, {
    media: (_target: unknown, { waId }: { readonly waId: string }) =>
      Effect.sync(() => {
        const number = Number(waId.slice(2))
        given.push(number)
        const { content, mimeType, size = content.length } = files[number - 1]!
        const pieces = Array.from({ length: Math.ceil(content.length / 65_536) }, (_, index) =>
          content.subarray(index * 65_536, (index + 1) * 65_536))
        return { mimeType, size, fileName: "price list.pdf", content: Stream.fromIterable(pieces) }
      })
  })
  const { services, url } = yield* startServer({ script, pages: true })
  const device = yield* Effect.orDie(Context.get(services, DeviceManager).register({ name: "Front desk" }))
  const log = Context.get(services, EventLog)
  yield* Effect.orDie(log.append(files.map(({ type }, index) => {
    const draft = messageDraft(device.id, index + 1)
    return { ...draft, data: { ...draft.data, type, body: null, media: { kind: type } } }
  })))
  const visited = yield* visit(yield* launch, `${url}/#/devices/${device.id}`)
  return { ...visited, given }
})

const button = (page: Page, name: string) => page.getByRole("button", { name: `${name} from 6281@s.whatsapp.net` })

/** Plays it, and returns its length; fails if the browser does not play it. */
const listen = (page: Page, tag: "audio" | "video") =>
  page.locator(tag).evaluate(async (player: HTMLMediaElement) => {
    player.muted = true
    await player.play()
    return { seconds: player.duration, from: new URL(player.src).protocol, controls: player.controls }
  })

describe("audio or video on the page", () => {
  it.live("is fetched on a press, and played under the policy of the page", () =>
    Effect.gen(function*() {
      const { given, page, problems } = yield* setUp([
        { type: "audio", mimeType: "audio/wav", content: sound },
        // A video without pictures. The type that the sender gives does not matter.
        { type: "video", mimeType: "text/html", content: sound }
      ])
      yield* Effect.promise(async () => {
        await button(page, "Play the audio").waitFor()
        assert.deepStrictEqual(given, [], "nothing is fetched by itself")
        await button(page, "Play the audio").click()
        const heard = await listen(page, "audio")
        assert.closeTo(heard.seconds, 1, 0.05)
        assert.deepInclude(heard, { from: "blob:", controls: true })
        await button(page, "Play the video").click()
        const seen = await listen(page, "video")
        assert.closeTo(seen.seconds, 1, 0.05)
        assert.deepStrictEqual(await problems(), [])
      })
      assert.deepStrictEqual(given, [1, 2])
    }))

  it.live("shows why it cannot be played, and stops its download if it is too large", () =>
    Effect.gen(function*() {
      const large = new Uint8Array(65_000_000)
      const { page, problems } = yield* setUp([
        { type: "audio", mimeType: "audio/ogg", content: Buffer.from("<script>window.owned = 'sound'</script>") },
        // One that ended before its size would be a broken download, if its end came together with its beginning.
        { type: "video", mimeType: "video/mp4", content: large },
        { type: "voice", mimeType: "audio/ogg", content: large, size: null }
      ])
      yield* Effect.promise(async () => {
        await button(page, "Play the audio").click()
        await page.getByText("This browser cannot play this file; save it instead.").waitFor()
        const tooLarge = page.getByText("This file has more than 64 MB, which is too large for this page")
        await button(page, "Play the video").click()
        await tooLarge.first().waitFor()
        await button(page, "Play the voice").click()
        await page.waitForFunction(() => document.querySelectorAll(".message [role=alert]").length === 3)
        assert.strictEqual(await tooLarge.count(), 2)
        assert.strictEqual(await page.locator("audio, video").count(), 0)
        assert.deepStrictEqual(await problems(), [])
      })
    }))
})

describe("a document on the page", () => {
  it.live("is saved under its name, and not opened", () =>
    Effect.gen(function*() {
      const { page, problems } = yield* setUp([
        { type: "document", mimeType: "text/html", content: Buffer.from("<script>window.owned = 'document'</script>") }
      ])
      yield* Effect.promise(async () => {
        assert.strictEqual(await button(page, "Play the document").count(), 0)
        const downloading = page.waitForEvent("download")
        await button(page, "Save the document").click()
        assert.strictEqual((await downloading).suggestedFilename(), "price list.pdf")
        await page.getByText("Saved: price list.pdf · 1 kB · application/octet-stream").waitFor()
        assert.deepStrictEqual(await problems(), [])
      })
    }))
})
