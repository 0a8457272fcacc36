/** Webhooks: which device they belong to, what they mean, and that a repeat is the same event whatever it contains. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { EventDraft } from "../../../src/domain/Event.ts"
import { deriveKeyParts } from "../../../src/log/EventKey.ts"
import { deriveKey } from "../../../src/services/EventIdentity.ts"
import type { IngestContext, IngestRequest, IngestResult } from "../../../src/services/GatewayParts.ts"
import type { Payload } from "../../../src/simulator/Dialect.ts"
import { makeSamples } from "../../../src/simulator/samples.ts"
import * as WebhookReceiver from "../../support/webhookReceiver.ts"
import { type Adapter, type Having, setup, target } from "./harness.ts"

const secret = Redacted.make("a secret of this device alone")
const other = Redacted.make("another secret")

export const now = Date.UTC(2026, 7, 22, 12)

const context: IngestContext = {
  find: (name) => name === target.upstreamId ? target : null,
  now,
  device: null
}

export const keyOf = (draft: EventDraft): string | null => {
  const parts = deriveKeyParts(draft)
  return parts === null ? null : deriveKey(parts)
}

export const draftsOf = (result: IngestResult): ReadonlyArray<EventDraft> => {
  assert.strictEqual(result._tag, "Accepted")
  return result._tag === "Accepted"
    ? result.events.flatMap((event) => event._tag === "Record" ? [event.draft] : [])
    : []
}

/** A simulator whose slot posts to a receiver, and the drafts of its posts. */
export const setupWebhook = Effect.fnUntraced(function*<Gateway extends Having<"ingest" | "webhook">>(
  adapter: Adapter<Gateway>,
  options: Parameters<typeof setup>[1] = {}
) {
  const bench = yield* setup(adapter, options)
  const receiver = yield* WebhookReceiver.start
  const { gateway } = bench
  assert.strictEqual(yield* gateway.webhook.ensure(target, { url: receiver.url, secret }), "set")
  const requests = (): ReadonlyArray<IngestRequest> =>
    receiver.received.map(({ body, headers }) => ({ headers, body, secrets: [other, secret] }))
  const drafts = (): ReadonlyArray<EventDraft> =>
    requests().flatMap((request) => draftsOf(gateway.ingest(request, context)))
  return { ...bench, receiver, requests, drafts }
})

