/**
 * A gateway that runs GOWA (go-whatsapp-web-multidevice), behind HTTP Basic.
 *
 * Messages and acks come only by webhook; its one socket for all slots carries news of pairings and logouts. It does not
 * report that an account lost its connection, and its list of slots shows an account as logged in long after: only
 * the status of one slot proves it. Its history is read by time and chat, and has neither acks nor the past text of an
 * edited message.
 */
import { Effect, Result, Scope } from "effect"
import type { Redacted } from "effect"
import type { GatewayName, UpstreamId } from "../../../domain/Ids.ts"
import type { OpenGateway } from "../../../services/GatewayAdapters.ts"
import { describeGateway } from "../../../services/GatewayDirectory.ts"
import { type Capabilities, type ConnectLink, SessionRefused, type SlotStatus } from "../../../services/GatewayParts.ts"
import type { GatewayParts, WhatsAppGateway } from "../../../services/WhatsAppGateway.ts"
import { makeBasic, parseBase } from "../baseUrl.ts"
import * as ChatHistory from "../chatHistory.ts"
import { type PingWheel, pingWheel } from "../PingWheel.ts"
import * as EnvelopeSending from "../envelopeSending.ts"
import * as RestClient from "../RestClient.ts"
import * as SendRest from "../SendRest.ts"
import * as SlotLogin from "../slotLogin.ts"
import * as SlotRest from "../SlotRest.ts"
import { ofStatus, scopeClosed } from "../socketFailures.ts"
import * as GowaMedia from "./GowaMedia.ts"
import { connect, type GowaLink, type LinkOptions } from "./GowaLink.ts"
import * as GowaRest from "./GowaRest.ts"
import { ingest } from "./GowaWebhook.ts"

export interface GowaOptions {
  readonly name: GatewayName
  /** `http(s)://` with the gateway's base path if it has one. Validated before it is stored. */
  readonly url: string
  /** Without user and password, here and in the URL, the gateway is open. */
  readonly user?: string | null | undefined
  readonly password?: Redacted.Redacted | undefined
  /** Time limit of the link's handshake. 10 s by default. */
  readonly handshakeMillis?: number | undefined
  /** The process's own wheel by default; tests use a faster one. */
  readonly wheel?: PingWheel | undefined
}

/** The parts of every GOWA gateway. */
export type GowaGateway =
  & WhatsAppGateway
  & Required<
    Pick<GatewayParts, "statuses" | "link" | "ingest" | "webhook" | "start" | "history" | "media" | "send" | "login">
  >

const handshakeMillisDefault = 10_000

const capabilities: Capabilities = {
  liveEvents: "webhook",
  history: "time",
  ackLevels: ["delivered", "read"],
  qrRefresh: false,
  passkey: true,
  overlap: true
}

/** GOWA deletes the picture of a code after half of the code's life, and returns that time as its lifetime. */
const loginOptions: SlotLogin.SlotLoginOptions = {
  lifetime: (seconds) => 2 * seconds * 1000,
  endsByState: true,
  passkey: true
}

export const make = Effect.fnUntraced(function*(
  options: GowaOptions
): Effect.fn.Return<GowaGateway, never, Scope.Scope> {
  const { name } = options
  const base = parseBase(options.url)
  const authorization = makeBasic(options)
  const headers: Readonly<Record<string, string>> = authorization === null ? {} : { authorization }
  const rest = yield* RestClient.make({ name, base, headers })
  const sending = yield* SendRest.make({ name, headers })
  const slots = SlotRest.make(name, rest)
  const gowa = GowaRest.make(name, rest, slots)
  const linkOptions: LinkOptions = {
    url: `${base.href.replace(/^http/, "ws").replace(/\/$/, "")}/ws`,
    headers,
    handshakeMillis: options.handshakeMillis ?? handshakeMillisDefault,
    wheel: options.wheel ?? pingWheel
  }

  const refused = (kind: SessionRefused["class"], code: string, detail: string, retryAfter: number | null = null) =>
    new SessionRefused({ message: `Gateway '${name}' did not open its link: ${detail}`, class: kind, code, retryAfter })

  /** The upgrade needs the name of any slot: it filters nothing. */
  const findSlot = Effect.gen(function*() {
    const listed = yield* Effect.mapError(gowa.list, ({ message }) => refused("upstreamDown", "unreachable", message))
    if (Result.isFailure(listed)) {
      const { envelope, status } = listed.failure
      const { failure } = ofStatus(status, {}, envelope, 0)
      return yield* refused(failure.class, failure.code, failure.detail)
    }
    const [slot] = listed.success
    return slot === undefined
      ? yield* refused("transport", "unknown-slot", "it has no slot yet, and a link needs one")
      : slot.id
  })

  const link: ConnectLink = (listener) =>
    Effect.flatMap(findSlot, (slot) =>
      Effect.flatMap(Effect.scope, (scope) => {
        let close: () => void = noop
        const connected = Effect.callback<void, SessionRefused>((resume) => {
          close = connect(linkOptions, slot, listener, (opened: GowaLink) => {
            close = () => opened.end(scopeClosed)
            resume(Effect.void)
          }, ({ failure, retryAfter }) => {
            resume(Effect.fail(refused(failure.class, failure.code, failure.detail, retryAfter)))
          })
          return Effect.sync(() => close())
        })
        // Registered first, so that no interruption can fall between an open socket and its release.
        return Effect.andThen(Scope.addFinalizer(scope, Effect.sync(() => close())), connected)
      }))

  const statuses = Effect.gen(function*() {
    const listed = yield* gowa.list
    if (Result.isFailure(listed)) return yield* gowa.refused("list its slots", listed.failure)
    return new Map<UpstreamId, SlotStatus>(listed.success.map((slot) => [slot.id, judge(slot)]))
  })

  return {
    name,
    dialect: "gowa",
    description: describeGateway({ dialect: "gowa", url: base.href }),
    capabilities,
    status: (target, accountKnown = false) => gowa.status(target.upstreamId, accountKnown ? target.jid : null),
    statuses,
    ensureSlot: slots.ensureSlot,
    probe: slots.probe,
    link,
    ingest,
    webhook: {
      events: GowaRest.webhookEvents,
      ensure: gowa.ensureWebhook,
      instructions: (url) =>
        `set WHATSAPP_WEBHOOK=${url} and WHATSAPP_WEBHOOK_SECRET to the gateway's webhook secret, and leave ` +
        "WHATSAPP_WEBHOOK_EVENTS empty; from 8.10 on PATCH /devices/{slot}/webhook sets the same for one slot"
    },
    start: gowa.start,
    media: GowaMedia.make(name, rest, gowa),
    history: ChatHistory.make(name, rest),
    send: EnvelopeSending.make(name, rest, sending),
    login: SlotLogin.make(name, rest, slots, loginOptions)
  }
})

/** The entry for the table of dialects. */
export const open: OpenGateway = ({ name, secrets, url, user }) => make({ name, url, user, password: secrets.password })

const noop = () => {}

/**
 * `logged_in` remains after the connection is lost, and `connected` also means that a QR code is shown: neither
 * proves anything. `disconnected` is GOWA's own observation, and the account shows whether the slot is paired.
 */
const judge = ({ jid, state }: GowaRest.ListedSlot): SlotStatus =>
  state === "disconnected"
    ? { status: { isConnected: false, isLoggedIn: jid !== null, jid }, proven: true }
    : { status: { isConnected: state !== "", isLoggedIn: state === "logged_in", jid }, proven: false }
