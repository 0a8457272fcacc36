/**
 * Takes the pictures of the documentation: starts the built program with its demo, disturbs some devices, and captures the
 * pages in a real browser. `npm run screenshots`.
 */
import * as fs from "node:fs"
import { join, resolve } from "node:path"
import { Effect } from "effect"
import type { Page } from "playwright-core"
import { freshDirectory } from "../../support/directory.ts"
import { untilSo } from "../../support/until.ts"
import * as ColumbaProcess from "../support/ColumbaProcess.ts"
import { launch, visit } from "./support/Browser.ts"

const folder = resolve(import.meta.dirname, "../../../docs/images")

interface Device {
  readonly id: string
  readonly name: string
  readonly upstreamId: string
}

const devices = (columba: ColumbaProcess.ColumbaProcess) =>
  Effect.map(columba.get<{ readonly items: ReadonlyArray<Device> }>("/api/v1/devices?limit=1000"), ({ items }) => items)

/** A control of the built-in simulator. */
const disturb = (simulator: string, path: string, body: object) =>
  Effect.promise(() => fetch(`${simulator}/__sim/${path}`, { method: "POST", body: JSON.stringify(body) }))

const take = (page: Page, name: string) =>
  Effect.promise(() => page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled" }))

const settle = (page: Page, hash: string, sign: string) =>
  Effect.promise(async () => {
    await page.evaluate((to) => {
      location.hash = to
    }, hash)
    await page.locator(sign).first().waitFor()
    await page.waitForFunction(() => document.querySelector(".skeleton") === null)
  })

/** So that its page has an example of everything. */
const fillDevice = Effect.fnUntraced(function*(columba: ColumbaProcess.ColumbaProcess, device: string) {
  yield* Effect.promise(() =>
    fetch(`${columba.url}/api/v1/devices/${device}`, {
      method: "PATCH",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ pacing: "20/min, jitter 2s, 500/day, ramp 14d, quiet 21:00-07:00 Asia/Jakarta" })
    })
  )
  const to = "6281298765432"
  yield* columba.post("/api/v1/schedules", {
    device,
    message: { to, text: "We open at nine." },
    cron: "30 8 * * 1-6",
    zone: "Asia/Jakarta"
  })
  yield* columba.post(`/api/v1/devices/${device}/messages`, { to, text: "Your table is ready." })
})

const program = Effect.gen(function*() {
  fs.mkdirSync(folder, { recursive: true })
  const columba = yield* ColumbaProcess.make({ directory: yield* freshDirectory, env: { COLUMBA_DEMO_DEVICES: "60" } })
  yield* columba.start
  const gateways = yield* columba.get<{ readonly items: ReadonlyArray<{ readonly url: string }> }>("/api/v1/gateways")
  const simulator = (gateways.items[0]?.url ?? "").replace(/^ws/, "http")
  const browser = yield* launch
  const { page } = yield* visit(browser, columba.url, { height: 860 })
  // So that there is content: a rate, some messages, some gaps.
  yield* Effect.sleep("40 seconds")
  const all = yield* devices(columba)
  for (const device of all.slice(3, 5)) yield* disturb(simulator, "logout", { device: device.upstreamId })
  yield* disturb(simulator, "faults", { kind: "drop", devices: all.slice(6, 12).map(({ upstreamId }) => upstreamId) })
  yield* untilSo(
    "the devices that were disturbed show it",
    Effect.promise(() => page.locator(".attention-item").count()),
    (count) => count >= 2
  )
  yield* Effect.sleep("12 seconds")
  yield* settle(page, "#/", ".scroller a")
  yield* take(page, "fleet-light")
  const dark = yield* visit(browser, columba.url, { height: 860, scheme: "dark" })
  yield* settle(dark.page, "#/", ".scroller a")
  const disturbed = all[7]?.id ?? ""
  yield* settle(dark.page, `#/devices/${disturbed}`, ".tail li")
  yield* Effect.sleep("2 seconds")
  yield* take(dark.page, "device-dark")
  yield* fillDevice(columba, all[1]?.id ?? "")
  yield* settle(page, `#/devices/${all[1]?.id ?? ""}`, ".area-schedules .entry")
  yield* Effect.promise(() => page.locator(".area-send").evaluate((place) => place.scrollIntoView({ block: "center" })))
  yield* Effect.sleep("2 seconds")
  yield* take(page, "device-messages")
  const phone = yield* visit(browser, columba.url, { width: 390, height: 844 })
  yield* settle(phone.page, "#/", ".attention-item")
  yield* Effect.sleep("2 seconds")
  yield* take(phone.page, "fleet-phone")
  yield* settle(page, `#/devices/${all[3]?.id ?? ""}/login`, ".qr")
  yield* Effect.sleep("2 seconds")
  yield* take(page, "login")
})

await Effect.runPromise(Effect.scoped(program))
