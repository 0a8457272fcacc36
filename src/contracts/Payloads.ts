/**
 * The fields of requests and the answers that are not part of the domain. Each is declared once, and the table of
 * operations uses them for HTTP and RPC.
 */
import { Schema } from "effect"
import { Device, DeviceName, UpstreamStatus } from "../domain/Device.ts"
import { DeviceState, DeviceStateTag, Failure } from "../domain/DeviceState.ts"
import { Event, ReadableEvent } from "../domain/Event.ts"
import { Gap, GapCause, GapCounts, GapStatus, Provable } from "../domain/Gap.ts"
import { DeviceId, GatewayName, MessageId, Position, Seq, Timestamp, UpstreamId } from "../domain/Ids.ts"
import { Message, MessageStatus } from "../domain/Message.ts"
import {
  CaptionedContent,
  ContactContent,
  DocumentContent,
  Emoji,
  FileContent,
  LocationContent,
  OnUnknown,
  PollContent,
  textMax
} from "../domain/Send.ts"
import { parsePacing, Pacing, pacingExpected } from "../domain/Pacing.ts"
import { WebhookState } from "../domain/WebhookState.ts"
import { Scope } from "./Authorization.ts"

/** Page sizes. A page is held in memory as a whole, so it has a bound. */
export const pageLimitDefault = 100
export const pageLimitMax = 1000
export const PageLimit = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: pageLimitMax }))

/** A cursor as a page named it. Ours are shorter than this bound. */
export const Cursor = Schema.String.check(Schema.isMaxLength(512)).annotate({
  description: "Where the page begins: the `next` of the page before it"
})

/** There are about a dozen kinds; a filter with more than this bound is a mistake. */
const filterKindsMax = 32
const knownKinds = Event.members.flatMap(({ fields: { kind } }) => "literal" in kind ? [kind.literal] : [])
const gatewayKind = /^gateway\.[a-zA-Z0-9_-]{1,64}(\.[a-zA-Z0-9_-]{1,64}){0,7}$/

/** A kind to filter by. A kind that no event can have is refused: a reader with a misspelt one would wait forever. */
export const EventKindFilter = Schema.String.check(
  Schema.makeFilter(
    (kind) => knownKinds.some((known) => known === kind) || gatewayKind.test(kind),
    { expected: `one of ${knownKinds.join(", ")}, or gateway.<name>` }
  )
)
export const Kinds = Schema.Array(EventKindFilter).check(Schema.isMaxLength(filterKindsMax)).annotate({
  description: "Only events of these kinds"
})

const page = <Item extends Schema.Top>(identifier: string, item: Item) =>
  Schema.Struct({
    items: Schema.Array(item),
    /** Give it as `cursor` to read on; null where there is no more. */
    next: Schema.NullOr(Schema.String)
  }).annotate({ identifier })

// Devices

export const DeviceIdField = { id: DeviceId }

export const CreateDeviceFields = {
  name: DeviceName,
  /** A configured gateway; the only one, or `default`, where left out. */
  gateway: Schema.optionalKey(GatewayName),
  /** The gateway's slot; our own id where left out. */
  upstreamId: Schema.optionalKey(UpstreamId)
}

const PacingLine = Schema.String.check(
  Schema.isMaxLength(256),
  Schema.makeFilter((line) => parsePacing(line) !== null, { expected: pacingExpected })
).annotate({ description: "The same as one line: `off`, or like `20/min, 500/day, quiet 21:00-07:00 Asia/Jakarta`" })

/** What is left out stays. */
export const EditDeviceFields = {
  name: Schema.optionalKey(DeviceName),
  pacing: Schema.optionalKey(
    Schema.NullOr(Schema.Union([Pacing, PacingLine])).annotate({
      description: "How fast it may send; null: as the server's default says"
    })
  )
}

/** A chat of a device, as events name it. */
export const ChatFields = {
  id: DeviceId,
  /** The address of the chat, in either spelling of its account. 3-128 characters. */
  chat: Schema.String.check(Schema.isPattern(/^[^\s@]{1,64}@[a-z.]{2,63}$/u, {
    message: "Expected the address of a chat, like 628…@s.whatsapp.net"
  })).annotate({ description: "The address of a chat, as events name it" })
}

/** What an erasure changed. */
export const Erasure = Schema.Struct({
  /** Events whose data is gone; their numbers stay. */
  erased: Schema.Int
}).annotate({ identifier: "Erasure" })
export type Erasure = typeof Erasure.Type

