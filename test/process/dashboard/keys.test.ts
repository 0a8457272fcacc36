/** Keys, the audit trail and nodes, in a real browser. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import type { Page } from "playwright-core"
import type { Device } from "../../../src/domain/Device.ts"
import * as MemoryStorage from "../../../src/layers/memory/MemoryStorage.ts"
import { DeviceManager } from "../../../src/services/DeviceManager.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import type { DeviceOwner } from "../../../src/services/DeviceRepository.ts"
import { NodeRegistry } from "../../../src/services/NodeRegistry.ts"
import type { RegisteredNode } from "../../../src/services/NodeRegistry.ts"
import { ask, startServer } from "../../support/surface.ts"
import { launch, visit } from "./support/Browser.ts"

const root = "root-key-0123456789"
const operator = "operator-key-0123456789"

/** A node's own record in a cluster. */
const reported = (owner: string): RegisteredNode => ({
  owner,
  name: owner.split(" ")[0] ?? "",
  startedAt: "2026-01-01T00:00:00.000Z",
  version: "1.2.3",
  roles: ["api", "devices"],
  weight: 2,
  leaseMillis: 20_000,
  settings: {},
  moves: { taken: 200, given: 50, recent: [{ at: Date.now(), direction: "taken", reason: "joined", shards: 25 }] },
  seenAt: "2026-01-01T00:00:00.000Z",
  alive: true,
  shards: 150,
  leaseAgeMillis: 1000
})

/** Storage whose devices belong to processes as the test says; the first of them says of itself that it is in a cluster. */
const ownedBy = (owners: () => ReadonlyArray<DeviceOwner>) =>
  Layer.effect(
    DeviceRepository,
    Effect.map(DeviceRepository, (repository) => ({ ...repository, owners: Effect.sync(owners) }))
  ).pipe(
    Layer.provideMerge(MemoryStorage.layerMemory),
    Layer.merge(Layer.succeed(NodeRegistry, {
      report: () => Effect.void,
      leave: () => Effect.void,
      list: Effect.sync(() => owners().slice(0, 1).map(({ owner }) => reported(owner)))
    }))
  )

const setUp = Effect.fnUntraced(function*(path = "", owners: () => ReadonlyArray<DeviceOwner> = () => []) {
  const { services, url } = yield* startServer({
    storage: ownedBy(owners),
    pages: true,
    keys: [["root", ["read", "send", "manage", "admin"], root], ["operator", ["read", "send", "manage"], operator]]
  })
  const manager = Context.get(services, DeviceManager)
  const devices = yield* Effect.orDie(
    Effect.forEach(["Front desk", "Warehouse", "Depot"], (name) => manager.register({ name }))
  )
  const visited = yield* visit(yield* launch, `${url}/${path}`)
  const call = (key: string, path: string, init: Parameters<typeof ask>[1] = {}) =>
    ask(`${url}/api/v1${path}`, { ...init, headers: { authorization: `Bearer ${key}` } })
  return { ...visited, services, url, devices: devices as [Device, Device, Device], call }
})

const signIn = async (page: Page, key: string): Promise<void> => {
  await page.getByLabel("API key").fill(key)
  await page.getByRole("button", { name: "Sign in" }).click()
  await page.getByRole("button", { name: "Sign out" }).waitFor()
}

const panel = (page: Page, name: string) => page.getByRole("region", { name, exact: true })

/** The key that is shown once. */
const readSecret = async (page: Page): Promise<string> => (await page.locator("code.secret").textContent()) ?? ""

