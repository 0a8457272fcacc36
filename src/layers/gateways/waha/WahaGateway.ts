/**
 * A WAHA server: one WebSocket per session with filtered events, webhooks, and REST for everything else, behind an API
 * key.
 *
 * The key is in the socket's URL, because the server reads it only there, and in a header of every request. Neither
 * enters an error, a span, a log line or a metric: failures name codes, never addresses.
 */
import { Effect, Redacted } from "effect"
import type { Scope } from "effect"
import type { Failure } from "../../../domain/DeviceState.ts"
import type { GatewayName } from "../../../domain/Ids.ts"
import type { OpenGateway } from "../../../services/GatewayAdapters.ts"
import { describeGateway } from "../../../services/GatewayDirectory.ts"
import type { Capabilities } from "../../../services/GatewayParts.ts"
import type { GatewayParts, WhatsAppGateway } from "../../../services/WhatsAppGateway.ts"
import { parseBase, socketUrl } from "../baseUrl.ts"
import * as RestClient from "../RestClient.ts"
import * as SendRest from "../SendRest.ts"
import { ofClose } from "../socketFailures.ts"
import * as SocketSession from "../SocketSession.ts"
import * as LidMap from "./LidMap.ts"
import { decodeFrame } from "./WahaDecoder.ts"
import * as WahaHistory from "./WahaHistory.ts"
import * as WahaLogin from "./WahaLogin.ts"
import * as WahaMedia from "./WahaMedia.ts"
import * as WahaRest from "./WahaRest.ts"
import * as WahaSending from "./WahaSending.ts"
import { makeIngest, makeWebhook, wantedEvents } from "./WahaWebhook.ts"

export interface WahaOptions extends SocketSession.SocketLimits {
  readonly name: GatewayName
  /** `http(s)://` or `ws(s)://`, with the path that a proxy puts before the server's own. Validated before it is stored. */
  readonly url: string
  /** Without it the server requires none. */
  readonly apiKey?: Redacted.Redacted | undefined
}

/** The parts of every WAHA server. */
export type WahaGateway =
  & WhatsAppGateway
  & Required<
    Pick<GatewayParts, "statuses" | "open" | "ingest" | "webhook" | "start" | "history" | "media" | "send" | "login">
  >

const capabilities: Capabilities = {
  liveEvents: "session",
  history: "time",
  ackLevels: ["pending", "sent", "delivered", "read", "played", "failed"],
  qrRefresh: true,
  passkey: true,
  overlap: true
}

export const make = Effect.fnUntraced(function*(
  options: WahaOptions
): Effect.fn.Return<WahaGateway, never, Scope.Scope> {
  const base = parseBase(options.url)
  const key = options.apiKey === undefined ? null : Redacted.value(options.apiKey)
  const headers: Readonly<Record<string, string>> = key === null ? {} : { "x-api-key": key }
  const client = yield* RestClient.make({ name: options.name, base, headers })
  const rest = WahaRest.make(options.name, client)
  const sending = yield* SendRest.make({ name: options.name, headers })
  const lids = yield* LidMap.make(client, rest)
  const url = socketUrl(base)
  const sockets = SocketSession.make(options.name, {
    url,
    address: ({ upstreamId }) => {
      const query = new URLSearchParams({ session: upstreamId, events: wantedEvents.join(",") })
      if (key !== null) query.set("x-api-key", key)
      return { url: `${url}?${query}`, headers: {} }
    },
    decode: (text, target, now, mayWait) => {
      const { find, keep, missing } = lids.finder(target)
      const events = decodeFrame(text, { target, now, findPhone: find })
      if (missing.size > 0 && mayWait) {
        return new SocketSession.NotYet((answered) => lids.resolveThen(target, missing, answered))
      }
      keep()
      return events
    },
    ofClose: ofWahaClose,
    acceptedBy: "pong"
  }, options)

  return {
    name: options.name,
    dialect: "waha",
    description: describeGateway({ dialect: "waha", url: base.href }),
    capabilities,
    open: sockets.open,
    status: (target) =>
      Effect.tap(rest.status(target), ({ jid }) => {
        if (jid !== null) sockets.setAccount(target.deviceId, jid)
        return Effect.void
      }),
    statuses: rest.statuses,
    start: rest.start,
    ingest: makeIngest(lids),
    webhook: makeWebhook(options.name, rest),
    history: WahaHistory.make(options.name, client, rest, lids),
    media: WahaMedia.make(options.name, client, rest),
    send: WahaSending.make(rest, client, sending),
    login: WahaLogin.make(options.name, client, rest),
    ensureSlot: rest.ensureSlot,
    probe: rest.probe
  }
})

/** The entry for the table of dialects. */
export const open: OpenGateway = ({ name, secrets, url }) => make({ name, url, apiKey: secrets.apiKey })

/** The close codes with a special meaning for WAHA. */
const ofWahaClose = (code: number, reason: string): Failure => {
  switch (code) {
    case 1001:
      return { class: "upstreamDown", code: "restarting", detail: "the gateway is shutting down (1001)" }
    case 1008:
      return /forbidden/i.test(reason)
        ? { class: "auth", code: "forbidden", detail: "the gateway's API key is not good for this session (1008)" }
        : { class: "auth", code: "unauthorized", detail: "the gateway refused our API key (1008)" }
    case 4001:
      return {
        class: "transport",
        code: "gateway-too-old",
        detail:
          "the gateway refused the events we asked for (4001): WAHA before 2024.11.5 sends no messages on its socket"
      }
    default:
      return ofClose(code)
  }
}
