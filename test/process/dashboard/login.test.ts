/** Linking a phone in a real browser: the code is replaced by itself, and several people may watch. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, PubSub, Redacted, Stream } from "effect"
import type { Page } from "playwright-core"
import { noLogins } from "../../../src/services/FleetLogins.ts"
import { DeviceManager } from "../../../src/services/DeviceManager.ts"
import { drawPng } from "../../../src/services/qrCode.ts"
import type { LoginStep } from "../../../src/domain/Login.ts"
import { readQrImage } from "../../../src/layers/gateways/qrImage.ts"
import { makeScript, startServer } from "../../support/surface.ts"
import { launch, visit } from "./support/Browser.ts"

const qr = (text: string, attempt: number): LoginStep => ({
  _tag: "Qr",
  image: Redacted.make(`data:image/png;base64,${Buffer.from(drawPng(text)).toString("base64")}`),
  expiresAt: new Date(Date.now() + 60_000).toISOString(),
  attempt
})

/** As a phone reads it. */
const readCode = (source: string | null): string => {
  const read = readQrImage(Buffer.from((source ?? "").split(",")[1] ?? "", "base64"))
  return read._tag === "Text" ? read.text : read._tag
}

const shows = async (page: Page, text: string): Promise<void> => {
  while (true) {
    const source = await page.getByRole("img", { name: /QR code/ }).getAttribute("src")
    if (readCode(source) === text) return
    await page.waitForFunction((old) => document.querySelector(".qr")?.getAttribute("src") !== old, source)
  }
}

describe("the page that links a phone", () => {
  it.live("replaces the code by itself for everybody who watches, counts down, and shows when the phone is linked", () =>
    Effect.gen(function*() {
      const steps = yield* PubSub.unbounded<LoginStep>({ replay: 1 })
      let watchers = 0
      const script = makeScript()
      Object.assign(script, {
        logins: {
          ...noLogins,
          follow: () => {
            watchers++
            return Stream.fromPubSub(steps)
          }
        }
      })
      const { services, url } = yield* startServer({ script, pages: true })
      const device = yield* Effect.orDie(Context.get(services, DeviceManager).register({ name: "Front desk" }))
      yield* PubSub.publish(steps, qr("first", 1))
      const browser = yield* launch
      const address = `${url}/#/devices/${device.id}/login`
      const visits = [yield* visit(browser, address), yield* visit(browser, address)]
      const all = (look: (page: Page) => Promise<unknown>) =>
        Effect.promise(() => Promise.all(visits.map(({ page }) => look(page))))
      yield* all(async (page) => {
        await page.evaluate(() => {
          document.body.dataset["kept"] = "not reloaded"
        })
        await shows(page, "first")
        const left = await page.getByRole("timer").textContent()
        assert.match(left ?? "", /^A new code appears within \d+ s$/)
        await page.waitForFunction((old) => document.querySelector("[role=timer]")?.textContent !== old, left)
      })
      for (const [index, text] of ["second", "third"].entries()) {
        yield* PubSub.publish(steps, qr(text, index + 2))
        yield* all((page) => shows(page, text))
      }
      yield* PubSub.publish(steps, { _tag: "Linking" })
      yield* all((page) => page.getByText("The phone has accepted.").waitFor())
      yield* PubSub.publish(steps, { _tag: "LoggedIn", jid: "6281@s.whatsapp.net", phone: "+6281" })
      yield* all(async (page) => {
        await page.getByText("Linked as +6281.").waitFor()
        assert.strictEqual(await page.evaluate(() => document.body.dataset["kept"]), "not reloaded")
      })
      assert.strictEqual(watchers, 2)
      for (const { problems } of visits) assert.deepStrictEqual(yield* Effect.promise(problems), [])
    }))

  it.live("shows that nobody used the codes, and starts again on request", () =>
    Effect.gen(function*() {
      const script = makeScript()
      let asked = 0
      Object.assign(script, {
        logins: {
          ...noLogins,
          follow: () =>
            ++asked === 1 ? Stream.make({ _tag: "Expired" } as const) : Stream.concat(
              Stream.make(qr("again", 1)),
              Stream.never
            )
        }
      })
      const { services, url } = yield* startServer({ script, pages: true })
      const device = yield* Effect.orDie(Context.get(services, DeviceManager).register({ name: "Front desk" }))
      const { page, problems } = yield* visit(yield* launch, `${url}/#/devices/${device.id}/login`)
      yield* Effect.promise(async () => {
        await page.getByText("None of the codes was used.").waitFor()
        await page.getByRole("button", { name: "Try again" }).click()
        await shows(page, "again")
        assert.deepStrictEqual(await problems(), [])
      })
    }))
})
