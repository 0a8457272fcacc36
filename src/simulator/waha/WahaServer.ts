/**
 * The simulated gateway in the `waha` dialect: sessions with every status, `/ws` with filters by session and event, REST
 * behind an API key (`WahaRoutes`), and webhooks (`WahaWebhooks`).
 *
 * A socket with a wrong key is accepted and closed with 1008, as the real server does. The server pings its sockets and
 * closes those that do not answer.
 */
import { WebSocketServer } from "ws"
import type { WebSocket } from "ws"
import type { AccountChange, Dialect, Payload, SocketHolder } from "../Dialect.ts"
import { anyFull, countOpen, hold, ignoreSent, strikeUpgrade } from "../Dialect.ts"
import { json, plain } from "../http.ts"
import { seeded } from "../Seeded.ts"
import type { SimulatedDevice } from "../SimulatedDevice.ts"
import type { SimulatorCore } from "../SimulatorCore.ts"
import { formatAccount, junk, type Speaker, toWaha, type WahaEvent } from "./events.ts"
import { queryKey } from "./queryKey.ts"
import { makeRoutes } from "./WahaRoutes.ts"
import { forcedStatuses, WahaSession } from "./WahaSession.ts"
import type { ForcedStatus } from "./WahaSession.ts"
import * as WahaWebhooks from "./WahaWebhooks.ts"

export interface WahaOptions {
  /** Without it the server requires no key. */
  readonly apiKey?: string | undefined
  /** Keys for one session: the session by its key. */
  readonly sessionKeys?: Readonly<Record<string, string>> | undefined
  /** `GOWS` by default. `WEBJS` has no history over all chats. */
  readonly engine?: "GOWS" | "NOWEB" | "WEBJS" | undefined
  /** 60 s by default. */
  readonly pingMillis?: number | undefined
  /** How long a request waits for a session to work: 5 s by default. */
  readonly waitMillis?: number | undefined
  /** Whether some messages are addressed by hidden ids. True by default. */
  readonly hiddenIds?: boolean | undefined
  /** Factor for the time that login codes are shown. 1 by default. */
  readonly codePace?: number | undefined
  /** How long an answer about a hidden id takes. 0 by default. */
  readonly lidMillis?: number | undefined
  /** Factor for the waits between attempts of a webhook. 1 by default. */
  readonly webhookPace?: number | undefined
  /** How long files are kept: 180 s by default. */
  readonly fileMillis?: number | undefined
}

export const wahaVersion = "2026.7.1"

/** The filter of one socket's events. */
interface Subscription {
  /** Null: all sessions. */
  readonly session: string | null
  readonly events: ReadonlySet<string>
}

/** The server and its sessions, for tests that drive them. */
export interface WahaServer extends Dialect {
  readonly session: (device: SimulatedDevice) => WahaSession
  /** Sets a session's status, and announces it. */
  readonly setStatus: (device: SimulatedDevice, status: ForcedStatus | null) => void
  readonly webhooks: WahaWebhooks.WebhookSender
  /** The requests so far, as `GET /api/…`, without the query. */
  readonly requests: ReadonlyArray<string>
}

const pingMillisDefault = 60_000
const firstCodeMillis = 60_000
const laterCodeMillis = 20_000
const codesMax = 6
const waitMillisDefault = 5000
const fileMillisDefault = 180_000
/** Maximum number of requests, newest last; a test checks what it has just caused. */
const requestsMax = 1000

