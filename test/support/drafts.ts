/** Drafts for tests of the log. */
import { assert } from "@effect/vitest"
import { randomBytes } from "node:crypto"
import type { Alias, EventDraft, EventKind } from "../../src/domain/Event.ts"
import type { DeviceId, MessageId } from "../../src/domain/Ids.ts"
import type { AckStatus } from "../../src/domain/Message.ts"
import { makeEventId, deriveMessageId } from "../../src/services/EventIdentity.ts"

export type DraftOf<Kind extends EventKind> = Extract<EventDraft, { readonly kind: Kind }>

const isOf = <Kind extends EventKind>(draft: EventDraft, kinds: ReadonlyArray<Kind>): draft is DraftOf<Kind> =>
  kinds.some((kind) => kind === draft.kind)

/** Returns the draft, which must be of one of these kinds. */
export const ofKind = <Kind extends EventKind>(
  draft: EventDraft | undefined,
  ...kinds: ReadonlyArray<Kind>
): DraftOf<Kind> => {
  assert(draft !== undefined && isOf(draft, kinds), `expected ${kinds.join(" or ")}, not ${draft?.kind}`)
  return draft
}

/** A device id that no other test of the run uses. */
export const freshDevice = (): DeviceId => `dev_${randomBytes(13).toString("hex").toUpperCase()}` as DeviceId

export interface MessageFields {
  readonly device: DeviceId
  readonly chat?: string
  readonly sender?: string
  readonly fromMe?: boolean
  readonly waId?: string
  readonly body?: string
  readonly aliases?: ReadonlyArray<Alias>
  readonly occurredAt?: string
}

let counter = 0

export const freshWaId = (): string => `3EB0${String(++counter).padStart(8, "0")}`

export const messageDraft = (fields: MessageFields): DraftOf<"message.received" | "message.sent"> => {
  const chat = fields.chat ?? "628111@s.whatsapp.net"
  const identity = {
    fromMe: fields.fromMe ?? false,
    chat,
    sender: fields.sender ?? chat,
    waId: fields.waId ?? freshWaId()
  }
  return {
    id: makeEventId(Date.now()),
    kind: identity.fromMe ? "message.sent" : "message.received",
    deviceId: fields.device,
    occurredAt: fields.occurredAt ?? "2026-11-22T10:00:00Z",
    via: "live",
    data: {
      messageId: deriveMessageId(fields.device, identity),
      ...identity,
      type: "text",
      body: fields.body ?? "halo"
    },
    identity: { ...identity, rank: "" },
    aliases: fields.aliases ?? []
  }
}

export const ackDraft = (
  device: DeviceId,
  waId: string,
  status: AckStatus,
  participant = "628222@s.whatsapp.net"
): DraftOf<"message.ack"> => {
  const chat = "628222@s.whatsapp.net"
  return {
    id: makeEventId(Date.now()),
    kind: "message.ack",
    deviceId: device,
    occurredAt: "2026-11-22T10:00:01Z",
    via: "live",
    data: { messageId: ownMessageId(device, waId), waId, chat, participant, status },
    identity: { chat, sender: participant, fromMe: true, waId, rank: status },
    aliases: []
  }
}

export const ownMessageId = (device: DeviceId, waId: string): MessageId =>
  deriveMessageId(device, { fromMe: true, chat: "", sender: "", waId })

/** An event of Columba itself, which has no identity and so cannot be repeated. */
export const stateDraft = (
  device: DeviceId,
  tag: "Inactive" | "LoggedOut",
  jid: string | null = null
): DraftOf<"device.state"> => ({
  id: makeEventId(Date.now()),
  kind: "device.state",
  deviceId: device,
  occurredAt: "2026-11-22T10:00:02Z",
  via: "columba",
  data: {
    from: "Inactive",
    state: tag === "Inactive" ? { _tag: "Inactive" } : { _tag: "LoggedOut", reason: "a \u0000 in the reason" },
    rule: "test",
    failure: null,
    jid,
    phone: jid === null ? null : "+628111",
    memory: { failures: [], releaseRequests: 0 }
  },
  identity: null,
  aliases: []
})

/** The same message as a row of the gateway's history, which may have another text. */
export const fromHistory = <Draft extends EventDraft>(draft: Draft): Draft => ({
  ...draft,
  id: makeEventId(Date.now()),
  via: "backfill"
})
