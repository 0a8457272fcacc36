/** Tasks of operators in a real browser: dead letters and recurring sends. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { DeviceManager } from "../../../src/services/DeviceManager.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { makeEventId } from "../../../src/services/EventIdentity.ts"
import { MessageInbox } from "../../../src/services/MessageInbox.ts"
import { ScriptedSending } from "../../support/scriptedSending.ts"
import { ask, makeScript, messageDraft, startServer } from "../../support/surface.ts"
import { untilSo } from "../../support/until.ts"
import { launch, visit } from "./support/Browser.ts"

const setUp = Effect.fnUntraced(function*() {
  const script = makeScript()
  Object.assign(script.gateway, { send: new ScriptedSending() })
  const { services, url } = yield* startServer({ script, pages: true })
  const device = yield* Effect.orDie(Context.get(services, DeviceManager).register({ name: "Front desk" }))
  const read = (path: string) => Effect.map(ask(`${url}/api/v1${path}`), ({ body }) => body)
  return { services, url, device, read }
})

describe("the page of dead letters", () => {
  it.live("reports dead letters, shows the reason and content of each, retries one and drops another", () =>
    Effect.gen(function*() {
      const { device, read, services, url } = yield* setUp()
      const inbox = Context.get(services, MessageInbox)
      const ids = [makeEventId(Date.now()), makeEventId(Date.now()), makeEventId(Date.now())] as const
      const drafts = ids.map((id, index) => ({ ...messageDraft(device.id, index + 1), id }))
      yield* Effect.orDie(Context.get(services, EventLog).append(drafts))
      for (const [index, eventId] of ids.entries()) {
        yield* inbox.fail({ handler: "orders", eventId, seq: index + 1 }, {
          message: `no such product ${index + 1}`,
          keep: true,
          decide: () => ({ _tag: "Dead" })
        })
      }
      const { page, problems } = yield* visit(yield* launch, url)
      const entries = page.locator(".entry")
      yield* Effect.promise(async () => {
        await page.getByText("incoming messages could not be handled").waitFor()
        await page.getByRole("link", { name: "Look at them" }).click()
        await page.getByText("no such product 3").waitFor()
        const first = entries.filter({ hasText: "no such product 1" })
        await first.getByRole("button", { name: "Look at it" }).click()
        await first.getByText("6281@s.whatsapp.net · message 1").waitFor()
        await first.getByText("orders, attempt 1: no such product 1").waitFor()
        await first.getByRole("button", { name: "Retry" }).click()
        await page.waitForFunction(() => document.querySelectorAll(".entry").length === 2)
        const drop = entries.filter({ hasText: "no such product 2" }).getByRole("button", { name: "Drop" })
        await drop.click()
        // The first press only asks.
        assert.strictEqual(await drop.textContent(), "Drop it?")
      })
      assert.strictEqual((yield* read("/dead-letters")).total, 2)
      yield* Effect.promise(async () => {
        await entries.filter({ hasText: "no such product 2" }).getByRole("button", { name: "Drop" }).click()
        await page.waitForFunction(() => document.querySelectorAll(".entry").length === 1)
        await page.getByRole("button", { name: "Retry all" }).click()
        await page.getByText("1 are handled again.").waitFor()
        await page.getByText("No dead letters.").waitFor()
        assert.deepStrictEqual(await problems(), [])
      })
      assert.deepStrictEqual((yield* inbox.due(10)).map(({ eventId }) => eventId), [ids[0], ids[2]])
    }))
})

describe("recurring sends and what is due", () => {
  it.live("are added on a device's page, paused, skipped once, cancelled and deleted", () =>
    Effect.gen(function*() {
      const { device, read, url } = yield* setUp()
      const { page, problems } = yield* visit(yield* launch, `${url}/#/devices/${device.id}`)
      const listed = () => read("/schedules").pipe(Effect.map(({ items }) => items))
      yield* Effect.promise(async () => {
        await page.getByText("Add a recurring send").click()
        const form = page.getByRole("form", { name: "Add a recurring send" })
        await form.getByLabel("To").fill("6281298765432")
        await form.getByLabel("Text", { exact: true }).fill("We open at nine.")
        await form.getByLabel("When").fill("30 8 * * *")
        await form.getByLabel("Time zone").fill("Nowhere/Land")
        await form.getByRole("button", { name: "Add the recurring send" }).click()
        await form.getByRole("alert").waitFor()
        await form.getByLabel("Time zone").fill("Asia/Jakarta")
        await form.getByRole("button", { name: "Add the recurring send" }).click()
        await form.getByText("It was added; the first is sent at").waitFor()
        await page.getByRole("list", { name: "Recurring sends" }).getByText("30 8 * * *").waitFor()
        await page.getByRole("list", { name: "Due, the next first" }).getByText("We open at nine.").waitFor()
      })
      const [added] = yield* listed()
      assert.deepInclude(added, { zone: "Asia/Jakarta", cron: "30 8 * * *", deviceId: device.id })

      // The rest is done on the page of all devices.
      yield* Effect.promise(async () => {
        await page.getByRole("link", { name: "Schedules" }).click()
        await page.getByRole("button", { name: "Skip the next: We open at nine." }).click()
        await page.getByRole("list", { name: "Recurring sends" }).getByText("Front desk").waitFor()
      })
      yield* untilSo("the next is left out", read(`/messages/${added.next.messageId}`), ({ status }) =>
        status === "cancelled")
      yield* Effect.promise(async () => {
        await page.getByRole("button", { name: "Pause: We open at nine." }).click()
        await page.getByText("paused", { exact: true }).waitFor()
        await page.getByText("No scheduled messages.").waitFor()
        await page.getByRole("button", { name: "Resume: We open at nine." }).click()
        await page.getByRole("button", { name: "Cancel: We open at nine." }).click()
        await page.getByText("No scheduled messages.").waitFor()
        const remove = page.getByRole("button", { name: "Delete: We open at nine." })
        await remove.click()
        await remove.click()
        await page.getByText("No recurring sends.").waitFor()
        assert.deepStrictEqual(await problems(), [])
      })
      assert.deepStrictEqual(yield* listed(), [])
    }))
})
