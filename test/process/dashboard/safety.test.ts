/** Keys, foreign texts, the content security policy and accessibility, on every page. */
import { assert, describe, it } from "@effect/vitest"
import axe from "axe-core"
import { Context, Effect } from "effect"
import type { Page } from "playwright-core"
import { DeviceId, fleetDevice, GatewayName, UpstreamId } from "../../../src/domain/Ids.ts"
import type { Device } from "../../../src/domain/Device.ts"
import { gapOpened } from "../../../src/services/GapDrafts.ts"
import { DeviceManager } from "../../../src/services/DeviceManager.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { makeEventId } from "../../../src/services/EventIdentity.ts"
import { MessageInbox } from "../../../src/services/MessageInbox.ts"
import { opened } from "../../conformance/gapRepository.ts"
import { ScriptedSending } from "../../support/scriptedSending.ts"
import { ask, makeScript, messageDraft, startServer, stateDraft } from "../../support/surface.ts"
import type { Key } from "../../support/surface.ts"
import { launch, visit } from "./support/Browser.ts"

/** Would run wherever text becomes markup, an attribute, a link or a style. */
const hostile =
  `"'><img src=x onerror="window.owned='img'"><svg onload=window.owned='svg'>javascript:window.owned='url'` +
  `{{7*7}}\u202e</style><script>window.owned='script'</script>`

const failure = { class: "auth", code: hostile, detail: hostile } as const
const until = "2099-01-01T00:00:00.000Z"

/** A server whose users, gateways and correspondents all have hostile texts. */
const makeServer = Effect.fnUntraced(function*(keys: ReadonlyArray<Key> = []) {
  const script = makeScript()
  Object.assign(script.gateway, { send: new ScriptedSending(["text", "image", "document", "reaction", "revoke"]) })
  const { services, url } = yield* startServer({ script, keys, pages: true })
  const manager = Context.get(services, DeviceManager)
  const log = Context.get(services, EventLog)
  const device = yield* manager.register({
    name: hostile.slice(0, 110),
    gateway: GatewayName.make("default"),
    upstreamId: UpstreamId.make("shop")
  })
  const message = messageDraft(device.id, 1, hostile)
  yield* log.append([
    { ...message, data: { ...message.data, chat: hostile, type: hostile, sender: hostile } },
    gapOpened(device.id, { ...opened(), detail: hostile }, 0),
    {
      ...stateDraft(
        device.id,
        "Connecting",
        { _tag: "Quarantined", reason: failure, evidence: [hostile], until },
        hostile
      ),
      data: {
        from: hostile,
        state: { _tag: "Quarantined", reason: failure, evidence: [hostile], until },
        rule: hostile,
        failure,
        jid: hostile,
        phone: hostile,
        memory: { failures: [], releaseRequests: 0 }
      }
    },
    {
      ...stateDraft(device.id, "Quarantined", { _tag: "Inactive" }),
      kind: "frame.rejected",
      data: { reason: "unreadable", detail: hostile, raw: hostile, rawLength: 5 }
    }
  ])
  script.incidents = [{
    gateway: GatewayName.make("default"),
    since: "2026-01-01T00:00:00.000Z",
    reason: hostile,
    nextProbeAt: until,
    waiting: 1
  }]
  const authorization: Record<string, string> = keys[0] === undefined ? {} : { authorization: `Bearer ${keys[0][2]}` }
  const subscription = yield* ask(`${url}/api/v1/subscriptions`, {
    method: "POST",
    headers: authorization,
    json: { url: "http://127.0.0.1:9/hook?x=%22%3E%3Cimg%20src=x%3E", name: hostile.slice(0, 110) }
  })
  const schedule = yield* ask(`${url}/api/v1/schedules`, {
    method: "POST",
    headers: authorization,
    json: { device: device.id, message: { to: "6281298765432", text: hostile }, cron: "30 8 * * *", zone: "UTC" }
  })
  assert.strictEqual(schedule.status, 201, JSON.stringify(schedule.body))
  const key = yield* ask(`${url}/api/v1/keys`, {
    method: "POST",
    headers: authorization,
    json: { name: "shop", scopes: ["read"], devices: [device.id], expiresAt: until }
  })
  if (keys[0]?.[1].includes("admin") === true) assert.strictEqual(key.status, 201, JSON.stringify(key.body))
  yield* log.append([{
    ...stateDraft(fleetDevice, "Quarantined", { _tag: "Inactive" }),
    kind: "audit.changed",
    data: {
      by: hostile,
      operation: hostile,
      subject: `sub_${hostile}`,
      outcome: "unknown",
      fields: ["name", hostile],
      values: { name: hostile, [hostile]: [hostile] }
    }
  }])
  yield* Context.get(services, MessageInbox).fail({ handler: hostile, eventId: makeEventId(0), seq: 1 }, {
    message: hostile,
    keep: true,
    decide: () => ({ _tag: "Dead" })
  })
  return { url, device, subscription: String(subscription.body.id) }
})

