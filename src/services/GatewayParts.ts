/**
 * What a gateway can do, in parts. A dialect's adapter has a part or lacks it: an absent part is an absent property of
 * `WhatsAppGateway`, never a stub. Callers take what is there and ask for no dialect's name.
 *
 * - `statuses`: every slot of the gateway in one request;
 * - `open`: a connection per device;
 * - `link`: one connection for all devices of the gateway;
 * - `ingest`: events that the gateway posts to Columba; `webhook`: configuring where the gateway posts them;
 * - `start`: connecting a slot that the gateway has left stopped;
 * - `history`: messages of the past, for backfill;
 * - `media`: the files of messages;
 * - `send`, `login`: what their names say.
 *
 * Wherever a part hands over facts, they are drafts with the identity that repeats are recognised by, so live frames,
 * webhooks and history can overlap freely.
 */
import { Schema } from "effect"
import type { Effect, Redacted, Scope, Stream } from "effect"
import type { UpstreamStatus } from "../domain/Device.ts"
import type { GatewayUnavailable } from "../domain/DeviceErrors.ts"
import { FailureClass } from "../domain/DeviceState.ts"
import type { Failure, LoginMethod } from "../domain/DeviceState.ts"
import type { EventDraft } from "../domain/Event.ts"
import type { MessageData } from "../domain/EventData.ts"
import type { Provable } from "../domain/Gap.ts"
import type { DeviceId, Timestamp, UpstreamId } from "../domain/Ids.ts"
import type { AckStatus } from "../domain/Message.ts"
import { SendReason } from "../domain/Send.ts"
import type { ContentType, RepliedTo, SendBody } from "../domain/Send.ts"

export interface SessionTarget {
  readonly deviceId: DeviceId
  readonly upstreamId: UpstreamId
  /** The account JID, if it is known, to distinguish the account's own reads from those of others. */
  readonly jid: string | null
}

/** The properties of a dialect, so that callers can adapt without checking its name. */
export interface Capabilities {
  /**
   * How live events arrive. With `webhook` an open session proves no reception: the connection carries hints at most,
   * and an event that did not reach Columba's address is lost until the history is read.
   */
  readonly liveEvents: "session" | "webhook"
  /** `time`: `history` reads any window of time. Null: a blind interval can never be proved complete. */
  readonly history: "time" | null
  /** The statuses of a message that acks of this dialect can report. Others never come. */
  readonly ackLevels: ReadonlyArray<AckStatus>
  /** Whether a waiting login returns a new QR code by itself when one expires. */
  readonly qrRefresh: boolean
  /** Whether a login by passkey is possible. */
  readonly passkey: boolean
  /**
   * Whether a slot may have a second session while its first one is open: then a device moves from one node of a cluster to
   * another without a pause.
   */
  readonly overlap: boolean
}

/** The events of a session. Only `Record` goes into the log; the rest moves the device's state machine. */
export type SessionEvent =
  /** A fact for the log: a message, an ack, another event of the gateway, or a frame that could not be read. */
  | { readonly _tag: "Record"; readonly draft: EventDraft }
  /**
   * The gateway reports that the account is connected; `jid` if it names the account. A hint: status sync confirms it.
   */
  | { readonly _tag: "UpstreamConnected"; readonly jid: string | null }
  /** The gateway reports that the account lost its own connection to WhatsApp. A hint. */
  | { readonly _tag: "UpstreamDisconnected"; readonly reason: string | null }
  /** Another client has taken the account's session at WhatsApp: taking it back at once would begin a fight. */
  | { readonly _tag: "Replaced"; readonly reason: string }
  /** The gateway wants a login. The code itself is a secret of the login flow and never enters the log. */
  | { readonly _tag: "LoginNeeded"; readonly method: LoginMethod; readonly expiresAt: string | null }
  | { readonly _tag: "LoggedOut"; readonly reason: string }
  /** The account may have become usable, which only the gateway's status answer confirms. Online devices ignore it. */
  | { readonly _tag: "StatusHint" }

// Connections

export interface SessionListener {
  /** In arrival order. Must not throw and must not block; may call `pause`. */
  readonly onEvent: (event: SessionEvent) => void
  /** Exactly once, and last. */
  readonly onEnd: (failure: Failure) => void
}

