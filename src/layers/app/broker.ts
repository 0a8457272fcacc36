/** This process's one connection to the broker, for all parts that publish, consume or manage dead letters. */
import { Context, Effect, Layer } from "effect"
import { hostname } from "node:os"
import { BrokerStatus } from "../../services/BrokerStatus.ts"
import { DeadLetters } from "../../services/DeadLetters.ts"
import type { MessageInbox } from "../../services/MessageInbox.ts"
import type { Readiness } from "../../services/Readiness.ts"
import type { RabbitMq } from "../rabbitmq/RabbitMq.ts"
import type { TopologyGuard } from "../rabbitmq/TopologyGuard.ts"
import type { Settings } from "../Settings.ts"
import { startFailed } from "./StartFailed.ts"
import type { StartFailed } from "./StartFailed.ts"

export interface Broker {
  readonly connection: Context.Context<RabbitMq>
  /** A process that publishes or consumes also keeps exchanges and queues in place. */
  readonly guarded: Context.Context<RabbitMq | TopologyGuard | BrokerStatus> | null
}

/** The roles that use the broker. The API uses it only when a caller asks for dead letters. */
const publishes = ({ roles }: Settings): boolean => roles.has("devices")

/** Null without a broker. `consumes`: the consumer has a handler. Building does not wait for the broker. */
export const openBroker = (
  settings: Settings,
  consumes: boolean
): Layer.Layer<OpenedBroker, StartFailed, Readiness> => {
  const { rabbitUrl: url } = settings
  if (url === null || !(publishes(settings) || consumes || settings.roles.has("api"))) {
    return Layer.succeed(OpenedBroker, null)
  }
  return Layer.unwrap(Effect.gen(function*() {
    const [RabbitMq, TopologyGuard] = yield* Effect.promise(() =>
      Promise.all([import("../rabbitmq/RabbitMq.ts"), import("../rabbitmq/TopologyGuard.ts")])
    )
    const connection = RabbitMq.layer({ url, connectionName: `columba ${hostname()}` }).pipe(
      Layer.catch((error) => Layer.effectContext(Effect.fail(startFailed(error, null))))
    )
    return publishes(settings) || consumes
      ? Layer.effect(
        OpenedBroker,
        Effect.map(Effect.context<RabbitMq | TopologyGuard | BrokerStatus>(), (context) => ({
          connection: context,
          guarded: context
        }))
      ).pipe(
        Layer.merge(BrokerStatus.readiness),
        Layer.provide(Layer.provideMerge(TopologyGuard.layer, connection))
      )
      : Layer.effect(
        OpenedBroker,
        Effect.map(Effect.context<RabbitMq>(), (context) => ({
          connection: context,
          guarded: null
        }))
      ).pipe(Layer.provide(connection))
  }))
}

/** The broker as this process has opened it; null without one. */
export class OpenedBroker extends Context.Service<OpenedBroker, Broker | null>()("columba/layers/app/OpenedBroker") {}

/** The dead letters of the broker; without a broker, those of the consumer. */
export const deadLetters = (broker: Broker | null): Layer.Layer<DeadLetters, never, MessageInbox> =>
  broker === null
    ? DeadLetters.layerInbox
    : Layer.unwrap(
      Effect.map(
        Effect.promise(() => import("../rabbitmq/RabbitDeadLetters.ts")),
        (RabbitDeadLetters) => RabbitDeadLetters.layer.pipe(Layer.provide(Layer.succeedContext(broker.connection)))
      )
    )
