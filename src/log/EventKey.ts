/**
 * The key that identifies a repeat of an event, and the content that distinguishes a repeat from a conflict.
 *
 * The key covers the chat and the sender, not only the id that the sender chose: a sender who knows an id could send it
 * first in another chat and hide the genuine message there. One account has two addresses (phone number and LID), so a
 * store in which both are recorded as one account looks up the keys of both. Its `columba_key` function must then
 * return the same bytes as `deriveKey`.
 */
import type { EventDraft } from "../domain/Event.ts"
import { canonical } from "../domain/Jid.ts"
import { clean, deriveMessageKeyParts, digest, separator } from "../services/EventIdentity.ts"
import type { KeyParts } from "../services/EventIdentity.ts"

/** Null for an event that cannot be repeated. */
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
 * A digest of the message's own content; a repeat with another digest is a conflict. All other fields differ between
 * the ways an event can arrive (live, webhook, history), so they prove nothing. Null if there is nothing to compare:
 * then neither this event nor a later repeat is a conflict. This holds for rows of a history, because gateways rewrite
 * those: an edit replaces the text, and media get a label. It also holds for messages that we send, because the gateway
 * may spell them differently.
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
