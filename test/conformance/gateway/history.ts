/** The history: all messages that the gateway keeps of a window, under the same identities as when they came live. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { EventDraft } from "../../../src/domain/Event.ts"
import type { HistoryWindow } from "../../../src/services/GatewayParts.ts"
import { type Adapter, type Having, setup, target } from "./harness.ts"
import { keyOf, setupWebhook } from "./webhooks.ts"

/** More pages than any of these histories has. */
const pagesMax = 500

export const readAll = Effect.fnUntraced(function*(
  gateway: Having<"history">,
  window: HistoryWindow,
  between: () => void = () => {}
) {
  const drafts: Array<EventDraft> = []
  let page: string | null = null
  for (let number = 0; number < pagesMax; number++) {
    const read: { readonly drafts: ReadonlyArray<EventDraft>; readonly next: string | null } = yield* gateway.history
      .read(target, window, page)
    drafts.push(...read.drafts)
    if (read.next === null) return drafts
    page = read.next
    between()
  }
  throw new Error("the history does not end")
})

const beginning = Date.UTC(2026, 7, 22, 12)
const iso = (millis: number) => new Date(millis).toISOString()
export const everything: HistoryWindow = { from: iso(beginning - 60_000), to: iso(beginning + 10 * 24 * 3_600_000) }

export const isMessage = ({ kind }: EventDraft) => kind === "message.received" || kind === "message.sent"

const waIdsOf = (drafts: ReadonlyArray<EventDraft>) =>
  new Set(drafts.filter(isMessage).map(({ data }) => (data as { readonly waId: string }).waId))

/** A clock that advances by a second with every event. */
export const makeClock = () => {
  let now = beginning
  return () => now += 1000
}

const speak = (chat: number, number: number, at: number) => ({
  id: `C${chat}M${number}`,
  chat_id: `628999${String(chat).padStart(6, "0")}@s.whatsapp.net`,
  from: `628999${String(chat).padStart(6, "0")}@s.whatsapp.net`,
  timestamp: `${iso(at).slice(0, 19)}Z`,
  is_from_me: false,
  body: `message ${number}`
})

/** For adapters of gateways that post webhooks. */
export const historyConformance = (adapter: Adapter<Having<"history" | "ingest" | "webhook">>): void => {
  describe(`${adapter.name}: the history of webhooks`, () => {
    it.live("has every message of a conversation, under the identity of its webhook", () =>
      Effect.gen(function*() {
        const { core, drafts, gateway, receiver } = yield* setupWebhook(adapter, { simulator: { now: makeClock() } })
        yield* Effect.callback<void>((resume) => void core.emit({ count: 600 }, () => resume(Effect.void)))
        yield* receiver.until(({ length }) => length >= core.stats().frames)
        const heard = drafts()
        const read = yield* readAll(gateway, everything)
        const gone = new Set(
          heard.flatMap((draft) => draft.kind === "message.revoked" ? [draft.data.targetWaId] : [])
        )
        const expected = heard.filter((draft) =>
          isMessage(draft) && !gone.has((draft.data as { readonly waId: string }).waId) &&
          (draft.data as { readonly type: string }).type !== "unknown"
        )
        assert.isAbove(expected.length, 200)
        const keys = new Set(read.map(keyOf))
        for (const draft of expected) assert.isTrue(keys.has(keyOf(draft)), JSON.stringify(draft.data))
        const known = new Set(heard.map(keyOf))
        for (const draft of read) {
          assert.strictEqual(draft.via, "backfill")
          assert.isTrue(known.has(keyOf(draft)), JSON.stringify(draft))
        }
      }))
  })
  pagesConformance(adapter)
}

/** For all adapters with a history. */
export const pagesConformance = (adapter: Adapter<Having<"history">>): void => {
  describe(`${adapter.name}: the history`, () => {
    it.live("reads a window up to both its ends, and nothing outside it", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter)
        for (let number = 0; number < 10; number++) {
          core.emitter.emit(device, "message", speak(1, number, beginning + number * 1000))
        }
        const window = { from: iso(beginning + 3000), to: iso(beginning + 6000) }
        const read = yield* readAll(gateway, window)
        assert.deepStrictEqual([...waIdsOf(read)].sort(), ["C1M3", "C1M4", "C1M5", "C1M6"])
        assert.deepStrictEqual(yield* readAll(gateway, { from: iso(0), to: iso(1000) }), [])
      }))

    it.live("misses no message of a chat with many pages while its rows are deleted and added during the read", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter)
        const chat = 1
        // Ten messages share each second.
        for (let number = 0; number < 450; number++) {
          core.emitter.emit(device, "message", speak(chat, number, beginning + Math.floor(number / 10) * 1000))
        }
        let turn = 0
        const gone = new Set<string>()
        const read = yield* readAll(gateway, everything, () => {
          const newest = 449 - turn
          const { chat_id, from } = speak(chat, newest, beginning)
          gone.add(`C1M${newest}`)
          core.emitter.emit(device, "message.revoked", {
            id: `R${turn}`,
            chat_id,
            from,
            timestamp: iso(beginning),
            revoked_message_id: `C1M${newest}`
          })
          core.emitter.emit(device, "message", speak(chat, 1000 + turn, beginning + 3_600_000 + turn * 1000))
          turn++
        })
        const found = waIdsOf(read)
        for (let number = 0; number < 450; number++) {
          if (!gone.has(`C1M${number}`)) assert.isTrue(found.has(`C1M${number}`), `C1M${number}`)
        }
      }))

    it.live("misses no chat while chats change their place in the list", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter)
        const chats = 250
        for (let chat = 0; chat < chats; chat++) {
          core.emitter.emit(device, "message", speak(chat, 1, beginning + chat * 1000))
        }
        const window = { from: everything.from, to: iso(beginning + chats * 1000) }
        let chat = 0
        // The oldest chats, far down the list, get a message and move to its top, past pages that were read.
        const read = yield* readAll(gateway, window, () => {
          if (chat < 100) core.emitter.emit(device, "message", speak(chat, 2, beginning + (chats + 10 + chat) * 1000))
          chat++
        })
        const found = waIdsOf(read)
        for (let number = 0; number < chats; number++) assert.isTrue(found.has(`C${number}M1`), `chat ${number}`)
      }))
  })
}
