/**
 * The port to a gateway. A dialect adapter opens a device's session, turns what arrives into happenings, and answers
 * questions about a slot. Adapters differ in where events come from (own socket, shared socket, webhooks); the port
 * does not: a session is whatever tells this device's happenings and ends.
 *
 * Frames are handed over by plain calls, in arrival order, from the socket's callback: at this rate a fiber or queue a
 * device is what costs (see `docs/decisions/`), and order needs neither.
 */
import { Context, Schema } from "effect"
import type { Effect, Scope } from "effect"
import type { EventDraft } from "../domain/Event.ts"
import type { Failure } from "../domain/DeviceState.ts"
import type { UpstreamStatus } from "../domain/Device.ts"
import type { DeviceId, GatewayName, UpstreamId } from "../domain/Ids.ts"
import { FailureClass } from "../domain/DeviceState.ts"
import type { GatewayUnavailable } from "../domain/DeviceErrors.ts"

export interface SessionTarget {
  readonly deviceId: DeviceId
  readonly upstreamId: UpstreamId
  /** The account JID we know, to tell our own reads from others'. */
  readonly jid: string | null
}

/** What a session tells. Only `Record` goes into the log; the rest moves the device's state machine. */
export type SessionEvent =
  /** A fact for the log: a message, an ack, another gateway event, or a frame we could not read. */
  | { readonly _tag: "Record"; readonly draft: EventDraft }
  /** The gateway says the account is connected; `jid` where it says which. A hint: status sync confirms. */
  | { readonly _tag: "UpstreamConnected"; readonly jid: string | null }
  /** The gateway says the account lost its own connection to WhatsApp. A hint. */
  | { readonly _tag: "UpstreamDisconnected"; readonly reason: string | null }
  /** The gateway wants a login. The code itself is a secret of the login flow and never enters the log. */
  | { readonly _tag: "LoginNeeded"; readonly method: "qr" | "code" | "unknown"; readonly expiresAt: string | null }
  | { readonly _tag: "LoggedOut"; readonly reason: string }

export interface SessionListener {
  /** In arrival order. Must not throw and must not block; may call `pause`. */
  readonly onEvent: (event: SessionEvent) => void
  /** Exactly once, last. */
  readonly onEnd: (failure: Failure) => void
}

export interface Session {
  /** Stops reading. False where this dialect must not stop (a shared socket): the caller then ends the session. */
  readonly pause: () => boolean
  readonly resume: () => void
  /** Ends it now, with a close code the gateway understands. `onEnd` follows. Idempotent. */
  readonly end: (failure: Failure) => void
}

/** Could not open. `retryAfter` in milliseconds where the gateway named one. */
export class SessionRefused extends Schema.TaggedError<SessionRefused>()("SessionRefused", {
  message: Schema.String,
  class: FailureClass,
  code: Schema.String,
  retryAfter: Schema.NullOr(Schema.Finite)
}) {}

export interface WhatsAppGateway {
  readonly name: GatewayName
  /** One line for people: dialect and URL without secrets. */
  readonly description: string
  /**
   * Opens a session and returns once it is up. Closing the scope closes it with code 1001 and waits for nothing.
   */
  readonly open: (
    target: SessionTarget,
    listener: SessionListener
  ) => Effect.Effect<Session, SessionRefused, Scope.Scope>
  /** Asks the gateway about the slot. An unknown slot answers not connected, not logged in. Bounded at 5 s. */
  readonly status: (target: SessionTarget) => Effect.Effect<UpstreamStatus, GatewayUnavailable>
  /** Creates the slot where the gateway lacks it. Repeating it is harmless. */
  readonly ensureSlot: (upstreamId: UpstreamId) => Effect.Effect<void, GatewayUnavailable>
  /** Whether the gateway's process answers at all. Cheap, unauthenticated, bounded at 3 s. */
  readonly probe: Effect.Effect<void, GatewayUnavailable>
}

/** The configured gateways by name. */
export class Gateways extends Context.Service<Gateways, {
  readonly all: ReadonlyMap<GatewayName, WhatsAppGateway>
}>()("columba/services/WhatsAppGateway/Gateways") {}
