/** User journeys with the built program: from an empty database to the first message, and through a kill. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import type { Locator } from "playwright-core"
import { readQrImage } from "../../../src/layers/gateways/qrImage.ts"
import { start as startSimulator } from "../../../src/simulator/SimulatedGateway.ts"
import { freshDirectory } from "../../support/directory.ts"
import * as ColumbaProcess from "../support/ColumbaProcess.ts"
import { launch, visit } from "./support/Browser.ts"

/** Counts what a person presses; typing is not counted. */
class Presses {
  count = 0
  readonly press = async (target: Locator): Promise<void> => {
    this.count++
    await target.click()
  }
  readonly choose = async (target: Locator, value: string): Promise<void> => {
    this.count++
    await target.selectOption(value)
  }
}

/** The text of a page's QR code, read as a phone reads it. */
const readPicture = (source: string | null): string => {
  const read = readQrImage(Buffer.from((source ?? "").split(",")[1] ?? "", "base64"))
  return read._tag === "Text" ? read.text : `no code: ${read._tag}`
}

describe("the dashboard of the built program", () => {
  it.live("leads from an empty database to the first received message in under a minute, without a reload", () =>
    Effect.gen(function*() {
      const auth = { user: "columba", password: "gateway-password" }
      const { core, url } = yield* Effect.orDie(startSimulator({ auth, autoPair: false }))
      const columba = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: { COLUMBA_DEMO_DEVICES: "0" }
      })
      yield* columba.start
      const { page, problems } = yield* visit(yield* launch, columba.url)
      const presses = new Presses()
      const began = yield* Clock.currentTimeMillis
      const qr = page.getByRole("img", { name: /QR code/ })
      yield* Effect.promise(async () => {
        await page.evaluate(() => {
          document.body.dataset["kept"] = "not reloaded"
        })
        await presses.press(page.getByRole("link", { name: "add a gateway" }))
        const gateway = page.getByRole("region", { name: "Add a gateway" })
        await gateway.getByLabel("Name").fill("shop")
        await gateway.getByLabel("URL").fill(url)
        await presses.choose(gateway.getByLabel("It speaks"), "bridge")
        await gateway.getByLabel("User").fill(auth.user)
        await gateway.getByLabel("Password").fill(auth.password)
        await presses.press(gateway.getByRole("button", { name: "Add the gateway" }))
        const device = page.getByRole("region", { name: "Add a device of shop" })
        await device.getByLabel("Name of the device").fill("Front desk")
        await presses.press(device.getByRole("button", { name: "Add the device" }))
        await qr.waitFor()
      })
      const [device] = [...core.devices.values()]

      // The other way of linking, and back: each way shows its own code, without an error in between.
      const code = yield* Effect.promise(async () => {
        await page.getByRole("button", { name: "Pairing code" }).click()
        await page.getByLabel("Number of the phone").fill("+62 812 9876 5432")
        await page.getByRole("button", { name: "Get the code" }).click()
        const shown = await page.getByLabel("Pairing code", { exact: true }).textContent()
        await page.getByRole("button", { name: "QR code" }).click()
        await qr.waitFor()
        return shown
      })
      assert.match(code ?? "", /^[A-Z0-9]{4}-[A-Z0-9]{4}$/)
      const text = readPicture(yield* Effect.promise(() => qr.getAttribute("src")))
      assert.strictEqual(core.pairings.scan(device!, text, false), "paired", text)
      yield* Effect.promise(async () => {
        await page.getByText(/^Linked as \+/).waitFor()
        await presses.press(page.getByRole("link", { name: "Open the device" }))
        await page.locator(".device-title [data-state=Online]").waitFor()
      })
      core.emit({ count: 5 })
      yield* Effect.promise(() => page.locator(".message").first().waitFor())
      const seconds = ((yield* Clock.currentTimeMillis) - began) / 1000
      const told = `from nothing to the first message: ${presses.count} presses, ${seconds.toFixed(1)} s`
      console.log(told)
      assert.isAtMost(presses.count, 5, told)
      assert.isBelow(seconds, 60, told)

      // A message is sent, and its tick appears by itself.
      yield* Effect.promise(async () => {
        await page.getByLabel("To", { exact: true }).fill("6281298765432")
        await page.getByLabel("Text", { exact: true }).fill("Yes, until six.")
        await page.getByRole("button", { name: "Send", exact: true }).click()
        const sent = page.locator(".message.out", { hasText: "Yes, until six." })
        await sent.locator(".tick[title=delivered], .tick[title=sent], .tick[title=read]").waitFor()
        assert.strictEqual(await page.evaluate(() => document.body.dataset["kept"]), "not reloaded")
        assert.deepStrictEqual(await problems(), [])
      })
    }))

  it.live("shows that the server is down, and continues where it was once it is back", () =>
    Effect.gen(function*() {
      const columba = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: { COLUMBA_DEMO_DEVICES: "3" }
      })
      yield* columba.start
      const { page, problems } = yield* visit(yield* launch, columba.url)
      const newest = async () => Number(await page.locator(".tail .seq").first().textContent())
      const before = yield* Effect.promise(async () => {
        await page.getByText("3 of 3").waitFor()
        await page.locator(".scroller a").first().click()
        await page.locator(".tail li").first().waitFor()
        await page.getByText("live", { exact: true }).waitFor()
        return await newest()
      })
      yield* columba.kill
      yield* Effect.promise(() => page.getByText("The server has not answered since").waitFor())
      yield* columba.start
      const shown = yield* Effect.promise(async () => {
        await page.getByText("live", { exact: true }).waitFor()
        assert.strictEqual(await page.getByText("The server has not answered since").count(), 0)
        await page.waitForFunction((seq) => Number(document.querySelector(".tail .seq")?.textContent) > seq, before)
        // So do the parts that are polled, and those that are read again after events.
        await page.waitForFunction(() => document.querySelectorAll("main [role=alert]").length === 0)
        const frames = page.locator(".area-connection dd").first()
        const heard = await frames.textContent()
        await page.waitForFunction(
          (old) => document.querySelector(".area-connection dd")?.textContent !== old,
          heard
        )
        const newest = await page.locator(".message-time time").first().getAttribute("datetime")
        await page.waitForFunction(
          (old) => document.querySelector(".message-time time")?.getAttribute("datetime") !== old,
          newest
        )
        const texts = await page.locator(".tail .seq").allTextContents()
        const numbers = texts.map(Number)
        assert.deepStrictEqual(
          numbers,
          [...new Set(numbers)].sort((left, right) => right - left),
          "each once, in order"
        )
        assert.deepStrictEqual(await problems(), [])
        return { numbers, id: new URL(page.url()).hash.split("/")[2] ?? "" }
      })
      const { items } = yield* columba.get<{ readonly items: ReadonlyArray<{ readonly seq: string }> }>(
        `/api/v1/events?after=0&limit=1000&device=${shown.id}`
      )
      const [newestShown = 0, oldestShown = 0] = [shown.numbers[0], shown.numbers.at(-1)]
      assert.isBelow(oldestShown, before, "what came before the kill is still shown")
      assert.deepStrictEqual(
        shown.numbers.toReversed(),
        items.map(({ seq }) => Number(seq)).filter((seq) => seq >= oldestShown && seq <= newestShown),
        "none is missing"
      )
    }))
})
