/**
 * Logging in at a WAHA server. A session without an account shows codes by itself, six in all, and fails after the last
 * one; it is started again for more. The code is requested as text, which every engine has; the session's status shows
 * the outcome.
 */
import { Duration, Effect, Redacted } from "effect"
import type { Schema } from "effect"
import { GatewayUnavailable } from "../../../domain/DeviceErrors.ts"
import type { GatewayName, UpstreamId } from "../../../domain/Ids.ts"
import { LoginRefused } from "../../../services/GatewayParts.ts"
import type { Login, LoginCode, LoginProgress, LoginRequest, SessionTarget } from "../../../services/GatewayParts.ts"
import { beginMillis, beginOperation, decodePicture, fromPairingCode, fromPicture, fromText } from "../loginCode.ts"
import type { RestClient } from "../RestClient.ts"
import { asPayload, textIn } from "./payloads.ts"
import { isSuccess } from "./WahaRest.ts"
import type { Reply, WahaRest, WahaSlot } from "./WahaRest.ts"

/** The first code of a session is valid for a minute, each later one for 20 s. The age of an existing code is unknown. */
const firstMillis = 60_000
const laterMillis = 20_000

/** The server itself waits up to 5 s for a session that is not ready. */
const codeMillis = 10_000

/** A session that starts shows its first code within seconds; an engine that is a browser takes longer. */
const startMillis = 30_000
const startLook = Duration.millis(500)

/** Base64 of the largest picture that is read, and room for its JSON. */
const pictureBytesMax = 2 * 1024 * 1024

const logOutMillis = 30_000

