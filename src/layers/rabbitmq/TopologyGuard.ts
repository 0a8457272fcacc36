/**
 * Keeps the exchanges and queues of Columba in place, and records how full the queues are. A check looks for what is missing
 * and declares everything. It runs before every attempt to publish, so a returned message leads to a check at once, and
 * at intervals, so a deletion is noticed while there is nothing to publish.
 */
import type { ChannelModel } from "amqplib"
import { Context, Duration, Effect, Layer, Metric } from "effect"
import { BrokerStatus } from "../../services/BrokerStatus.ts"
import type { BrokerTopology } from "../../services/BrokerStatus.ts"
import { brokerObjectsMissing, brokerQueueConsumers, brokerQueueMessages } from "../../services/Metrics.ts"
import { RabbitMq } from "./RabbitMq.ts"
import { declare, inspect } from "./Topology.ts"
import type { Found, TopologyError } from "./Topology.ts"

/** A check is ten small requests. Half a minute is as exact as readiness and queue depths need to be. */
const checkInterval = Duration.seconds(30)

/** The interval's check does not wait for the connection: without one there is nothing to check. */
const connectionTimeout = Duration.seconds(1)

export class TopologyGuard extends Context.Service<TopologyGuard, {
  /** Succeeds once all exchanges and queues exist as they must. */
  readonly ensure: (connection: ChannelModel) => Effect.Effect<void, TopologyError>
  /** What the last check found. */
  readonly last: Effect.Effect<BrokerTopology>
}>()("columba/layers/rabbitmq/TopologyGuard") {}

export const make = Effect.gen(function*() {
  const rabbit = yield* RabbitMq
  let last: BrokerTopology = { missing: [], problem: null, queues: [] }
  let declared = false

  const report = Effect.fnUntraced(function*({ missing, queues }: Found) {
    for (const { consumers, messages, queue } of queues) {
      yield* Metric.update(Metric.withAttributes(brokerQueueMessages, { queue }), messages)
      yield* Metric.update(Metric.withAttributes(brokerQueueConsumers, { queue }), consumers)
    }
    if (missing.length === 0) return
    // A missing object at a process's first check is as likely a new broker as a damaged one, so it is no alarm.
    if (!declared) return yield* Effect.logInfo("Declaring exchanges and queues at the broker", { missing })
    for (const object of missing) yield* Metric.update(Metric.withAttributes(brokerObjectsMissing, { object }), 1)
    yield* Effect.logWarning("Exchanges or queues are missing at the broker; they are declared again", { missing })
  })

  const ensure = Effect.fn("TopologyGuard.ensure")(
    function*(connection: ChannelModel) {
      const found = yield* inspect(connection)
      yield* report(found)
      last = { ...found, missing: declared ? found.missing : [], problem: last.problem }
      yield* declare(connection)
      last = { ...last, problem: null }
      declared = true
    },
    Effect.tapError((error) =>
      Effect.sync(() => {
        // A lost connection says nothing about exchanges and queues.
        if (error._tag !== "BrokerUnavailable") last = { ...last, problem: error.message }
      })
    )
  )

  const check = Effect.gen(function*() {
    yield* Effect.sleep(checkInterval)
    yield* Effect.flatMap(rabbit.usable(connectionTimeout), ensure)
  }).pipe(
    // Readiness shows it, and publishing fails with the same error.
    Effect.catch((error) => Effect.logDebug("Exchanges and queues could not be checked", { reason: error.message }))
  )
  yield* Effect.forkScoped(Effect.forever(check))

  return TopologyGuard.of({ ensure, last: Effect.sync(() => last) })
})

/** The guard, and what readiness and the command line show of the broker. */
export const layer: Layer.Layer<TopologyGuard | BrokerStatus, never, RabbitMq> = Layer.effectContext(
  Effect.gen(function*() {
    const rabbit = yield* RabbitMq
    const guard = yield* make
    return Context.make(TopologyGuard, guard).pipe(
      Context.add(
        BrokerStatus,
        BrokerStatus.of({ current: rabbit.state, changes: rabbit.changes, topology: guard.last })
      )
    )
  })
)
