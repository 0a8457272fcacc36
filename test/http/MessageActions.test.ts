/** Actions on messages over the API: passed to each gateway, logged once, and refused where they are impossible. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import type { GatewayDialect } from "../../src/domain/Gateway.ts"
import { GatewayUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import * as SimulatedGateway from "../../src/simulator/SimulatedGateway.ts"
import * as RealGateway from "../support/realGateway.ts"
import { ScriptedSending } from "../support/scriptedSending.ts"
import { freePort } from "../support/servers/ServerHome.ts"
import { ask, type Key, makeScript, messageDraft, startServer } from "../support/surface.ts"
import type { Json } from "../support/surface.ts"
import { untilSo } from "../support/until.ts"

const to = "6281298765432"

/** The whole server with its fleet, over a simulated gateway. */
const begin = Effect.fnUntraced(function*(dialect: GatewayDialect) {
  const simulator = yield* Effect.orDie(SimulatedGateway.start({ dialect, devices: 1 }))
  const server = yield* RealGateway.start({ dialect, url: simulator.url, user: null, secrets: {} }, {
    port: yield* freePort
  })
  const id = yield* server.register("sim-1")
  yield* server.become(id, "Online")
  const api = (path: string, json?: Json) =>
    ask(`${server.url}/api/v1${path}`, { method: "POST", ...(json === undefined ? {} : { json }) })
  const sent = (message: Json): Effect.Effect<Json> =>
    untilSo(
      `the ${message.type} is sent`,
      Effect.map(ask(`${server.url}/api/v1/messages/${message.id}`), ({ body }): Json => body),
      ({ status }) => status === "sent" || status === "delivered",
      "20 seconds"
    )
  const done = () =>
    simulator.core.ledger.entries().flatMap(({ event, sent, target }) =>
      sent === undefined || event === "message" ? [] : [[event, target, sent.text]]
    )
  return { ...simulator, server, id, api, sent, done }
})

/** The HTTP surface with a scripted gateway, a message from somebody and one of a group. */
const setup = Effect.fnUntraced(
  function*(options: { readonly keys?: ReadonlyArray<Key>; readonly sends?: boolean } = {}) {
    const script = makeScript()
    const sending = new ScriptedSending(options.sends === false ? ["text"] : ["text", "reaction", "edit", "revoke"])
    Object.assign(script.gateway, { send: sending })
    const server = yield* startServer({ script, ...(options.keys === undefined ? {} : { keys: options.keys }) })
    const manager = yield* Effect.provideContext(DeviceManager, server.services)
    const log = yield* Effect.provideContext(EventLog, server.services)
    const device = (yield* Effect.orDie(manager.register({ name: "desk" }))).id
    const draft = messageDraft(device, 1)
    yield* Effect.orDie(log.append([draft]))
    const post = (path: string, json?: Json, headers: Record<string, string> = {}) =>
      ask(`${server.url}/api/v1${path}`, { method: "POST", headers, ...(json === undefined ? {} : { json }) })
    return { script, sending, server, manager, device, post, received: draft.data.messageId }
  }
)