export const make = (core: SimulatorCore, options: WahaOptions): WahaServer => {
  const random = seeded(`${core.options.seed}/waha`)
  const sessions = new WeakMap<SimulatedDevice, WahaSession>()
  const subscriptions = new WeakMap<WebSocket, Subscription>()
  const everywhere: SocketHolder = { sockets: new Set(), frozen: new Set() }
  const silent = new WeakSet<WebSocket>()
  const webhooks = WahaWebhooks.make(options.webhookPace ?? 1)
  const requests: Array<string> = []
  const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 64 * 1024 })
  let events = 0

  const session = (device: SimulatedDevice): WahaSession => {
    const known = sessions.get(device)
    if (known !== undefined) return known
    const made = new WahaSession(device)
    sessions.set(device, made)
    showCodes(device)
    return made
  }

  const speaker = (device: SimulatedDevice): Speaker => ({
    session: device.id,
    account: device.jid,
    filesUrl: "http://waha.internal:3000/api/files",
    hiddenIds: options.hiddenIds ?? true
  })

  /** One line per event: JSON has no line breaks of its own. */
  const write = (device: SimulatedDevice, slot: string, some: ReadonlyArray<WahaEvent>): string =>
    some.map(({ event, payload }) => JSON.stringify(envelope(device, slot, event, payload))).join("\n")

  const envelope = (device: SimulatedDevice, slot: string, event: string, payload: Payload) => ({
    id: `evt_${String(++events).padStart(10, "0")}${random.hex(16).toLowerCase()}`,
    timestamp: core.now(),
    event,
    session: slot,
    metadata: {},
    me: formatAccount(device),
    payload,
    engine: options.engine ?? "GOWS",
    environment: { version: wahaVersion, engine: options.engine ?? "GOWS", tier: "CORE" }
  })

  const listSockets = (device: SimulatedDevice): ReadonlyArray<WebSocket> => [...device.sockets, ...everywhere.sockets]

  const send = (device: SimulatedDevice, data: string | Buffer): void => {
    if (typeof data !== "string") return sendTo(device, data, null)
    for (const line of data.split("\n")) {
      const event = readEvent(line)
      sendTo(device, line, event)
      for (const webhook of session(device).webhooks) {
        if (event !== null && !wants(new Set(webhook.events), event)) continue
        core.countFrame(line.length)
        webhooks.post(webhook, line, core.now())
      }
    }
  }

  const sendTo = (device: SimulatedDevice, data: string | Buffer, event: string | null): void => {
    for (const socket of listSockets(device)) {
      if (event !== null && !wants(subscriptions.get(socket)?.events, event)) continue
      core.countFrame(data.length)
      socket.send(data, ignoreSent)
    }
  }

  const announce = (device: SimulatedDevice): void => {
    adopt(device)
    send(
      device,
      write(device, device.id, [{ event: "session.status", payload: session(device).noteStatus(core.now()) }])
    )
    showCodes(device)
  }

  /** Keyed by the session that shows a code. */
  const codes = new Map<SimulatedDevice, NodeJS.Timeout>()
  const hideCodes = (device: SimulatedDevice): void => {
    clearTimeout(codes.get(device))
    codes.delete(device)
  }

  /** Announces every new code; after the last one the session has failed. */
  const showCodes = (device: SimulatedDevice): void => {
    if (session(device).status !== "SCAN_QR_CODE") return hideCodes(device)
    if (codes.has(device)) return
    const show = (number: number): void => {
      const millis = (number === 1 ? firstCodeMillis : laterCodeMillis) * (options.codePace ?? 1)
      // A little longer than it is shown: a request between two codes gets the existing one.
      core.pairings.showQr(device, millis + 1000)
      const timer = setTimeout(() => {
        if (session(device).status !== "SCAN_QR_CODE") return hideCodes(device)
        if (number === codesMax) {
          hideCodes(device)
          return setStatus(device, "FAILED")
        }
        show(number + 1)
        announce(device)
      }, millis)
      codes.set(device, timer.unref())
    }
    show(1)
  }

  const setStatus: WahaServer["setStatus"] = (device, status) => {
    session(device).force(status)
    announce(device)
  }

  const routes = makeRoutes({
    core,
    engine: options.engine ?? "GOWS",
    waitMillis: options.waitMillis ?? waitMillisDefault,
    fileMillis: options.fileMillis ?? fileMillisDefault,
    lidMillis: options.lidMillis ?? 0,
    mayUse: (key, slot) => judgeKey(options, key, slot) === null,
    session,
    speaker,
    setStatus
  })

  const pings = setInterval(() => {
    for (const socket of server.clients) {
      if (silent.has(socket)) socket.terminate()
      else {
        silent.add(socket)
        socket.ping()
      }
    }
  }, options.pingMillis ?? pingMillisDefault)

  const subscribe = (socket: WebSocket, subscription: Subscription): void => {
    core.accepted++
    subscriptions.set(socket, subscription)
    socket.on("pong", () => silent.delete(socket))
    const device = subscription.session === null ? undefined : core.devices.get(subscription.session)
    // A session that does not exist yet is no reason for a refusal: its events come once it does.
    hold(device ?? (subscription.session === null ? everywhere : waiting(subscription.session)), socket)
  }

  const unborn = new Map<string, SocketHolder>()
  const waiting = (slot: string): SocketHolder => {
    const holder = unborn.get(slot) ?? { sockets: new Set<WebSocket>(), frozen: new Set<WebSocket>() }
    unborn.set(slot, holder)
    return holder
  }
  const adopt = (device: SimulatedDevice): void => {
    const holder = unborn.get(device.id)
    if (holder === undefined) return
    unborn.delete(device.id)
    for (const socket of holder.sockets) hold(device, socket)
  }

  return {
    junk,
    session,
    setStatus,
    webhooks,
    requests,
    reach: (device) => {
      adopt(device)
      if (session(device).status !== "WORKING") return 0
      return countOpen(listSockets(device)) + session(device).webhooks.length
    },
    remember: (device, event, payload) => session(device).remember(event, payload),
    idOf: (event, payload) => event === "message.revoked" ? String(payload.revoked_message_id) : null,
    implies: (event, payload) => event === "message" && payload.is_from_me === true ? ["sent"] : [],
    encode: (device, event, payload, slot) => write(device, slot, toWaha(event, payload, speaker(device))),
    send,
    isFull: (device) => anyFull(listSockets(device)),
    force: (device, status) => {
      const forced = forcedStatuses.find((one) => one === status)
      if (forced === undefined && status !== null) return false
      setStatus(device, forced ?? null)
      return true
    },
    announce: (device: SimulatedDevice, change: AccountChange) => {
      // A session that lost its account starts again and then shows a code; a paired session no longer needs its passkey.
      if (change === "logged-out" || change === "connected") session(device).force(null)
      if (change === "replaced" || change === "banned") return setStatus(device, "FAILED")
      announce(device)
    },
    passkey: (device) => {
      const stage = core.pairings.passkey(device)?.stage
      if (stage !== undefined) {
        setStatus(device, stage === "challenge" ? "PASSKEY_REQUIRED" : "PASSKEY_CONFIRMATION_REQUIRED")
      }
    },
    holders: (devices) => [...devices, everywhere],
    removed: (device) => {
      hideCodes(device)
      session(device).force("STOPPED")
      announce(device)
    },
    request: (request, response, url) => {
      requests.push(`${request.method ?? ""} ${url.pathname}`)
      if (requests.length > requestsMax) requests.shift()
      routes(request, response, url)
    },
    upgrade: (request, socket, head, url) => {
      if (url.pathname !== "/ws") return plain(404, "Not Found")
      const asked = readSubscription(url)
      const slot = asked.session ?? "*"
      const struck = strikeUpgrade(
        core.faults,
        core.now(),
        { device: slot, request, socket, head },
        json(503, { statusCode: 503 })
      )
      if (struck === "taken") {
        core.refused++
        return null
      }
      if (struck !== null) return struck
      server.handleUpgrade(request, socket, head, (opened) => {
        const key = queryKey(url)
        const refusal = judgeKey(options, key, asked.session)
        if (refusal !== null) {
          core.refused++
          opened.on("error", () => {})
          return opened.close(1008, refusal)
        }
        core.sockets.follow(slot, request.socket.localAddress ?? "", opened)
        const own = key === null ? undefined : options.sessionKeys?.[key]
        subscribe(opened, asked.session === null && own !== undefined ? { ...asked, session: own } : asked)
      })
      return null
    },
    crashed: () => webhooks.forget(),
    revived: () => {},
    close: () => {
      clearInterval(pings)
      for (const timer of codes.values()) clearTimeout(timer)
      webhooks.forget()
    }
  }
}

/** `*` excludes the engine's own events. */
const wants = (events: ReadonlySet<string> | undefined, event: string): boolean =>
  events !== undefined && (events.has(event) || (events.has("*") && event !== "engine.event"))

/** The event of a line, or null where it is none. */
const readEvent = (line: string): string | null => {
  try {
    const event: unknown = (JSON.parse(line) as { readonly event?: unknown } | null)?.event
    return typeof event === "string" ? event : null
  } catch {
    return null
  }
}

/** Why a key is refused for a session, or null. */
const judgeKey = (
  options: WahaOptions,
  key: string | null,
  slot: string | null
): "Unauthorized" | "Forbidden" | null => {
  if (options.apiKey === undefined || key === options.apiKey) return null
  const own = key === null ? undefined : options.sessionKeys?.[key]
  if (own === undefined) return "Unauthorized"
  return slot === null || slot === own ? null : "Forbidden"
}

const readSubscription = (url: URL): Subscription => {
  const session = url.searchParams.get("session") ?? "*"
  const events = url.searchParams.getAll("events").flatMap((some) => some.split(",")).filter((event) => event !== "")
  return { session: session === "*" ? null : session, events: new Set(events.length === 0 ? ["*"] : events) }
}
