/**
 * What this process took of devices that run elsewhere, and an older database has lost with it. The process that runs such a
 * device need not notice: where it knew of nothing that is missing, the older database looks to it like the one before. So the
 * time is written down for it, as webhooks are that were turned away.
 *
 * Which devices these were is not remembered, so the time is named for all to which gateways post. Nearly always their own
 * processes have noticed too, and name the same time.
 */
import { Effect, Option } from "effect"
import type { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import type { DeviceId, GatewayName } from "../../domain/Ids.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import { GatewayDirectory, useGateway } from "../../services/GatewayDirectory.ts"
import { WebhookRefusals } from "../../services/WebhookRefusals.ts"
import { DatabaseTime } from "./DatabaseTime.ts"
import type { Forgotten } from "./Heartbeat.ts"

/** Devices that one statement names. */
const reportMax = 1000

/** `cells`: the devices that run here, whose own gaps say it. */
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
      // Its devices do not run: they have a gap of their own.
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
