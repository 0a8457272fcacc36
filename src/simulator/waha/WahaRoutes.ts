/**
 * The REST API of the simulated WAHA server, with its pitfalls for clients: 201 for requests that create, 422 with the session's
 * status after a wait, 404 in two wordings, a start that is refused while the session exists in memory, settings that are
 * replaced as a whole and restart the session, and history pages that are shorter than their limit.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { drawPng } from "../../services/qrCode.ts"
import type { Payload } from "../Dialect.ts"
import { json, readJson, type Reply, send } from "../http.ts"
import type { SimulatedDevice } from "../SimulatedDevice.ts"
import type { SimulatorCore } from "../SimulatorCore.ts"
import { formatAccount, fileName, readFile, messageObject, nameAck, type Speaker, wahaAddress } from "./events.ts"
import { queryKey } from "./queryKey.ts"
import { signalPaths, wahaAct, wahaSignal } from "./wahaActions.ts"
import { sendPaths, wahaSend } from "./wahaSending.ts"
import type { HistoryMessage, WahaSession, WahaStatus } from "./WahaSession.ts"

export interface RouteOptions {
  readonly core: SimulatorCore
  readonly engine: string
  readonly waitMillis: number
  readonly fileMillis: number
  readonly lidMillis: number
  /** Whether a key may be used for a session, or at all. */
  readonly mayUse: (key: string | null, slot: string | null) => boolean
  readonly session: (device: SimulatedDevice) => WahaSession
  readonly speaker: (device: SimulatedDevice) => Speaker
  readonly setStatus: (device: SimulatedDevice, status: "STOPPED" | "FAILED" | null) => void
}

/** How often a request checks a session that it waits for. */
const lookMillis = 500

const failure = (status: number, message: string, error?: string): Reply =>
  json(status, error === undefined ? { message, statusCode: status } : { message, error, statusCode: status })

const unknownSession = (slot: string): Reply =>
  failure(404, `We didn't find a session with name "${slot}". Please start it first.`, "Not Found")

/** The answer of an engine for a missing route: an unhandled error. */
const engineError = (message: string, now: number): Reply =>
  json(500, {
    statusCode: 500,
    timestamp: new Date(now).toISOString(),
    exception: { name: "Error", message, stack: "Error" },
    request: {},
    version: {}
  })

/** A pairing code lasts as long as a connection without a login. */
const pairingMillis = 160_000

