/**
 * Records the webhooks that this process accepted for devices of other processes, and that were lost when an older database
 * took over. The process that runs such a device may not notice the loss: if it had not seen the lost events, the older
 * database looks unchanged to it. So the interval is recorded for that process in the same way as refused webhooks.
 *
 * The devices of the lost webhooks are not known, so the interval is recorded for every device whose gateway posts webhooks.
 * In nearly all cases their own processes have noticed the older database too, and record the same interval.
 */
import { Effect, Option } from "effect"
import type { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import type { DeviceId, GatewayName } from "../../domain/Ids.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import { GatewayDirectory, useGateway } from "../../services/GatewayDirectory.ts"
import { WebhookRefusals } from "../../services/WebhookRefusals.ts"
import { DatabaseTime } from "./DatabaseTime.ts"
import type { Forgotten } from "./Heartbeat.ts"

/** Maximum number of devices per statement. */
const reportMax = 1000

/** `cells`: the devices that run in this process. Their gaps are recorded directly. */
export const make = Effect.fnUntraced(function*(cells: ReadonlyMap<DeviceId, unknown>): Effect.fn.Return<
  (forgotten: Forgotten) => Effect.Effect<void, StorageUnavailable>,
  never,
  DatabaseTime | DeviceRepository | GatewayDirectory
> {
  const found = yield* Effect.serviceOption(WebhookRefusals)
  if (Option.isNone(found)) return () => Effect.void
  const refusals = found.value
  const devices = yield* DeviceRepository
  const directory = yield* GatewayDirectory
  const time = yield* DatabaseTime

  const posts = (name: GatewayName) =>
    useGateway(directory, name, ({ ingest }) => Effect.succeed(ingest !== undefined)).pipe(
      // The devices of a gateway that cannot be used do not run, and have a gap for that.
      Effect.orElseSucceed(() => false)
    )

  return Effect.fnUntraced(function*({ from, to }: Forgotten) {
    const elsewhere = (yield* devices.desired()).filter(({ active, id }) => active && !cells.has(id))
    const lost: Array<DeviceId> = []
    for (const [gateway, some] of Map.groupBy(elsewhere, (device) => device.gateway)) {
      if (yield* posts(gateway)) lost.push(...some.map(({ id }) => id))
    }
    for (let at = 0; at < lost.length; at += reportMax) {
      const now = time.now()
      const interval = { firstAgo: from === null ? now : now - Date.parse(from), lastAgo: now - Date.parse(to) }
      yield* refusals.report(lost.slice(at, at + reportMax).map((deviceId) => ({ deviceId, ...interval })))
    }
  })
})
