/**
 * The events of one simulated account: an endless, seeded sequence in the order of the account's own time. Customers
 * and groups write, the owner answers from the phone, receipts follow after realistic delays, and occasionally there is
 * a reaction, an edit, a revocation, or only typing.
 *
 * Content and order depend only on the seed. Only timestamps come from outside, so that the same seed and the same
 * clock produce the same bytes.
 */
import { emojis, type Language, languages } from "./phrases.ts"
import { type Seeded, seeded } from "./Seeded.ts"

/** An event before it is put into a dialect's envelope. */
export interface ScenarioEvent {
  /** The gateway's name of the event. */
  readonly event: string
  /** Milliseconds in the account's own time, from 0. Never decreases. */
  readonly at: number
  readonly payload: Readonly<Record<string, unknown>>
}

export interface Scenario {
  /** The account's own time at its last event. */
  readonly at: () => number
  /** The time of the next event, in the account's own time. */
  readonly nextAt: () => number
  /** The next event, with `now` (milliseconds) as its timestamp. */
  readonly next: (now: number) => ScenarioEvent
}

interface Contact {
  readonly jid: string
  readonly lid: string
  /** A user whose phone number the gateway does not have: all fields carry the LID. */
  readonly hidden: boolean
  readonly name: string
  readonly language: Language
}

interface Group {
  readonly jid: string
  readonly name: string
  readonly members: ReadonlyArray<Contact>
}

interface Pending {
  readonly at: number
  readonly make: (now: number) => Omit<ScenarioEvent, "at">
}

/**
 * Maximum number of pending receipts, reactions, edits and revocations. Beyond this bound new ones are left out: some receipts
 * never come.
 */
const pendingMax = 64

/** The account of a device. The same seed and device always give the same account. */
export const makeAccount = (seed: string, device: string): { readonly jid: string; readonly name: string } => {
  const random = seeded(`${seed}/${device}/account`)
  return {
    jid: `62812${random.between(10_000_000, 99_999_999)}@s.whatsapp.net`,
    name: `Toko ${random.between(1, 999)}`
  }
}

/** `conversation` seeds the content, so that it can differ for the same account. */
export const scenario = (seed: string, device: string, conversation = seed): Scenario => {
  const random = seeded(`${conversation}/${device}/scenario`)
  const account = makeAccount(seed, device)
  const people = Array.from({ length: 8 }, () => makeContact(random))
  const groups = Array.from({ length: 2 }, () => makeGroup(random, people))
  const pending: Array<Pending> = []
  let clock = 0
  let nextWriting = gap(random)

  const later = (delay: number, make: Pending["make"]) => {
    if (pending.length >= pendingMax) return
    const at = clock + delay
    let index = pending.length
    while (index > 0 && pending[index - 1]!.at > at) index--
    pending.splice(index, 0, { at, make })
  }
  const writing = { random, account: account.jid, later }

  return {
    at: () => clock,
    nextAt: () => Math.min(nextWriting, pending[0]?.at ?? Infinity),
    next: (now) => {
      const due = pending[0]
      if (due !== undefined && due.at <= nextWriting) {
        pending.shift()
        clock = due.at
        return { ...due.make(now), at: clock }
      }
      clock = nextWriting
      nextWriting = clock + gap(random)
      const kind = random.next()
      const contact = random.pick(people)
      const event = kind < 0.52
        ? receive(writing, contact, now)
        : kind < 0.68
        ? receiveInGroup(writing, random.pick(groups), now)
        : kind < 0.97
        ? answer(writing, contact, now)
        : typing(writing, contact, now)
      return { ...event, at: clock }
    }
  }
}

interface Writing {
  readonly random: Seeded
  readonly account: string
  readonly later: (delay: number, make: Pending["make"]) => void
}

/** The time to the next message: mostly seconds, sometimes minutes. */
const gap = (random: Seeded): number =>
  random.chance(0.8) ? random.between(1500, 20_000) : random.between(60_000, 600_000)

const receive = (writing: Writing, contact: Contact, now: number): Omit<ScenarioEvent, "at"> => {
  const { random } = writing
  const id = waId(random)
  const payload = {
    id,
    timestamp: formatSeconds(now),
    is_from_me: false,
    ...place(contact, null),
    ...content(random, contact.language, contact.language.asks, now)
  }
  afterthought(writing, id, contact, place(contact, null), false)
  // The owner opens the chat on the phone, which gives a receipt of the account itself.
  if (random.chance(0.3)) {
    writing.later(random.between(4000, 90_000), (at) => ack(writing.account, payload.chat_id, [id], "read", at))
  }
  return { event: "message", payload }
}

const receiveInGroup = (writing: Writing, group: Group, now: number): Omit<ScenarioEvent, "at"> => {
  const { random } = writing
  const sender = random.pick(group.members)
  const id = waId(random)
  const where = place(sender, group)
  const text = content(random, sender.language, sender.language.asks, now)
  afterthought(writing, id, sender, where, false)
  return { event: "message", payload: { id, timestamp: formatSeconds(now), is_from_me: false, ...where, ...text } }
}

