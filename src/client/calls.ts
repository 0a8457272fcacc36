/**
 * The client's calls, derived from the table of operations: `Devices.Edit` becomes `devices.edit({ id, name })`.
 * A call fails with the operation's own errors, those of authorization, or `RpcClientError` where no answer came.
 */
import { Cause, Effect } from "effect"
import { RpcClientError } from "effect/rpc"
import type { Rpc, RpcClient, RpcGroup } from "effect/rpc"
import type { Forbidden, Unauthorized } from "../contracts/Authorization.ts"
import type { ColumbaRpcs } from "../contracts/ColumbaRpcs.ts"
import { operations } from "../contracts/Operations.ts"
import type { AnyOperation } from "../contracts/Operations.ts"

export type Rpcs = RpcClient.RpcClient<RpcGroup.Rpcs<typeof ColumbaRpcs>, RpcClientError.RpcClientError>

type Input<Op extends AnyOperation> = Rpc.PayloadConstructor<Op["rpc"]>

/** The payload may be left out where no field is required. */
type Call<Op extends AnyOperation> = (
  ...payload: {} extends Input<Op> ? [payload?: Input<Op>] : [payload: Input<Op>]
) => Effect.Effect<
  Rpc.Success<Op["rpc"]>,
  Rpc.Error<Op["rpc"]> | Unauthorized | Forbidden | RpcClientError.RpcClientError
>

export type Calls = {
  readonly [Group in AnyOperation["group"]]: {
    readonly [Op in Extract<AnyOperation, { readonly group: Group }> as Op["endpoint"]["identifier"]]: Call<Op>
  }
}

type ErasedCall = (payload: object) => Effect.Effect<unknown, RpcClientError.RpcClientError>

/** The compiler cannot see in a loop that a name and its RPC belong together, so the loop works on erased forms. */
export const makeCalls = (rpc: Rpcs): Calls => {
  const groups: Record<string, Record<string, ErasedCall>> = {}
  for (const { endpoint, group, name } of operations) {
    // A union of the calls of all operations: none of its payloads is known to be this operation's.
    const send = rpc[name] as ErasedCall
    const calls = (groups[group] ??= {})
    calls[endpoint.identifier] = (payload = {}) => failWhenStopped(send(payload))
  }
  // Filled by name from the same table that `Calls` is derived from.
  return groups as unknown as Calls
}

/** A call whose server stopped before it answered fails like any other lost connection. */
const failWhenStopped = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | RpcClientError.RpcClientError, R> =>
  Effect.catchCauseIf(effect, Cause.hasInterruptsOnly, (cause) => Effect.fail(serverStopped(cause)))

export const serverStopped = (cause: Cause.Cause<unknown>): RpcClientError.RpcClientError =>
  new RpcClientError.RpcClientError({
    reason: new RpcClientError.RpcClientDefect({ message: "The server stopped before it was done", cause })
  })
