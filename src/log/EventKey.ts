/**
 * By what a repeat of an event is recognised: its key, and its content to tell a repeat from a conflict.
 *
 * The key is taken over who said it where, not over the sender-chosen id alone: whoever knows an id could race it into
 * another chat and shadow the genuine message there. One account has two spellings (phone and LID), so a store that
 * has learnt that two are one looks for the keys of both; `keyOf` must then give the same bytes there as here.
 */
import { hash } from "node:crypto"
import type { EventDraft } from "../domain/Event.ts"
import { canonical } from "../domain/Jid.ts"

/** Separates the key's fields. `clean` keeps it out of them, so no two identities can read alike. */
const separator = "\u001f"

/** Control characters: never part of an address or an id, refused by text columns (NUL), or our own separator. */
// oxlint-disable-next-line no-control-regex
const control = /[\u0000-\u001f]/g

export const clean = (text: string): string => text.replace(control, "\ufffd")

/** What the key is taken over, in the parts a store needs to compute the key of another spelling. */
export interface KeyParts {
  /** Device, kind, fromMe, waId and rank, joined. */
  readonly base: string
  readonly chat: string
  readonly sender: string
}

/** Null where nothing can repeat the event. */
export const deriveKeyParts = (draft: EventDraft): KeyParts | null => {
  const identity = draft.identity
  if (identity === null) return null
  return {
    base: [draft.deviceId, draft.kind, identity.fromMe ? "1" : "0", clean(identity.waId), clean(identity.rank)]
      .join(separator),
    chat: clean(canonical(identity.chat)),
    sender: clean(canonical(identity.sender))
  }
}

/** 128 bits of SHA-256 as 32 hex digits: what a `uuid` column holds. */
export const digest = (text: string): string => hash("sha256", text, "hex").slice(0, 32)

export const deriveKey = (base: string, chat: string, sender: string): string =>
  digest(`${base}${separator}${chat}${separator}${sender}`)

/**
 * What must agree for a repeat to be no conflict: what the message says. Everything else differs between the ways an
 * event comes (live, webhook, history), so it proves nothing. Null where the event says nothing comparable.
 */
export const digestContent = (draft: EventDraft): string | null => {
  if (draft.identity === null) return null
  const data = draft.data as { readonly body?: unknown; readonly targetWaId?: unknown }
  if (typeof data.body !== "string" || data.body === "") return null
  return digest(`${typeof data.targetWaId === "string" ? data.targetWaId : ""}${separator}${data.body}`)
}
