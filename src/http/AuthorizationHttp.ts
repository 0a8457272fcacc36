/** Checks keys and scopes, for HTTP and RPC alike. */
import { Context, Effect, Layer } from "effect"
import { Headers, HttpEffect, HttpServerRequest, HttpServerResponse } from "effect/http"
import {
  apiKeyHeader,
  CurrentCaller,
  Forbidden,
  HttpAuthorization,
  RequiredReach,
  RequiredScope,
  RpcAuthorization,
  Scope,
  TooManyRequests,
  Unauthorized
} from "../contracts/Authorization.ts"
import type { Reach } from "../contracts/Authorization.ts"
import { InternalError } from "../contracts/Failures.ts"
import { KeyDirectory } from "../services/KeyDirectory.ts"
import type { KnownKey } from "../services/KeyDirectory.ts"
import { CallLimits } from "./CallLimits.ts"
import { readPeer } from "./peer.ts"
import { socketHeader, CallerSockets } from "./CallerSockets.ts"

type Caller = CurrentCaller["Service"]

type Refusal = Unauthorized | Forbidden | TooManyRequests

export class Authorizer extends Context.Service<Authorizer, {
  /** No keys are configured: every caller may do everything. */
  readonly open: boolean
  /** The accepted key that the request carries, whatever its scopes. */
  readonly findKey: (headers: Headers.Headers) => KnownKey | null
  /** Counts as a request of the key, or as a failure of the address. */
  readonly authorize: (
    headers: Headers.Headers,
    required: { readonly scope: Scope; readonly reach: Reach }
  ) => Effect.Effect<Caller, Refusal>
}>()("columba/http/AuthorizationHttp/Authorizer") {
  static readonly layer = Layer.effect(
    Authorizer,
    Effect.gen(function*() {
      return make(yield* KeyDirectory, yield* CallLimits)
    })
  ).pipe(Layer.provide(CallLimits.layer))
}

const make = (directory: KeyDirectory["Service"], limits: CallLimits["Service"]): Authorizer["Service"] => {
  if (directory.open) {
    const anonymous = Effect.succeed<Caller>({
      id: null,
      name: "anonymous",
      scopes: new Set(Scope.literals),
      devices: undefined,
      ended: Effect.never
    })
    return Authorizer.of({ open: true, findKey: () => null, authorize: () => anonymous })
  }
  return Authorizer.of({
    open: false,
    findKey: (headers) => {
      const presented = presentedKey(headers)
      return presented === null ? null : directory.find(presented)
    },
    authorize: Effect.fnUntraced(function*(headers, required): Effect.fn.Return<Caller, Refusal> {
      const presented = presentedKey(headers)
      if (presented === null) return yield* Unauthorized.of()
      const caller = directory.find(presented)
      if (caller === null) return yield* limits.refuse(readPeer(headers))
      yield* limits.take(caller)
      if (!caller.scopes.has(required.scope)) return yield* Forbidden.of(caller.name, required.scope)
      if (required.reach === "fleet" && caller.devices !== undefined) {
        return yield* Forbidden.limited(caller.name, required.scope)
      }
      return caller
    })
  })
}

/** Every endpoint and RPC has both annotations, which a test checks. */
const readRequired = (annotations: Context.Context<never>) => ({
  scope: Context.getUnsafe(annotations, RequiredScope),
  reach: Context.getUnsafe(annotations, RequiredReach)
})

const presentedKey = (headers: Headers.Headers): string | null => {
  const bearer = /^bearer +(\S.*)$/i.exec(headers["authorization"] ?? "")
  return bearer?.[1] ?? headers[apiKeyHeader] ?? null
}

/**
 * Both schemes run the same check over both headers. The framework tries them in turn and reports the last failure. If
 * each read only its own header, a missing `X-Api-Key` would hide that the bearer key lacks a scope. The second one
 * repeats the result of the first, so that a request counts once.
 */
export const layerHttp: Layer.Layer<HttpAuthorization, never, Authorizer> = Layer.effect(
  HttpAuthorization,
  Effect.map(Authorizer, ({ authorize }) => {
    const refused = new WeakMap<object, Refusal>()
    const bearer: HttpAuthorization["Service"]["bearer"] = (handler, { endpoint }) =>
      Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        const caller = yield* authorize(request.headers, readRequired(endpoint.annotations)).pipe(
          Effect.tapError((refusal) => Effect.sync(() => refused.set(request.source, refusal)))
        )
        return yield* Effect.provideService(handler, CurrentCaller, caller)
      })
    const apiKey: HttpAuthorization["Service"]["apiKey"] = (handler, given) =>
      Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        const refusal = refused.get(request.source)
        if (refusal === undefined) return yield* bearer(handler, given)
        if (refusal._tag === "TooManyRequests") yield* HttpEffect.appendPreResponseHandler(sayWhen(refusal))
        return yield* refusal
      })
    return HttpAuthorization.of({ bearer, apiKey })
  })
)

const sayWhen =
  ({ retryAfterSeconds }: TooManyRequests) => (_: unknown, response: HttpServerResponse.HttpServerResponse) =>
    Effect.succeed(HttpServerResponse.setHeader(response, "retry-after", String(retryAfterSeconds)))

/**
 * Also hides defects: the framework would send the thrown value to a caller. A request with a valid key authenticates
 * its WebSocket, even if the key lacks the scope.
 */
export const layerRpc: Layer.Layer<RpcAuthorization, never, Authorizer | CallerSockets> = Layer.effect(
  RpcAuthorization,
  Effect.gen(function*() {
    const { authorize, findKey } = yield* Authorizer
    const sockets = yield* CallerSockets
    return RpcAuthorization.of((handler, { headers, rpc }) => {
      if (sockets.isWaiting(headers[socketHeader])) {
        const key = findKey(headers)
        if (key !== null) sockets.authenticated(headers[socketHeader], key)
      }
      return authorize(headers, readRequired(rpc.annotations)).pipe(
        Effect.flatMap((caller) => Effect.provideService(handler, CurrentCaller, caller)),
        Effect.catchDefect((defect) =>
          Effect.andThen(Effect.logError(`Defect while answering ${rpc._tag}`, defect), Effect.die(InternalError.of()))
        )
      )
    })
  })
)
