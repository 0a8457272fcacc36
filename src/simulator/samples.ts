/**
 * One event of every kind that a gateway can send, in the payloads of `bridge` and `gowa` gateways: events that conversations
 * seldom or never contain. An adapter must decode each of them.
 */
import type { Payload } from "./Dialect.ts"

export interface Sample {
  readonly event: string
  readonly payload: Payload
}

const peer = "628999000111@s.whatsapp.net"
const hidden = "251556368777322@lid"
const group = "120363025246125486@g.us"
const channel = "120363123456789012@newsletter"

/** `account` is the device's own address. */
export const makeSamples = (account: string, now: number): ReadonlyArray<Sample> => {
  let number = 0
  const next = () => `3EB05A${String(++number).padStart(14, "0")}`
  const timestamp = `${new Date(now).toISOString().slice(0, 19)}Z`
  const message = (content: Payload, from: string = peer, chat: string = from): Sample => ({
    event: "message",
    payload: {
      id: next(),
      timestamp,
      is_from_me: from === account,
      chat_id: chat,
      from,
      from_name: "Ayu",
      sender_display_name: "Ayu Office",
      ...content
    }
  })
  const action = (event: string, content: Payload): Sample => ({
    event,
    payload: {
      id: next(),
      timestamp,
      is_from_me: false,
      chat_id: peer,
      from: peer,
      sender_display_name: "Ayu Office",
      ...content
    }
  })
  const ack = (type: string, ids: ReadonlyArray<string>, from: string = peer, chat: string = from): Sample => ({
    event: "message.ack",
    payload: {
      ids,
      chat_id: chat,
      from,
      sender_display_name: "Ayu Office",
      receipt_type: type,
      receipt_type_description: "…",
      timestamp
    }
  })
  const other = (event: string, payload: Payload): Sample => ({ event, payload: { timestamp, ...payload } })
  const file = (extension: string) => `statics/media/1787392800-5f0f6f0e.${extension}`
  return [
    message({ body: "hello" }),
    message({ body: "hi", from_lid: hidden, chat_lid: hidden }),
    message({ body: "from a hidden user" }, hidden),
    message({ body: "in a group" }, peer, group),
    message({ body: "in an old group" }, peer, "628123456789-1600000000@g.us"),
    message({ body: "from the phone" }, account, peer),
    message({ body: "yes", replied_to_id: "3EB0AA", quoted_body: "open?" }),
    message({ body: "only once", view_once: true, forwarded: true }),
    message({ body: "from an ad", referral: { ctwa_clid: "AR1", source_url: "https://fb.me/x", ad_title: "Sale" } }),
    message({ image: file("jpe") }),
    message({ body: "look", image: { path: file("jpe"), caption: "look" } }),
    message({ video: file("mp4") }),
    message({ body: "watch", video: { path: file("mp4"), caption: "watch" } }),
    message({ video_note: file("mp4") }),
    message({ audio: file("oga") }),
    message({ sticker: file("webp") }),
    message({ document: file("pdf") }),
    message({ body: "the file", document: { path: file("pdf"), caption: "the file" } }),
    // The download failed: only the caption remains.
    message({ body: "a picture that is missing" }),
    message({ contact: { displayName: "Budi", vcard: "BEGIN:VCARD\nEND:VCARD", phone_number: "+628999" } }),
    message({ contacts_array: [{ displayName: "Budi", vcard: "BEGIN:VCARD\nEND:VCARD" }] }),
    message({ location: { degreesLatitude: -6.2, degreesLongitude: 106.8, name: "Toko", JPEGThumbnail: "/9j/4AAQ" } }),
    message({ live_location: { degreesLatitude: -6.2, degreesLongitude: 106.8, sequenceNumber: 1_787_392_800_001 } }),
    message({ order: { orderID: "12345678901234567890", itemCount: 2, thumbnail: "/9j/4AAQ" } }),
    message({ list: { title: "Menu", buttonText: "Choose", sections: [] } }),
    message({ interactive: "Choose one: A, B", interactive_media: [file("jpe")] }),
    // Polls, invitations, payments: a message without any content.
    message({}),
    action("message.reaction", { reaction: "👍", reacted_message_id: "3EB0AA" }),
    action("message.reaction", { reaction: "", reacted_message_id: "3EB0AA" }),
    action("message.edited", { original_message_id: "3EB0AA", body: "hello there" }),
    action("message.edited", { original_message_id: "3EB0AB" }),
    action("message.revoked", { revoked_message_id: "3EB0AA", revoked_from_me: false, revoked_chat: peer }),
    other("message.deleted", {
      deleted_message_id: "3EB0AA",
      from: account,
      sender_display_name: "",
      chat_id: peer,
      original_content: "hello",
      original_sender: peer,
      original_timestamp: timestamp,
      was_from_me: false
    }),
    ack("delivered", ["3EB0A1"]),
    ack("read", ["3EB0A1", "3EB0A2"]),
    ack("read", ["3EB0A3"], hidden),
    ack("read", ["3EB0A4"], account, peer),
    ack("read-self", ["3EB0A5"], account, peer),
    ack("delivered", ["3EB0A6"], peer, group),
    ack("delivered", ["3EB0A6"], "628999000112@s.whatsapp.net", group),
    // Not among the documented ones: the set is open.
    ack("inactive", ["3EB0A7"]),
    other("chat_presence", {
      from: peer,
      sender_display_name: "Ayu",
      chat_id: peer,
      state: "composing",
      media: "",
      is_group: false
    }),
    other("group.participants", { chat_id: group, type: "join", jids: [peer] }),
    other("group.joined", { chat_id: group, type: "join", jids: [account], reason: "invite", group_name: "Toko" }),
    other("call.offer", {
      call_id: "5F2A9C",
      from: peer,
      sender_display_name: "Ayu",
      auto_rejected: false,
      remote_platform: "android"
    }),
    other("label.edit", { label_id: "1", name: "New", color: 3 }),
    other("label.association", { label_id: "1", labeled: true, chat_id: peer }),
    other("newsletter.joined", { newsletter_id: channel, name: "News" }),
    other("newsletter.left", { newsletter_id: channel, role: "guest" }),
    other("newsletter.mute", { newsletter_id: channel, mute: "on" }),
    other("newsletter.message", {
      newsletter_id: channel,
      messages: [{ server_id: 7, message_id: "3EB0B1", type: "text", timestamp }]
    }),
    other("something.new", { said: "nobody knows this one" })
  ]
}