type World = Effect.Success<ReturnType<typeof makeServer>>

/** Every page, and an element that shows that it has loaded. */
const pagesOf = ({ device, subscription }: { readonly device: Device; readonly subscription: string }) =>
  [
    ["#/", ".scroller a"],
    ["#/gateways", ".entry"],
    [`#/devices/${device.id}`, ".timeline li"],
    [`#/devices/${device.id}/login`, "h1"],
    ["#/dead", ".panel"],
    ["#/keys", ".panel"],
    ["#/nodes", ".panel"],
    ["#/schedules", ".entry"],
    ["#/subscriptions", ".entry"],
    [`#/subscriptions/${subscription}`, ".facts"],
    ["#/devices/none", "h1"],
    [`#/devices/dev_${"0".repeat(25)}9`, ".narrow [role=alert]"]
  ] as const

const goTo = async (page: Page, hash: string, sign: string): Promise<void> => {
  await page.evaluate((to) => {
    location.hash = to
  }, hash)
  await page.locator(sign).first().waitFor()
  await page.waitForFunction(() => document.querySelector(".skeleton") === null)
}

const violations = async (page: Page): Promise<ReadonlyArray<string>> => {
  await page.evaluate(axe.source)
  const found = await page.evaluate(() => (window as unknown as { axe: typeof axe }).axe.run(document))
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) =>
      `${id}: ${nodes.slice(0, 3).map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(" | ")}`
    )
}

/** Content that appears only on request. */
const unfolding = [/^More: /, /^File$/, /^Change the pacing$/, /^Add a recurring send$/, /^Look at it/, /^Rotate /]

const unfold = async (page: Page): Promise<void> => {
  for (const name of unfolding) {
    const button = page.getByRole("button", { name }).first()
    if ((await button.count()) > 0) await button.click()
  }
  await page.evaluate(() => {
    for (const one of document.querySelectorAll("details")) one.open = true
  })
  await page.waitForFunction(() => document.querySelector(".skeleton") === null)
}

const visitAll = Effect.fnUntraced(function*(world: World, page: Page) {
  for (const [hash, sign] of pagesOf(world)) {
    yield* Effect.promise(() => goTo(page, hash, sign))
    yield* Effect.promise(() => unfold(page))
    assert.strictEqual(yield* Effect.promise(() => page.getByText("could not be drawn").count()), 0, hash)
    const overflow = yield* Effect.promise(() =>
      page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    )
    assert.isAtMost(overflow, 0, `${hash} is wider than the window`)
    assert.deepStrictEqual(yield* Effect.promise(() => violations(page)), [], hash)
    assert.strictEqual(
      yield* Effect.promise(() => page.locator("img[src=x], #app script, #app style").count()),
      0,
      hash
    )
  }
})

describe("every page", () => {
  it.live("shows foreign texts as text, keeps to its policy, and is accessible", () =>
    Effect.gen(function*() {
      const world = yield* makeServer([["root", ["read", "send", "manage", "admin"], "root-key-0123456789"]])
      const browser = yield* launch
      for (const look of [{ scheme: "light" }, { scheme: "dark", width: 390, height: 844 }] as const) {
        const { page, problems } = yield* visit(browser, world.url, look)
        yield* Effect.promise(async () => {
          assert.deepStrictEqual(await violations(page), [], "the sign-in")
          await page.getByLabel("API key").fill("root-key-0123456789")
          await page.getByRole("button", { name: "Sign in" }).click()
          await page.locator(".scroller a").first().waitFor()
        })
        yield* visitAll(world, page)
        yield* Effect.promise(async () => {
          await goTo(page, `#/devices/${world.device.id}`, ".message-body")
          const bodies = await page.locator(".message-body").allTextContents()
          // Its type in addition to its text, and the text of the recurring send.
          assert.deepStrictEqual(bodies.toSorted(), [hostile, `${hostile} ${hostile}`])
          assert.deepStrictEqual(await problems(), [])
        })
      }
    }))
})

