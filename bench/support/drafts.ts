/** Drafts for the benchmarks of the log alone: received messages of 1,000 devices in 5,000 chats, each one new. */
import type { EventDraft } from "../../src/domain/Event.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { deriveMessageId, makeEventId } from "../../src/services/EventIdentity.ts"

export const devices = 1_000

export const makeDraft = (index: number): EventDraft => {
  const deviceId = `dev_${String(index % devices).padStart(26, "0")}` as DeviceId
  const chat = `6281${String(index % 5_000).padStart(8, "0")}@s.whatsapp.net`
  const identity = { fromMe: false, chat, sender: chat, waId: `3EB0${index}` }
  return {
    id: makeEventId(Date.now()),
    kind: "message.received",
    deviceId,
    occurredAt: new Date().toISOString(),
    via: "live",
    data: {
      ...identity,
      messageId: deriveMessageId(deviceId, identity),
      type: "text",
      body: `pesan nomor ${index}: ${"halo, apa kabar? ".repeat(16)}`
    },
    identity: { ...identity, rank: "" },
    aliases: []
  }
}
