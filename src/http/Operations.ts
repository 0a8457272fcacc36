/**
 * Serves the table of operations over both transports, applies the limits of the caller's key and records who has
 * changed what, so that no operation can omit either.
 *
 * The compiler cannot follow a loop over the table: it does not see that the name, the payload and the handler of one
 * iteration belong together. So the loops work on the erased types below, and this module is the only place that
 * casts. The types on both sides are derived from the table.
 */
import { Context, Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import type { HttpApiGroup } from "effect/http-api"
import type { Rpc } from "effect/rpc"
import { Api } from "../contracts/Api.ts"
import { CurrentCaller } from "../contracts/Authorization.ts"
import type { RequestValidation } from "../contracts/Failures.ts"
import type { HttpAuthorization, VisibleDevices } from "../contracts/Authorization.ts"
import type { Handler } from "../contracts/Operation.ts"
import { operations } from "../contracts/Operations.ts"
import type { AnyOperation, OperationHandlers } from "../contracts/Operations.ts"
import { DeviceNotFound } from "../domain/DeviceErrors.ts"
import type { DeviceId } from "../domain/Ids.ts"
import { AuditTrail, isAudited } from "./AuditTrail.ts"
import { makeHandlers } from "./operationHandlers.ts"

type Restricted<Op extends AnyOperation> = (
  payload: Rpc.Payload<Op["rpc"]>
) => ReturnType<Handler<Op>> extends Effect.Effect<infer A, infer E, CurrentCaller> ? Effect.Effect<A, E, CurrentCaller>
  : never

/** The handlers with the limits of the caller's key applied. */
export type RestrictedHandlers = { readonly [Op in AnyOperation as Op["name"]]: Restricted<Op> }

type ErasedHandler = (payload: object, visible?: VisibleDevices) => Effect.Effect<unknown, unknown, CurrentCaller>
type ErasedCall = (payload: object) => Effect.Effect<unknown, unknown, CurrentCaller>

export class Operations extends Context.Service<Operations, RestrictedHandlers>()("columba/http/Operations") {
  static readonly layer = Layer.effect(
    Operations,
    Effect.gen(function*() {
      return restrict(yield* makeHandlers, yield* AuditTrail)
    })
  )
}

const restrict = (handlers: OperationHandlers, trail: AuditTrail["Service"]): RestrictedHandlers =>
  Object.fromEntries(operations.map((operation) => {
    // A union of all handlers: the compiler cannot match a payload to this operation.
    const handler = handlers[operation.name] as ErasedHandler
    const call: ErasedCall = (payload) =>
      Effect.flatMap(CurrentCaller, ({ devices }) => {
        if (operation.reach === "device" && devices !== undefined) {
          // `reach: "device"` is only for operations whose payload has the device's id; without an id no device is
          // visible.
          const { id } = payload as { readonly id: DeviceId }
          if (!devices.includes(id)) return Effect.fail(DeviceNotFound.of(id))
        }
        const handled = handler(payload, devices)
        return isAudited(operation) ? trail.audit(operation, payload, handled) : handled
      })
    return [operation.name, call]
    // `fromEntries` loses the names: these are all operations, each with its own handler.
  })) as unknown as RestrictedHandlers

/** The groups whose endpoints are derived from the table alone. */
type DerivedGroup = Exclude<keyof typeof Api.groups, "events" | "files" | "media" | "qr">

interface ErasedRequest {
  readonly params?: object
  readonly query?: object
  readonly headers?: Readonly<Record<string, unknown>>
  readonly payload?: object
}

interface ErasedHandlers {
  readonly handle: (identifier: string, handler: (request: ErasedRequest) => ReturnType<ErasedCall>) => ErasedHandlers
}

/** Serves one group: joins the fields of each request again and calls the handler of that name. */
export const layerGroup = <const Group extends DerivedGroup>(group: Group): Layer.Layer<
  HttpApiGroup.Service<"columba", Group>,
  never,
  Operations | HttpAuthorization | RequestValidation
> =>
  HttpApiBuilder.group(Api, group, (handlers) =>
    Effect.map(Operations, (calls) => {
      // Typed for the endpoint that is handled next, which a loop does not have.
      let erased = handlers as unknown as ErasedHandlers
      for (const { endpoint, group: owner, headers: names, name } of operations) {
        if (owner !== group) continue
        // As above: a union of all calls.
        const call = calls[name] as ErasedCall
        erased = erased.handle(
          endpoint.identifier,
          ({ headers = {}, params, payload, query }) =>
            call({ ...params, ...query, ...readHeaders(names, headers), ...payload })
        )
      }
      // The endpoints of the group come from this table, so all of them have been handled.
      return erased as unknown as HttpApiBuilder.Handlers<HttpAuthorization | RequestValidation>
    }))

/** The fields that were sent as headers, under their own names. */
const readHeaders = (
  names: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, unknown>>
): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(names).flatMap(([header, field]) => headers[header] === undefined ? [] : [[field, headers[header]]])
  )
