import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ask, startServer } from "../support/surface.ts"

const password = "hunter2-päss"

const setup = Effect.fnUntraced(function*(options: Parameters<typeof startServer>[0] = {}) {
  const { url } = yield* startServer(options)
  const at = `${url}/api/v1/gateways`
  const create = (json: object) =>
    ask(at, { method: "POST", json: { name: "east", dialect: "bridge", url: "http://east:3000/base", ...json } })
  const patch = (json: object, name = "east") => ask(`${at}/${name}`, { method: "PATCH", json })
  const remove = (name = "east") => ask(`${at}/${name}`, { method: "DELETE" })
  return { url, at, create, patch, remove }
})

describe("gateways over HTTP", () => {
  it.live("are added, listed, changed and removed, and no answer contains a secret", () =>
    Effect.gen(function*() {
      const { at, create, patch, remove } = yield* setup()
      const made = yield* create({ user: "columba", password, apiKey: "key-123", webhookSecret: "hook-456" })
      assert.strictEqual(made.status, 201)
      assert.deepInclude(made.body, {
        name: "east",
        url: "http://east:3000/base",
        user: "columba",
        secrets: ["apiKey", "password", "webhookSecret"],
        source: "api",
        active: true
      })
      const listed = yield* ask(at)
      assert.deepStrictEqual(listed.body.items.map(({ name }: { name: string }) => name), ["default", "east"])
      assert.strictEqual(listed.body.next, null)
      const changed = yield* patch({ apiKey: null, url: "ws://east:3000/elsewhere", active: false })
      assert.deepInclude(changed.body, {
        url: "ws://east:3000/elsewhere",
        secrets: ["password", "webhookSecret"],
        active: false
      })
      const shown = yield* ask(`${at}/east`)
      assert.deepStrictEqual(shown.body, changed.body)
      for (const answer of [made, listed, changed, shown]) {
        const text = JSON.stringify(answer.body)
        for (const secret of [password, "key-123", "hook-456", "v1."]) assert.notInclude(text, secret)
      }
      assert.strictEqual((yield* remove()).status, 204)
      assert.strictEqual((yield* ask(`${at}/east`)).body._tag, "GatewayNotFound")
    }))

  it.live("keep stored secrets for their server: another server gets only secrets that come with its URL", () =>
    Effect.gen(function*() {
      const { at, create, patch } = yield* setup()
      yield* create({ user: "columba", password, apiKey: "key-123", webhookSecret: "hook-456" })
      const before = (yield* ask(`${at}/east`)).body
      for (const url of ["http://elsewhere:3000/base", "http://east:3001/base", "https://east:3000/base"]) {
        for (const json of [{ url }, { url, password: "new" }, { url, user: null, apiKey: null }]) {
          const refused = yield* patch(json)
          assert.deepStrictEqual(
            [refused.status, refused.body._tag],
            [422, "GatewaySecretsNeeded"],
            JSON.stringify(json)
          )
        }
      }
      const refused = (yield* patch({ url: "http://elsewhere", apiKey: null })).body
      assert.deepStrictEqual(refused.secrets, ["password"])
      assert.include(refused.message, "password")
      assert.deepStrictEqual((yield* ask(`${at}/east`)).body, before)

      const moved = yield* patch({ url: "https://columba:new@elsewhere", apiKey: null })
      assert.deepInclude(moved.body, { url: "https://elsewhere", secrets: ["password", "webhookSecret"] })
    }))

  it.live("turn credentials in the URL into user and password", () =>
    Effect.gen(function*() {
      const { create } = yield* setup()
      const { body } = yield* create({ url: `https://columba:${encodeURIComponent(password)}@east/` })
      assert.deepInclude(body, { url: "https://east", user: "columba", secrets: ["password"] })
      assert.notInclude(JSON.stringify(body), "hunter2")
    }))

  it.live.each<readonly [object, number, string]>([
    [{ name: "East" }, 400, "name"],
    [{ url: "ftp://east" }, 422, "GatewayUrlInvalid"],
    [{ url: "http://u:topsecret@east/?token=1" }, 422, "GatewayUrlInvalid"],
    [{ url: "http://east/#x" }, 422, "GatewayUrlInvalid"],
    [{ url: "http://u%00:topsecret@east" }, 422, "GatewayUrlInvalid"],
    [{ url: "http://u%3Au:topsecret@east" }, 422, "GatewayUrlInvalid"],
    [{ url: `http://${"u".repeat(257)}:topsecret@east` }, 422, "GatewayUrlInvalid"],
    [{ user: "u:u" }, 400, "user"],
    [{ url: "east:3000" }, 422, "GatewayUrlInvalid"],
    [{ dialect: "gowa" }, 422, "DialectUnsupported"],
    [{ dialect: "gowa" }, 422, "it supports: bridge"],
    [{ dialect: "smoke" }, 400, "dialect"],
    [{ name: "default" }, 409, "GatewayNameTaken"]
  ])("refuses %o with %i and states the reason", ([change, status, word]) =>
    Effect.gen(function*() {
      const { create } = yield* setup()
      const refused = yield* create(change)
      assert.strictEqual(refused.status, status)
      assert.include(JSON.stringify(refused.body), word)
      assert.notInclude(JSON.stringify(refused.body), "topsecret")
    }))

  it.live("with secrets are refused without a key to seal them, and others are accepted", () =>
    Effect.gen(function*() {
      const { create, patch } = yield* setup({ secretKeys: [] })
      const refused = yield* create({ password })
      assert.deepStrictEqual([refused.status, refused.body._tag], [422, "SecretKeyMissing"])
      assert.include(refused.body.message, "COLUMBA_SECRET_KEY")
      assert.strictEqual((yield* create({ user: "columba" })).status, 201)
      assert.strictEqual((yield* patch({ password })).body._tag, "SecretKeyMissing")
    }))

  it.live("are not removed while an active device uses them; a device names its gateway and gets its slot there", () =>
    Effect.gen(function*() {
      const { create, patch, remove, url } = yield* setup()
      yield* create({})
      const devices = `${url}/api/v1/devices`
      const device = yield* ask(devices, { method: "POST", json: { name: "kasir", gateway: "east" } })
      assert.strictEqual(device.body.gateway, "east")
      const refused = yield* remove()
      assert.deepStrictEqual([refused.status, refused.body._tag, refused.body.devices], [409, "GatewayInUse", 1])
      yield* patch({ active: false })
      const unusable = yield* ask(devices, { method: "POST", json: { name: "b", gateway: "east" } })
      assert.deepStrictEqual([unusable.status, unusable.body._tag, unusable.body.reason], [
        409,
        "GatewayUnusable",
        "inactive"
      ])
      yield* ask(`${devices}/${device.body.id}`, { method: "DELETE" })
      assert.strictEqual((yield* remove()).status, 204)
    }))

  it.live("of the environment can be deactivated, and are changed only in the environment", () =>
    Effect.gen(function*() {
      const { patch, remove } = yield* setup()
      const off = yield* patch({ active: false }, "default")
      assert.deepInclude(off.body, { source: "environment", active: false, secrets: [] })
      for (
        const refused of [
          yield* patch({ url: "http://x" }, "default"),
          yield* patch({ password }, "default"),
          yield* remove("default")
        ]
      ) {
        assert.deepStrictEqual([refused.status, refused.body._tag], [409, "GatewayNotEditable"])
        assert.include(refused.body.message, "WHATSAPP_")
      }
    }))
})
