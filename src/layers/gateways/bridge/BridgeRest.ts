/**
 * The HTTP side of a `bridge` gateway: slots and their status, as the envelope `{code, message, results}` tells them.
 *
 * Gateways answer an unknown slot with 404 or with 500 and a sentence, and errors in JSON or in plain text. A 401 in
 * plain text is about our credentials; one in JSON is about the gateway's own WhatsApp session. All of that ends here.
 */
import { Agent, type ClientRequest, type IncomingMessage, request as httpRequest } from "node:http"
import { Agent as TlsAgent, request as httpsRequest } from "node:https"
import { Effect, Result, Schema, Scope } from "effect"
import { canonical } from "../../../domain/Jid.ts"
import type { UpstreamStatus } from "../../../domain/Device.ts"
import { GatewayUnavailable } from "../../../domain/DeviceErrors.ts"
import type { GatewayName, UpstreamId } from "../../../domain/Ids.ts"

export interface RestOptions {
  readonly name: GatewayName
  /** With the base path, without a slash at the end. */
  readonly base: URL
  readonly authorization: string | null
}

export interface BridgeRest {
  readonly status: (slot: UpstreamId) => Effect.Effect<UpstreamStatus, GatewayUnavailable>
  readonly ensureSlot: (slot: UpstreamId) => Effect.Effect<void, GatewayUnavailable>
  readonly probe: Effect.Effect<void, GatewayUnavailable>
}

/** Connections kept for questions: a fleet's status syncs are spread in time, and the gateway has one small store. */
const connectionsMax = 16
/** A slot's answer is some hundred bytes. */
const bodyBytesMax = 64 * 1024
const questionMillis = 5000
const probeMillis = 3000

const text = Schema.optionalKey(Schema.NullOr(Schema.String))

/** `results` may be absent, null, or anything: each question reads it with its own schema. */
const Answer = Schema.Struct({ code: text, message: text, results: Schema.optionalKey(Schema.Unknown) })
const StatusResults = Schema.Struct({ is_connected: Schema.Boolean, is_logged_in: Schema.Boolean })
const SlotResults = Schema.Struct({ jid: text })

const decodeAnswer = Schema.decodeUnknownResult(Schema.fromJsonString(Answer))
const decodeStatus = Schema.decodeUnknownResult(StatusResults)
const decodeSlot = Schema.decodeUnknownResult(SlotResults)

interface Reply {
  readonly status: number
  /** Null where the body is not the envelope. */
  readonly answer: typeof Answer.Type | null
}

const notUsable: UpstreamStatus = { isConnected: false, isLoggedIn: false, jid: null }