describe("the page of keys", () => {
  it.live("creates a key that is shown once, rotates it with and without overlap, revokes it, and shows who did so", () =>
    Effect.gen(function*() {
      const { call, context, devices: [desk], page, problems } = yield* setUp()
      const statusOf = (key: string) => Effect.map(call(key, "/server/caller"), ({ status }) => status)
      const entry = page.locator(".entry", { hasText: "shop" })
      const made = yield* Effect.promise(async () => {
        await context.grantPermissions(["clipboard-read", "clipboard-write"])
        await signIn(page, root)
        await page.getByRole("link", { name: "Keys", exact: true }).click()
        await page.getByText("Only keys of the environment").waitFor()
        const form = panel(page, "Add a key")
        await form.getByLabel("Name").fill("a shop")
        await form.getByLabel("send").check()
        await form.getByLabel("It is accepted").selectOption("30")
        await form.getByText("Limits").click()
        await form.getByLabel("Only these devices").fill("Nobody's desk")
        const add = form.getByRole("button", { name: "Add the key" })
        await add.click()
        await form.getByText("No device 'Nobody's desk'.").waitFor()
        await form.getByLabel("Only these devices").fill(`Front desk\n${desk.id}`)
        await form.getByLabel("Requests per second").selectOption("50")
        await add.click()
        await form.getByText("Expected 1-64 characters").waitFor()
        await form.getByLabel("Name").fill("shop")
        await add.click()
        await page.getByText("This is the key of shop. It is shown only once.").waitFor()
        const key = await readSecret(page)
        await page.getByRole("button", { name: "Copy" }).click()
        await page.getByRole("button", { name: "Copied" }).waitFor()
        assert.strictEqual(await page.evaluate(() => navigator.clipboard.readText()), key)
        await page.getByRole("button", { name: "I have kept it" }).click()
        await entry.getByText("read, send · only Front desk · 50 requests per second").waitFor()
        await entry.getByText(/^expires in (29|30) d$/).waitFor()
        assert.notInclude(await page.content(), key)
        return key
      })
      assert.match(made, /^columba_[0-9A-Z]{26}_[0-9a-f]{64}$/)
      assert.deepStrictEqual((yield* call(made, "/server/caller")).body, {
        name: "shop",
        scopes: ["read", "send"],
        devices: [desk.id]
      })

      const rotate = (overlap: string) =>
        Effect.promise(async () => {
          await entry.getByRole("button", { name: "Rotate shop" }).click()
          await entry.getByLabel("The old key is valid").selectOption(overlap)
          await entry.getByRole("button", { name: "Create the new key" }).click()
          await page.locator("code.secret").waitFor()
          const key = await readSecret(page)
          await page.getByRole("button", { name: "I have kept it" }).click()
          return key
        })
      const second = yield* rotate("for an hour")
      yield* Effect.promise(() => entry.getByText("The old key is valid too; that ends").waitFor())
      assert.deepStrictEqual(yield* Effect.forEach([made, second], statusOf), [200, 200])
      const third = yield* rotate("not any more")
      assert.deepStrictEqual(yield* Effect.forEach([made, second, third], statusOf), [401, 401, 200])

      yield* Effect.promise(async () => {
        await entry.getByRole("button", { name: "Revoke shop" }).click()
        // The first press only asks.
        await entry.getByText("Revoke it?").waitFor()
      })
      assert.strictEqual(yield* statusOf(third), 200)
      yield* Effect.promise(async () => {
        await entry.getByRole("button", { name: "Revoke shop" }).click()
        await page.getByText("Only keys of the environment").waitFor()
      })
      assert.strictEqual(yield* statusOf(third), 401)

      // Changes by others appear by themselves.
      yield* call(operator, `/devices/${desk.id}`, { method: "PATCH", json: { name: "Lobby" } })
      yield* Effect.promise(async () => {
        const changes = panel(page, "Who has changed what").locator("tbody tr")
        await changes.filter({ hasText: "Devices.Edit" }).getByText("Lobby").waitFor()
        const rows = await changes.evaluateAll((found) =>
          found.map((row) => [...row.querySelectorAll("td")].slice(1).map((cell) => cell.textContent ?? ""))
        )
        const [edited, revoked, , , created] = rows
        assert.deepStrictEqual(edited, ["operator", "Devices.Edit", "Lobby", "name"])
        assert.deepStrictEqual(rows.map(([by, what]) => `${by} ${what}`), [
          "operator Devices.Edit",
          "root Keys.Revoke",
          "root Keys.Rotate",
          "root Keys.Rotate",
          "root Keys.Create"
        ])
        assert.match(revoked?.[2] ?? "", /^key_/)
        assert.include(created?.[3], `name: shop · scopes: read, send · devices: ${desk.id}`)
        assert.strictEqual(
          await changes.first().getByRole("link").getAttribute("href"),
          `#/devices/${desk.id}`
        )
        for (const key of [made, second, third]) assert.notInclude(await page.content(), key.slice(-64))
        assert.deepStrictEqual(await problems(), [])
      })
    }))

  it.live("continues with the new key if a page rotates its own, and asks for one once it is revoked", () =>
    Effect.gen(function*() {
      const { call, page, problems } = yield* setUp()
      const { body } = yield* call(root, "/keys", { method: "POST", json: { name: "me", scopes: ["read", "admin"] } })
      const own = page.locator(".entry", { hasText: "this page's key" })
      const key = yield* Effect.promise(async () => {
        await signIn(page, String(body.key))
        await page.getByRole("link", { name: "Keys", exact: true }).click()
        await own.getByRole("button", { name: "Rotate me" }).click()
        // It cannot give a scope that it does not have.
        assert.deepStrictEqual(await page.locator(".checks label").evaluateAll((all) => all.length), 2)
        await own.getByLabel("The old key is valid").selectOption("not any more")
        await own.getByRole("button", { name: "Create the new key" }).click()
        await page.locator("code.secret").waitFor()
        return await readSecret(page)
      })
      assert.strictEqual((yield* call(String(body.key), "/server/caller")).status, 401)
      assert.strictEqual((yield* call(key, "/server/caller")).status, 200)
      // Created by somebody else meanwhile: the page reads on, and still shows the key.
      yield* call(root, "/keys", { method: "POST", json: { name: "other", scopes: ["read"] } })
      yield* Effect.promise(async () => {
        await page.getByRole("button", { name: "Revoke other" }).waitFor()
        assert.strictEqual(await readSecret(page), key)
      })
      yield* call(root, `/keys/${body.id}`, { method: "DELETE" })
      yield* Effect.promise(async () => {
        await page.getByText("The server no longer accepts this key.").waitFor()
        await signIn(page, root)
        await page.getByRole("button", { name: "Revoke other" }).waitFor()
        assert.deepStrictEqual(await problems(), [])
      })
    }))

  it.live("is available only to keys with the scope admin", () =>
    Effect.gen(function*() {
      const { page, problems } = yield* setUp("#/keys")
      yield* Effect.promise(async () => {
        await signIn(page, operator)
        await page.getByText("This page needs a key with the scope admin").waitFor()
        assert.strictEqual(await page.getByRole("link", { name: "Keys", exact: true }).count(), 0)
        assert.strictEqual(await page.locator("main form, main button").count(), 0)
        assert.deepStrictEqual(await problems(), [])
      })
    }))
})

