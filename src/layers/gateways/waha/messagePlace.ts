/**
 * The addresses of a message object of the `waha` dialect: chat and sender, each in one spelling, and the pairs of spellings
 * from the object or the gateway's own list.
 */
import type { Alias } from "../../../domain/Event.ts"
import { canonical, isLid } from "../../../domain/Jid.ts"
import type { Frame } from "../eventDecoder.ts"
import type { Place } from "../places.ts"
import { type MessageRef, type Payload, textIn } from "./payloads.ts"

/** The phone address of a hidden id, if the gateway has returned it. Both canonical. */
export type FindPhone = (lid: string) => string | null

/** The reverse: hidden ids of a phone address. All canonical. */
export type FindLids = (phone: string) => ReadonlyArray<string>

/** A payload to decode, with facts from its surroundings. */
export interface Source extends Frame {
  readonly findPhone: FindPhone
  readonly findLids?: FindLids | undefined
  readonly payload: Payload
  /** The payload with the text of numbers that a double cannot hold. */
  readonly exact: Payload
  /** The account's own address, canonical. */
  readonly account: string | null
  readonly accountLid: string | null
  /** When it happened, as the gateway claims; null if it claims nothing. */
  readonly claimed: string | null
}

/** Chat and sender of a message object. */
export interface MessagePlace extends Place {
  readonly waId: string
  readonly fromMe: boolean
  readonly aliases: ReadonlyArray<Alias>
}

/**
 * Chat and sender of a message object. The id has the most information: for messages of our own and for acks, engines differ
 * in whether `from` is the account or the chat, so only for somebody else's message `from` is another spelling of the chat.
 */
export const locate = (source: Source, payload: Payload, ref: MessageRef, isAck = false): MessagePlace | null => {
  const fromMe = typeof payload.fromMe === "boolean" ? payload.fromMe : ref.fromMe ?? false
  const aliases = new Map<string, Alias>()
  const spelledTwice = !fromMe && !isAck
  const pick = (first: string | null, second: string | null) =>
    pickSpelling(source, spelledTwice ? [first, second] : [first ?? second], aliases)
  const chat = pick(ref.chat, otherSide(source, payload, fromMe))
  if (chat === null) return null
  const author = pick(ref.participant, textIn(payload, "participant"))
  const sender = fromMe
    ? source.account ?? author ?? ""
    : author ?? (chat.endsWith("@g.us") ? "" : chat)
  return { waId: ref.waId, fromMe, chat, sender, aliases: [...aliases.values()] }
}

/** Of `from` and `to`: the one that is not the account, and the one that should be it where both are. */
const otherSide = ({ account }: Source, payload: Payload, fromMe: boolean): string | null => {
  const sides = (fromMe ? ["to", "from"] : ["from", "to"]).flatMap((key) => textIn(payload, key) ?? [])
  return sides.find((side) => canonical(side) !== account) ?? sides[0] ?? null
}

/**
 * One address out of its spellings, a phone address before a hidden id. Where both are known, from the message or from the
 * gateway's own list, the pair is an alias. The account itself has no hidden id other than its own.
 */
export const pickSpelling = (
  source: Source,
  spellings: ReadonlyArray<string | null>,
  aliases: Map<string, Alias>
): string | null => {
  const known = spellings.flatMap((spelling) => spelling === null ? [] : [canonical(spelling)])
  const lid = known.find(isLid)
  if (lid === undefined) {
    const [only = null] = known
    if (only !== null) { for (const one of source.findLids?.(only) ?? []) aliases.set(one, { lid: one, jid: only }) }
    return only
  }
  const spelled = known.find((spelling) => spelling.endsWith("@s.whatsapp.net") && spelling !== source.account)
  const phone = spelled ?? (lid === source.accountLid ? source.account : null) ?? source.findPhone(lid)
  if (phone === null) return known[0] ?? null
  aliases.set(lid, { lid, jid: phone })
  return phone
}
