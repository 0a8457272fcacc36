/** The sinks of this process, each with its relay. */
import { Effect, Layer } from "effect"
import { hostname } from "node:os"
import * as SinkRelay from "../../actors/delivery/SinkRelay.ts"
import { BrokerStatus } from "../../services/BrokerStatus.ts"
import type { DeviceRepository } from "../../services/DeviceRepository.ts"
import type { EventLog } from "../../services/EventLog.ts"
import type { EventSink } from "../../services/EventSink.ts"
import type { Readiness } from "../../services/Readiness.ts"
import { SinkRelays } from "../../services/SinkRelays.ts"
import * as Demo from "../../simulator/Demo.ts"
import type { Settings } from "../Settings.ts"
import { startFailed } from "./StartFailed.ts"
import type { StartFailed } from "./StartFailed.ts"

/** How far every sink is; a process that relays nothing has none. */
export const relays = (
  settings: Settings
): Layer.Layer<SinkRelays, StartFailed, DeviceRepository | EventLog | Readiness> => {
  const { rabbitUrl } = settings
  if (!settings.roles.has("devices") || rabbitUrl === null) {
    return Layer.succeed(SinkRelays, SinkRelays.of({ views: Effect.succeed([]) }))
  }
  return Layer.unwrap(Effect.gen(function*() {
    const [RabbitMq, RabbitSink, TopologyGuard] = yield* Effect.promise(() =>
      Promise.all([
        import("../rabbitmq/RabbitMq.ts"),
        import("../rabbitmq/RabbitSink.ts"),
        import("../rabbitmq/TopologyGuard.ts")
      ])
    )
    const broker = TopologyGuard.layer.pipe(
      Layer.provideMerge(RabbitMq.layer({ url: rabbitUrl, connectionName: `columba ${hostname()}` }))
    )
    const sinks = Effect.flatMap(RabbitSink.make, (sink) => Effect.map(keepDemoOut(settings, sink), (kept) => [kept]))
    return SinkRelay.readiness.pipe(
      Layer.provideMerge(SinkRelay.layer(sinks)),
      Layer.merge(BrokerStatus.readiness),
      Layer.provideMerge(broker),
      Layer.catch((error) => Layer.effectContext(Effect.fail(startFailed(error, null))))
    )
  }))
}

/** What a demo has left in an embedded database is not for the broker of a real gateway. */
const keepDemoOut = (settings: Settings, sink: EventSink) =>
  settings.database._tag === "Embedded" && settings.gateway._tag !== "Simulator"
    ? Effect.map(Demo.listSimulatedIds, (devices) => devices.size === 0 ? sink : Demo.withoutDevices(sink, devices))
    : Effect.succeed(sink)