export const ListDevicesFields = {
  state: Schema.optionalKey(DeviceStateTag.annotate({ description: "Only devices in this state" })),
  limit: Schema.optionalKey(PageLimit),
  cursor: Schema.optionalKey(Cursor)
}

export const DevicePage = page("DevicePage", Device)
export type DevicePage = typeof DevicePage.Type

/** The device after a question to the gateway, with what the gateway answered. */
export const DeviceStatus = Schema.Struct({ device: Device, upstream: UpstreamStatus }).annotate({
  identifier: "DeviceStatus"
})
export type DeviceStatus = typeof DeviceStatus.Type

/** A gateway that is down: one incident for all its devices. */
export const GatewayIncident = Schema.Struct({
  gateway: GatewayName,
  since: Timestamp,
  reason: Schema.String,
  nextProbeAt: Timestamp,
  /** How many devices wait for it; null for a key that is limited to some devices. */
  waiting: Schema.NullOr(Schema.Int)
}).annotate({ identifier: "GatewayIncident" })
export type GatewayIncident = typeof GatewayIncident.Type

/** What the actor knows. */
export const HostedConnection = Schema.Struct({
  state: DeviceState,
  attempts: Schema.Int,
  restarts: Schema.Int,
  framesReceived: Schema.Int,
  lastFrameAt: Schema.NullOr(Timestamp),
  /** When a webhook last brought something new of the device. */
  lastWebhookAt: Schema.NullOr(Timestamp),
  lastFailure: Schema.NullOr(Failure),
  /** Null where the gateway cannot be told. */
  webhook: Schema.NullOr(WebhookState),
  /** The socket is not being read because the log is over its bound. */
  paused: Schema.Boolean
})

export const DeviceConnection = Schema.Struct({
  deviceId: DeviceId,
  /** As last recorded in the database. */
  state: DeviceState,
  active: Schema.Boolean,
  /** The node that runs the device where its actor is in reach; else the process that answered. */
  node: Schema.String,
  /** Null where no actor of this device is in reach. */
  hosted: Schema.NullOr(HostedConnection),
  evidence: Schema.Array(Schema.String),
  gaps: GapCounts,
  incident: Schema.NullOr(GatewayIncident),
  sends: Schema.Array(Schema.String).annotate({
    description:
      "What its gateway can be given: the contents of a message, `text` to `sticker`, and what is done to messages, " +
      "`reaction`, `edit` and `revoke`. Empty where the gateway cannot be used"
  })
}).annotate({ identifier: "DeviceConnection" })
export type DeviceConnection = typeof DeviceConnection.Type

// Messages

export const MessageIdField = { id: MessageId }
/** WhatsApp's have up to 32 characters; those of gateways may be longer. */
const waIdMax = 256

export const ListMessagesFields = {
  device: Schema.optionalKey(DeviceId.annotate({ description: "Only messages of this device" })),
  chat: Schema.optionalKey(
    Schema.String.check(Schema.isMaxLength(256)).annotate({ description: "Only messages of this chat, by its JID" })
  ),
  status: Schema.optionalKey(MessageStatus.annotate({ description: "Only messages with this status" })),
  waId: Schema.optionalKey(
    Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(waIdMax)).annotate({
      description:
        "Only messages with this WhatsApp id. It is looked for in steps, from the newest message on: give the " +
        "device, and where known the chat"
    })
  ),
  limit: Schema.optionalKey(PageLimit),
  cursor: Schema.optionalKey(Cursor)
}
export const MessagePage = page("MessagePage", Message)
export type MessagePage = typeof MessagePage.Type

/** More than WhatsApp shows; everybody of a group is one word. */
const mentionsMax = 256
const addressMax = 128