describe("actions on messages", () => {
  it.live.each(["bridge", "gowa", "waha"] as const)(
    "are sent like a message and logged once, through %s",
    (dialect) =>
      Effect.gen(function*() {
        const { api, done, id, sent, server } = yield* begin(dialect)
        const { waId, id: message } = yield* sent(
          (yield* api(`/devices/${id}/messages`, { to, text: "until six" })).body
        )
        const all: ReadonlyArray<readonly [path: string, json: Json, type: string, body: string | null]> = [
          ["reaction", { emoji: "👍" }, "reaction", "👍"],
          ["reaction", { emoji: "" }, "reaction", ""],
          ["edit", { text: "until seven" }, "edit", "until seven"],
          ["revoke", undefined, "revoke", null]
        ]
        for (const [path, json, type, body] of all) {
          const answer = yield* api(`/messages/${message}/${path}`, json)
          assert.deepStrictEqual([answer.status, answer.body.type, answer.body.body, answer.body.sending.target], [
            202,
            type,
            body,
            message
          ], path)
          yield* sent(answer.body)
        }
        const own = yield* api(`/messages/${message}/read`)
        assert.deepStrictEqual([own.status, own.body._tag], [400, "ContentInvalid"], "nobody marks what is their own")
        assert.deepStrictEqual(done(), [
          ["message.reaction", waId, "👍"],
          ["message.reaction", waId, ""],
          ["message.edited", waId, "until seven"],
          ["message.revoked", waId, ""]
        ])
        const events = yield* untilSo(
          "the log tells of all",
          Effect.map(server.logged, (logged) =>
            logged.filter(({ data, kind }) => kind !== "message.sent" && data.targetWaId === waId)),
          ({ length }) =>
            length >= 4
        )
        assert.deepStrictEqual(
          events.map(({ data, kind }) => [kind, data.body, data.fromMe]),
          [
            ["message.reaction", "👍", true],
            ["message.reaction", "", true],
            ["message.edited", "until seven", true],
            // WAHA does not always name who revoked.
            ["message.revoked", null, events.at(-1)!.data.fromMe]
          ]
        )
      })
  )

  it.live("cannot be the target of another action", () =>
    Effect.gen(function*() {
      const { api, id, sent } = yield* begin("bridge")
      const { id: message } = yield* sent((yield* api(`/devices/${id}/messages`, { to, text: "hello" })).body)
      const reaction = yield* sent((yield* api(`/messages/${message}/reaction`, { emoji: "👍" })).body)
      for (const [path, json] of [["reaction", { emoji: "👎" }], ["revoke", undefined], ["read", undefined]] as const) {
        const { body, status } = yield* api(`/messages/${reaction.id}/${path}`, json)
        assert.deepStrictEqual([status, body._tag], [400, "ContentInvalid"], path)
      }
    }))

  it.live("are the same for one key, and another emoji is another request", () =>
    Effect.gen(function*() {
      const { post, received } = yield* setup()
      const headers = { "idempotency-key": "r1" }
      const first = yield* post(`/messages/${received}/reaction`, { emoji: "👍" }, headers)
      assert.strictEqual(first.status, 202)
      assert.deepStrictEqual((yield* post(`/messages/${received}/reaction`, { emoji: "👍" }, headers)).body, first.body)
      const other = yield* post(`/messages/${received}/reaction`, { emoji: "👎" }, headers)
      assert.strictEqual(other.body._tag, "IdempotencyKeyReused")
    }))

  it.live("are refused with a reason if impossible, and nothing is stored", () =>
    Effect.gen(function*() {
      const { device, post, received, server } = yield* setup()
      const waiting = (yield* post(`/devices/${device}/messages`, { to, text: "not sent" })).body.id
      const reaction = (yield* post(`/messages/${received}/reaction`, { emoji: "👍" })).body.id
      const before = (yield* ask(`${server.url}/api/v1/messages`)).body.items.length
      const nobody = `msg_${"0".repeat(26)}`
      const wrong: ReadonlyArray<readonly [path: string, json: Json, status: number, tag: string]> = [
        [`${received}/reaction`, { emoji: "yes" }, 400, "RequestInvalid"],
        [`${received}/reaction`, { emoji: "👍👍" }, 400, "RequestInvalid"],
        [`${received}/reaction`, {}, 400, "RequestInvalid"],
        [`${nobody}/reaction`, { emoji: "👍" }, 404, "MessageNotFound"],
        [`${waiting}/reaction`, { emoji: "👍" }, 400, "ContentInvalid"],
        [`${reaction}/reaction`, { emoji: "👍" }, 400, "ContentInvalid"],
        [`${received}/edit`, { text: "mine now" }, 400, "ContentInvalid"],
        [`${received}/edit`, { text: "" }, 400, "RequestInvalid"],
        [`${received}/revoke`, undefined, 400, "ContentInvalid"],
        [`${waiting}/read`, undefined, 400, "ContentInvalid"],
        [`${nobody}/read`, undefined, 404, "MessageNotFound"]
      ]
      for (const [path, json, status, tag] of wrong) {
        const answer = yield* post(`/messages/${path}`, json)
        assert.deepStrictEqual([answer.status, answer.body._tag], [status, tag], path)
      }
      for (const emoji of ["❤️", "❤", "👍🏽", "👨‍👩‍👧", "🇮🇩", "1️⃣", ""]) {
        assert.strictEqual((yield* post(`/messages/${received}/reaction`, { emoji })).status, 202, emoji)
      }
      assert.strictEqual((yield* ask(`${server.url}/api/v1/messages`)).body.items.length, before + 7)
    }))

  it.live("are refused before anything is stored if the gateway does not support them", () =>
    Effect.gen(function*() {
      const { device, post, received } = yield* setup({ sends: false })
      for (const [path, json] of [["reaction", { emoji: "👍" }], ["read", undefined]] as const) {
        const { body, status } = yield* post(`/messages/${received}/${path}`, json)
        assert.deepStrictEqual([status, body._tag], [422, "ContentUnsupported"], path)
      }
      const typing = yield* post(`/devices/${device}/chats/${to}@s.whatsapp.net/typing`, { active: true })
      assert.strictEqual(typing.body._tag, "ContentUnsupported")
    }))

  it.live("mark a message as read and show typing at once, or return the reason why not", () =>
    Effect.gen(function*() {
      const { device, post, received, sending } = yield* setup()
      const chat = "6281298765432@s.whatsapp.net"
      const told: Array<unknown> = []
      let away = false
      const answer = (what: ReadonlyArray<unknown>) =>
        Effect.suspend(() =>
          away
            ? Effect.fail(GatewayUnavailable.of("default", "answer", "no answer"))
            : Effect.sync(() => void told.push(what))
        )
      Object.assign(sending, {
        read: (_: unknown, of: string, { waId }: { readonly waId: string }) => answer(["read", of, waId]),
        typing: (_: unknown, of: string, active: boolean) => answer(["typing", of, active])
      })
      assert.strictEqual((yield* post(`/messages/${received}/read`)).status, 204)
      const typing = (active: boolean) => post(`/devices/${device}/chats/${chat}/typing`, { active })
      assert.deepStrictEqual([(yield* typing(true)).status, (yield* typing(false)).status], [204, 204])
      assert.deepStrictEqual(told, [["read", "6281@s.whatsapp.net", "WA1"], ["typing", chat, true], [
        "typing",
        chat,
        false
      ]])
      away = true
      const refused = yield* post(`/messages/${received}/read`)
      assert.deepStrictEqual([refused.status, refused.body._tag], [502, "GatewayUnavailable"])
      assert.strictEqual((yield* typing(true)).body._tag, "GatewayUnavailable")
      const status = yield* post(`/devices/${device}/chats/status@broadcast/typing`, { active: true })
      assert.strictEqual(status.body._tag, "RecipientInvalid")
    }))

  it.live("need a key with the scope send, and concern only messages of its devices; over RPC as well", () =>
    Effect.gen(function*() {
      const limited = `dev_${"Z".repeat(26)}` as DeviceId
      const { device, post, received, server } = yield* setup({
        keys: [["all", ["send"], "all"], ["reader", ["read"], "reader"], ["limited", ["send"], "limited", [limited]]]
      })
      const as = (key: string) => ({ authorization: `Bearer ${key}` })
      for (const [path, json] of [["reaction", { emoji: "👍" }], ["revoke", undefined], ["read", undefined]] as const) {
        assert.strictEqual((yield* post(`/messages/${received}/${path}`, json, as("reader"))).status, 403)
        const foreign = yield* post(`/messages/${received}/${path}`, json, as("limited"))
        assert.deepStrictEqual([foreign.status, foreign.body._tag], [404, "MessageNotFound"])
      }
      const mine = yield* post(`/devices/${device}/messages`, { to, text: "to be sent" }, as("all"))
      const foreign = yield* post(`/messages/${mine.body.id}/reaction`, { emoji: "👍" }, as("limited"))
      assert.deepStrictEqual([foreign.status, foreign.body._tag], [404, "MessageNotFound"])
      const accepted = yield* Effect.flatMap(
        ColumbaClient,
        ({ messages }) => messages.react({ id: received, emoji: "👍", idempotencyKey: "r1" })
      ).pipe(Effect.provide(ColumbaClient.layerHttp({ url: server.url, apiKey: "all" })), Effect.orDie)
      assert.deepStrictEqual([accepted.type, accepted.status], ["reaction", "pending"])
    }))
})
