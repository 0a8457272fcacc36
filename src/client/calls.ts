/**
 * The client's calls, derived from the table of operations: `Devices.Edit` becomes `devices.edit({ id, name })`. A
 * call fails with the operation's own errors, those of authorization, or `RpcClientError` if no answer came.
 */
import { Cause, Clock, Duration, Effect } from "effect"
import type { Rpc, RpcClient, RpcClientError, RpcGroup } from "effect/rpc"
import type { Forbidden, TooManyRequests, Unauthorized } from "../contracts/Authorization.ts"
import type { ColumbaRpcs } from "../contracts/ColumbaRpcs.ts"
import { operations } from "../contracts/Operations.ts"
import type { AnyOperation } from "../contracts/Operations.ts"
import { endWaiting, mayPass, repeatPolicy, serverStopped } from "./reconnecting.ts"

export type Rpcs = RpcClient.RpcClient<RpcGroup.Rpcs<typeof ColumbaRpcs>, RpcClientError.RpcClientError>

type Input<Op extends AnyOperation> = Rpc.PayloadConstructor<Op["rpc"]>

/** The payload is optional if no field is required. */
type Call<Op extends AnyOperation> = (
  ...payload: {} extends Input<Op> ? [payload?: Input<Op>] : [payload: Input<Op>]
) => Effect.Effect<
  Rpc.Success<Op["rpc"]>,
  Rpc.Error<Op["rpc"]> | Unauthorized | Forbidden | TooManyRequests | RpcClientError.RpcClientError
>

export type Calls = {
  readonly [Group in AnyOperation["group"]]: {
    readonly [Op in Extract<AnyOperation, { readonly group: Group }> as Op["endpoint"]["identifier"]]: Call<Op>
  }
}

type ErasedCall = (payload: object) => Effect.Effect<unknown, RpcClientError.RpcClientError>

/** In a loop the compiler cannot see that a name and its RPC belong together, so the loop works on erased types. */
export const makeCalls = (rpc: Rpcs, retryFor: Duration.Duration, isClosed: () => boolean): Calls => {
  const groups: Record<string, Record<string, ErasedCall>> = {}
  for (const operation of operations) {
    const { endpoint, group, name } = operation
    // A union of the calls of all operations: the compiler cannot match a payload to this operation.
    const send = rpc[name] as ErasedCall
    const call: ErasedCall = (payload) => failWhenStopped(endWaiting(send(payload)), isClosed)
    const repeated = Duration.isZero(retryFor) ? call : repeatSafely(operation, call, retryFor)
    const calls = (groups[group] ??= {})
    calls[endpoint.identifier] = (payload = {}) => repeated(payload)
  }
  // Filled by name from the same table that `Calls` is derived from.
  return groups as unknown as Calls
}

/** A read changes nothing, and an operation with an idempotency key is done once, however often it is requested. */
const repeatSafely = (operation: AnyOperation, call: ErasedCall, retryFor: Duration.Duration): ErasedCall => {
  const takesKey = Object.values(operation.headers).includes("idempotencyKey")
  if (operation.endpoint.method !== "GET" && !takesKey) return call
  return (payload) =>
    Effect.flatMap(Clock.currentTimeMillis, (began) => {
      const inTime = Effect.map(Clock.currentTimeMillis, (now) => now - began < Duration.toMillis(retryFor))
      return Effect.retry(call(takesKey ? withKey(payload) : payload), {
        schedule: repeatPolicy,
        while: (error) => mayPass(error) ? inTime : Effect.succeed(false)
      })
    })
}

const withKey = (payload: { readonly idempotencyKey?: string | undefined }): object => ({
  ...payload,
  idempotencyKey: payload.idempotencyKey ?? makeKey()
})

/** 128 random bits. `crypto.randomUUID` is missing in pages served over plain HTTP. */
const makeKey = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("")

/**
 * A call whose server stopped before answering fails like any other lost connection. Once the client is closed, the
 * call is interrupted.
 */
const failWhenStopped = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  isClosed: () => boolean
): Effect.Effect<A, E | RpcClientError.RpcClientError, R> =>
  Effect.catchCauseIf(
    effect,
    (cause) => Cause.hasInterruptsOnly(cause) && !isClosed(),
    (cause) => Effect.fail(serverStopped(cause))
  )
