/** Checks keys and scopes, for HTTP and RPC alike. */
import { Context, Effect, Layer } from "effect"
import { Headers, HttpServerRequest } from "effect/http"
import {
  apiKeyHeader,
  CurrentCaller,
  Forbidden,
  HttpAuthorization,
  RequiredReach,
  RequiredScope,
  RpcAuthorization,
  Scope,
  Unauthorized
} from "../contracts/Authorization.ts"
import type { Reach } from "../contracts/Authorization.ts"
import { InternalError } from "../contracts/Failures.ts"
import { KeyDirectory } from "../services/KeyDirectory.ts"
import type { KnownKey } from "../services/KeyDirectory.ts"
import { socketHeader, UnauthenticatedSockets } from "./UnauthenticatedSockets.ts"

type Caller = CurrentCaller["Service"]

export class Authorizer extends Context.Service<Authorizer, {
  /** No keys are configured: every caller may do everything. */
  readonly open: boolean
  /** The key of ours that the request carries, whatever it allows. */
  readonly findKey: (headers: Headers.Headers) => KnownKey | null
  readonly authorize: (
    headers: Headers.Headers,
    required: { readonly scope: Scope; readonly reach: Reach }
  ) => Effect.Effect<Caller, Unauthorized | Forbidden>
}>()("columba/http/AuthorizationHttp/Authorizer") {
  static readonly layer = Layer.effect(Authorizer, Effect.map(KeyDirectory, (directory) => make(directory)))
}

const make = (directory: KeyDirectory["Service"]): Authorizer["Service"] => {
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
    authorize: (headers, required) =>
      Effect.suspend((): Effect.Effect<Caller, Unauthorized | Forbidden> => {
        const presented = presentedKey(headers)
        if (presented === null) return Effect.fail(Unauthorized.of())
        const caller = directory.find(presented)
        if (caller === null) return Effect.fail(Unauthorized.unknown())
        if (!caller.scopes.has(required.scope)) return Effect.fail(Forbidden.of(caller.name, required.scope))
        return required.reach === "fleet" && caller.devices !== undefined
          ? Effect.fail(Forbidden.limited(caller.name, required.scope))
          : Effect.succeed(caller)
      })
  })
}

/** Every endpoint and RPC carries both; a test holds that. */
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
 * each looked at its own header only, a missing `X-Api-Key` would hide that the bearer key lacks a scope.
 */
export const layerHttp: Layer.Layer<HttpAuthorization, never, Authorizer> = Layer.effect(
  HttpAuthorization,
  Effect.map(Authorizer, ({ authorize }) => {
    const check: HttpAuthorization["Service"]["bearer"] = (handler, { endpoint }) =>
      Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        const caller = yield* authorize(request.headers, readRequired(endpoint.annotations))
        return yield* Effect.provideService(handler, CurrentCaller, caller)
      })
    return HttpAuthorization.of({ bearer: check, apiKey: check })
  })
)

/**
 * Also keeps defects to ourselves: the framework would give a caller what was thrown. A request with a valid key
 * authenticates the WebSocket that it came by, also when the key lacks the scope.
 */
export const layerRpc: Layer.Layer<RpcAuthorization, never, Authorizer | UnauthenticatedSockets> = Layer.effect(
  RpcAuthorization,
  Effect.gen(function*() {
    const { authorize, findKey } = yield* Authorizer
    const sockets = yield* UnauthenticatedSockets
    return RpcAuthorization.of((handler, { headers, rpc }) => {
      const authenticated = Effect.sync(() => {
        const key = findKey(headers)
        if (key !== null) sockets.authenticated(headers[socketHeader], key.ended)
      })
      return authorize(headers, readRequired(rpc.annotations)).pipe(
        Effect.tap(authenticated),
        Effect.tapErrorTag("Forbidden", () => authenticated),
        Effect.flatMap((caller) => Effect.provideService(handler, CurrentCaller, caller)),
        Effect.catchDefect((defect) =>
          Effect.andThen(Effect.logError(`Defect while answering ${rpc._tag}`, defect), Effect.die(InternalError.of()))
        )
      )
    })
  })
)
