/** Values for the documents of the API, in their wire form: one fleet of one device. A test decodes them all. */
import type { ApiKey } from "../domain/ApiKey.ts"
import type { AutoReply } from "../domain/AutoReply.ts"
import type { DeadLetter } from "../domain/DeadLetter.ts"
import type { Device } from "../domain/Device.ts"
import { eventKinds } from "../domain/EventKinds.ts"
import type { Explanation } from "../domain/Explanation.ts"
import type { Gap } from "../domain/Gap.ts"
import type { Gateway } from "../domain/Gateway.ts"
import { EventId, positionAfter } from "../domain/Ids.ts"
import type { Message } from "../domain/Message.ts"
import type { Schedule } from "../domain/Schedule.ts"
import type { Delivery, Subscription } from "../domain/Subscription.ts"
import type { DeviceConnection } from "./DevicePayloads.ts"
import type { Caller, Node, Overview, ServerInfo } from "./ServerPayloads.ts"

/** A message from a contact. */
export const event = eventKinds[0].example

const { deviceId } = event

/** The position after the event. */
export const position = positionAfter(Number(event.seq), EventId.make(event.id))
const { body, chat: contact, messageId, sender, type, waId } = event.data

export const device: typeof Device.Encoded = {
  id: deviceId,
  name: "Front desk",
  gateway: "default",
  upstreamId: deviceId,
  phone: "+6281234567890",
  jid: "6281234567890@s.whatsapp.net",
  state: { _tag: "Online", jid: "6281234567890@s.whatsapp.net", since: "2026-11-22T10:00:03.120Z" },
  active: true,
  pacing: null,
  createdAt: "2026-11-22T09:59:58.004Z",
  updatedAt: "2026-11-22T10:00:03.120Z"
}

export const gateway: typeof Gateway.Encoded = {
  name: "main",
  dialect: "bridge",
  url: "https://gateway.example",
  user: "columba",
  secrets: ["password"],
  source: "api",
  active: true,
  createdAt: "2026-11-22T09:58:00.000Z",
  updatedAt: "2026-11-22T09:58:00.000Z"
}

export const message: typeof Message.Encoded = {
  id: messageId,
  deviceId,
  direction: "in",
  waId,
  chat: contact,
  sender,
  type,
  body,
  status: "delivered",
  via: "live",
  delaySeconds: 0,
  occurredAt: "2026-11-22T10:04:11Z",
  createdAt: "2026-11-22T10:04:11.402Z",
  updatedAt: "2026-11-22T10:04:11.402Z"
}

export const schedule: typeof Schedule.Encoded = {
  id: "sch_01K5ZQB2V4X6Y8Z0A1C3E5G7J9",
  deviceId,
  message: { to: contact, text: "We open at nine.", onUnknown: "report" },
  cron: "30 8 * * 1-6",
  zone: "Asia/Jakarta",
  until: null,
  graceSeconds: 3600,
  paused: false,
  next: { at: "2026-11-23T01:30:00.000Z", messageId: "msg_01K5ZQC0G2K4M6P8R0T2V4X6Z8" },
  last: null,
  skipped: 0,
  ended: null,
  createdAt: "2026-11-22T10:05:40.000Z",
  updatedAt: "2026-11-22T10:05:40.000Z"
}

/** A message that has just been accepted for sending. */
export const fileToSend = {
  id: "file_01K5ZQ9F6N2P4R7S8T0V1W3X5Y",
  size: 48_213,
  mimeType: "image/jpeg",
  expiresAt: "2026-11-22T10:20:02.118Z"
}

