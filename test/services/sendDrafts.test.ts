import { assert, describe, it } from "@effect/vitest"
import type { DeviceId, MessageId } from "../../src/domain/Ids.ts"
import type { OutgoingContent } from "../../src/domain/Send.ts"
import { identifyReaction } from "../../src/services/EventIdentity.ts"
import { recordOutcome, sentAs } from "../../src/services/sendDrafts.ts"
import type { StoredSend } from "../../src/services/SendRepository.ts"

const chat = "6281298765432@s.whatsapp.net"
const account = "628111000001@s.whatsapp.net"
const target = { message: "msg_0" as MessageId, waId: "3EB0AA", fromMe: false, sender: chat }

const record = (content: OutgoingContent, sentAt: string | null) => {
  const send = { id: "msg_1", deviceId: "dev_1" as DeviceId, chat, body: { content, replyTo: null, mentions: [] } }
  const { drafts } = recordOutcome(
    send as unknown as StoredSend,
    sentAs("3EB0BB", sentAt),
    account,
    Date.parse("2026-11-26T18:00:02.400Z")
  )
  return drafts
}

describe("the record of a sent message", () => {
  it("is a reaction as a history has it, with WhatsApp's second and not Columba's", () => {
    const sentAt = "2026-11-26T18:00:01.000Z"
    const [reaction, status] = record({ type: "reaction", target, emoji: "👍" }, sentAt)
    const sender = account
    assert.deepStrictEqual(reaction!.identity, identifyReaction({ chat, sender }, true, "3EB0AA", "👍", sentAt))
    assert.strictEqual(reaction!.occurredAt, sentAt)
    assert.strictEqual(status!.occurredAt, "2026-11-26T18:00:02.400Z", "the status is what we have learnt, and when")
  })

  it("has Columba's time if the gateway gives none", () => {
    for (const draft of record({ type: "text", text: "hello" }, null)) {
      assert.strictEqual(draft.occurredAt, "2026-11-26T18:00:02.400Z")
    }
  })
})
