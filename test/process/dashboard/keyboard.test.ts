/** The dashboard without a mouse, and without layout shifts. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import type { Page } from "playwright-core"
import { GatewayName, UpstreamId } from "../../../src/domain/Ids.ts"
import { DeviceManager } from "../../../src/services/DeviceManager.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { ScriptedSending } from "../../support/scriptedSending.ts"
import { makeScript, messageDraft, startServer, stateDraft } from "../../support/surface.ts"
import { launch, visit } from "./support/Browser.ts"

const key = "root-key-0123456789"

/** More than the number of elements before any target on a page. */
const stepsMax = 80

const makeServer = Effect.gen(function*() {
  const script = makeScript()
  Object.assign(script.gateway, { send: new ScriptedSending(["text"]) })
  const { services, url } = yield* startServer({
    script,
    keys: [["root", ["read", "send", "manage", "admin"], key]],
    pages: true
  })
  const manager = Context.get(services, DeviceManager)
  const log = Context.get(services, EventLog)
  const device = yield* manager.register({
    name: "shop",
    gateway: GatewayName.make("default"),
    upstreamId: UpstreamId.make("shop")
  })
  yield* log.append([
    stateDraft(device.id, "Connecting", { _tag: "Online", jid: null, since: "2026-01-01T00:00:00.000Z" }),
    messageDraft(device.id, 1, "hello"),
    messageDraft(device.id, 2, "is it open today?")
  ])
  return { device, url }
})

interface Focused {
  readonly name: string
  readonly isShown: boolean
}

/** The focused element, and whether its focus is visible. */
const readFocus = (page: Page): Promise<Focused> =>
  page.evaluate(() => {
    const one = document.activeElement
    if (one === null || one === document.body) return { name: "", isShown: true }
    const { boxShadow, outlineStyle, outlineWidth } = getComputedStyle(one)
    const label = one.getAttribute("aria-label") ?? (one as HTMLInputElement).labels?.[0]?.textContent ??
      one.textContent
    return {
      name: (label ?? "").trim(),
      isShown: (outlineStyle !== "none" && Number.parseFloat(outlineWidth) > 0) || boxShadow !== "none"
    }
  })

/** Presses tab until the element with that name has the focus. All elements passed must show their focus. */
const tabTo = async (page: Page, name: RegExp): Promise<void> => {
  const passed: Array<string> = []
  for (let step = 0; step < stepsMax; step++) {
    await page.keyboard.press("Tab")
    const focused = await readFocus(page)
    assert.isTrue(focused.isShown, `nothing shows that '${focused.name}' has the focus`)
    if (name.test(focused.name)) return
    passed.push(focused.name)
  }
  assert.fail(`${name} is not reached by the tab key; passed: ${passed.join(", ")}`)
}

const signIn = async (page: Page): Promise<void> => {
  if ((await readFocus(page)).name !== "API key") await tabTo(page, /^API key$/)
  await page.keyboard.type(key)
  await page.keyboard.press("Enter")
  await page.locator(".scroller a").first().waitFor()
}

describe("the dashboard", () => {
  it.live("can be used with the keyboard alone, from the sign-in to a sent message", () =>
    Effect.gen(function*() {
      const { url } = yield* makeServer
      const { page, problems } = yield* visit(yield* launch, url)
      yield* Effect.promise(async () => {
        await signIn(page)
        await tabTo(page, /shop/)
        await page.keyboard.press("Enter")
        await page.locator(".message-body").first().waitFor()
        await tabTo(page, /^To\b/)
        await page.keyboard.type("6281298765432")
        await tabTo(page, /^(Text|Message)/)
        await page.keyboard.type("yes, until six")
        await tabTo(page, /^Send$/)
        await page.keyboard.press("Enter")
        await page.getByText("yes, until six").first().waitFor()
        assert.deepStrictEqual(await problems(), [])
      })
    }))

  /** 0.1 of the window's area times the way is what is called good: https://web.dev/articles/cls. */
  it.live("does not move visible content while the rest of a page loads", () =>
    Effect.gen(function*() {
      const { device, url } = yield* makeServer
      const browser = yield* launch
      for (const width of [1280, 390]) {
        const { context, page } = yield* visit(browser, url, { width })
        yield* Effect.promise(async () => {
          await context.addInitScript(() => {
            const counted = window as unknown as { moved: number }
            counted.moved = 0
            new PerformanceObserver((list) => {
              for (const entry of list.getEntries()) {
                const shift = entry as unknown as { readonly hadRecentInput: boolean; readonly value: number }
                if (!shift.hadRecentInput) counted.moved += shift.value
              }
            }).observe({ type: "layout-shift", buffered: true })
          })
          const pages = [
            ["#/", ".scroller a"],
            [`#/devices/${device.id}`, ".timeline li"],
            ["#/gateways", ".entry"],
            ["#/keys", ".panel"],
            ["#/subscriptions", "main h1"],
            ["#/schedules", "main h1"]
          ] as const
          for (const [hash, sign] of pages) {
            await page.goto("about:blank")
            await page.goto(`${url}/${hash}`)
            await page.getByLabel("API key").fill(key)
            await page.getByRole("button", { name: "Sign in" }).click()
            await page.locator(sign).first().waitFor()
            await page.waitForFunction(() => document.querySelector(".skeleton") === null)
            // Two frames: the last drawing has been observed by then.
            await page.evaluate(() => new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen))))
            const moved = await page.evaluate(() => (window as unknown as { moved: number }).moved)
            assert.isAtMost(moved, 0.1, `${hash} at ${width} pixels`)
          }
        })
      }
    }))
})
