/**
 * A gateway that speaks the `bridge` dialect: one WebSocket per device that carries `{event, device_id, payload}`, and
 * HTTP for requests about slots, both behind HTTP Basic.
 *
 * Of the gateway's parts it has `open`, `history`, `send` and `login`. Its list of slots only repeats the gateway's last
 * assumption about each, without stating whether the account is connected, so it has no `statuses`; the dialect has no shared
 * link and no webhooks.
 *
 * History and sending are those of the servers whose envelope the dialect uses. A server at a bridge's address may lack
 * them. It reports that when it is first asked (`HistoryAbsent`), and gaps stay unprovable; a message
 * to it fails as unsupported. The same holds for logins (`LoginRefused`).
 */
import { Effect } from "effect"
import type { Redacted, Scope } from "effect"
import type { GatewayName } from "../../../domain/Ids.ts"
import type { OpenGateway } from "../../../services/GatewayAdapters.ts"
import { describeGateway } from "../../../services/GatewayDirectory.ts"
import type { Capabilities } from "../../../services/GatewayParts.ts"
import type { GatewayParts, WhatsAppGateway } from "../../../services/WhatsAppGateway.ts"
import { makeBasic, parseBase, socketUrl } from "../baseUrl.ts"
import * as ChatHistory from "../chatHistory.ts"
import * as EnvelopeSending from "../envelopeSending.ts"
import * as RestClient from "../RestClient.ts"
import * as SendRest from "../SendRest.ts"
import * as SlotLogin from "../slotLogin.ts"
import * as SlotRest from "../SlotRest.ts"
import { ofClose } from "../socketFailures.ts"
import * as SocketSession from "../SocketSession.ts"
import { decodeFrame } from "./BridgeDecoder.ts"

export interface BridgeOptions extends SocketSession.SocketLimits {
  readonly name: GatewayName
  /** `http(s)://` or `ws(s)://`, with the gateway's base path if it has one. Validated before it is stored. */
  readonly url: string
  /** Without user and password, here and in the URL, the gateway is open. */
  readonly user?: string | null | undefined
  readonly password?: Redacted.Redacted | undefined
}

/** The parts of every `bridge` gateway. */
export type BridgeGateway = WhatsAppGateway & Required<Pick<GatewayParts, "open" | "history" | "send" | "login">>

const capabilities: Capabilities = {
  liveEvents: "session",
  history: "time",
  ackLevels: ["pending", "sent", "delivered", "read", "played", "failed"],
  qrRefresh: true,
  passkey: false,
  overlap: true
}

/** The meaning of a slot's state while a code is shown differs between bridges; an account in it always counts. */
const loginOptions: SlotLogin.SlotLoginOptions = {
  lifetime: (seconds) => seconds * 1000,
  endsByState: false,
  passkey: false
}

export const make = Effect.fnUntraced(function*(
  options: BridgeOptions
): Effect.fn.Return<BridgeGateway, never, Scope.Scope> {
  const base = parseBase(options.url)
  const authorization = makeBasic(options)
  const headers: Readonly<Record<string, string>> = authorization === null ? {} : { authorization }
  const http = yield* RestClient.make({ name: options.name, base, headers })
  const sending = yield* SendRest.make({ name: options.name, headers })
  const rest = SlotRest.make(options.name, http)
  const url = socketUrl(base)
  const sockets = SocketSession.make(options.name, {
    url,
    address: ({ upstreamId }) => ({
      url: `${url}?device_id=${upstreamId}`,
      headers: { "X-Device-Id": upstreamId, ...headers }
    }),
    decode: (text, target, now) => decodeFrame(text, target, now),
    ofClose,
    acceptedBy: "upgrade"
  }, options)

  return {
    name: options.name,
    dialect: "bridge",
    description: describeGateway({ dialect: "bridge", url: base.href }),
    capabilities,
    open: sockets.open,
    status: (target, accountKnown = false) =>
      Effect.map(rest.status(target.upstreamId, accountKnown ? target.jid : null), (status) => {
        // Frames may name the account instead of the slot.
        if (status.jid !== null) sockets.setAccount(target.deviceId, status.jid)
        return status
      }),
    history: ChatHistory.make(options.name, http),
    send: EnvelopeSending.make(options.name, http, sending),
    login: SlotLogin.make(options.name, http, rest, loginOptions),
    ensureSlot: rest.ensureSlot,
    probe: rest.probe
  }
})

/** The entry for the table of dialects. */
export const open: OpenGateway = ({ name, secrets, url, user }) => make({ name, url, user, password: secrets.password })