export interface Session {
  /** Stops reading. False if the session cannot stop (it shares a link): the caller then ends the session. */
  readonly pause: () => boolean
  readonly resume: () => void
  /** Ends the session now, with a close code the gateway understands. `onEnd` follows. Idempotent. */
  readonly end: (failure: Failure) => void
  /**
   * Ends the session in order, once. Events that the gateway sends until it answers are delivered, then `done` is
   * called instead of `onEnd`: with true if the gateway has answered and the listener has received everything it ever
   * sent. `end` cuts it short.
   */
  readonly finish: (done: (complete: boolean) => void) => void
}

/** A session or link could not be opened. `retryAfter` in milliseconds if the gateway specified a wait. */
export class SessionRefused extends Schema.TaggedError<SessionRefused>()("SessionRefused", {
  message: Schema.String,
  class: FailureClass,
  code: Schema.String,
  retryAfter: Schema.NullOr(Schema.Finite)
}) {}

/** Opens a session and returns once it is up. Closing the scope closes it with code 1001 and waits for nothing. */
export type OpenSession = (
  target: SessionTarget,
  listener: SessionListener
) => Effect.Effect<Session, SessionRefused, Scope.Scope>

/** The listener of a link: it has the devices, the adapter has the gateway's names for them. */
export interface LinkListener {
  /** The device of a slot id or of an account JID. Null if it is not one of this fleet; its events are dropped. */
  readonly find: (name: string) => SessionTarget | null
  /** In arrival order over all slots. */
  readonly onEvent: (deviceId: DeviceId, event: SessionEvent) => void
  /** Something happened to an unspecified slot: every device of the gateway is notified. */
  readonly onAny: (event: SessionEvent) => void
  /** Exactly once, and last: the link is lost for all devices together. */
  readonly onEnd: (failure: Failure) => void
}

/**
 * One connection for all slots of the gateway. It is read without pause: a gateway that shares one connection among its
 * slots would stop for all of them. The callers share it by reference count. Closing the scope closes it.
 */
export type ConnectLink = (listener: LinkListener) => Effect.Effect<void, SessionRefused, Scope.Scope>

// Statuses

export interface SlotStatus {
  readonly status: UpstreamStatus
  /** False if the list only repeats what the gateway last believed: ask `status` before relying on it. */
  readonly proven: boolean
}

/** All slots of the gateway in one request. A missing slot does not exist there. Bounded at 5 s. */
export type ReadStatuses = Effect.Effect<ReadonlyMap<UpstreamId, SlotStatus>, GatewayUnavailable>

// Webhooks

export interface IngestRequest {
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** As received: the signature is over these bytes. */
  readonly body: Uint8Array
  /** The secrets that may have signed the body: one that verifies is enough. Without any, every request is refused. */
  readonly secrets: ReadonlyArray<Redacted.Redacted>
}

export type IngestResult =
  | {
    readonly _tag: "Accepted"
    readonly deviceId: DeviceId
    readonly events: ReadonlyArray<SessionEvent>
    /** A bounded request to the gateway, after which the same webhook is read better: it need be made only once. */
    readonly better?: Effect.Effect<void>
  }
  /** Signed by the gateway, about a slot that no device of this installation holds. */
  | { readonly _tag: "UnknownSlot"; readonly slot: string }
  | { readonly _tag: "Refused"; readonly reason: "signature" | "unreadable"; readonly detail: string }

export interface IngestContext {
  readonly find: LinkListener["find"]
  readonly now: number
  /** The device that the address of the request names, if it names one: unreadable bodies are recorded for it. */
  readonly device: SessionTarget | null
}

/**
 * The meaning of a webhook. It reads no clock and writes nothing. The signature is checked before anything of the body
 * is read, in constant time. A signed body that cannot be read is `Accepted` with a `frame.rejected` if its device is
 * known. The gateway posts a body again when it got no answer in time, so every draft has an identity, including those
 * of rejected bodies and of other events of the gateway: a repeat is one event whatever its kind.
 */
export type Ingest = (request: IngestRequest, context: IngestContext) => IngestResult

export interface WebhookAddress {
  readonly url: string
  readonly secret: Redacted.Redacted
}