/** Exactly one of the contents, `text` to `sticker`. */
export const SendMessageFields = {
  to: Schema.String.check(Schema.isMaxLength(addressMax)).annotate({
    description: "A phone number with its country code, or the address of a chat as events name it"
  }),
  text: Schema.optionalKey(Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(textMax))),
  location: Schema.optionalKey(LocationContent),
  contact: Schema.optionalKey(ContactContent),
  poll: Schema.optionalKey(PollContent),
  image: Schema.optionalKey(CaptionedContent.annotate({ description: "A JPEG or PNG picture" })),
  document: Schema.optionalKey(DocumentContent.annotate({ description: "Any file" })),
  audio: Schema.optionalKey(FileContent.annotate({ description: "A sound file" })),
  voice: Schema.optionalKey(FileContent.annotate({ description: "A sound file that is shown as a voice note" })),
  video: Schema.optionalKey(CaptionedContent.annotate({ description: "An MP4, Matroska or AVI film" })),
  sticker: Schema.optionalKey(FileContent.annotate({ description: "A WebP, PNG, JPEG or GIF picture" })),
  replyTo: Schema.optionalKey(MessageId.annotate({ description: "The message that this one replies to" })),
  mentions: Schema.optionalKey(
    Schema.Array(Schema.String.check(Schema.isMaxLength(addressMax))).check(Schema.isMaxLength(mentionsMax)).annotate({
      description: "Whom the text mentions: phone numbers or addresses, or `everyone` for all of a group"
    })
  ),
  scheduledAt: Schema.optionalKey(
    Timestamp.check(Schema.isMaxLength(64)).annotate({
      description: "When it is to be sent; as soon as possible where left out"
    })
  ),
  onUnknown: Schema.optionalKey(OnUnknown.annotate({
    description:
      "What to do if no answer came and it is then proven that it was not sent: `report` it as failed, which " +
      "is the default, or `retry`"
  }))
}
export const ReactionFields = {
  emoji: Emoji.annotate({ description: "One emoji; empty to take the reaction back" })
}
export const EditFields = {
  text: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(textMax)).annotate({
    description: "The new text"
  })
}
export const TypingFields = {
  active: Schema.Boolean.annotate({ description: "Whether somebody types; it ends by itself after some seconds" })
}
export const IdempotencyField = {
  idempotencyKey: Schema.optionalKey(
    Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,255}$/u, {
      message: "Expected 1-255 visible ASCII characters"
    })).annotate({
      description: "Makes repeats of the request one message, for 24 hours: each gets the answer of the first"
    })
  )
}

// Gaps

export const ListDeviceGapsFields = {
  status: Schema.optionalKey(GapStatus.annotate({ description: "Only gaps with this status" })),
  unproven: Schema.optionalKey(
    Provable.annotate({ description: "Only gaps that are accounted for, and of which this is not proven" })
  ),
  limit: Schema.optionalKey(PageLimit),
  cursor: Schema.optionalKey(Cursor)
}
export const ListGapsFields = {
  device: Schema.optionalKey(DeviceId.annotate({ description: "Only gaps of this device" })),
  ...ListDeviceGapsFields
}
export const GapPage = page("GapPage", Gap)
export type GapPage = typeof GapPage.Type

// Events

/** Where to begin and what to keep. */
export const ReadEventsFields = {
  after: Schema.optionalKey(Position),
  device: Schema.optionalKey(DeviceId.annotate({ description: "Only events of this device" })),
  kind: Schema.optionalKey(Kinds),
  limit: Schema.optionalKey(PageLimit)
}
export const EventsPage = Schema.Struct({
  items: Schema.Array(Event),
  /** Give it as `after` to read on; null where the page reached the end of the log. */
  next: Schema.NullOr(Position),
  /** As far as was looked, matching or not: reading after it misses nothing, now or later. */
  through: Position
}).annotate({ identifier: "EventsPage" })
export type EventsPage = typeof EventsPage.Type

/** The same page for a typed reader, who may be older than the log. */
export const ReadableEventsPage = Schema.Struct({ ...EventsPage.fields, items: Schema.Array(ReadableEvent) })
export type ReadableEventsPage = typeof ReadableEventsPage.Type

export const FollowEventsFields = {
  /** Replays what follows this position, then goes on live. Left out: only what comes from now on. */
  after: Schema.optionalKey(Position),
  device: Schema.optionalKey(DeviceId.annotate({ description: "Only events of this device" })),
  kinds: Schema.optionalKey(Kinds)
}

/** An item of the `Events` stream. A heartbeat says that everything up to `through` has been given out. */
export const EventsItem = Schema.Union([
  /** `position` is the place after this event, to resume from. */
  Schema.TaggedStruct("Event", { event: ReadableEvent, position: Position }),
  Schema.TaggedStruct("Heartbeat", { through: Position })
])
export type EventsItem = typeof EventsItem.Type

/**
 * An item of the `WatchDevices` stream: every device once, `Synced`, then changes of state as they are committed, and
 * new names soon after. A change that was made during the first part may be sent again after it; applying all items in
 * order gives the right end state.
 */
export const WatchItem = Schema.Union([
  Schema.TaggedStruct("Device", { device: Device }),
  Schema.TaggedStruct("Synced", { through: Position }),
  Schema.TaggedStruct("Changed", {
    seq: Seq,
    deviceId: DeviceId,
    from: Schema.String,
    state: DeviceState,
    rule: Schema.String,
    failure: Schema.NullOr(Failure),
    jid: Schema.NullOr(Schema.String),
    phone: Schema.NullOr(Schema.String),
    at: Timestamp
  }),
  Schema.TaggedStruct("Renamed", { deviceId: DeviceId, name: DeviceName }),
  Schema.TaggedStruct("Heartbeat", { through: Position })
])
export type WatchItem = typeof WatchItem.Type

