/** One device's page in a real browser: its state and the reason, its transitions, its gaps on a time axis, its events. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { UpstreamId } from "../../../src/domain/Ids.ts"
import { DeviceManager } from "../../../src/services/DeviceManager.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { gapClosed, gapOpened } from "../../../src/services/GapDrafts.ts"
import { closed, opened } from "../../conformance/gapRepository.ts"
import { ask, makeStorage, messageDraft, startServer, stateDraft } from "../../support/surface.ts"
import { untilSo } from "../../support/until.ts"
import { launch, visit } from "./support/Browser.ts"

const hour = 3_600_000
const ago = (millis: number): string => new Date(Date.now() - millis).toISOString()

describe("the page of a device", () => {
  it.live("shows the reason of its state, transitions with their evidence, gaps where they were, and follows events", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer({ storage: yield* makeStorage, pages: true })
      const device = yield* Effect.orDie(
        Context.get(services, DeviceManager).register({ name: "Front desk", upstreamId: UpstreamId.make("desk") })
      )
      const log = Context.get(services, EventLog)
      const proven = opened({ openedAt: ago(12 * hour), cause: "socket-down" })
      const lasting = opened({ openedAt: ago(hour), cause: "logged-out" })
      yield* Effect.orDie(log.append([
        gapOpened(device.id, proven, 0),
        gapClosed(device.id, closed(proven, { endedAt: ago(6 * hour), recovered: 7 }), 0),
        gapOpened(device.id, lasting, 0),
        stateDraft(
          device.id,
          "Connecting",
          {
            _tag: "Quarantined",
            reason: { class: "auth", code: "handshake-refused", detail: "the gateway answered 401" },
            evidence: ["3 failures in a minute"],
            until: "2099-01-01T00:00:00.000Z"
          },
          "budget-spent"
        )
      ]))
      const { page, problems } = yield* visit(yield* launch, `${url}/#/devices/${device.id}`)
      const bar = (status: string) =>
        page.locator(`.axis rect.gap-${status}`).evaluate((one) => {
          const axis = one.closest("svg")!.getBoundingClientRect()
          const { left, right } = one.getBoundingClientRect()
          return [(left - axis.left) / axis.width, (right - axis.left) / axis.width] as const
        })
      const near = (actual: ReadonlyArray<number>, expected: ReadonlyArray<number>) => {
        for (const [index, value] of expected.entries()) assert.closeTo(actual[index] ?? -1, value, 0.02)
      }
      yield* Effect.promise(async () => {
        await page.getByText("It was taken out of service after repeated failures").waitFor()
        const transition = page.locator(".timeline li", { hasText: "budget-spent" })
        await transition.getByText("3 failures in a minute").waitFor()
        await page.getByText("2 in this time").waitFor()
        // Of the day that the axis shows.
        near(await bar("closed"), [0.5, 0.75])
        near(await bar("open"), [23 / 24, 1])
        await page.locator("tr", { hasText: "socket-down" }).getByText("7", { exact: true }).waitFor()
        await page.getByRole("button", { name: "7 d" }).click()
        await page.getByText("7 d ago").waitFor()
        near(await bar("closed"), [1 - 0.5 / 7, 1 - 0.25 / 7])
        await page.getByRole("button", { name: "1 h" }).click()
        await page.getByText("1 in this time").waitFor()
        near(await bar("open"), [0, 1])
        await page.getByRole("button", { name: "Release" }).click()
      })
      yield* untilSo(
        "the release is asked for",
        Context.get(services, DeviceRepository).desired([device.id]),
        ([wanted]) => wanted?.releaseRequests === 1 && wanted.reconnectRequests === 0
      )
      yield* Effect.orDie(log.append([
        stateDraft(device.id, "Quarantined", { _tag: "Online", jid: null, since: ago(0) }, "upstream-connected"),
        messageDraft(device.id, 1, "Are you open?")
      ]))
      yield* Effect.promise(async () => {
        await page.locator(".tail li", { hasText: "Are you open?" }).waitFor()
        await page.locator(".message", { hasText: "Are you open?" }).waitFor()
        await page.locator(".device-title [data-state=Online]").waitFor()
        await page.locator(".timeline li", { hasText: "upstream-connected" }).waitFor()
        await page.getByText("It has been online since").waitFor()
        assert.strictEqual(await page.getByRole("button", { name: "Release" }).count(), 0)
        assert.deepStrictEqual(await problems(), [])
      })
      // A new name and the end of its service, as others see them.
      yield* Effect.promise(async () => {
        await page.getByRole("button", { name: "Rename" }).click()
        await page.getByLabel("Name", { exact: true }).fill("Lobby")
        await page.getByRole("button", { name: "Save", exact: true }).click()
        await page.getByRole("heading", { name: "Lobby" }).waitFor()
        const stop = page.getByRole("button", { name: "Deactivate" })
        await stop.click()
        await page.getByRole("button", { name: "Stop it?" }).click()
        await page.getByRole("button", { name: "Reactivate" }).waitFor()
      })
      const { body } = yield* ask(`${url}/api/v1/devices/${device.id}`)
      assert.deepInclude(body, { name: "Lobby", active: false })
    }))
})