export const make = (name: GatewayName, client: RestClient, rest: WahaRest): Login => {
  const refuse = (reason: LoginRefused["reason"], detail: string) =>
    new LoginRefused({ reason, message: `Gateway '${name}' begins no login: ${detail}` })

  const readSlot = Effect.fnUntraced(function*(slot: UpstreamId) {
    const found = yield* rest.readSlot(beginOperation, slot)
    return found ?? (yield* GatewayUnavailable.of(name, beginOperation, "it has no such session"))
  })

  /** The session once it shows a code. `fresh`: it has just been started for that. */
  const prepare = Effect.fnUntraced(function*(target: SessionTarget) {
    yield* rest.ensureSlot(target.upstreamId)
    let slot = yield* readSlot(target.upstreamId)
    const fresh = slot.status === "STOPPED" || slot.status === "FAILED"
    if (fresh) yield* rest.start(target)
    const isStarting = ({ status }: WahaSlot) => status === "STARTING" || (fresh && status === "STOPPED")
    for (let waited = 0; waited < startMillis; waited += Duration.toMillis(startLook)) {
      slot = yield* readSlot(target.upstreamId)
      if (slot.status === "WORKING" || (slot.jid !== null && isStarting(slot))) {
        return yield* refuse("logged-in", "the session has an account already")
      }
      if (!isStarting(slot)) break
      yield* Effect.sleep(startLook)
    }
    if (slot.status !== "SCAN_QR_CODE") {
      return yield* GatewayUnavailable.of(name, beginOperation, `its session is ${slot.status.slice(0, 40)}`)
    }
    return fresh
  })

  const askForText = (slot: UpstreamId) => {
    const url = client.at("api", slot, "auth", "qr")
    url.searchParams.set("format", "raw")
    return Effect.map(
      rest.ask({ operation: beginOperation, method: "GET", url, millis: codeMillis }),
      (reply) => ({ reply, text: isSuccess(reply) ? textIn(asPayload(reply.own) ?? {}, "value") : null })
    )
  }

  const askForPicture = Effect.fnUntraced(function*(slot: UpstreamId, millis: number) {
    const url = client.at("api", slot, "auth", "qr")
    url.searchParams.set("format", "image")
    const reply = yield* rest.ask({
      operation: beginOperation,
      method: "GET",
      url,
      millis: codeMillis,
      bodyBytesMax: pictureBytesMax
    })
    const picture = isSuccess(reply) ? decodePicture(textIn(asPayload(reply.own) ?? {}, "data") ?? "") : null
    return picture === null ? yield* rest.refused(beginOperation, reply) : yield* fromPicture(name, picture, millis)
  })

  const beginQr = Effect.fnUntraced(function*(target: SessionTarget) {
    const millis = (yield* prepare(target)) ? firstMillis : laterMillis
    const { reply, text } = yield* askForText(target.upstreamId)
    if (text !== null) return yield* fromText(name, text, millis)
    // Old versions have no text. A refusal of other kinds holds for the picture as well.
    return isSuccess(reply) || reply.status === 400 || reply.status === 404 || reply.status === 500
      ? yield* askForPicture(target.upstreamId, millis)
      : yield* rest.refused(beginOperation, reply)
  })

  const beginCode = Effect.fnUntraced(function*(target: SessionTarget, phone: Redacted.Redacted) {
    yield* prepare(target)
    const reply = yield* rest.ask({
      operation: beginOperation,
      method: "POST",
      url: client.at("api", target.upstreamId, "auth", "request-code"),
      body: { phoneNumber: Redacted.value(phone) },
      millis: beginMillis
    })
    const code = isSuccess(reply) ? textIn(asPayload(reply.own) ?? {}, "code") : null
    if (code !== null) return yield* fromPairingCode(name, code)
    // Some engines have no pairing codes; they answer with an internal error.
    return reply.own !== null && (reply.status === 400 || reply.status === 404 || reply.status >= 500)
      ? yield* refuse("method", "its engine gives no pairing code for this number; use the QR code")
      : yield* rest.refused(beginOperation, reply)
  })

  const begin = Effect.fn("WahaLogin.begin")(
    (target: SessionTarget, request: LoginRequest): Effect.Effect<LoginCode, LoginRefused | GatewayUnavailable> =>
      request.method === "qr" ? beginQr(target) : beginCode(target, request.phone)
  )

  const askForPasskey = Effect.fnUntraced(function*(slot: UpstreamId, what: "challenge" | "confirmation") {
    const url = client.at("api", slot, "auth", "passkey", what)
    const reply = yield* rest.ask({
      operation: "return the state of a passkey",
      method: "GET",
      url,
      millis: codeMillis
    })
    return isSuccess(reply) ? asPayload(reply.own) : null
  })

  const look = Effect.fn("WahaLogin.look")(
    function*({ upstreamId }: SessionTarget, shown: LoginCode): Effect.fn.Return<LoginProgress, GatewayUnavailable> {
      const slot = yield* rest.readSlot("return the state of a login", upstreamId)
      switch (slot?.status) {
        case "WORKING":
          return { _tag: "Accepted" }
        case "STARTING":
          return { _tag: slot.jid === null ? "Waiting" : "Accepted" }
        case "SCAN_QR_CODE": {
          if (shown._tag !== "Qr" || shown.text === null) return { _tag: "Waiting" }
          const { text } = yield* askForText(upstreamId)
          return { _tag: text === null || text === Redacted.value(shown.text) ? "Waiting" : "Ended" }
        }
        case "PASSKEY_REQUIRED": {
          const challenge = yield* askForPasskey(upstreamId, "challenge")
          return { _tag: "Passkey", challenge: challenge === null ? null : Redacted.make(challenge), code: null }
        }
        case "PASSKEY_CONFIRMATION_REQUIRED": {
          const code = textIn((yield* askForPasskey(upstreamId, "confirmation")) ?? {}, "code")
          return { _tag: "Passkey", challenge: null, code: code === null ? null : Redacted.make(code) }
        }
        default:
          return { _tag: "Ended" }
      }
    }
  )

  const isAbsent = ({ own, status }: Reply): boolean => status === 404 && own !== null

  const logOut = Effect.fn("WahaLogin.logOut")(function*({ upstreamId }: SessionTarget) {
    const operation = "log the account out"
    if ((yield* rest.readSlot(operation, upstreamId)) === null) return
    const url = client.at("api", "sessions", upstreamId, "logout")
    const reply = yield* rest.ask({ operation, method: "POST", url, millis: logOutMillis })
    if (!isSuccess(reply) && !isAbsent(reply)) return yield* rest.refused(operation, reply)
  })

  const answerPasskey = (operation: string, ...path: ReadonlyArray<string>) =>
    Effect.fnUntraced(function*(slot: UpstreamId, body?: Redacted.Redacted<Schema.Json>) {
      const reply = yield* rest.ask({
        operation,
        method: "POST",
        url: client.at("api", slot, "auth", ...path),
        millis: beginMillis,
        ...(body === undefined ? {} : { body: Redacted.value(body) })
      })
      if (isSuccess(reply)) return
      return reply.own !== null && (reply.status === 400 || reply.status === 422)
        ? yield* refuse("other", "no passkey is asked for now, or it refuses the answer")
        : yield* rest.refused(operation, reply)
    })
  const respond = answerPasskey("take the answer to a passkey", "passkey")
  const confirm = answerPasskey("take the confirmation of a passkey", "passkey", "confirm")

  return {
    methods: new Set(["qr", "code"]),
    begin,
    look,
    logOut,
    passkey: {
      answer: ({ upstreamId }, assertion) => respond(upstreamId, assertion),
      confirm: ({ upstreamId }) => confirm(upstreamId)
    }
  }
}
