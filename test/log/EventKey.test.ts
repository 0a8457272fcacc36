import { assert, it } from "@effect/vitest"
import type { EventDraft } from "../../src/domain/Event.ts"
import fc from "fast-check"
import { deriveKeyParts, digestContent } from "../../src/log/EventKey.ts"
import { deriveKey } from "../../src/services/EventIdentity.ts"
import { ackDraft, freshDevice, messageDraft } from "../support/drafts.ts"
import { propertyLimits } from "../support/propertyLimits.ts"

const device = freshDevice()

const keyOfDraft = (draft: EventDraft): string => {
  const parts = deriveKeyParts(draft)
  assert.isNotNull(parts)
  return deriveKey(parts!)
}

it("recognises a message by any spelling of one address, whichever companion sent it", () => {
  const spellings = ["62811@s.whatsapp.net", "62811:12@s.whatsapp.net", "62811@c.us"]
  const keys = spellings.map((chat) => keyOfDraft(messageDraft({ device, waId: "A", chat })))
  assert.strictEqual(new Set(keys).size, 1)
})

it("distinguishes every difference in device, kind, chat, sender, direction, id or rank", () => {
  const drafts = [
    messageDraft({ device, waId: "A" }),
    messageDraft({ device: freshDevice(), waId: "A" }),
    messageDraft({ device, waId: "B" }),
    messageDraft({ device, waId: "A", chat: "1@g.us", sender: "628111@s.whatsapp.net" }),
    messageDraft({ device, waId: "A", chat: "1@g.us", sender: "628222@s.whatsapp.net" }),
    messageDraft({ device, waId: "A", fromMe: true }),
    ackDraft(device, "A", "read"),
    ackDraft(device, "A", "delivered"),
    ackDraft(device, "A", "read", "628333@s.whatsapp.net")
  ]
  assert.strictEqual(new Set(drafts.map(keyOfDraft)).size, drafts.length)
})

it("gives two identities different keys, whatever text a sender chooses", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "\u001f", "\u0000", "@", " "), maxLength: 4 })
  const identity = fc.tuple(text, text, text).map(([waId, chat, sender]) => ({ waId, chat: `${chat}@g.us`, sender }))
  const cleaned = (parts: { waId: string; chat: string; sender: string }) =>
    // oxlint-disable-next-line no-control-regex
    JSON.stringify(parts).replaceAll(/\\u00(00|1f)/g, "?")
  fc.assert(
    fc.property(identity, identity, (a, b) => {
      const same = keyOfDraft(messageDraft({ device, ...a })) === keyOfDraft(messageDraft({ device, ...b }))
      return same === (cleaned(a) === cleaned(b))
    }),
    propertyLimits(2_000)
  )
})

it("compares the content of a message, without differences that only come from its delivery path", () => {
  const one = messageDraft({ device, waId: "A", body: "halo" })
  assert.strictEqual(digestContent(one), digestContent({ ...one, via: "webhook", occurredAt: "2020-01-01T00:00:00Z" }))
  assert.notStrictEqual(digestContent(one), digestContent(messageDraft({ device, waId: "A", body: "hola" })))
  // A gateway rewrites the rows of its history.
  assert.isNull(digestContent({ ...one, via: "backfill" }))
  assert.isNull(digestContent(ackDraft(device, "A", "read")))
})