export const webhookConformance = (adapter: Adapter<Having<"ingest" | "webhook">>): void => {
  const say = (id: string): Payload => ({
    id,
    chat_id: "628999000111@s.whatsapp.net",
    from: "628999000111@s.whatsapp.net",
    timestamp: "2026-08-22T10:00:00Z",
    is_from_me: false,
    body: "hello"
  })

  describe(`${adapter.name}: the webhook of a slot`, () => {
    it.live("is set once and then left unchanged, and set again when it differs", () =>
      Effect.gen(function*() {
        const { gateway, receiver } = yield* setupWebhook(adapter)
        const address = { url: receiver.url, secret }
        assert.strictEqual(yield* gateway.webhook.ensure(target, address), "unchanged")
        assert.strictEqual(yield* gateway.webhook.ensure(target, { ...address, secret: other }), "renewed")
        assert.strictEqual(yield* gateway.webhook.ensure(target, { ...address, secret: other }), "unchanged")
        assert.strictEqual(yield* gateway.webhook.ensure(target, { ...address, url: `${receiver.url}/2` }), "set")
      }))
  })

  describe(`${adapter.name}: a webhook`, () => {
    it.live("is accepted only with one of the secrets", () =>
      Effect.gen(function*() {
        const { core, device, gateway, receiver, requests } = yield* setupWebhook(adapter)
        core.emitter.emit(device, "message", say("ID1"))
        yield* receiver.until(({ length }) => length > 0)
        const request = requests()[0]!
        const answer = (change: Partial<IngestRequest>) => {
          const result = gateway.ingest({ ...request, ...change }, context)
          return result._tag === "Refused" ? result.reason : result._tag
        }
        assert.strictEqual(answer({}), "Accepted")
        assert.strictEqual(answer({ secrets: [secret] }), "Accepted")
        assert.strictEqual(answer({ secrets: [other] }), "signature")
        assert.strictEqual(answer({ secrets: [] }), "signature")
        assert.strictEqual(answer({ headers: {} }), "signature")
        assert.strictEqual(answer({ body: Buffer.from(`${Buffer.from(request.body).toString()} `) }), "signature")
      }))

    it.live("of a slot without a device names that slot, and is not given to another device of the same account", () =>
      Effect.gen(function*() {
        const { core, device, gateway, receiver, requests } = yield* setupWebhook(adapter)
        core.emitter.emit(device, "message", say("ID1"))
        yield* receiver.until(({ length }) => length > 0)
        const find: IngestContext["find"] = (name) => name.includes("@") ? target : null
        const result = gateway.ingest(requests()[0]!, { ...context, find })
        assert.deepStrictEqual(result, { _tag: "UnknownSlot", slot: "sim-1" })
      }))

    it.live("that cannot be read is kept for the device of its address, and refused without one", () =>
      Effect.gen(function*() {
        const { core, device, gateway, receiver, requests } = yield* setupWebhook(adapter)
        core.emitter.sendRaw(device, "not json")
        const isIt = ({ body }: { readonly body: Uint8Array }) => Buffer.from(body).toString() === "not json"
        yield* receiver.until((received) => received.some(isIt))
        const request = requests().find(isIt)!
        const refused = gateway.ingest(request, context)
        assert.deepInclude(refused, { _tag: "Refused", reason: "unreadable" })
        const [draft] = draftsOf(gateway.ingest(request, { ...context, device: target }))
        assert.deepInclude(draft, { kind: "frame.rejected", via: "webhook", deviceId: target.deviceId })
        const [again] = draftsOf(gateway.ingest(request, { ...context, device: target, now: now + 5000 }))
        assert.strictEqual(keyOf(again!), keyOf(draft!))
      }))

    it.live("of every kind becomes an event with an identity, and a repeat has the same identity", () =>
      Effect.gen(function*() {
        const { core, device, gateway, receiver, requests } = yield* setupWebhook(adapter)
        for (const { event, payload } of makeSamples(device.jid!, now)) core.emitter.emit(device, event, payload)
        // Events that a gateway posts only on request are not posted here.
        yield* receiver.until(({ length }) => length >= core.stats().frames)
        for (const request of requests()) {
          const result = gateway.ingest(request, context)
          const first = draftsOf(result)
          const second = draftsOf(gateway.ingest(request, { ...context, now: now + 60_000 }))
          // Some posts only move the state of the device.
          assert.isNotEmpty(result._tag === "Accepted" ? result.events : [])
          assert.deepStrictEqual(second.map(keyOf), first.map(keyOf))
          for (const draft of first) {
            assert.isNotNull(keyOf(draft), draft.kind)
            assert.strictEqual(draft.via, "webhook")
            assert.notStrictEqual(draft.kind, "frame.rejected", Buffer.from(request.body).toString())
          }
        }
      }))

    it.live("is received for every event of a conversation, in any order and however often it is repeated", () =>
      Effect.gen(function*() {
        const { core, drafts, receiver } = yield* setupWebhook(adapter)
        core.applyFault({ kind: "duplicate", copies: 2, probability: 0.2 })
        core.applyFault({ kind: "reorder", window: 7, probability: 0.5 })
        yield* Effect.callback<void>((resume) => void core.emit({ count: 300 }, () => resume(Effect.void)))
        core.clearFaults()
        yield* receiver.until(({ length }) => length >= core.stats().frames)
        const heard = new Set(drafts().map(({ data }) => (data as { waId?: string }).waId))
        for (const { event, id } of core.ledger.entries()) {
          if (event !== "chat_presence") assert.isTrue(heard.has(id), `${event} ${id}`)
        }
      }))
  })
}