export const outgoing: typeof Message.Encoded = {
  id: "msg_01K5ZQ9F6N2P4R7S8T0V1W3X5Y",
  deviceId,
  direction: "out",
  waId: null,
  chat: contact,
  sender: "6281234567890@s.whatsapp.net",
  type: "text",
  body: "Yes, until six.",
  status: "pending",
  via: "columba",
  delaySeconds: 0,
  occurredAt: "2026-11-22T10:05:02.118Z",
  createdAt: "2026-11-22T10:05:02.118Z",
  updatedAt: "2026-11-22T10:05:02.118Z",
  sending: {
    scheduledAt: null,
    expiresAt: "2026-11-23T10:05:02.118Z",
    onUnknown: "report",
    target: null,
    attempts: 0,
    reason: null,
    detail: null
  }
}

export const gap: typeof Gap.Encoded = {
  id: "gap_01K5ZQ9H8W6X7Y8Z9A0B1C2D3E",
  deviceId,
  cause: "socket-down",
  status: "unprovable",
  openedAt: "2026-11-22T10:04:11.320Z",
  endedAt: "2026-11-22T10:04:15.870Z",
  closedAt: "2026-11-22T10:04:17.032Z",
  proven: ["messages"],
  recovered: 2,
  detail: "the gateway closed the session with code 1006"
}

const gapCounts = { open: 0, closed: 1, unprovable: 0, messagesUnproven: 0, openSince: null }

export const explanation: typeof Explanation.Encoded = {
  deviceId,
  state: "Backoff",
  why: "The gateway closed the session",
  rule: "session-ended",
  evidence: ["transport/socket-closed: closed with code 1006"],
  next: "connects again",
  nextAt: "2026-11-22T10:05:00.000Z",
  howToFix: null,
  gaps: gapCounts,
  sending: {
    pacing: "20/min, 500/day",
    waiting: 3,
    waitsFor: { reason: "daily-cap", until: "2026-11-23T06:12:40.000Z" }
  },
  seq: "1040"
}

export const connection: typeof DeviceConnection.Encoded = {
  deviceId,
  state: device.state,
  active: true,
  node: "columba-1",
  hosted: {
    state: device.state,
    attempts: 1,
    restarts: 0,
    framesReceived: 17,
    lastFrameAt: "2026-11-22T10:04:11.398Z",
    lastWebhookAt: null,
    lastFailure: null,
    webhook: null,
    paused: false
  },
  evidence: [],
  gaps: gapCounts,
  incident: null,
  sends: ["text", "location", "contact", "poll", "image", "document", "voice", "video", "reaction", "edit", "revoke"]
}

export const serverInfo: typeof ServerInfo.Encoded = {
  version: "0.1.0",
  node: "columba-1",
  startedAt: "2026-11-22T09:59:57.500Z",
  roles: ["api", "devices"],
  database: "Postgres at db:5432/columba",
  broker: "RabbitMQ at broker:5672",
  gateways: [{ name: "default", description: "bridge at https://gateway.example" }],
  histories: [
    {
      gateway: "default",
      devicesToGo: 212,
      reading: 4,
      rows: 5120,
      pages: 840,
      rowsPerSecond: 61.4,
      pagesPerSecond: 49.9
    }
  ],
  checks: [{ name: "database", ready: true, detail: "the log stands at 1042" }],
  head: "1042"
}

export const overview: typeof Overview.Encoded = {
  at: "2026-11-22T10:04:12.000Z",
  head: "1042",
  states: {
    Inactive: 1,
    Connecting: 0,
    AwaitingLogin: 1,
    Online: 22,
    Backoff: 1,
    LoggedOut: 0,
    Deaf: 0,
    Quarantined: 0
  },
  openGaps: [{ cause: "socket-down", count: 1 }],
  sinks: [{ sink: "rabbitmq", state: "running", confirmed: 1040, lag: 2, expired: 0, failure: null }],
  incidents: []
}