// The server

/** How far one sink has come, and what keeps it. */
const SinkProgress = Schema.Struct({
  sink: Schema.String,
  state: Schema.Literals(["starting", "running", "waiting", "stopped"]),
  /** The number up to which the other side has confirmed every event. */
  confirmed: Schema.Int,
  /** Committed events that are not confirmed, as of a few seconds ago. */
  lag: Schema.Int,
  /** Events that retention deleted before this sink read them. */
  expired: Schema.Int,
  failure: Schema.NullOr(Schema.Struct({ reason: Schema.String, message: Schema.String, since: Timestamp }))
}).annotate({ identifier: "SinkProgress" })

/** The fleet in figures. What only a process with devices knows, `sinks` and `incidents`, is empty elsewhere. */
export const Overview = Schema.Struct({
  /** The database's clock is not asked: this is the answering process's. */
  at: Timestamp,
  /** The last committed number of the log; null where the database does not answer. */
  head: Schema.NullOr(Seq),
  /** Devices by state; null where the database does not answer. */
  states: Schema.NullOr(Schema.Record(DeviceStateTag, Schema.Int)),
  /** Open gaps by cause, of the causes that have any; null where the database does not answer. */
  openGaps: Schema.NullOr(Schema.Array(Schema.Struct({ cause: GapCause, count: Schema.Int }))),
  sinks: Schema.Array(SinkProgress),
  incidents: Schema.Array(GatewayIncident)
}).annotate({ identifier: "Overview" })
export type Overview = typeof Overview.Type

/** A process that runs devices. */
export const Node = Schema.Struct({
  /** In a cluster, where the other nodes reach it; else the host's name. */
  name: Schema.String,
  startedAt: Timestamp,
  /** When it last wrote down that it was alive; by the database's clock. */
  aliveAt: Timestamp,
  /** False: it has ended or cannot write, and still has devices that no other process has taken over. */
  alive: Schema.Boolean,
  /** Active devices that it has. */
  devices: Schema.Int
}).annotate({ identifier: "Node" })
export type Node = typeof Node.Type

export const NodeList = Schema.Struct({ items: Schema.Array(Node), next: Schema.Null }).annotate({
  identifier: "NodeList"
})

/** Who calls, as the key says. */
export const Caller = Schema.Struct({
  /** The configured name of the key; `anonymous` on a server without keys. */
  name: Schema.String,
  scopes: Schema.Array(Scope),
  /** The devices that the key is limited to; null for all. */
  devices: Schema.NullOr(Schema.Array(DeviceId))
}).annotate({ identifier: "Caller" })
export type Caller = typeof Caller.Type

export const ReadinessCheck = Schema.Struct({ name: Schema.String, ready: Schema.Boolean, detail: Schema.String })
export type ReadinessCheck = typeof ReadinessCheck.Type

/** `node` is the host name of the answering process. */
export const Pong = Schema.Struct({ node: Schema.String }).annotate({ identifier: "Pong" })

/** A key that is limited to some devices gets no gateways, no histories, no head, and checks without details. */
export const ServerInfo = Schema.Struct({
  version: Schema.String,
  /** Host name of the answering process. */
  node: Schema.String,
  startedAt: Timestamp,
  roles: Schema.Array(Schema.String),
  /** One line each, without secrets. */
  database: Schema.String,
  broker: Schema.NullOr(Schema.String),
  gateways: Schema.Array(Schema.Struct({ name: GatewayName, description: Schema.String })),
  /** How far the histories of gateways are read by this process: empty where it runs no devices. */
  histories: Schema.Array(Schema.Struct({
    gateway: GatewayName,
    /** Devices whose history waits to be read, or is being read. */
    devicesToGo: Schema.Int,
    reading: Schema.Int,
    /** Since the process began to use the gateway: rows that were new to the log, and pages. */
    rows: Schema.Int,
    pages: Schema.Int,
    /** Over the last ten seconds. */
    rowsPerSecond: Schema.Number,
    pagesPerSecond: Schema.Number
  })),
  checks: Schema.Array(ReadinessCheck),
  /** The last committed number of the log; null where the database does not answer, and for a limited key. */
  head: Schema.NullOr(Seq)
}).annotate({ identifier: "ServerInfo" })
export type ServerInfo = typeof ServerInfo.Type
