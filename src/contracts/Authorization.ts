/**
 * Who may call what. Every endpoint and every RPC carries its scope as the annotation `RequiredScope`, and what a limited
 * key gets as `RequiredReach`; the two middlewares below read them there. Safe for browsers: the check itself is part of
 * the server.
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
 * What an operation means for a key that is limited to some devices.
 * `device`: its payload's `id` names one device; others look as if they did not exist.
 * `filter`: it reads over devices; what belongs to others or to all together is left out.
 * `fleet`: it concerns all devices or none of them in particular; such a key may not use it.
 * `server`: it tells nothing about devices.
 */
export const Reach = Schema.Literals(["device", "filter", "fleet", "server"])
export type Reach = typeof Reach.Type

/** The annotation on an endpoint or RPC that says what a key limited to some devices gets. */
export class RequiredReach extends Context.Service<RequiredReach, Reach>()(
  "columba/contracts/Authorization/RequiredReach"
) {}

/** The devices that a key is limited to, or undefined where it is not limited. */
export type VisibleDevices = ReadonlyArray<DeviceId> | undefined

export const isVisible = (visible: VisibleDevices, id: DeviceId): boolean =>
  visible === undefined || visible.includes(id)

/** The caller of this request, as its key identifies it. */
export class CurrentCaller extends Context.Service<CurrentCaller, {
  /** Of the key; a rotation keeps it. Null where no keys are configured. */
  readonly id: string | null
  /** The name of the key, or `anonymous` where no keys are configured. */
  readonly name: string
  readonly scopes: ReadonlySet<Scope>
  readonly devices: VisibleDevices
  /** Returns when the key is not accepted any more. Streams that were opened with it end then. */
  readonly ended: Effect.Effect<void>
}>()("columba/contracts/Authorization/CurrentCaller") {}

export class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", {
  message: Schema.String
}, { httpApiStatus: 401 }) {
  /** No key was sent. */
  static of(): Unauthorized {
    return new Unauthorized({
      message: "This server asks for an API key: send Authorization: Bearer <key> or X-Api-Key: <key>"
    })
  }

  /** The key is none of the configured ones. */
  static unknown(): Unauthorized {
    return new Unauthorized({
      message: "This server does not know this API key: it was mistyped, revoked, or has expired"
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

  /** The key has the scope, but only for some devices, and this concerns all of them. */
  static limited(caller: string, required: Scope): Forbidden {
    return new Forbidden({ required, message: `Key '${caller}' is limited to some devices, and this concerns all` })
  }
}

/** Asked too often: the key has used up its rate, or too many keys came from here that are none. */
export class TooManyRequests extends Schema.TaggedError<TooManyRequests>()("TooManyRequests", {
  message: Schema.String,
  /** Over HTTP also as the header `Retry-After`. */
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
      message: "Too many unknown API keys came from this address; a right one is answered at once"
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
