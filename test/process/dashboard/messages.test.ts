/** Messages, files and pacing on a device's page, in a real browser. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Stream } from "effect"
import type { ContentType } from "../../../src/domain/Send.ts"
import { deriveMessageId } from "../../../src/services/EventIdentity.ts"
import { DeviceManager } from "../../../src/services/DeviceManager.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import type { FetchMedia } from "../../../src/services/GatewayParts.ts"
import { drawPng } from "../../../src/services/qrCode.ts"
import { freshDirectory } from "../../support/directory.ts"
import { fileBytes } from "../../support/files.ts"
import { ScriptedSending } from "../../support/scriptedSending.ts"
import { ask, makeScript, messageDraft, startServer } from "../../support/surface.ts"
import type { Json } from "../../support/surface.ts"
import { launch, visit } from "./support/Browser.ts"

const everything: ReadonlyArray<ContentType> = [
  "text",
  "image",
  "document",
  "voice",
  "video",
  "sticker",
  "reaction",
  "edit",
  "revoke"
]

const picture = Buffer.from(drawPng("a picture"))

const key = "operator-key-0123456789"

const setUp = Effect.fnUntraced(function*(contents = everything, media?: FetchMedia) {
  const script = makeScript()
  Object.assign(script.gateway, { send: new ScriptedSending(contents), ...(media === undefined ? {} : { media }) })
  const { services, url } = yield* startServer({
    script,
    pages: true,
    keys: [["operator", ["read", "send", "manage"], key]],
    outbox: join(yield* freshDirectory, "outbox")
  })
  const device = yield* Effect.orDie(Context.get(services, DeviceManager).register({ name: "Front desk" }))
  const log = Context.get(services, EventLog)
  const headers = { authorization: `Bearer ${key}` }
  const messages = Effect.map(
    ask(`${url}/api/v1/messages?device=${device.id}`, { headers }),
    ({ body }): ReadonlyArray<Json> => body.items
  )
  const read = (path: string) => Effect.map(ask(`${url}/api/v1${path}`, { headers }), ({ body }): Json => body)
  const visited = yield* visit(yield* launch, `${url}/#/devices/${device.id}`)
  const signIn = Effect.promise(async () => {
    await visited.page.getByLabel("API key").fill(key)
    await visited.page.getByRole("button", { name: "Sign in" }).click()
    await visited.page.getByRole("heading", { name: "Front desk" }).waitFor()
  })
  return { ...visited, url, device, log, messages, read, signIn }
})

describe("the file of a message on the page", () => {
  it.live("is requested on a press, with the key in a header, and is shown or saved", () =>
    Effect.gen(function*() {
      const name = `"><img src=x onerror="window.owned='name'">.png`
      const { device, log, page, problems, signIn } = yield* setUp(everything, () =>
        Effect.succeed({
          mimeType: "image/png",
          size: picture.length,
          fileName: name,
          content: Stream.make<[Uint8Array]>(picture)
        }))
      const draft = messageDraft(device.id, 1, "our shop")
      const asked: Array<readonly [url: string, key: string | undefined]> = []
      page.on("request", (request) => {
        if (request.url().endsWith("/media")) asked.push([request.url(), request.headers()["authorization"]])
      })
      yield* Effect.orDie(log.append([{ ...draft, data: { ...draft.data, type: "image", media: { kind: "image" } } }]))
      yield* signIn
      const saved = yield* Effect.promise(async () => {
        const show = page.getByRole("button", { name: "Show the image from 6281@s.whatsapp.net" })
        await show.waitFor()
        assert.deepStrictEqual(asked, [], "nothing is fetched by itself")
        await show.click()
        const drawn = page.locator("canvas.picture")
        await drawn.waitFor()
        const colours = await drawn.evaluate((canvas: HTMLCanvasElement) => {
          const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height)
          return new Set(data.filter((_, index) => index % 4 !== 3)).size
        })
        assert.isAbove(colours, 1, "something is drawn")
        const downloading = page.waitForEvent("download")
        await page.getByRole("button", { name: "Save the image from" }).click()
        const download = await downloading
        const parts: Array<Uint8Array> = []
        for await (const part of await download.createReadStream()) parts.push(part)
        return Buffer.concat(parts)
      })
      assert.isTrue(saved.equals(picture))
      assert.strictEqual(asked.length, 2)
      for (const [url, sent] of asked) {
        assert.strictEqual(sent, `Bearer ${key}`)
        assert.notInclude(url, "key")
      }
      assert.deepStrictEqual(yield* Effect.promise(problems), [])
    }))

  it.live("shows why it cannot be displayed", () =>
    Effect.gen(function*() {
      const { device, log, page, problems, signIn } = yield* setUp(everything, () =>
        Effect.succeed({
          mimeType: "image/png",
          size: 5,
          fileName: null,
          content: Stream.make<[Uint8Array]>(Buffer.from("words"))
        }))
      const draft = messageDraft(device.id, 1, "our shop")
      yield* Effect.orDie(log.append([{ ...draft, data: { ...draft.data, type: "image", media: { kind: "image" } } }]))
      yield* signIn
      yield* Effect.promise(async () => {
        await page.getByRole("button", { name: "Show the image" }).click()
        await page.getByText("This browser cannot show this picture; save it instead.").waitFor()
        assert.deepStrictEqual(await problems(), [])
      })
    }))
})

describe("an action on a message on the page", () => {
  it.live("is a reaction to any message, or an edit or revocation of an own one", () =>
    Effect.gen(function*() {
      const { device, log, messages, page, problems, signIn } = yield* setUp()
      const received = messageDraft(device.id, 1, "Are you open?")
      const sender = "6282@s.whatsapp.net"
      const identity = { chat: received.data.chat, sender, fromMe: true, waId: "OWN1" }
      const ownId = deriveMessageId(device.id, identity)
      const own = {
        ...messageDraft(device.id, 2),
        kind: "message.sent" as const,
        occurredAt: new Date().toISOString(),
        data: { ...identity, messageId: ownId, type: "text", body: "Until sixx." },
        identity: { ...identity, rank: "" }
      }
      yield* Effect.orDie(log.append([received, own]))
      yield* signIn
      const entry = (text: string) => page.locator(".message", { hasText: text })
      yield* Effect.promise(async () => {
        const theirs = entry("Are you open?").last()
        await theirs.getByRole("button", { name: "React, edit, revoke" }).click()
        await theirs.getByRole("button", { name: "👍" }).click()
        await theirs.getByText("The reaction is stored and will be sent.").waitFor()
        assert.strictEqual(await theirs.getByRole("button", { name: /^(Edit|Revoke)$/ }).count(), 0)

        const ours = entry("Until sixx.").last()
        await ours.getByRole("button", { name: "React, edit, revoke" }).click()
        await ours.getByRole("button", { name: "Edit", exact: true }).click()
        await ours.getByLabel("New text").fill("Until six.")
        await ours.getByRole("button", { name: "Save the edit" }).click()
        await ours.getByText("The edit is stored and will be sent.").waitFor()
        const revoke = ours.getByRole("button", { name: "Revoke" })
        await revoke.click()
        await ours.getByRole("button", { name: "Delete it for everyone?" }).click()
        await ours.getByText("The revocation is stored and will be sent.").waitFor()
        assert.deepStrictEqual(await problems(), [])
      })
      const done = (yield* messages).filter(({ sending }) => sending !== undefined)
      assert.deepStrictEqual(
        new Set(done.map(({ body, sending, type }) => `${type} ${body} ${sending.target}`)),
        new Set([
          `reaction 👍 ${received.data.messageId}`,
          `edit Until six. ${ownId}`,
          `revoke null ${ownId}`
        ])
      )
    }))

  it.live("is not offered if the gateway does not support it", () =>
    Effect.gen(function*() {
      const { device, log, page, signIn } = yield* setUp(["text"])
      yield* Effect.orDie(log.append([messageDraft(device.id, 1, "Are you open?")]))
      yield* signIn
      yield* Effect.promise(async () => {
        await page.locator(".message", { hasText: "Are you open?" }).first().waitFor()
        await page.getByRole("group", { name: "Kind of message" }).getByRole("button", { name: "Poll" }).waitFor({
          state: "detached"
        })
        assert.strictEqual(await page.getByRole("button", { name: "React, edit, revoke" }).count(), 0)
        assert.strictEqual(await page.getByRole("button", { name: "File", exact: true }).count(), 0)
      })
    }))
})

describe("a message to send", () => {
  it.live("whose answer is lost is sent once, when it is sent again by the same press", () =>
    Effect.gen(function*() {
      const { messages, page, problems, signIn } = yield* setUp(["text"])
      let sends = 0
      const again = Promise.withResolvers<void>()
      yield* Effect.promise(() =>
        page.routeWebSocket(/\/rpc\/ws$/, (socket) => {
          const server = socket.connectToServer()
          let cut = false
          socket.onMessage((text) => {
            // The connection is lost between the request and its answer.
            if (String(text).includes("Messages.Send") && ++sends === 1) cut = true
            server.send(text)
          })
          server.onMessage((text) => {
            if (cut) return void socket.close()
            socket.send(text)
            if (sends === 1) again.resolve()
          })
        })
      )
      yield* Effect.promise(() => page.reload())
      yield* signIn
      yield* Effect.promise(async () => {
        await page.getByLabel("To", { exact: true }).fill("6281298765432")
        await page.getByLabel("Text", { exact: true }).fill("Your table is ready.")
        const send = page.getByRole("button", { name: "Send", exact: true })
        await send.click()
        await page.locator("form.send").getByText("The server could not be reached.").waitFor()
        await again.promise
        await send.click()
        await page.locator("form.send").getByText("The message is stored and will be sent.").waitFor()
        await page.locator(".message.out", { hasText: "Your table is ready." }).waitFor()
        // The next one is another message, though it has the same text.
        await page.getByLabel("Text", { exact: true }).fill("Your table is ready.")
        await send.click()
        await page.waitForFunction(() => document.querySelectorAll(".message.out").length === 2)
        assert.deepStrictEqual(await problems(), [])
      })
      assert.strictEqual(sends, 3)
      assert.strictEqual((yield* messages).length, 2)
    }))
})

describe("a file to send", () => {
  it.live("is refused before the upload if it is too large, and else sent with its name and caption", () =>
    Effect.gen(function*() {
      const { messages, page, problems, signIn } = yield* setUp()
      const uploads: Array<string> = []
      page.on("request", (request) => {
        if (request.url().endsWith("/files")) uploads.push(request.url())
      })
      yield* signIn
      const send = page.getByRole("button", { name: "Send", exact: true })
      yield* Effect.promise(async () => {
        await page.getByRole("button", { name: "File", exact: true }).click()
        await page.getByText("sticker 2 MB").waitFor()
        await page.getByLabel("To", { exact: true }).fill("6281298765432")
        const field = page.getByLabel("File", { exact: true })
        const large = { name: "shop.webp", mimeType: "image/webp", buffer: fileBytes("sticker", 2_000_001) }
        await field.setInputFiles(large)
        await page.getByRole("group", { name: "Send it as" }).getByRole("button", { name: "Sticker" }).click()
        await page.getByText("a message of this kind takes at most 2000000").waitFor()
        assert.isTrue(await send.isDisabled())

        await field.setInputFiles({
          name: "prices <b>.pdf",
          mimeType: "text/html",
          buffer: fileBytes("document", 3_000_000)
        })
        await page.getByLabel("Caption").fill("of May")
        await send.click()
        await page.getByText("The message is stored and will be sent.").waitFor()
        assert.strictEqual(await field.inputValue(), "", "the next message has another file")
        await page.locator(".message.out", { hasText: "of May" }).waitFor()
        assert.deepStrictEqual(await problems(), [])
      })
      assert.strictEqual(uploads.length, 1)
      const [sent] = yield* messages
      assert.deepInclude(sent, { type: "document", body: "of May", status: "pending" })
    }))
})

describe("the pacing of a device on its page", () => {
  it.live("is shown with the current limit of a new account, and changed", () =>
    Effect.gen(function*() {
      const { device, page, problems, read, signIn } = yield* setUp()
      yield* signIn
      const panel = page.getByRole("region", { name: "Pacing", exact: true })
      yield* Effect.promise(async () => {
        await panel.getByText("the server, for all devices").waitFor()
        await panel.getByRole("button", { name: "Change the pacing" }).click()
        await panel.getByLabel("In one line").fill("as fast as possible")
        await panel.getByRole("button", { name: "Save" }).click()
        await panel.getByText("Expected off, or like 20/min").waitFor()
        await panel.getByLabel("In one line").fill("20/min, 500/day, ramp 10d")
        await panel.getByRole("button", { name: "Save" }).click()
        await panel.getByText("this device", { exact: true }).waitFor()
        await panel.getByText("50 in any 24 hours, warming up to 500 in 10 days").waitFor()
        // That is tomorrow, so its day is named.
        await panel.getByText(/more from \D+ \d\d? \d\d:\d\d:\d\d/).waitFor()
      })
      assert.deepStrictEqual((yield* read(`/devices/${device.id}`)).pacing, {
        rate: "20/min",
        perDay: 500,
        rampDays: 10
      })
      yield* Effect.promise(async () => {
        await panel.getByRole("button", { name: "Change the pacing" }).click()
        await panel.getByRole("button", { name: "Use the server's default" }).click()
        await panel.getByText("the server, for all devices").waitFor()
        assert.deepStrictEqual(await problems(), [])
      })
      assert.strictEqual((yield* read(`/devices/${device.id}`)).pacing, null)
    }))
})
