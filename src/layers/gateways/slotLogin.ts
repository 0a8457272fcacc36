/**
 * Logging in at gateways of the envelope: `bridge` and GOWA. One request begins an attempt and returns one code; a new code
 * needs another request, which drops the attempt before. A pairing is accepted once the slot has an
 * account.
 *
 * GOWA returns a link to a picture, which is among its public files for half of the code's life. Only the link's path is
 * used, at the gateway's own address: the link contains the host that GOWA believes to have, and whoever could choose it would
 * choose where we connect to.
 */
import { Effect, Redacted, Result, Schema } from "effect"
import { GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { GatewayName, UpstreamId } from "../../domain/Ids.ts"
import { LoginRefused } from "../../services/GatewayParts.ts"
import type { Login, LoginCode, LoginProgress, LoginRequest, SessionTarget } from "../../services/GatewayParts.ts"
import { isUnknownSlot, readEnvelope } from "./envelope.ts"
import {
  beginMillis,
  beginOperation,
  decodePicture,
  fetchPicture,
  fromPairingCode,
  fromPicture,
  fromText
} from "./loginCode.ts"
import type { RestClient } from "./RestClient.ts"
import { describeRefusal } from "./SlotRest.ts"
import type { Reply, SlotRest } from "./SlotRest.ts"

export interface SlotLoginOptions {
  /** How long a code can be scanned, from the seconds in the gateway's answer. */
  readonly lifetime: (seconds: number) => number
  /** Whether the slot's `state` shows that the code is no longer valid. */
  readonly endsByState: boolean
  /** Whether the gateway passes on WhatsApp's demand for a passkey. */
  readonly passkey: boolean
}

/** Unlinking asks WhatsApp first; GOWA's own limit is 45 s. */
const logOutMillis = 50_000
const lookMillis = 5000

/** Where a gateway returns no lifetime: that of WhatsApp's first code. */
const secondsDefault = 60

const text = Schema.optionalKey(Schema.NullOr(Schema.String))

/** The answer of a gateway; `qr` and `image` are of bridges, `qr_link` of GOWA. */
const decodeBegun = Schema.decodeUnknownResult(Schema.Struct({
  qr: text,
  code: text,
  image: text,
  qr_link: text,
  qr_duration: Schema.optionalKey(Schema.NullOr(Schema.Finite)),
  pair_code: text
}))
const decodeSlot = Schema.decodeUnknownResult(Schema.Struct({ state: text, jid: text }))
const decodePasskey = Schema.decodeUnknownResult(Schema.Struct({
  status: Schema.String,
  challenge: Schema.optionalKey(Schema.NullOr(Schema.Json)),
  code: text
}))

export const make = (
  name: GatewayName,
  client: RestClient,
  slots: SlotRest,
  options: SlotLoginOptions
): Login => {
  const ask = (
    operation: string,
    method: "GET" | "POST",
    url: URL,
    { body, millis = lookMillis, slot }: {
      readonly body?: unknown
      readonly millis?: number
      readonly slot?: UpstreamId
    } = {}
  ) =>
    Effect.map(
      client.ask({
        operation,
        method,
        url,
        millis,
        ...(body === undefined ? {} : { body }),
        headers: slot === undefined ? {} : { "x-device-id": encodeURIComponent(slot) }
      }),
      ({ status, text }): Reply => ({ status, envelope: readEnvelope(text) })
    )

  const refuse = (reason: LoginRefused["reason"], detail: string) =>
    new LoginRefused({ reason, message: `Gateway '${name}' begins no login: ${detail}` })

  /** Before version 9 the slot's own paths do nothing, but the ones scoped by a header work. */
  const askToBegin = Effect.fnUntraced(function*(slot: UpstreamId, request: LoginRequest) {
    const at = (url: URL) => {
      if (request.method === "code") url.searchParams.set("phone", Redacted.value(request.phone))
      return url
    }
    const path = request.method === "qr"
      ? client.at("devices", slot, "login")
      : client.at("devices", slot, "login", "code")
    const reply = yield* ask(beginOperation, request.method === "qr" ? "GET" : "POST", at(path), {
      millis: beginMillis
    })
    const isOld = reply.envelope === null
      ? reply.status === 404
      : reply.status === 500 && /not implemented/i.test(reply.envelope.message)
    if (!isOld) return reply
    const old = client.at("app", request.method === "qr" ? "login" : "login-with-code")
    return yield* ask(beginOperation, "GET", at(old), { millis: beginMillis, slot })
  })

  const judge = (reply: Reply, request: LoginRequest): LoginRefused | GatewayUnavailable => {
    switch (reply.envelope?.code) {
      case "ALREADY_LOGGED_IN":
      case "SESSION_SAVED_ERROR":
        return refuse("logged-in", "the slot has an account already")
      case "VALIDATION_ERROR":
        return request.method === "code"
          ? refuse("phone", "it refuses the phone number")
          : refuse("other", "it refuses the request")
      case "AUTHENTICATION_ERROR":
        return GatewayUnavailable.of(name, beginOperation, "it cannot reach WhatsApp")
      default:
        return reply.status === 404 && reply.envelope === null
          ? refuse("method", "it has no such way to log in")
          : GatewayUnavailable.of(name, beginOperation, describeRefusal(reply))
    }
  }

  const readBegun = Effect.fnUntraced(function*(reply: Reply, request: LoginRequest) {
    const results = decodeBegun(reply.envelope?.results)
    if (reply.status !== 200 || Result.isFailure(results)) return yield* judge(reply, request)
    const { code, image, pair_code, qr, qr_duration, qr_link } = results.success
    if (request.method === "code") return yield* fromPairingCode(name, pair_code ?? code ?? "")
    const millis = options.lifetime(qr_duration ?? secondsDefault)
    if (qr ?? code) return yield* fromText(name, qr ?? code ?? "", millis)
    const given = image ? decodePicture(image) : null
    if (given !== null) return yield* fromPicture(name, given, millis)
    const at = qr_link ? locate(client, qr_link) : null
    if (at === null) {
      return yield* GatewayUnavailable.of(name, beginOperation, "it named no picture of its own")
    }
    const fetched = yield* fetchPicture(client, name, at)
    return fetched === null
      ? yield* GatewayUnavailable.of(name, beginOperation, "the picture that it named is not there")
      : yield* fromPicture(name, fetched, millis)
  })

  const begin = Effect.fn("SlotLogin.begin")(
    function*(target: SessionTarget, request: LoginRequest): Effect.fn.Return<
      LoginCode,
      LoginRefused | GatewayUnavailable
    > {
      // A login of a slot that does not exist creates one that the gateway forgets.
      yield* slots.ensureSlot(target.upstreamId)
      const reply = yield* askToBegin(target.upstreamId, request)
      if (request.method === "qr" || reply.envelope?.code !== "INTERNAL_SERVER_ERROR") {
        return yield* readBegun(reply, request)
      }
      // A request for a pairing code before WhatsApp is ready fails. A QR code is returned only once it is.
      yield* askToBegin(target.upstreamId, { method: "qr" })
      return yield* readBegun(yield* askToBegin(target.upstreamId, request), request)
    }
  )

  const lookAtPasskey = Effect.fnUntraced(function*(slot: UpstreamId): Effect.fn.Return<
    LoginProgress | null,
    GatewayUnavailable
  > {
    const reply = yield* ask("return the state of a passkey", "GET", client.at("app", "passkey"), { slot })
    const results = decodePasskey(reply.envelope?.results)
    if (reply.status !== 200 || Result.isFailure(results)) return null
    const { challenge, code, status } = results.success
    if (status !== "awaiting_response" && status !== "awaiting_confirmation") return null
    return {
      _tag: "Passkey",
      challenge: challenge === undefined || challenge === null ? null : Redacted.make(challenge),
      code: code ? Redacted.make(code) : null
    }
  })

  const look = Effect.fn("SlotLogin.look")(
    function*({ upstreamId }: SessionTarget, _shown: LoginCode): Effect.fn.Return<LoginProgress, GatewayUnavailable> {
      const operation = "return the state of a login"
      const reply = yield* ask(operation, "GET", client.at("devices", upstreamId))
      const slot = decodeSlot(reply.envelope?.results)
      if (isUnknownSlot(reply.status, reply.envelope)) return { _tag: "Ended" }
      if (reply.status !== 200 || Result.isFailure(slot)) {
        return yield* GatewayUnavailable.of(name, operation, describeRefusal(reply))
      }
      const { jid, state } = slot.success
      if (jid) return { _tag: "Accepted" }
      const passkey = options.passkey ? yield* lookAtPasskey(upstreamId) : null
      if (passkey !== null) return passkey
      return { _tag: options.endsByState && state === "disconnected" ? "Ended" : "Waiting" }
    }
  )

  const logOut = Effect.fn("SlotLogin.logOut")(function*({ upstreamId }: SessionTarget) {
    const operation = "log the account out"
    const url = client.at("devices", upstreamId, "logout")
    const reply = yield* ask(operation, "POST", url, { millis: logOutMillis })
    if (isUnknownSlot(reply.status, reply.envelope)) return
    if (reply.status === 200 && reply.envelope !== null) return
    return yield* GatewayUnavailable.of(name, operation, describeRefusal(reply))
  })

  const answerPasskey = (operation: string, path: string) =>
    Effect.fnUntraced(function*(slot: UpstreamId, body?: Redacted.Redacted<Schema.Json>) {
      const reply = yield* ask(operation, "POST", client.at("app", "passkey", path), {
        slot,
        millis: beginMillis,
        ...(body === undefined ? {} : { body: Redacted.value(body) })
      })
      if (reply.status === 200 && reply.envelope !== null) return
      if (reply.status === 400 || reply.status === 500) {
        return yield* refuse("other", "no passkey is asked for now, or it refuses the answer")
      }
      return yield* GatewayUnavailable.of(name, operation, describeRefusal(reply))
    })
  const respond = answerPasskey("take the answer to a passkey", "response")
  const confirm = answerPasskey("take the confirmation of a passkey", "confirm")

  return {
    methods: new Set(["qr", "code"]),
    begin,
    look,
    logOut,
    ...(options.passkey
      ? {
        passkey: {
          answer: ({ upstreamId }, assertion) => respond(upstreamId, assertion),
          confirm: ({ upstreamId }) => confirm(upstreamId)
        }
      }
      : {})
  }
}

const publicFiles = "/statics/"

/** A URL below the gateway's public files, at its own address, or null. */
const locate = (client: RestClient, link: string): URL | null => {
  // The link's address is not used; a path alone is as good.
  const url = URL.parse(link, "http://gateway")
  const begin = url?.pathname.indexOf(publicFiles) ?? -1
  if (url === null || begin === -1) return null
  const segments = url.pathname.slice(begin + 1).split("/")
  return segments.some((segment) => !/^[\w.~-]+$/.test(segment) || segment === "." || segment === "..")
    ? null
    : client.at(...segments)
}