/** The owner answers from the phone. Nine of ten answers are delivered soon, and three quarters of those are read. */
const answer = (writing: Writing, contact: Contact, now: number): Omit<ScenarioEvent, "at"> => {
  const { random } = writing
  const id = waId(random)
  const chat = contact.hidden ? contact.lid : contact.jid
  const delivered = random.between(300, 2500)
  if (random.chance(0.9)) {
    writing.later(delivered, (at) => ack(chat, chat, [id], "delivered", at))
    if (random.chance(0.75)) {
      writing.later(delivered + random.between(1500, 120_000), (at) => ack(chat, chat, [id], "read", at))
    }
  }
  const where = { chat_id: chat, from: writing.account, sender_display_name: "" }
  afterthought(writing, id, contact, where, true)
  const text = content(random, contact.language, contact.language.answers, now)
  return { event: "message", payload: { id, timestamp: formatSeconds(now), is_from_me: true, ...where, ...text } }
}

const typing = ({ random }: Writing, contact: Contact, now: number): Omit<ScenarioEvent, "at"> => ({
  event: "chat_presence",
  payload: {
    timestamp: formatSeconds(now),
    ...place(contact, null),
    state: random.chance(0.7) ? "composing" : "paused",
    media: random.chance(0.9) ? "" : "audio",
    is_group: false
  }
})

/** In 7 of 100 cases a reaction, an edit or a revocation follows within minutes. */
const afterthought = (
  writing: Writing,
  target: string,
  contact: Contact,
  where: Readonly<Record<string, unknown>>,
  fromMe: boolean
): void => {
  const { random } = writing
  const kind = random.next()
  if (kind >= 0.07) return
  const id = waId(random)
  const delay = random.between(2000, 180_000)
  const common = (at: number) => ({ id, timestamp: formatSeconds(at), is_from_me: fromMe, ...where })
  if (kind < 0.035) {
    const reaction = random.pick(emojis)
    writing.later(delay, (at) => ({
      event: "message.reaction",
      payload: { ...common(at), reaction, reacted_message_id: target }
    }))
  } else if (kind < 0.055) {
    const body = fill(random, contact.language, random.pick(contact.language.asks))
    writing.later(delay, (at) => ({
      event: "message.edited",
      payload: { ...common(at), original_message_id: target, body }
    }))
  } else {
    writing.later(delay, (at) => ({
      event: "message.revoked",
      payload: { ...common(at), revoked_message_id: target, revoked_from_me: fromMe }
    }))
  }
}

const ack = (
  from: string,
  chat: string,
  ids: ReadonlyArray<string>,
  type: string,
  now: number
): Omit<ScenarioEvent, "at"> => ({
  event: "message.ack",
  payload: {
    ids,
    chat_id: chat,
    from,
    receipt_type: type,
    receipt_type_description: `the message was ${type}`,
    timestamp: formatSeconds(now)
  }
})

const place = (contact: Contact, group: Group | null) => {
  const from = contact.hidden ? contact.lid : contact.jid
  return {
    chat_id: group === null ? from : group.jid,
    from,
    ...(contact.hidden ? undefined : { from_lid: contact.lid }),
    from_name: contact.name,
    sender_display_name: contact.name
  }
}

/** Mostly text, else one of the media forms that gateways send, with or without a caption. */
const content = (
  random: Seeded,
  language: Language,
  phrases: ReadonlyArray<string>,
  now: number
): Readonly<Record<string, unknown>> => {
  const body = fill(random, language, random.pick(phrases))
  const kind = random.next()
  if (kind < 0.82) return { body }
  const file = (extension: string) =>
    `statics/media/${Math.trunc(now / 1000)}-${random.hex(8).toLowerCase()}.${extension}`
  if (kind < 0.9) return { body, image: { path: file("jpe"), caption: body } }
  if (kind < 0.93) return { audio: file("oga") }
  if (kind < 0.95) return { document: file("pdf") }
  if (kind < 0.965) return { video: file("mp4") }
  if (kind < 0.98) return { sticker: file("webp") }
  if (kind < 0.99) {
    return {
      location: { degreesLatitude: -6.2 + random.next(), degreesLongitude: 106.8 + random.next(), name: "Toko" }
    }
  }
  // A poll, for example: gateways report the message without its content.
  return random.chance(0.5)
    ? {}
    : { contact: { displayName: random.pick(language.names), vcard: "BEGIN:VCARD\nEND:VCARD" } }
}

const fill = (random: Seeded, language: Language, phrase: string): string =>
  phrase
    .replace("{product}", () => random.pick(language.products))
    .replace("{price}", () => language.price(random.next()))
    .replace("{count}", () => String(random.between(1, 24)))
    .replace("{order}", () => `TK${random.between(100_000, 999_999)}`)

const makeContact = (random: Seeded): Contact => {
  const language = random.pick(languages)
  return {
    jid: `628${random.between(100_000_000, 999_999_999)}@s.whatsapp.net`,
    lid: `${random.between(100_000_000, 999_999_999)}${random.between(100_000, 999_999)}@lid`,
    hidden: random.chance(0.08),
    name: random.pick(language.names),
    language
  }
}

const makeGroup = (random: Seeded, people: ReadonlyArray<Contact>): Group => {
  const members = people.filter(() => random.chance(0.6))
  const first = random.pick(people)
  return {
    jid: `120363${random.between(100_000_000, 999_999_999)}${random.between(100, 999)}@g.us`,
    name: first.language.group,
    members: members.length === 0 ? [first] : members
  }
}

const waId = (random: Seeded): string => `3EB0${random.hex(16)}`

const formatSeconds = (now: number): string => `${new Date(now).toISOString().slice(0, 19)}Z`