export const node: typeof Node.Encoded = {
  name: "10.0.0.11:7800",
  startedAt: "2026-11-22T10:00:00.000Z",
  aliveAt: "2026-11-22T10:04:10.000Z",
  alive: true,
  devices: 12,
  cluster: {
    version: "0.1.0",
    roles: ["api", "devices", "consumer", "scheduler"],
    weight: 1,
    shards: 100,
    leaseSeconds: 20,
    leaseAgeSeconds: 3.2,
    taken: 150,
    given: 50,
    moves: [{ at: "2026-11-22T10:02:00.000Z", direction: "given", reason: "node-joined", shards: 50 }],
    differs: []
  }
}

export const caller: typeof Caller.Encoded = { name: "operator", scopes: ["read", "manage"], devices: null }

export const subscription: typeof Subscription.Encoded = {
  id: "sub_01K5ZR0M4T6V8X0Z2B4D6F8H0J",
  name: "Orders",
  url: "https://hooks.example.com/columba",
  kinds: ["message.received"],
  devices: null,
  headers: [],
  rateLimit: null,
  state: "active",
  disabled: null,
  previousSecretUntil: null,
  position: "1042",
  behind: 0,
  health: { failing: null, held: [], abandoned: 0, expired: 0, lastDeliveredAt: "2026-11-22T10:04:11.440Z" },
  createdAt: "2026-11-22T10:00:00.000Z",
  updatedAt: "2026-11-22T10:00:00.000Z"
}

/** The secret from the examples of Standard Webhooks. */
export const subscriptionSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

export const delivery: typeof Delivery.Encoded = {
  eventId: event.id,
  seq: event.seq,
  kind: event.kind,
  deviceId,
  attempt: 1,
  at: "2026-11-22T10:04:11.440Z",
  outcome: "delivered",
  status: 204,
  millis: 38,
  detail: null,
  abandoned: false
}

export const autoReply: typeof AutoReply.Encoded = {
  deviceId,
  enabled: true,
  prompt:
    "You are the front desk of a bicycle shop. Answer in two sentences. Send people with complaints to +62 21 555 0100.",
  window: 10,
  dailyLimit: 50,
  updatedAt: "2026-11-22T10:00:00.000Z"
}

export const apiKey: typeof ApiKey.Encoded = {
  id: "key_01K5ZR4Q8S0V2X4Z6B8D0F2H4K",
  name: "shop",
  scopes: ["read", "send"],
  devices: [deviceId],
  requestsPerSecond: null,
  createdBy: "operator",
  createdAt: "2026-11-22T10:00:00.000Z",
  expiresAt: "2027-11-22T00:00:00.000Z",
  rotatedAt: null,
  previousUntil: null
}

/** Has the form of a key, but is none. */
export const apiKeySecret = `columba_01K5ZR4Q8S0V2X4Z6B8D0F2H4K_${"0".repeat(64)}`

export const deadLetter: typeof DeadLetter.Encoded = {
  id: event.id,
  kind: event.kind,
  deviceId,
  seq: event.seq,
  reason: "rejected",
  queue: "columba.messages.incoming",
  diedAt: "2026-11-22T10:09:14.000Z",
  failures: [{ handler: "orders", attempts: 10, message: "Error: no such product", at: "2026-11-22T10:09:14.020Z" }]
}

const ids = [
  ["/messages/", messageId],
  ["/subscriptions/", subscription.id],
  ["/schedules/", schedule.id],
  ["/keys/", apiKey.id]
] as const

/** Parameters by name. `id` names an object of the kind that the path is about. */
export const parameters = (path: string): Readonly<Record<string, unknown>> => ({
  id: ids.find(([part]) => path.includes(part))?.[1] ?? deviceId,
  outcome: "failed",
  name: gateway.name,
  device: deviceId,
  chat: contact,
  waId,
  status: path.includes("/gaps") ? "open" : "read",
  unproven: "messages",
  state: "Online",
  kind: ["message.received"],
  after: "1042",
  "last-event-id": "1042",
  cursor: "YzE6MTA0Mg",
  "idempotency-key": "order-4711-confirmed",
  limit: 100
})
