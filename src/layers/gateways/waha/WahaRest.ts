/**
 * Requests to a WAHA server about its sessions.
 *
 * Answers have no envelope: a success is the bare object, and an error repeats its own status in `statusCode`, or names the
 * session. Only such an answer is about a session; a 404 of a proxy or of another service is not.
 */
import { Effect } from "effect"
import type { UpstreamStatus } from "../../../domain/Device.ts"
import { GatewayUnavailable } from "../../../domain/DeviceErrors.ts"
import type { GatewayName, UpstreamId } from "../../../domain/Ids.ts"
import { canonical } from "../../../domain/Jid.ts"
import type { SessionTarget, SlotStatus } from "../../../services/GatewayParts.ts"
import { mayLoseNumbers, parseExact } from "../exactNumbers.ts"
import type { RestClient, RestReply, RestRequest } from "../RestClient.ts"
import { asPayload, type Payload, readAccount, textIn } from "./payloads.ts"

/** A session as the server describes it. */
export interface WahaSlot {
  readonly name: string
  readonly status: string
  /** The account, canonical. */
  readonly jid: string | null
  readonly config: Payload
  /** `WEBJS`, `NOWEB` …; old versions have none. */
  readonly engine: string | null
}

/** A reply, with its body if that is the server's own. */
export interface Reply {
  readonly status: number
  /** Null where the body is not JSON, or is an error of something other than WAHA. */
  readonly own: unknown
  /** The body was above the bound, and was not read. */
  readonly tooLarge: boolean
}

export type Question = Pick<RestRequest, "operation" | "method" | "url" | "body"> & {
  readonly millis?: number
  readonly bodyBytesMax?: number
}

export interface WahaRest {
  /** Null where the server has no such session. */
  readonly readSlot: (operation: string, slot: UpstreamId) => Effect.Effect<WahaSlot | null, GatewayUnavailable>
  readonly status: (target: SessionTarget) => Effect.Effect<UpstreamStatus, GatewayUnavailable>
  readonly statuses: Effect.Effect<ReadonlyMap<UpstreamId, SlotStatus>, GatewayUnavailable>
  readonly ensureSlot: (slot: UpstreamId) => Effect.Effect<void, GatewayUnavailable>
  readonly start: (target: SessionTarget) => Effect.Effect<void, GatewayUnavailable>
  readonly putConfig: (slot: UpstreamId, config: Payload) => Effect.Effect<void, GatewayUnavailable>
  readonly probe: Effect.Effect<void, GatewayUnavailable>
  readonly ask: (question: Question) => Effect.Effect<Reply, GatewayUnavailable>
  /** The failure that this answer means. */
  readonly refused: (operation: string, reply: Reply) => GatewayUnavailable
}

/** A server answers about a session from its own memory; a slower answer means a server in trouble. */
const questionMillis = 5000
const probeMillis = 3000

/** Starting and changing a session waits for the engine, which may be a browser. */
const commandMillis = 30_000

/** Ten thousand sessions of a kilobyte each, and room for their settings. */
const listBytesMax = 32 * 1024 * 1024

const unknownSlot: UpstreamStatus = { isConnected: false, isLoggedIn: false, jid: null }

export const make = (name: GatewayName, rest: RestClient): WahaRest => {
  const ask = ({ millis = questionMillis, ...question }: Question) =>
    Effect.map(rest.ask({ millis, ...question }), readReply)

  const refused = (operation: string, reply: Reply) => GatewayUnavailable.of(name, operation, describeRefusal(reply))

  const readSlot: WahaRest["readSlot"] = Effect.fnUntraced(function*(operation, slot) {
    const reply = yield* ask({ operation, method: "GET", url: rest.at("api", "sessions", slot) })
    if (isUnknownSession(reply)) return null
    const found = isSuccess(reply) ? readSlotObject(reply.own) : null
    return found ?? (yield* refused(operation, reply))
  })

  const status = Effect.fn("WahaGateway.status")(function*(target: SessionTarget) {
    const slot = yield* readSlot("answer for the session's status", target.upstreamId)
    return slot === null ? unknownSlot : judge(slot, target.jid).status
  })

  const statuses = Effect.gen(function*() {
    const operation = "list its sessions"
    const url = rest.at("api", "sessions")
    // Without it stopped sessions are left out, and would seem not to exist.
    url.searchParams.set("all", "true")
    const reply = yield* ask({ operation, method: "GET", url, bodyBytesMax: listBytesMax })
    if (!isSuccess(reply) || !Array.isArray(reply.own)) return yield* refused(operation, reply)
    const slots = (reply.own as ReadonlyArray<unknown>).flatMap((one) => readSlotObject(one) ?? [])
    return new Map(slots.map((slot) => [slot.name as UpstreamId, judge(slot, null)]))
  }).pipe(Effect.withSpan("WahaGateway.statuses"))

  const ensureSlot = Effect.fn("WahaGateway.ensureSlot")(function*(slot: UpstreamId) {
    const operation = "create the session"
    if ((yield* readSlot(operation, slot)) !== null) return
    // Whether it starts by itself differs between versions. NOWEB needs the store for a history, and it must be enabled
    // before the account is linked; other engines ignore the setting.
    const body = { name: slot, start: true, config: { noweb: { store: { enabled: true, fullSync: false } } } }
    const url = rest.at("api", "sessions")
    const reply = yield* ask({ operation, method: "POST", url, body, millis: commandMillis })
    // Another process may have created it first.
    if (isSuccess(reply) || isAlready(reply)) return
    return yield* refused(operation, reply)
  })

  const start = Effect.fn("WahaGateway.start")(function*(target: SessionTarget) {
    const operation = "start the session"
    const slot = yield* readSlot(operation, target.upstreamId)
    // A failed session still exists in the server's memory: a start would be refused.
    const verb = slot?.status === "STOPPED" ? "start" : slot?.status === "FAILED" ? "restart" : null
    if (verb === null) return
    const url = rest.at("api", "sessions", target.upstreamId, verb)
    const reply = yield* ask({ operation, method: "POST", url, millis: commandMillis })
    if (isSuccess(reply) || isAlready(reply)) return
    return yield* refused(operation, reply)
  })

  const putConfig = Effect.fnUntraced(function*(slot: UpstreamId, config: Payload) {
    const operation = "change the session's settings"
    const url = rest.at("api", "sessions", slot)
    const reply = yield* ask({ operation, method: "PUT", url, body: { config }, millis: commandMillis })
    if (!isSuccess(reply)) return yield* refused(operation, reply)
  })

  // Both pages require the key unless they are exempted: a refusal in the server's own format proves as much. A proxy may
  // forward only the API.
  const probe = Effect.gen(function*() {
    const question = { operation: "answer at all", method: "GET", millis: probeMillis, apart: true } as const
    const ping = readReply(yield* rest.ask({ ...question, url: rest.at("ping") }))
    if (isHere(ping)) return
    if (isGatewayAway(ping.status)) return yield* refused(question.operation, ping)
    const sessions = readReply(yield* rest.ask({ ...question, url: rest.at("api", "sessions") }))
    if (!isHere(sessions)) return yield* refused(question.operation, sessions)
  }).pipe(Effect.timeoutOrElse({
    duration: probeMillis,
    orElse: () => Effect.fail(GatewayUnavailable.of(name, "answer at all", `no answer within ${probeMillis} ms`))
  }))

  return { readSlot, status, statuses, ensureSlot, start, putConfig, probe, ask, refused }
}