export const make = Effect.fnUntraced(
  function*(options: RestOptions): Effect.fn.Return<BridgeRest, never, Scope.Scope> {
    const secure = options.base.protocol === "https:"
    const agent = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const pool = { keepAlive: true, maxSockets: connectionsMax, maxFreeSockets: 2 }
        return secure ? new TlsAgent(pool) : new Agent(pool)
      }),
      (agent) => Effect.sync(() => agent.destroy())
    )
    const unavailable = (operation: string, detail: string) => GatewayUnavailable.of(options.name, operation, detail)

    const ask = (
      operation: string,
      method: string,
      url: URL,
      millis: number,
      body?: string,
      pool: typeof agent | false = agent
    ) =>
      Effect.callback<Reply, GatewayUnavailable>((resume) => {
        const headers: Record<string, string> = { accept: "application/json" }
        if (options.authorization !== null) headers.authorization = options.authorization
        if (body !== undefined) headers["content-type"] = "application/json"
        const request = (secure ? httpsRequest : httpRequest)(url, { agent: pool, method, headers }, (response) => {
          collect(response, (outcome) => {
            clearTimeout(deadline)
            resume(
              outcome === null ? Effect.fail(unavailable(operation, "its answer broke off")) : Effect.succeed(outcome)
            )
          })
        })
        const deadline = setTimeout(() => {
          resume(Effect.fail(unavailable(operation, `no answer within ${millis} ms`)))
          request.destroy()
        }, millis)
        request.on("error", (error: NodeJS.ErrnoException) => {
          clearTimeout(deadline)
          resume(Effect.fail(unavailable(operation, error.code ?? "the connection failed")))
        })
        request.end(body)
        return Effect.sync(() => giveUp(request, deadline))
      })

    const at = (path: string) => new URL(`${options.base.href.replace(/\/$/, "")}${path}`)

    const refused = (operation: string, reply: Reply) =>
      unavailable(
        operation,
        (reply.status === 401 || reply.status === 403) && reply.answer === null
          ? `it refused our credentials (${reply.status})`
          : `it answered ${reply.status}${reply.answer?.code ? ` ${reply.answer.code.slice(0, 64)}` : ""}`
      )

    const readSlot = Effect.fnUntraced(function*(operation: string, slot: UpstreamId) {
      const reply = yield* ask(operation, "GET", at(`/devices/${slot}`), questionMillis)
      if (reply.status === 200) return { known: true as const, jid: jidIn(reply) }
      if (isUnknownSlot(reply)) return { known: false as const, jid: null }
      return yield* refused(operation, reply)
    })

    const status = Effect.fn("BridgeGateway.status")(
      function*(slot: UpstreamId) {
        const operation = "answer for the slot's status"
        const reply = yield* ask(operation, "GET", at(`/devices/${slot}/status`), questionMillis)
        if (isUnknownSlot(reply) || (reply.status === 401 && reply.answer !== null)) return notUsable
        const results = decodeStatus(reply.answer?.results)
        if (reply.status !== 200 || Result.isFailure(results)) {
          return yield* refused(operation, reply)
        }
        const { jid } = yield* readSlot(operation, slot)
        const { is_connected: isConnected, is_logged_in: isLoggedIn } = results.success
        return { isConnected, isLoggedIn, jid }
      },
      Effect.timeoutOrElse({
        duration: questionMillis,
        orElse: () => Effect.fail(unavailable("answer for the slot's status", `no answer within ${questionMillis} ms`))
      })
    )

    const ensureSlot = Effect.fn("BridgeGateway.ensureSlot")(function*(slot: UpstreamId) {
      const operation = "create the slot"
      if ((yield* readSlot(operation, slot)).known) return
      const body = JSON.stringify({ device_id: slot })
      const reply = yield* ask(operation, "POST", at("/devices"), questionMillis, body)
      // Creating is not idempotent at the gateway: another process may have been first.
      if (reply.status >= 200 && reply.status < 300) return
      if (/already exists/i.test(reply.answer?.message ?? "")) return
      return yield* refused(operation, reply)
    })

    // Health is at the root of the origin, whatever the base path, and behind no authentication. It has a connection of
    // its own: slow answers to other questions must not make a gateway look down that is up.
    const probe = Effect.flatMap(
      ask("answer at all", "GET", new URL("/health", options.base), probeMillis, undefined, false),
      (reply) =>
        reply.status === 502 || reply.status === 503 || reply.status === 504
          ? Effect.fail(refused("answer at all", reply))
          : Effect.void
    )
    return { status, ensureSlot, probe }
  }
)

const isUnknownSlot = (
  reply: Reply
): boolean => (reply.status === 404 || (reply.status === 500 && /not found/i.test(reply.answer?.message ?? "")))

const jidIn = (reply: Reply): string | null => {
  const slot = decodeSlot(reply.answer?.results)
  if (Result.isFailure(slot) || !slot.success.jid) return null
  return canonical(slot.success.jid)
}

const giveUp = (request: ClientRequest, deadline: NodeJS.Timeout): void => {
  clearTimeout(deadline)
  request.destroy()
}

/** Reads the body up to its bound; what is longer is not the envelope. `null`: the answer broke off. */
const collect = (response: IncomingMessage, done: (reply: Reply | null) => void): void => {
  const status = response.statusCode ?? 0
  const chunks: Array<Buffer> = []
  let size = 0
  response.on("data", (chunk: Buffer) => {
    size += chunk.length
    if (size <= bodyBytesMax) return void chunks.push(chunk)
    done({ status, answer: null })
    response.destroy()
  })
  response.on("end", () => {
    const answer = decodeAnswer(Buffer.concat(chunks).toString("utf8"))
    done({ status, answer: Result.isSuccess(answer) ? answer.success : null })
  })
  response.on("error", () => done(null))
}