export interface Webhook {
  /** The subscribed events, by the gateway's own names. */
  readonly events: ReadonlyArray<string>
  /**
   * Makes the gateway post the slot's events to Columba. Reads first and writes only differences: some gateways
   * restart the slot on a write. `set`: until now it did not post to this address. `renewed`: it did, with another
   * secret or other events. `unsupported`: this gateway cannot be configured per slot, so an operator has to set it
   * there.
   */
  readonly ensure: (
    target: SessionTarget,
    address: WebhookAddress
  ) => Effect.Effect<"set" | "renewed" | "unchanged" | "unsupported", GatewayUnavailable>
  /**
   * The settings that an operator makes at the gateway by hand, as one sentence that names the gateway's own settings.
   */
  readonly instructions: (url: string) => string
}

/**
 * Connects a slot that the gateway has left stopped or disconnected, if it has an account. Harmless while the slot
 * runs, and without effect if there is nothing to connect. Success does not prove that the account is connected.
 */
export type Start = (target: SessionTarget) => Effect.Effect<void, GatewayUnavailable>

// History

/** Both ends included. */
export interface HistoryWindow {
  readonly from: Timestamp
  readonly to: Timestamp
}

export interface HistoryPage {
  /** Oldest first within a page; pages may come in any order. `via` is `backfill`. */
  readonly drafts: ReadonlyArray<EventDraft>
  /** Where the next page begins, for the adapter alone to read. Null: the window is complete. */
  readonly next: string | null
}

/** The server at the gateway's address, or one slot there, keeps no history, although its dialect has one. */
export class HistoryAbsent extends Schema.TaggedError<HistoryAbsent>()("HistoryAbsent", {
  message: Schema.String,
  gateway: Schema.String,
  reach: Schema.Literals(["gateway", "slot"])
}) {
  /** `detail`: why, and what an operator can do. */
  static of(gateway: string, reach: "gateway" | "slot", detail = ""): HistoryAbsent {
    const who = reach === "gateway" ? `Gateway '${gateway}'` : `A slot of gateway '${gateway}'`
    const why = detail === "" ? "" : `: ${detail}`
    return new HistoryAbsent({ gateway, reach, message: `${who} keeps no history of messages${why}` })
  }
}

export interface History {
  /**
   * The kinds whose presence a complete window proves. All others stay unprovable, even if the rows contain some of
   * them. `acks`: the furthest ack of each message of the window.
   */
  readonly covers: ReadonlySet<Provable>
  /**
   * One page of the window; `page` is null at first and then the `next` of the page before. A page takes one request, so
   * that the caller paces requests; it may hold no drafts and still not be the last one.
   */
  readonly read: (
    target: SessionTarget,
    window: HistoryWindow,
    page: string | null
  ) => Effect.Effect<HistoryPage, GatewayUnavailable | HistoryAbsent>
}

// Media

/** The gateway does not have the file (any more), or never had one for this message. */
export class MediaUnavailable extends Schema.TaggedError<MediaUnavailable>()("MediaUnavailable", {
  message: Schema.String,
  reason: Schema.Literals(["gone", "none"])
}) {}

/** A file in transfer. Properties that the gateway does not report are null. */
export interface MediaFile {
  readonly mimeType: string | null
  /** The exact length of the content. */
  readonly size: number | null
  readonly fileName: string | null
  /** Fails if the gateway ends the transfer early. The caller bounds it. */
  readonly content: Stream.Stream<Uint8Array, GatewayUnavailable>
}

/** Fetches the file of a message, for as long as the scope. `message` is the data of its event. */
export type FetchMedia = (
  target: SessionTarget,
  message: MessageData
) => Effect.Effect<MediaFile, MediaUnavailable | GatewayUnavailable, Scope.Scope>

// Sending

/** The file of a message, as it is described to the gateway. */
export interface OutgoingFile {
  readonly size: number
  readonly mimeType: string
  /** Neither a path nor able to break out of a header. */
  readonly fileName: string
  /** Exactly `size` bytes. Can be read once. */
  readonly content: Stream.Stream<Uint8Array, unknown>
}

export interface OutgoingMessage extends SendBody {
  /** The chat, as a canonical JID. */
  readonly to: string
  /** Of a message with a file. */
  readonly file: OutgoingFile | null
}

/**
 * The gateway refused the message: it was not sent. `permanent`: it will be refused again. Otherwise the account or
 * the gateway is not able to send now, and the same message may be sent to it later.
 */
export class SendRefused extends Schema.TaggedError<SendRefused>()("SendRefused", {
  message: Schema.String,
  reason: SendReason,
  permanent: Schema.Boolean
}) {}