/**
 * The account's state by a session's status. A session that is not running may omit its account: then the known
 * account counts, and without one nothing is proved.
 */
const judge = ({ jid, status }: WahaSlot, known: string | null): SlotStatus => {
  switch (status) {
    case "WORKING":
      return { status: { isConnected: true, isLoggedIn: true, jid }, proven: true }
    case "SCAN_QR_CODE":
    case "PASSKEY_REQUIRED":
    case "PASSKEY_CONFIRMATION_REQUIRED":
      return { status: unknownSlot, proven: true }
    default:
      return {
        status: { isConnected: false, isLoggedIn: jid !== null, jid: jid ?? known },
        proven: jid !== null
      }
  }
}

const readSlotObject = (value: unknown): WahaSlot | null => {
  const slot = asPayload(value)
  if (slot === null) return null
  const name = textIn(slot, "name")
  const status = textIn(slot, "status")
  if (name === null || status === null) return null
  const account = readAccount(slot.me)
  const engine = asPayload(slot.engine)
  return {
    name,
    status,
    jid: account === null ? null : canonical(account.id),
    config: asPayload(slot.config) ?? {},
    engine: engine === null ? null : textIn(engine, "engine")
  }
}

export const readReply = ({ status, text }: RestReply): Reply => {
  let json: unknown
  try {
    // Numbers that a double cannot hold stay texts: rows of the history are kept unchanged.
    json = text === null ? undefined : mayLoseNumbers(text) ? parseExact(text) : JSON.parse(text)
  } catch {
    json = undefined
  }
  const tooLarge = text === null
  if (status >= 200 && status < 300) return { status, own: json ?? null, tooLarge }
  const body = asPayload(json)
  const isOwn = body !== null && (body.statusCode === status || (status === 422 && textIn(body, "session") !== null))
  return { status, own: isOwn ? body : null, tooLarge }
}

/** A success of the server is JSON: a page that a proxy serves for everything is not. */
export const isSuccess = ({ own, status }: Reply): boolean => status >= 200 && status < 300 && own !== null

const isHere = (reply: Reply): boolean =>
  isSuccess(reply) || ((reply.status === 401 || reply.status === 403) && reply.own !== null)

const readMessage = ({ own }: Reply): string => {
  const body = asPayload(own)
  if (body === null) return ""
  const { error, message } = body
  return Array.isArray(message) ? message.join(", ") : String(message ?? error ?? "")
}

/** The framework answers a missing path with 404 too; that means a wrong URL. */
export const isUnknownSession = (reply: Reply): boolean =>
  reply.status === 404 && reply.own !== null && /session/i.test(readMessage(reply)) &&
  !readMessage(reply).startsWith("Cannot ")

const isAlready = (reply: Reply): boolean => reply.status === 422 && /already/i.test(readMessage(reply))

/** The answers of proxies for a server that is down, and of servers that are starting. */
const isGatewayAway = (status: number): boolean => status === 502 || status === 503 || status === 504

/** Maximum length of a quoted text of the server. */
const quoteMax = 200

const describeRefusal = (reply: Reply): string => {
  const { own, status } = reply
  if (status === 401 || status === 403) return `it refused our credentials (${status})`
  if (status === 422 && own !== null) {
    const state = textIn(own as Payload, "status")
    return state === null ? `it refused (422): ${readMessage(reply).slice(0, quoteMax)}` : `its session is ${state}`
  }
  if (status >= 300 && status < 400) return `it redirected us (${status}); the gateway's URL may be out of date`
  if (own === null) {
    return `something else than WAHA answered ${status}; look at the gateway's URL and at proxies before it`
  }
  return isUnknownSession(reply) ? "it has no such session, or does not run it" : `it answered ${status}`
}
