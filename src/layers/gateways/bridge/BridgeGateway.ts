/**
 * A gateway that speaks the `bridge` dialect: one WebSocket per device that carries `{event, device_id, payload}`, and
 * HTTP for requests about slots, both behind HTTP Basic.
 *
 * Of the gateway's parts it has `open`. Its list of slots only repeats what the gateway last believed of each, without
 * saying whether the account is connected, so it has no `statuses`; the dialect has no shared link, no webhooks, and no
 * history, sending or login that is known to be the same on every such gateway.
 */
import { Effect, Scope } from "effect"
import type { Redacted } from "effect"
import type { DeviceId, GatewayName } from "../../../domain/Ids.ts"
import type { OpenGateway } from "../../../services/GatewayAdapters.ts"
import { describeGateway } from "../../../services/GatewayDirectory.ts"
import { type Capabilities, type OpenSession, SessionRefused } from "../../../services/GatewayParts.ts"
import type { GatewayParts, WhatsAppGateway } from "../../../services/WhatsAppGateway.ts"
import { type BridgeSession, connect, type SessionOptions } from "./BridgeSession.ts"
import { makeBasic, parseBase } from "../basicAuth.ts"
import { type PingWheel, pingWheel } from "../PingWheel.ts"
import * as RestClient from "../RestClient.ts"
import * as SlotRest from "../SlotRest.ts"
import { scopeClosed } from "../socketFailures.ts"

export interface BridgeOptions {
  readonly name: GatewayName
  /** `http(s)://` or `ws(s)://`, with the gateway's base path if it has one. Checked before it is stored. */
  readonly url: string
  /** Without user and password, here and in the URL, the gateway is open. */
  readonly user?: string | null | undefined
  readonly password?: Redacted.Redacted | undefined
  /** 1 MiB by default: the largest frames seen carry a base64 thumbnail of some 100 KiB. */
  readonly frameBytesMax?: number | undefined
  /** 16 MiB by default, WhatsApp's own limit for media in line: a frame above it ends the session. */
  readonly frameBytesHardMax?: number | undefined
  /** The whole handshake. 10 s by default: connecting is rate limited, so a healthy gateway answers far sooner. */
  readonly handshakeMillis?: number | undefined
  /** The process's own wheel by default; tests bring a faster one. */
  readonly wheel?: PingWheel | undefined
}

/** The parts of every `bridge` gateway. */
export type BridgeGateway = WhatsAppGateway & Required<Pick<GatewayParts, "open">>

const capabilities: Capabilities = {
  liveEvents: "session",
  history: null,
  ackLevels: ["pending", "sent", "delivered", "read", "played", "failed"],
  qrRefresh: true,
  passkey: false
}

const frameBytesDefault = 1024 * 1024
const frameBytesHardDefault = 16 * 1024 * 1024
const handshakeMillisDefault = 10_000

export const make = Effect.fnUntraced(function*(
  options: BridgeOptions
): Effect.fn.Return<BridgeGateway, never, Scope.Scope> {
  const base = parseBase(options.url)
  const authorization = makeBasic(options)
  const headers: Readonly<Record<string, string>> = authorization === null ? {} : { authorization }
  const rest = SlotRest.make(options.name, yield* RestClient.make({ name: options.name, base, headers }))
  const sessionOptions: SessionOptions = {
    url: `${base.href.replace(/^http/, "ws").replace(/\/$/, "")}/ws`,
    authorization,
    frameBytesMax: options.frameBytesMax ?? frameBytesDefault,
    frameBytesHardMax: options.frameBytesHardMax ?? frameBytesHardDefault,
    handshakeMillis: options.handshakeMillis ?? handshakeMillisDefault,
    wheel: options.wheel ?? pingWheel
  }
  // To teach a session the account once the gateway has told it: frames may name the account instead of the slot.
  const sessions = new Map<DeviceId, BridgeSession>()

  const openSession: OpenSession = (target, listener) =>
    Effect.flatMap(Effect.scope, (scope) => {
      let close: () => void = noop
      const connected = Effect.callback<BridgeSession, SessionRefused>((resume) => {
        close = connect(sessionOptions, target, listener, (session) => {
          sessions.set(target.deviceId, session)
          close = () => {
            if (sessions.get(target.deviceId) === session) sessions.delete(target.deviceId)
            session.end(scopeClosed)
          }
          resume(Effect.succeed(session))
        }, ({ failure, retryAfter }) => {
          const message = `Gateway '${options.name}' did not open a session: ${failure.detail}`
          resume(Effect.fail(new SessionRefused({ message, class: failure.class, code: failure.code, retryAfter })))
        })
        return Effect.sync(() => close())
      })
      // Registered first, so that no interruption can fall between an open socket and its release.
      return Effect.andThen(Scope.addFinalizer(scope, Effect.sync(() => close())), connected)
    })

  return {
    name: options.name,
    dialect: "bridge",
    description: describeGateway({ dialect: "bridge", url: base.href }),
    capabilities,
    open: openSession,
    status: (target) =>
      Effect.tap(rest.status(target.upstreamId), ({ jid }) => {
        if (jid !== null) sessions.get(target.deviceId)?.learnAccount(jid)
        return Effect.void
      }),
    ensureSlot: rest.ensureSlot,
    probe: rest.probe
  }
})

/** For the table of dialects. */
export const open: OpenGateway = ({ name, secrets, url, user }) => make({ name, url, user, password: secrets.password })

const noop = () => {}
