/**
 * Who may call what. Every endpoint and every RPC declares its scope in the annotation `RequiredScope`, and in
 * `RequiredReach` what a key limited to some devices gets; the two middlewares below read both. Safe for browsers: the
 * check itself is part of the server.
 *
 * A key is sent as `Authorization: Bearer <key>` or as `X-Api-Key: <key>`; for RPC each request carries the same
 * headers, because a browser cannot set headers on a WebSocket.
 */
import { Context, Schema } from "effect"
import type { Effect } from "effect"
import { HttpApiMiddleware, HttpApiSecurity } from "effect/http-api"
import { RpcMiddleware } from "effect/rpc"
import { Scope } from "../domain/ApiKey.ts"
import type { DeviceId } from "../domain/Ids.ts"

export { Scope }

/** The annotation on an endpoint or RPC that names the scope its caller needs. */
export class RequiredScope extends Context.Service<RequiredScope, Scope>()(
  "columba/contracts/Authorization/RequiredScope"
) {}

/**
 * The meaning of an operation for a key that is limited to some devices. `device`: its payload's `id` names one
 * device; other devices look as if they did not exist. `filter`: it reads over devices; data of other devices or of
 * the fleet is left out. `fleet`: it concerns all devices or none in particular; such a key may not use it. `server`:
 * its answer contains nothing about devices.
 */
export const Reach = Schema.Literals(["device", "filter", "fleet", "server"])
export type Reach = typeof Reach.Type

/** The annotation on an endpoint or RPC that names its reach. */
export class RequiredReach extends Context.Service<RequiredReach, Reach>()(
  "columba/contracts/Authorization/RequiredReach"
) {}

/** The devices that a key is limited to, or undefined if it is not limited. */
export type VisibleDevices = ReadonlyArray<DeviceId> | undefined

export const isVisible = (visible: VisibleDevices, id: DeviceId): boolean =>
  visible === undefined || visible.includes(id)

/** The caller of this request, as identified by its key. */
export class CurrentCaller extends Context.Service<CurrentCaller, {
  /** The id of the key, which a rotation keeps. Null if no keys are configured. */
  readonly id: string | null
  /** The name of the key, or `anonymous` if no keys are configured. */
  readonly name: string
  readonly scopes: ReadonlySet<Scope>
  readonly devices: VisibleDevices
  /** Returns when the key is no longer accepted. Streams that were opened with it end then. */
  readonly ended: Effect.Effect<void>
}>()("columba/contracts/Authorization/CurrentCaller") {}

export class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", {
  message: Schema.String
}, { httpApiStatus: 401 }) {
  /** No key was sent. */
  static of(): Unauthorized {
    return new Unauthorized({
      message: "This server requires an API key: send Authorization: Bearer <key> or X-Api-Key: <key>"
    })
  }

  /** The key is not one of the accepted ones. */
  static unknown(): Unauthorized {
    return new Unauthorized({
      message: "This server does not accept this API key: it was mistyped, revoked, or has expired"
    })
  }
}

export class Forbidden extends Schema.TaggedError<Forbidden>()("Forbidden", {
  message: Schema.String,
  required: Scope
}, { httpApiStatus: 403 }) {
  static of(caller: string, required: Scope): Forbidden {
    return new Forbidden({ required, message: `Key '${caller}' lacks the scope '${required}'` })
  }

  /** The key has the scope, but only for some devices, and the operation concerns all of them. */
  static limited(caller: string, required: Scope): Forbidden {
    return new Forbidden({
      required,
      message: `Key '${caller}' is limited to some devices, and this operation concerns all`
    })
  }
}

/** Too many requests: the key has exceeded its rate, or too many unknown keys came from this address. */
export class TooManyRequests extends Schema.TaggedError<TooManyRequests>()("TooManyRequests", {
  message: Schema.String,
  /** Over HTTP also sent as the header `Retry-After`. */
  retryAfterSeconds: Schema.Int
}, { httpApiStatus: 429 }) {
  static ofKey(caller: string, perSecond: number, waitMillis: number): TooManyRequests {
    return new TooManyRequests({
      retryAfterSeconds: Math.ceil(waitMillis / 1000),
      message: `Key '${caller}' may make ${perSecond} requests per second, and has made more`
    })
  }

  static failures(waitMillis: number): TooManyRequests {
    return new TooManyRequests({
      retryAfterSeconds: Math.ceil(waitMillis / 1000),
      message: "Too many unknown API keys came from this address; a valid key is still accepted"
    })
  }
}

export const apiKeyHeader = "x-api-key"

export class HttpAuthorization extends HttpApiMiddleware.Service<HttpAuthorization, { provides: CurrentCaller }>()(
  "columba/contracts/Authorization/HttpAuthorization",
  {
    error: [Unauthorized, Forbidden, TooManyRequests],
    security: {
      bearer: HttpApiSecurity.http({ scheme: "bearer" }),
      apiKey: HttpApiSecurity.apiKey({ key: apiKeyHeader })
    }
  }
) {}

export class RpcAuthorization extends RpcMiddleware.Service<RpcAuthorization, { provides: CurrentCaller }>()(
  "columba/contracts/Authorization/RpcAuthorization",
  { error: Schema.Union([Unauthorized, Forbidden, TooManyRequests]), requiredForClient: true }
) {}
