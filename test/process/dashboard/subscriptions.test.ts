/** Subscriptions in a real browser, with the built program and an endpoint that refuses for a while. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { freshDirectory } from "../../support/directory.ts"
import * as WebhookReceiver from "../../support/webhookReceiver.ts"
import * as ColumbaProcess from "../support/ColumbaProcess.ts"
import { launch, visit } from "./support/Browser.ts"

describe("the pages of subscriptions", () => {
  it.live("add one, show that its endpoint refuses, deliver again from a position, pause and remove it", () =>
    Effect.gen(function*() {
      const receiver = yield* WebhookReceiver.start
      receiver.status = 500
      const columba = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: { COLUMBA_DEMO_DEVICES: "12", COLUMBA_WEBHOOK_ALLOW_PRIVATE: "true" }
      })
      yield* columba.start
      const { page, problems } = yield* visit(yield* launch, `${columba.url}/#/subscriptions`)
      yield* Effect.promise(async () => {
        const form = page.getByRole("region", { name: "Add a subscription" })
        await form.getByLabel("URL").fill(receiver.url)
        await form.getByLabel("Name").fill("Orders")
        await form.getByLabel("Kinds of events").fill("device.state")
        await form.getByLabel("It begins").selectOption("beginning")
        await form.getByRole("button", { name: "Add the subscription" }).click()
        const secret = form.locator("code.secret")
        assert.match((await secret.textContent()) ?? "", /^whsec_/)
        await form.getByRole("button", { name: "I have kept it" }).click()
        assert.strictEqual(await secret.count(), 0)
        await page.locator(".entry", { hasText: "Orders" }).getByText("failing since").waitFor()
        // The first page says so too.
        await page.getByRole("link", { name: "Fleet", exact: true }).click()
        const item = page.locator(".attention-item", { hasText: "Orders" })
        await item.getByText("takes nothing").waitFor()
        await item.getByRole("link", { name: "Orders" }).click()
        await page.locator("tbody tr", { hasText: "500" }).first().waitFor()
      })
      receiver.status = 200
      yield* Effect.promise(() => page.getByRole("button", { name: "Try now" }).click())
      const ids = (): ReadonlyArray<string> => receiver.received.map(({ headers }) => headers["webhook-id"] ?? "")
      const first = (): string | undefined => ids()[0]
      yield* receiver.until((received) => received.length > 1)
      yield* Effect.promise(async () => {
        await page.locator("tbody tr", { hasText: "delivered" }).first().waitFor()
        await page.getByText("active", { exact: true }).waitFor()
        await page.getByRole("button", { name: "Send a test" }).click()
        await page.getByText("The test was delivered (200)").waitFor()
      })
      const before = ids().filter((id) => id === first()).length
      yield* Effect.promise(async () => {
        await page.getByLabel("Replay everything after").fill("0")
        await page.getByRole("button", { name: "Replay" }).click()
      })
      yield* receiver.until(() => ids().filter((id) => id === first()).length > before)
      yield* Effect.promise(async () => {
        await page.getByRole("button", { name: "Pause" }).click()
        await page.getByText("paused", { exact: true }).waitFor()
        await page.getByRole("button", { name: "Resume" }).click()
        await page.getByText("active", { exact: true }).waitFor()
        const remove = page.getByRole("button", { name: "Remove" })
        await remove.click()
        await page.getByRole("button", { name: "Remove it?" }).click()
        await page.getByText("No subscriptions. A subscription posts events").waitFor()
        assert.deepStrictEqual(await problems(), [])
      })
      const { items } = yield* columba.get<{ readonly items: ReadonlyArray<unknown> }>("/api/v1/subscriptions")
      assert.deepStrictEqual(items, [])
    }))
})
