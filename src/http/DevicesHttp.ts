/** Devices over HTTP: decode, call, answer. */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "../contracts/Api.ts"
import { pageLimitDefault } from "../contracts/Payloads.ts"
import { DeviceManager } from "../services/DeviceManager.ts"

export const DevicesHttp = HttpApiBuilder.group(
  Api,
  "devices",
  Effect.fnUntraced(function*(handlers) {
    const manager = yield* DeviceManager
    return handlers.handleAll({
      create: ({ payload }) => manager.register(payload),
      list: ({ query }) => manager.list({ ...query, limit: query.limit ?? pageLimitDefault }),
      get: ({ params }) => manager.get(params.id),
      rename: ({ params, payload }) => manager.rename(params.id, payload.name),
      deactivate: ({ params }) => manager.deactivate(params.id),
      reactivate: ({ params }) => manager.reactivate(params.id),
      reconnect: ({ params }) => manager.reconnect(params.id),
      release: ({ params }) => manager.release(params.id),
      status: ({ params }) => manager.syncStatus(params.id),
      connection: ({ params }) => manager.connection(params.id),
      explain: ({ params }) => manager.explain(params.id)
    })
  })
)
