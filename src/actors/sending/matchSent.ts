/**
 * Finds which messages in doubt were sent, by comparing them with the messages that the account is known to have sent.
 * Pure. A text must be the same, in the same chat and in the time in question; a message that is known to be another one of
 * ours is not considered. Of two equal texts in doubt, the earlier one gets the earlier match: the assignment makes no
 * difference.
 */
import type { MessageData } from "../../domain/EventData.ts"
import type { MessageId } from "../../domain/Ids.ts"
import { isLid } from "../../domain/Jid.ts"
import type { MediaContent, OutgoingContent } from "../../domain/Send.ts"

export interface Doubt {
  readonly id: MessageId
  readonly chat: string
  readonly content: OutgoingContent
  /** Milliseconds: the earliest start of its request, followed by the latest time of its effect. */
  readonly from: number
  readonly to: number
}

export interface Found extends Pick<MessageData, "waId" | "chat" | "type" | "body"> {
  readonly at: number
}

/** One account has two addresses, and which pairs belong together may be unknown: then text and time decide. */
const mayBeSameChat = (one: string, other: string): boolean =>
  one === other || (isLid(one) !== isLid(other) && !one.endsWith("@g.us") && !other.endsWith("@g.us"))

/**
 * For a message with a file, the history has the kind and a line with the caption or the name. Without either, pictures
 * cannot be distinguished, so nothing is proven.
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
    // Reactions cannot be distinguished from each other, nor our edits from those of others.
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
 * Groups messages whose times overlap: they are searched for together, due or not, so that a match of one is not assigned
 * to another. A message that has been in doubt for hours does not extend the window of the others by hours.
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
