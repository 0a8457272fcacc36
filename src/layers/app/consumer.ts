/**
 * The role consumer: its handlers, and the source that feeds them. Without a handler nothing is consumed, since
 * other services may read the guaranteed queue.
 */
import { Effect } from "effect"
import type { Context, Scope } from "effect"
import type { SqlClient } from "effect/sql"
import * as LogSource from "../../actors/consuming/LogSource.ts"
import * as MessageConsumer from "../../actors/consuming/MessageConsumer.ts"
import * as AutoReply from "../../services/AutoReply.ts"
import type { AutoReplyRepository } from "../../services/AutoReplyRepository.ts"
import { ConsumerSettings } from "../../services/ConsumerSettings.ts"
import type { EventLog } from "../../services/EventLog.ts"
import type { MessageHandler } from "../../services/MessageHandler.ts"
import type { MessageInbox } from "../../services/MessageInbox.ts"
import type { MessageRepository } from "../../services/MessageRepository.ts"
import type { MessageSender } from "../../services/MessageSender.ts"
import { Readiness } from "../../services/Readiness.ts"
import type { Settings } from "../Settings.ts"
import type { Broker } from "./broker.ts"
import { startFailed } from "./StartFailed.ts"
import type { StartFailed } from "./StartFailed.ts"

/** The handlers of this process: none without the role. */
export const loadHandlers = Effect.fnUntraced(function*(
  settings: Settings
): Effect.fn.Return<
  ReadonlyArray<MessageHandler>,
  StartFailed,
  SqlClient.SqlClient | AutoReplyRepository | MessageRepository | MessageSender
> {
  if (!settings.roles.has("consumer")) return []
  return [...yield* loadModules(settings.handlers), ...yield* loadAutoReply(settings.openAi)]
})

const loadModules = Effect.fnUntraced(function*(paths: Settings["handlers"]) {
  if (paths.length === 0) return []
  const HandlerModules = yield* Effect.promise(() => import("../handlers/HandlerModules.ts"))
  return yield* Effect.mapError(HandlerModules.load(paths), (error) => startFailed(error, null))
})

const loadAutoReply = Effect.fnUntraced(function*(options: Settings["openAi"]) {
  if (options === null) return []
  const OpenAiReplyModel = yield* Effect.promise(() => import("../openai/OpenAiReplyModel.ts"))
  return [yield* Effect.provide(AutoReply.make, OpenAiReplyModel.layer(options))]
})

/** Runs with its scope. */
export const consume = Effect.fnUntraced(function*(
  settings: Settings,
  handlers: ReadonlyArray<MessageHandler>,
  broker: Broker | null
): Effect.fn.Return<void, never, EventLog | MessageInbox | Readiness | Scope.Scope> {
  if (!settings.roles.has("consumer")) return
  if (handlers.length === 0) {
    const readiness = yield* Readiness
    return yield* readiness.contribute("consumer", Effect.succeed("no handler is configured, so nothing is consumed"))
  }
  const guarded = broker?.guarded ?? null
  const source = guarded === null ? yield* LogSource.make : yield* makeRabbitSource(guarded)
  yield* Effect.provideService(MessageConsumer.make(source, handlers), ConsumerSettings, {
    ...(yield* ConsumerSettings),
    handlerTimeout: settings.handlerTimeout
  })
})

const makeRabbitSource = (guarded: NonNullable<Broker["guarded"]>) =>
  Effect.flatMap(
    Effect.promise(() => import("../rabbitmq/RabbitSource.ts")),
    (RabbitSource) => Effect.provideContext(RabbitSource.make, guarded satisfies Context.Context<never>)
  )
