/**
 * By what a repeat of an event is recognised: its key, and its content to tell a repeat from a conflict.
 *
 * The key covers the chat and the sender, not the sender-chosen id alone: a sender who knows an id could race it
 * into another chat and shadow the genuine message there. One account has two spellings (phone and LID), so a store
 * that has learnt that two are one looks for the keys of both; its own `columba_key` must then give the same bytes as
 * `deriveKey`.
 */
import type { EventDraft } from "../domain/Event.ts"
import { canonical } from "../domain/Jid.ts"
import { clean, deriveMessageKeyParts, digest, separator } from "../services/EventIdentity.ts"
import type { KeyParts } from "../services/EventIdentity.ts"

/** Null where nothing can repeat the event. */
export const deriveKeyParts = (draft: EventDraft): KeyParts | null => {
  const identity = draft.identity
  if (identity === null) return null
  if (draft.kind === "message.received" || draft.kind === "message.sent") {
    return deriveMessageKeyParts(draft.deviceId, identity)
  }
  return {
    base: [draft.deviceId, draft.kind, identity.fromMe ? "1" : "0", clean(identity.waId), clean(identity.rank)]
      .join(separator),
    chat: clean(canonical(identity.chat)),
    sender: clean(canonical(identity.sender))
  }
}

/**
 * What must agree for a repeat to be no conflict: what the message says. Everything else differs between the ways an
 * event comes (live, webhook, history), so it proves nothing. Null where the event says nothing comparable: then neither
 * it nor what comes after it is a conflict. So it is with rows of a history, because a gateway rewrites those: an edit
 * replaces the text, media get a label. And so it is with what we send: the gateway may spell it otherwise.
 */
export const digestContent = (draft: EventDraft): string | null => {
  if (draft.identity === null || draft.via === "backfill" || draft.via === "columba") return null
  switch (draft.kind) {
    case "message.received":
    case "message.sent":
      return digestBody("", draft.data.body)
    case "message.reaction":
    case "message.edited":
    case "message.revoked":
      return digestBody(draft.data.targetWaId, draft.data.body)
    default:
      return null
  }
}

const digestBody = (targetWaId: string, body: string | null): string | null =>
  body === null || body === "" ? null : digest(`${targetWaId}${separator}${body}`)