const keys: ReadonlyArray<Key> = [
  ["operator", ["read", "send", "manage"], "operator-key-0123456789"],
  ["auditor", ["read"], "auditor-key-0123456789"],
  ["sender", ["send"], "sender-key-0123456789"]
]

/** Buttons and links that look like buttons, outside of the frame. */
const listButtons = (page: Page) =>
  page.locator("main button, main a.button").evaluateAll((found) =>
    found.map((one) => one.getAttribute("aria-label") ?? one.textContent ?? "")
  )

/** Buttons that change nothing. */
const harmless = /^(Clear|Fewer|\d+ more|Show them in the list|1 h|24 h|7 d|30 d|\D+\d+)$/

describe("the sign-in", () => {
  it.live("accepts a key that may read, does not show it, and shows no button that would fail", () =>
    Effect.gen(function*() {
      const world = yield* makeServer(keys)
      const browser = yield* launch
      const { context, page, problems } = yield* visit(browser, world.url)
      const addresses: Array<string> = []
      page.on("request", (request) => addresses.push(request.url()))
      page.on("websocket", (socket) => addresses.push(socket.url()))
      const signIn = async (key: string) => {
        await page.getByLabel("API key").fill(key)
        await page.getByRole("button", { name: "Sign in" }).click()
      }
      yield* Effect.promise(async () => {
        await signIn("nobody's key")
        await page.getByText("This server does not know this key.").waitFor()
        await signIn("sender-key-0123456789")
        await page.getByText("This key may not read").waitFor()
        await signIn("auditor-key-0123456789")
        await page.getByText("1 of 1").waitFor()
      })
      for (const [hash, sign] of pagesOf(world)) {
        yield* Effect.promise(() => goTo(page, hash, sign))
        const buttons = yield* Effect.promise(() => listButtons(page))
        assert.deepStrictEqual(buttons.filter((name) => !harmless.test(name)), [], hash)
        assert.strictEqual(yield* Effect.promise(() => page.locator("main form").count()), 0, hash)
      }
      const kept = yield* Effect.promise(async () => [
        ...addresses,
        page.url(),
        await page.evaluate(() =>
          JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, history.state])
        ),
        JSON.stringify(await context.cookies())
      ])
      assert.deepStrictEqual(kept.filter((text) => text.includes("auditor-key")), [])
      yield* Effect.promise(async () => {
        await page.getByRole("button", { name: "Sign out" }).click()
        await page.getByLabel("API key").waitFor()
        await signIn("operator-key-0123456789")
        await goTo(page, "#/", ".scroller a")
        await goTo(page, `#/devices/${world.device.id}`, ".timeline li")
        const buttons = await listButtons(page)
        for (const name of ["Release", "Reconnect", "Rename", "Send"]) assert.include(buttons, name)
        assert.deepStrictEqual(await problems(), [])
      })
    }))

  it.live("offers a key of some devices nothing that concerns the fleet", () =>
    Effect.gen(function*() {
      const mine = DeviceId.make(`dev_${"0".repeat(25)}1`)
      const { url } = yield* startServer({ pages: true, keys: [["mine", ["read", "manage"], "my-key", [mine]]] })
      const { page, problems } = yield* visit(yield* launch, url)
      yield* Effect.promise(async () => {
        await page.getByLabel("API key").fill("my-key")
        await page.getByRole("button", { name: "Sign in" }).click()
        await page.getByText("This key sees no devices.").waitFor()
        assert.strictEqual(await page.getByRole("link", { name: "Gateways" }).count(), 0)
        assert.strictEqual(await page.locator("main form").count(), 0)
        assert.deepStrictEqual(await problems(), [])
      })
    }))
})
