/** The sinks of this process, each with its relay. */
import { Effect, Layer } from "effect"
import * as SinkRelay from "../../actors/delivery/SinkRelay.ts"
import type { DeviceRepository } from "../../services/DeviceRepository.ts"
import type { EventLog } from "../../services/EventLog.ts"
import type { EventSink } from "../../services/EventSink.ts"
import type { Readiness } from "../../services/Readiness.ts"
import { SinkRelays } from "../../services/SinkRelays.ts"
import * as Demo from "../../simulator/Demo.ts"
import type { Settings } from "../Settings.ts"
import type { Broker } from "./broker.ts"
import { startFailed } from "./StartFailed.ts"
import type { StartFailed } from "./StartFailed.ts"

/** The progress of every sink; a process that relays nothing has none. */
export const relays = (
  settings: Settings,
  broker: Broker | null
): Layer.Layer<SinkRelays, StartFailed, DeviceRepository | EventLog | Readiness> => {
  const guarded = broker?.guarded ?? null
  if (!settings.roles.has("devices") || guarded === null) {
    return Layer.succeed(SinkRelays, SinkRelays.of({ views: Effect.succeed([]) }))
  }
  return Layer.unwrap(Effect.gen(function*() {
    const RabbitSink = yield* Effect.promise(() => import("../rabbitmq/RabbitSink.ts"))
    const sinks = Effect.flatMap(RabbitSink.make, (sink) => Effect.map(keepDemoOut(settings, sink), (kept) => [kept]))
    return SinkRelay.readiness.pipe(
      Layer.provideMerge(SinkRelay.layer(sinks)),
      Layer.provide(Layer.succeedContext(guarded)),
      Layer.catch((error) => Layer.effectContext(Effect.fail(startFailed(error, null))))
    )
  }))
}

/** Events of a demo that remain in an embedded database are not for the broker of a real gateway. */
const keepDemoOut = (settings: Settings, sink: EventSink) =>
  settings.database._tag === "Embedded" && settings.gateway._tag !== "Simulator"
    ? Effect.map(Demo.listSimulatedIds, (devices) => devices.size === 0 ? sink : Demo.withoutDevices(sink, devices))
    : Effect.succeed(sink)
