/** Messages over HTTP. */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "../contracts/Api.ts"
import { pageLimitDefault } from "../contracts/Payloads.ts"
import { MessageRepository } from "../services/MessageRepository.ts"

export const MessagesHttp = HttpApiBuilder.group(
  Api,
  "messages",
  Effect.fnUntraced(function*(handlers) {
    const messages = yield* MessageRepository
    return handlers.handleAll({
      list: ({ query }) => messages.list({ ...query, limit: query.limit ?? pageLimitDefault }),
      get: ({ params }) => messages.get(params.id)
    })
  })
)
