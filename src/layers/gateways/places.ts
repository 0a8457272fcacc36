/**
 * The addresses of a payload: chat, sender and the other spellings of both. The rules are WhatsApp's and the same for every
 * gateway that has `chat_id`, `from` and their hidden ids (`…_lid`); addresses are returned in their canonical spelling.
 */
import type { Alias } from "../../domain/Event.ts"
import { canonical, isLid } from "../../domain/Jid.ts"

/** The address fields of a payload, as far as it has them. */
export interface Address {
  readonly chat_id?: string | null
  readonly chat_lid?: string | null
  readonly from?: string | null
  readonly from_lid?: string | null
}

export interface Place {
  readonly chat: string
  /** Empty where the payload lacks it, as for a group message without a participant. */
  readonly sender: string
}

/**
 * Chat and sender, each from the other where one is missing; null where the payload has neither. `account` is the
 * device's own address if it is known: the sender of its own messages.
 */
export const findPlace = (payload: Address, fromMe: boolean, account: string | null): Place | null => {
  const from = payload.from ? canonical(payload.from) : null
  const chat = payload.chat_id ? canonical(payload.chat_id) : fromMe ? null : from
  if (chat === null) return null
  if (from !== null) return { chat, sender: from }
  if (fromMe) return { chat, sender: account === null ? "" : canonical(account) }
  return { chat, sender: chat.endsWith("@g.us") ? "" : chat }
}

export const noAliases: ReadonlyArray<Alias> = []

/** Hidden ids and the phone addresses that they stand for, where the payload names both. */
export const listAliases = (payload: Address): ReadonlyArray<Alias> => {
  const ofSender = makeAlias(payload.from, payload.from_lid)
  const ofChat = makeAlias(payload.chat_id, payload.chat_lid)
  if (ofSender === null) return ofChat === null ? noAliases : [ofChat]
  return ofChat === null || (ofChat.lid === ofSender.lid && ofChat.jid === ofSender.jid)
    ? [ofSender]
    : [ofSender, ofChat]
}

const makeAlias = (jid: string | null | undefined, lid: string | null | undefined): Alias | null => {
  if (!jid || !lid || !isLid(lid)) return null
  const known = canonical(jid)
  return known.endsWith("@s.whatsapp.net") ? { lid: canonical(lid), jid: known } : null
}