export const makeRoutes = (options: RouteOptions) => {
  const { core, session } = options

  const describe = (device: SimulatedDevice) => ({
    name: device.id,
    status: session(device).status,
    config: session(device).config,
    // A session that is not running is not asked for its account.
    me: session(device).isStopped ? null : formatAccount(device),
    engine: { engine: options.engine }
  })

  const sessionsReply = (method: string, url: URL, body: unknown): Reply => {
    if (method === "GET") {
      const all = url.searchParams.get("all") === "true"
      const devices = [...core.devices.values()].filter((device) => all || session(device).status !== "STOPPED")
      return json(200, devices.map(describe))
    }
    const asked = (typeof body === "object" && body !== null ? body : {}) as Payload
    const slot = typeof asked.name === "string" && asked.name !== "" ? asked.name : "default"
    if (core.devices.has(slot)) return failure(422, `Session '${slot}' already exists. Use PUT to update it.`)
    const device = core.addDevice(slot)
    if (typeof asked.config === "object" && asked.config !== null) session(device).config = asked.config as Payload
    if (asked.start !== true) session(device).force("STOPPED")
    else options.setStatus(device, null)
    return json(201, describe(device))
  }

  const sessionReply = (method: string, slot: string, verb: string | undefined, body: unknown): Reply => {
    const device = core.devices.get(slot)
    if (method === "DELETE" && verb === undefined) {
      core.removeDevice(slot)
      return json(200, {})
    }
    if (device === undefined) return unknownSession(slot)
    switch (`${method} ${verb ?? ""}`) {
      case "GET ":
        return json(200, describe(device))
      case "GET me":
        return json(200, formatAccount(device))
      case "PUT ":
        return replaceConfig(device, body)
      case "POST start":
        // Failed sessions are in the server's memory too.
        if (session(device).status !== "STOPPED") return failure(422, `Session '${slot}' is already started.`)
        options.setStatus(device, null)
        return json(201, describe(device))
      case "POST stop":
        options.setStatus(device, "STOPPED")
        return json(201, describe(device))
      case "POST restart":
        options.setStatus(device, null)
        return json(201, describe(device))
      case "POST logout":
        core.logOut(device)
        return json(201, describe(device))
      default:
        return failure(404, `Cannot ${method} /api/sessions/${slot}/${verb ?? ""}`, "Not Found")
    }
  }

  const replaceConfig = (device: SimulatedDevice, body: unknown): Reply => {
    const config = typeof body === "object" && body !== null ? (body as Payload).config : undefined
    if (typeof config !== "object" || config === null) return failure(400, "config should not be empty", "Bad Request")
    session(device).config = config as Payload
    if (!session(device).isStopped) {
      options.setStatus(device, "STOPPED")
      options.setStatus(device, null)
    }
    return json(200, describe(device))
  }

  /** Answers once the session has one of these statuses, or reports after a while that it has not. */
  const whenIn = (
    device: SimulatedDevice,
    expected: ReadonlyArray<WahaStatus>,
    make: () => Reply,
    done: (reply: Reply) => void
  ): void => {
    const until = Date.now() + options.waitMillis
    const look = (): void => {
      const { status } = session(device)
      if (expected.includes(status)) return done(make())
      if (session(device).isStopped) return done(unknownSession(device.id))
      if (Date.now() >= until) {
        return done(json(422, {
          error: "Session status is not as expected. Try again later or restart the session",
          session: device.id,
          status,
          expected
        }))
      }
      setTimeout(look, Math.min(lookMillis, options.waitMillis)).unref()
    }
    look()
  }

  const chatsReply = (device: SimulatedDevice, url: URL, kind: "list" | "overview"): Reply => {
    const newest = new Map<string, HistoryMessage>()
    for (const row of session(device).history) newest.set(String(row.payload.chat_id), row)
    const chats = [...newest].sort(([, one], [, other]) => other.at - one.at)
    const { limit, offset } = readPage(url)
    return json(
      200,
      chats.slice(offset, offset + limit).map(([chat, row]) =>
        kind === "list"
          ? { id: wahaAddress(chat), name: null, conversationTimestamp: row.at }
          : { id: wahaAddress(chat), name: null, picture: null, lastMessage: show(device, row, false) }
      )
    )
  }

  const show = (device: SimulatedDevice, { ack, payload }: HistoryMessage, withMedia: boolean): Payload => {
    const speaker = options.speaker(device)
    const file = readFile(payload)
    if (withMedia && file !== null) {
      session(device).files.set(fileName(String(payload.id), file.extension), {
        mimetype: file.mimetype,
        until: core.now() + options.fileMillis
      })
    }
    return messageObject(payload, speaker, { live: false, withMedia, ack })
  }

  const messagesReply = (device: SimulatedDevice, chat: string, url: URL): Reply => {
    if (chat === "all" && options.engine === "WEBJS") {
      return engineError("Method 'getMessages' for all chats is not supported by WEBJS engine", core.now())
    }
    const { limit, offset } = readPage(url)
    const [gte, lte] = ["gte", "lte"].map((bound) => numberIn(url, `filter.timestamp.${bound}`))
    const fromMe = url.searchParams.get("filter.fromMe")
    const ackName = url.searchParams.get("filter.ack")
    const rows = session(device).history.filter(({ ack, at, payload }) =>
      (chat === "all" || wahaAddress(String(payload.chat_id)) === wahaAddress(chat)) &&
      (gte === null || gte === undefined || at >= gte) && (lte === null || lte === undefined || at <= lte) &&
      (fromMe === null || String(payload.is_from_me === true) === fromMe) &&
      (ackName === null || nameAck(ack) === ackName)
    )
    // In an unspecified order. Deleted messages are left out after the page was cut: pages are shorter.
    const page = rows.toReversed().slice(offset, offset + limit).filter(({ revoked }) => !revoked)
    const withMedia = url.searchParams.get("downloadMedia") !== "false"
    return json(200, page.map((row) => show(device, row, withMedia)))
  }

  const messageReply = (device: SimulatedDevice, id: string, url: URL): Reply => {
    const raw = id.includes("@") ? id.split("_")[2] : id
    const row = session(device).history.find(({ payload }) => payload.id === raw)
    return row === undefined || row.revoked
      ? failure(404, "Message not found", "Not Found")
      : json(200, show(device, row, url.searchParams.get("downloadMedia") !== "false"))
  }

  const lidReply = (device: SimulatedDevice, path: ReadonlyArray<string>, url: URL): Reply => {
    const { lids } = session(device)
    const pair = ([lid, phone]: readonly [string, string]) => ({ lid, pn: wahaAddress(phone) })
    if (path[0] === "pn") {
      const found = [...lids].find(([, phone]) => phone.split("@")[0] === path[1]?.split("@")[0])
      return json(200, found === undefined ? { lid: null, pn: path[1] } : pair(found))
    }
    if (path[0] === undefined) {
      const { limit, offset } = readPage(url)
      return json(200, [...lids].slice(offset, offset + limit).map(pair))
    }
    const lid = path[0].includes("@") ? path[0] : `${path[0]}@lid`
    const phone = lids.get(lid)
    return json(200, { lid, pn: phone === undefined ? null : wahaAddress(phone) })
  }

  const authReply = (
    device: SimulatedDevice,
    method: string,
    path: ReadonlyArray<string>,
    request: IncomingMessage,
    url: URL,
    body: unknown
  ): Reply => {
    switch (`${method} ${path.join("/")}`) {
      case "GET qr": {
        const text = core.pairings.current(device, "qr")?.text ?? ""
        if (url.searchParams.get("format") === "raw") return json(200, { value: text })
        const png = Buffer.from(drawPng(text))
        return request.headers.accept?.includes("application/json")
          ? json(200, { mimetype: "image/png", data: png.toString("base64") })
          : { status: 200, body: png, headers: { "content-type": "image/png" } }
      }
      case "POST request-code": {
        const phone = (body as { readonly phoneNumber?: unknown } | null | undefined)?.phoneNumber
        if (typeof phone !== "string" || phone === "") {
          return failure(400, "phoneNumber should not be empty", "Bad Request")
        }
        return options.engine === "WEBJS"
          ? engineError("Method not supported by WEBJS engine", core.now())
          : json(201, { code: core.pairings.showCode(device, pairingMillis) })
      }
      case "GET passkey/challenge":
        return json(200, core.pairings.passkey(device)?.challenge ?? {})
      case "GET passkey/confirmation":
        return json(200, { code: core.pairings.passkey(device)?.code ?? "" })
      case "POST passkey":
        core.pairings.answerPasskey(device)
        return json(201, {})
      case "POST passkey/confirm":
        core.pairings.confirmPasskey(device)
        return json(201, {})
      default:
        return failure(404, `Cannot ${method} /api/${device.id}/auth/${path.join("/")}`, "Not Found")
    }
  }

  const fileReply = (slot: string, name: string): Reply => {
    const device = core.devices.get(slot)
    const raw = name.split(".")[0]
    const kept = device === undefined ? undefined : findFile(session(device), name, raw)
    if (kept === undefined || kept.until <= core.now()) {
      return failure(404, `Cannot GET /api/files/${slot}/${name}`, "Not Found")
    }
    const body = Buffer.from(`file ${raw}`)
    return { status: 200, body, headers: { "content-type": kept.mimetype, "content-length": String(body.length) } }
  }

  /** A live message's file exists from the moment of the message. */
  const findFile = (of: WahaSession, name: string, raw: string | undefined) => {
    const kept = of.files.get(name)
    if (kept !== undefined) return kept
    const row = of.history.find(({ payload }) => payload.id === raw)
    const file = row === undefined ? null : readFile(row.payload)
    return row === undefined || file === null
      ? undefined
      : { mimetype: file.mimetype, until: row.at * 1000 + options.fileMillis }
  }

  const answer = (request: IncomingMessage, url: URL, body: unknown, done: (reply: Reply) => void): void => {
    const method = request.method ?? ""
    const path = url.pathname.split("/").slice(1).map(decodeURIComponent)
    const [first, second, third, ...rest] = path
    if (first === "ping") return done(json(200, { message: "pong" }))
    if (first === "health") return done(json(200, { status: "ok" }))
    if (first !== "api" || second === undefined) {
      return done(failure(404, `Cannot ${method} ${url.pathname}`, "Not Found"))
    }
    if (second === "sessions") {
      return done(third === undefined ? sessionsReply(method, url, body) : sessionReply(method, third, rest[0], body))
    }
    if (second === "files") return done(fileReply(third ?? "", rest[0] ?? ""))
    const working: ReadonlyArray<WahaStatus> = ["WORKING"]
    if (sendPaths.has(second) && method === "POST") {
      const asked = (typeof body === "object" && body !== null ? body : {}) as Payload
      const slot = typeof asked.session === "string" && asked.session !== "" ? asked.session : "default"
      const sender = core.devices.get(slot)
      if (sender === undefined) return done(unknownSession(slot))
      const send = () => wahaSend(core, sender, options.speaker(sender), options.engine, second, body)
      return whenIn(sender, working, send, done)
    }
    if (signalPaths.has(second) || second === "reaction") {
      const asked = (typeof body === "object" && body !== null ? body : {}) as Payload
      const slot = typeof asked.session === "string" && asked.session !== "" ? asked.session : "default"
      const actor = core.devices.get(slot)
      if (actor === undefined) return done(unknownSession(slot))
      const act = () =>
        second === "reaction"
          ? wahaAct(core, actor, {
            event: "message.reaction",
            ref: String(asked.messageId),
            text: String(asked.reaction ?? "")
          })
          : wahaSignal(actor, second, asked)
      return whenIn(actor, working, act, done)
    }
    const device = core.devices.get(second)
    if (device === undefined) return done(unknownSession(second))
    switch (third) {
      case "auth":
        return whenIn(device, [authStatus(rest)], () => authReply(device, method, rest, request, url, body), done)
      case "lids":
        return whenIn(device, working, () => lidReply(device, rest, url), (reply) => {
          setTimeout(() => done(reply), options.lidMillis).unref()
        })
      case "chats":
        return whenIn(
          device,
          working,
          () => changeMessage(device, method, rest, body) ?? chatRoute(device, rest, url),
          done
        )
      default:
        return done(failure(404, `Cannot ${method} ${url.pathname}`, "Not Found"))
    }
  }

  /** Null: the message is only read. */
  const changeMessage = (
    device: SimulatedDevice,
    method: string,
    [, what, ref]: ReadonlyArray<string>,
    body: unknown
  ): Reply | null => {
    if (what !== "messages" || ref === undefined) return null
    if (method === "DELETE") return wahaAct(core, device, { event: "message.revoked", ref, text: "" })
    const { text } = (typeof body === "object" && body !== null ? body : {}) as Payload
    return method === "PUT" && typeof text === "string"
      ? wahaAct(core, device, { event: "message.edited", ref, text })
      : null
  }

  const chatRoute = (device: SimulatedDevice, [chat, what, id]: ReadonlyArray<string>, url: URL): Reply => {
    if (chat === undefined) return chatsReply(device, url, "list")
    if (chat === "overview") return chatsReply(device, url, "overview")
    if (what !== "messages") return failure(404, `Cannot GET ${url.pathname}`, "Not Found")
    return id === undefined ? messagesReply(device, chat, url) : messageReply(device, id, url)
  }

  return (request: IncomingMessage, response: ServerResponse, url: URL): void => {
    const header = request.headers["x-api-key"]
    const key = typeof header === "string" ? header : queryKey(url)
    const slot = readSlot(url)
    if (!options.mayUse(key, slot)) {
      // The body is read first: a client that is still sending would see a broken connection instead of the answer.
      return readJson(request, () => send(response, failure(401, "Unauthorized")))
    }
    readJson(request, (body) => answer(request, url, body, (reply) => send(response, reply)))
  }
}

/** The status in which a session answers a login request. */
const authStatus = ([what, step]: ReadonlyArray<string>): WahaStatus =>
  what !== "passkey"
    ? "SCAN_QR_CODE"
    : step === "confirmation" || step === "confirm"
    ? "PASSKEY_CONFIRMATION_REQUIRED"
    : "PASSKEY_REQUIRED"

/** The session in a path, if it names one. */
const readSlot = (url: URL): string | null => {
  const [first, second, third] = url.pathname.slice(1).split("/")
  if (first !== "api") return null
  return (second === "sessions" || second === "files" ? third : second) ?? null
}

const numberIn = (url: URL, name: string): number | null => {
  const text = url.searchParams.get(name)
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null
}

const readPage = (url: URL): { readonly limit: number; readonly offset: number } => ({
  limit: numberIn(url, "limit") ?? 10,
  offset: numberIn(url, "offset") ?? 0
})
