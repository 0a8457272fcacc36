/**
 * Which messages in doubt were sent after all, told from what the account is known to have sent. Pure. A text must be the
 * same, in the same chat and in the time in question; what is known to be another message of ours is not asked. Of two
 * equal texts in doubt the earlier one gets the earlier match: which is which makes no difference.
 */
import type { MessageData } from "../../domain/EventData.ts"
import type { MessageId } from "../../domain/Ids.ts"
import { isLid } from "../../domain/Jid.ts"
import type { MediaContent, OutgoingContent } from "../../domain/Send.ts"

export interface Doubt {
  readonly id: MessageId
  readonly chat: string
  readonly content: OutgoingContent
  /** Milliseconds: when its request can have begun at the earliest, and have had its effect at the latest. */
  readonly from: number
  readonly to: number
}

export interface Found extends Pick<MessageData, "waId" | "chat" | "type" | "body"> {
  readonly at: number
}

/** One account has two spellings, and which pairs belong together may not be known: then text and time decide. */
const mayBeSameChat = (one: string, other: string): boolean =>
  one === other || (isLid(one) !== isLid(other) && !one.endsWith("@g.us") && !other.endsWith("@g.us"))

/**
 * Of a message with a file, the history has the kind and a line with the caption or the name. Without either, one picture
 * looks like any other: then nothing is proven.
 */
const fitsFile = ({ caption, fileName, type: kind }: MediaContent, type: string, body: string | null): boolean => {
  const mark = (caption ?? fileName ?? "").trim()
  return mark !== "" && type === (kind === "voice" ? "audio" : kind) && body?.trim().endsWith(mark) === true
}

const fits = (content: OutgoingContent, { body, type }: Found): boolean => {
  switch (content.type) {
    case "text":
      return body?.trim() === content.text.trim()
    case "location":
      return type === "location" || body?.startsWith("📍") === true
    case "contact":
      return type === "contact" || body?.startsWith("👤") === true
    case "poll":
      return body === content.poll.question
    // Nothing tells one reaction from another, or that a text was edited by us.
    case "reaction":
    case "edit":
    case "revoke":
      return false
    default:
      return fitsFile(content, type, body)
  }
}

/** The WhatsApp ids by message. */
export const matchSent = (
  doubts: ReadonlyArray<Doubt>,
  found: ReadonlyArray<Found>
): ReadonlyMap<MessageId, string> => {
  const left = [...found].sort((one, other) => one.at - other.at)
  const matches = new Map<MessageId, string>()
  for (const doubt of [...doubts].sort((one, other) => one.from - other.from)) {
    const within = ({ at }: Found) => at >= doubt.from && at <= doubt.to
    const candidates = left.filter((one) =>
      within(one) && mayBeSameChat(one.chat, doubt.chat) && fits(doubt.content, one)
    )
    const match = candidates.find(({ chat }) => chat === doubt.chat) ?? candidates[0]
    if (match === undefined) continue
    matches.set(doubt.id, match.waId)
    left.splice(left.indexOf(match), 1)
  }
  return matches
}

/** Whether a history that has all messages would have it, so that its absence proves something. */
export const isProvable = (content: OutgoingContent): boolean => content.type === "text"

/**
 * Those whose times overlap, together: they are looked for at once, due or not, so that what one of them matches is not
 * taken for another. One that has been in doubt for hours makes no window of hours for the others.
 */
export const clusters = <A>(
  all: ReadonlyArray<A>,
  times: (one: A) => Pick<Doubt, "from" | "to">
): ReadonlyArray<ReadonlyArray<A>> => {
  const groups: Array<Array<A>> = []
  let end = Number.NEGATIVE_INFINITY
  for (const one of [...all].sort((a, b) => times(a).from - times(b).from)) {
    const { from, to } = times(one)
    if (from > end) groups.push([])
    groups.at(-1)?.push(one)
    end = Math.max(end, to)
  }
  return groups
}
