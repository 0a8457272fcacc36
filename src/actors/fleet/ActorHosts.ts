/**
 * The hosts of actors: one per gateway, made when the first device of the gateway is admitted and closed when the last
 * one has left, so that gateways can be added and removed while the process runs. A host holds what the devices of one
 * gateway share: the connect gate, the incident and the status questions.
 *
 * Whoever runs actors (a local fleet, or an entity of a cluster) admits a device and runs the cell that it gets.
 */
import { Clock, Context, Effect, Layer, RcMap } from "effect"
import type { Scope } from "effect"
import type { DesiredDevice } from "../../domain/Device.ts"
import { GatewayUnknown } from "../../domain/DeviceErrors.ts"
import type { DeviceStateTag } from "../../domain/DeviceState.ts"
import type { GatewayName } from "../../domain/Ids.ts"
import type { IncidentView } from "../../services/DeviceFleet.ts"
import { EventLog } from "../../services/EventLog.ts"
import { FleetSettings } from "../../services/FleetSettings.ts"
import { Gateways } from "../../services/WhatsAppGateway.ts"
import type { ActorHost } from "../device/ActorHost.ts"
import { DeviceCell } from "../device/DeviceCell.ts"
import * as ConnectGate from "../gateway/ConnectGate.ts"
import * as GatewayIncidents from "../gateway/GatewayIncidents.ts"
import * as StatusSync from "../gateway/StatusSync.ts"
import * as FleetMeter from "./FleetMeter.ts"

export class ActorHosts extends Context.Service<ActorHosts, {
  /** A cell for this device on the host of its gateway, counted and asked about for as long as the scope. */
  readonly admit: (device: DesiredDevice) => Effect.Effect<DeviceCell, GatewayUnknown, Scope.Scope>
  /** The open incidents of all gateways that have devices here. */
  readonly incidents: Effect.Effect<ReadonlyArray<IncidentView>>
  /** The devices admitted here, by state. */
  readonly counts: () => Readonly<Record<DeviceStateTag, number>>
}>()("columba/actors/fleet/ActorHosts") {
  static readonly layer = Layer.effect(
    ActorHosts,
    Effect.gen(function*() {
      const log = yield* EventLog
      const gateways = yield* Gateways
      const settings = yield* FleetSettings
      const clock = yield* Clock.Clock
      const meter = yield* FleetMeter.make(settings)
      const open = new Set<ActorHost>()

      const make = Effect.fnUntraced(function*(name: GatewayName) {
        const gateway = gateways.all.get(name)
        if (gateway === undefined) return yield* GatewayUnknown.of(name, [...gateways.all.keys()])
        const incidents = yield* GatewayIncidents.make(gateway)
        const status = yield* StatusSync.make(gateway, settings)
        const host: ActorHost = { log, gateway, gate: ConnectGate.make(settings), incidents, status, meter, clock }
        open.add(host)
        yield* Effect.addFinalizer(() => Effect.sync(() => open.delete(host)))
        return host
      })
      const hosts = yield* RcMap.make({ lookup: make })

      const admit = Effect.fnUntraced(function*(device: DesiredDevice) {
        const host = yield* RcMap.get(hosts, device.gateway)
        const cell = new DeviceCell(device, host)
        return yield* Effect.acquireRelease(
          Effect.sync(() => {
            meter.moved(null, cell.actorState.state._tag)
            host.status.add(cell)
            return cell
          }),
          () =>
            Effect.sync(() => {
              meter.moved(cell.actorState.state._tag, null)
              host.status.remove(cell)
            })
        )
      })

      return ActorHosts.of({
        admit,
        incidents: Effect.sync(() => [...open].flatMap((host) => host.incidents.view() ?? [])),
        counts: meter.counts
      })
    })
  )
}