/** The request may have reached the gateway, and no answer shows its outcome. Never repeated blindly. */
export class SendOutcomeUnknown extends Schema.TaggedError<SendOutcomeUnknown>()("SendOutcomeUnknown", {
  message: Schema.String
}) {}

export interface Send {
  readonly contents: ReadonlySet<ContentType>
  /**
   * Returns the WhatsApp id, and WhatsApp's time if the gateway reports it; for an action on a message null, if the
   * gateway's own event reports it instead. `GatewayUnavailable`: the request never reached the gateway whole, and
   * nothing was sent.
   */
  readonly message: (
    target: SessionTarget,
    message: OutgoingMessage
  ) => Effect.Effect<
    { readonly waId: string | null; readonly sentAt?: Timestamp | null },
    SendRefused | SendOutcomeUnknown | GatewayUnavailable
  >
  /** Sends the sender of a message a read receipt. Bounded at 10 s. */
  readonly read?: (
    target: SessionTarget,
    chat: string,
    message: RepliedTo
  ) => Effect.Effect<void, GatewayUnavailable>
  /** Shows a chat that the account is typing, or no longer is. Bounded at 10 s. */
  readonly typing?: (target: SessionTarget, chat: string, active: boolean) => Effect.Effect<void, GatewayUnavailable>
}

// Login

export type LoginRequest =
  | { readonly method: "qr" }
  /** Digits only, with the country code. */
  | { readonly method: "code"; readonly phone: Redacted.Redacted }

/**
 * What links an account with the phone, while it lasts. Secrets of the login flow: they enter neither log, span nor error,
 * and are stored nowhere.
 */
export type LoginCode =
  | {
    readonly _tag: "Qr"
    /** The content of the picture, if it is known. */
    readonly text: Redacted.Redacted | null
    /** The gateway's picture, if the content is not known. Never both null. */
    readonly png: Redacted.Redacted<Uint8Array> | null
    /** How long it can be scanned, from the moment the gateway returned it. */
    readonly millis: number
  }
  | { readonly _tag: "Code"; readonly code: Redacted.Redacted; readonly millis: number }

/** The progress of an attempt. Only the slot's status proves that an account is logged in. */
export type LoginProgress =
  | { readonly _tag: "Waiting" }
  /** The gateway shows another code by now, or none: the earlier code can no longer be used. */
  | { readonly _tag: "Ended" }
  /**
   * WhatsApp asks for a passkey: first for the answer to a challenge, then for a comparison of a code with the phone.
   */
  | {
    readonly _tag: "Passkey"
    readonly challenge: Redacted.Redacted<Schema.Json> | null
    readonly code: Redacted.Redacted | null
  }
  /** The phone has accepted: the gateway connects the account. */
  | { readonly _tag: "Accepted" }

/** The gateway will not begin a login. `logged-in`: the slot has an account already, connected or not. */
export class LoginRefused extends Schema.TaggedError<LoginRefused>()("LoginRefused", {
  message: Schema.String,
  reason: Schema.Literals(["logged-in", "method", "phone", "other"])
}) {}

/** One login of a slot at a time, which the caller ensures. */
export interface Login {
  readonly methods: ReadonlySet<LoginRequest["method"]>
  /** Begins an attempt, or returns the current code of a running one. Bounded at a minute. */
  readonly begin: (
    target: SessionTarget,
    request: LoginRequest
  ) => Effect.Effect<LoginCode, LoginRefused | GatewayUnavailable>
  /** The progress of the attempt that showed this code. Cheap: it is called every second. */
  readonly look: (target: SessionTarget, shown: LoginCode) => Effect.Effect<LoginProgress, GatewayUnavailable>
  /** Unlinks the account and keeps the slot. Repeating it is harmless, and so is a slot without an account. */
  readonly logOut: (target: SessionTarget) => Effect.Effect<void, GatewayUnavailable>
  /** Absent if the gateway does not support passkeys. Both fail if none was requested. */
  readonly passkey?: {
    /** Answers the challenge with the assertion of WebAuthn. */
    readonly answer: (
      target: SessionTarget,
      assertion: Redacted.Redacted<Schema.Json>
    ) => Effect.Effect<void, LoginRefused | GatewayUnavailable>
    /** Confirms that the code on the phone is the same. */
    readonly confirm: (target: SessionTarget) => Effect.Effect<void, LoginRefused | GatewayUnavailable>
  }
}
