/**
 * Webhooks that gateways posted while this process was suspended: it accepted none meanwhile, and a gateway abandons a
 * webhook after some seconds. Nothing else reveals this, since a gateway that only posts has no connection that would
 * break. The interval is recorded for all devices whose events come by webhook alone: any process may accept the webhooks
 * of any of them.
 */
import { Clock, Duration, Effect, Layer, Schedule } from "effect"
import type { Scope } from "effect"
import type { DeviceId, GatewayName } from "../../domain/Ids.ts"
import { Condition } from "../../services/Condition.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import { GatewayDirectory, useGateway } from "../../services/GatewayDirectory.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { WebhookRefusals } from "../../services/WebhookRefusals.ts"
import * as RunningTime from "../fleet/RunningTime.ts"

/**
 * A request to a suspended process usually waits for an answer, for up to 30 s with GOWA; if its connections are refused
 * because too many wait, its five attempts end after 15 s. A shorter suspension costs an attempt and no event.
 */
const givenUpAfter = Duration.seconds(15)

/** Maximum number of devices per statement. */
const reportMax = 1000

/** The database may be unavailable for a while, usually for the same reason. */
const retries = Schedule.min([Schedule.exponential("1 second", 2), Schedule.spaced("15 seconds")])

export const make: Effect.Effect<
  void,
  never,
  DeviceRepository | GatewayDirectory | WebhookRefusals | Scope.Scope
> = Effect.gen(function*() {
  const devices = yield* DeviceRepository
  const directory = yield* GatewayDirectory
  const refusals = yield* WebhookRefusals
  const clock = yield* Clock.Clock
  const noted = new Condition()
  let waiting: RunningTime.Interval | null = null

  const postsOnly = (name: GatewayName) =>
    useGateway(directory, name, ({ capabilities }) => Effect.succeed(capabilities.liveEvents === "webhook")).pipe(
      // Its devices do not run: they already have a gap.
      Effect.orElseSucceed(() => false)
    )

  const findDevices = Effect.gen(function*() {
    const byGateway = Map.groupBy((yield* devices.desired()).filter(({ active }) => active), ({ gateway }) => gateway)
    const found: Array<DeviceId> = []
    for (const [gateway, some] of byGateway) {
      if (yield* postsOnly(gateway)) found.push(...some.map(({ id }) => id))
    }
    return found
  })

  const report = Effect.gen(function*() {
    const interval = waiting
    if (interval === null) return
    const found = yield* findDevices
    for (let at = 0; at < found.length; at += reportMax) {
      const now = monotonicMillis(clock)
      const times = { firstAgo: now - interval.from, lastAgo: now - interval.to }
      yield* refusals.report(found.slice(at, at + reportMax).map((deviceId) => ({ deviceId, ...times })))
    }
    // It may have been suspended again meanwhile.
    if (waiting === interval) waiting = null
  }).pipe(Effect.retry(retries), Effect.orDie)

  yield* RunningTime.make(({ from, to }) => {
    if (to - from < Duration.toMillis(givenUpAfter)) return
    waiting = { from: waiting?.from ?? from, to }
    noted.changed()
  })
  yield* Effect.forkScoped(
    Effect.forever(Effect.andThen(noted.waitUntil(() => waiting !== null), report))
  )
})

export const layer: Layer.Layer<never, never, DeviceRepository | GatewayDirectory | WebhookRefusals> = Layer
  .effectDiscard(make)