describe("the page of nodes", () => {
  it.live("lists those of a cluster with their devices, and the first page shows which has ended", () =>
    Effect.gen(function*() {
      const started = "2026-01-01T00:00:00.000Z"
      const owner = (host: string, devices: number, alive = true): DeviceOwner => ({
        owner: `${host} ${started}`,
        aliveAt: started,
        alive,
        devices
      })
      let owners = [owner("10.0.0.11:7800", 2), owner("10.0.0.12:7800", 1)]
      const { page, problems } = yield* setUp("", () => owners)
      const entry = (name: string) => page.locator(".entry", { hasText: name })
      yield* Effect.promise(async () => {
        await signIn(page, root)
        await page.getByRole("link", { name: "Nodes", exact: true }).click()
        await entry("10.0.0.11:7800").getByText("2 devices").waitFor()
        await entry("10.0.0.12:7800").getByText("1 devices").waitFor()
        assert.deepStrictEqual(await page.locator(".entry-state").allTextContents(), ["runs", "runs"])
        await entry("10.0.0.11:7800").getByText("150 shards · weight 2 · api, devices · version 1.2.3").waitFor()
        await entry("10.0.0.11:7800").getByText("25 taken (joined)").waitFor()
        assert.strictEqual(await entry("10.0.0.12:7800").getByText("shards").count(), 0)
      })
      owners = [owner("10.0.0.11:7800", 2), owner("10.0.0.12:7800", 1, false)]
      yield* Effect.promise(async () => {
        await entry("10.0.0.12:7800").getByText("has ended, or cannot write").waitFor()
        await page.getByRole("link", { name: "Fleet", exact: true }).click()
        const item = page.locator(".attention-item", { hasText: "10.0.0.12:7800" })
        await item.getByText("1 devices wait for another node").waitFor()
        await item.getByRole("link", { name: "Nodes" }).click()
        await page.getByRole("heading", { name: "Nodes" }).waitFor()
      })
      // Another node has taken over.
      owners = [owner("10.0.0.11:7800", 3)]
      yield* Effect.promise(async () => {
        await entry("10.0.0.11:7800").getByText("3 devices").waitFor()
        await entry("10.0.0.12:7800").waitFor({ state: "detached" })
        assert.deepStrictEqual(await problems(), [])
      })
    }))
})
