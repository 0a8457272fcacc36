/**
 * The hosts of actors: one per version of a gateway, made when the first device of the gateway is admitted and closed when
 * the last one has left, so that gateways can be added, changed and removed while the process runs. A host holds what the
 * devices of one gateway share: the connect gate, the incident and the status questions.
 *
 * What runs actors (a local fleet, or an entity of a cluster) admits a device, claims it, activates the returned cell, and
 * runs it.
 */
import { Clock, Context, Duration, Effect, Exit, Layer, RcMap, Result, Scope } from "effect"
import type { DesiredDevice } from "../../domain/Device.ts"
import type { DeviceStateTag } from "../../domain/DeviceState.ts"
import type { WebhookStatus } from "../../domain/WebhookState.ts"
import type { BackfillView, IncidentView } from "../../services/DeviceFleet.ts"
import { EventLog } from "../../services/EventLog.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { FleetSettings } from "../../services/FleetSettings.ts"
import { GapRepository } from "../../services/GapRepository.ts"
import { GatewayDirectory } from "../../services/GatewayDirectory.ts"
import type { GatewayAbsent, GatewayRef } from "../../services/GatewayDirectory.ts"
import { NodeLease } from "../../services/NodeLease.ts"
import type { ActorHost } from "../device/ActorHost.ts"
import type { StopRule } from "../device/DeviceBehaviour.ts"
import { DeviceCell } from "../device/DeviceCell.ts"
import { push } from "../device/receptionGaps.ts"
import type { Restored } from "../device/actorMemory.ts"
import { resume } from "../device/restoreReception.ts"
import type { RestoredReception } from "../device/restoreReception.ts"
import { holdGrain, recordHeld } from "../device/stateRecords.ts"
import * as Backfill from "../gateway/Backfill.ts"
import * as ConnectGate from "../gateway/ConnectGate.ts"
import * as DueSet from "../gateway/DueSet.ts"
import * as GatewayIncidents from "../gateway/GatewayIncidents.ts"
import { makePace } from "../gateway/pace.ts"
import * as GatewaySessions from "../gateway/GatewaySessions.ts"
import * as SlotStarter from "../gateway/SlotStarter.ts"
import * as StatusSync from "../gateway/StatusSync.ts"
import { underLease } from "../gateway/underLease.ts"
import * as WebhookSetup from "../gateway/WebhookSetup.ts"
import { DatabaseTime } from "./DatabaseTime.ts"
import * as FleetMeter from "./FleetMeter.ts"
import { HandOvers } from "./HandOvers.ts"
import * as RunningTime from "./RunningTime.ts"

/** The maximum delay of a retry; with it, thousands of waiting devices wake the process at most a hundred times a second. */
const alarmGrain = Duration.millis(10)

export class ActorHosts extends Context.Service<ActorHosts, {
  /** Makes a cell for this device on its gateway's host, counted and included in status questions until it is dismissed. */
  readonly admit: (device: DesiredDevice) => Effect.Effect<DeviceCell, GatewayAbsent>
  /** Called once for each admitted device when it has left; the host of a gateway closes with its last device. */
  readonly dismiss: (cell: DeviceCell) => Effect.Effect<void>
  /**
   * Used instead of `dismiss` if the session outlives its actor and still needs the host. Returns an effect that releases
   * the host.
   */
  readonly retire: (cell: DeviceCell) => Effect.Effect<void>
  /** Why this cell must stop, because its gateway has changed or cannot be used; null if it may continue. */
  readonly findStopRule: (cell: DeviceCell) => StopRule | null
  /** Restores the device from its records, under the epoch of its claim. Called before its cell is run. */
  readonly activate: (cell: DeviceCell, epoch: number, restored: Restored, reception: RestoredReception) => void
  /** How long this process has really run. */
  readonly running: RunningTime.RunningTime
  /** The open incidents of all gateways that have devices here. */
  readonly incidents: Effect.Effect<ReadonlyArray<IncidentView>>
  /** The progress of reading histories, by gateway. */
  readonly backfills: Effect.Effect<ReadonlyArray<BackfillView>>
  /** The devices admitted here, by state. */
  readonly counts: () => Readonly<Record<DeviceStateTag, number>>
  /** Devices without posted events at gateways that send live events by webhook alone, by the state of their webhooks. */
  readonly unposted: () => Readonly<Partial<Record<WebhookStatus, number>>>
}>()("columba/actors/fleet/ActorHosts") {
  static readonly layer = Layer.effect(
    ActorHosts,
    Effect.gen(function*() {
      const log = yield* EventLog
      const ledger = yield* GapRepository
      const directory = yield* GatewayDirectory
      const settings = yield* FleetSettings
      const clock = yield* Clock.Clock
      const time = yield* DatabaseTime
      const lease = yield* NodeLease
      const handOvers = yield* HandOvers
      const running = yield* RunningTime.make()
      const meter = yield* FleetMeter.make(settings)
      const open = new Set<ActorHost>()

      const make = Effect.fnUntraced(function*(ref: GatewayRef) {
        const gateway = underLease(yield* directory.open(ref), lease)
        const openSession = yield* GatewaySessions.make(gateway)
        const incidents = yield* GatewayIncidents.make(gateway)
        const gate = ConnectGate.make(settings)
        const status = yield* StatusSync.make(gateway, settings, gate)
        const starter = yield* SlotStarter.make(gateway, (cell) => status.want(cell, "soon"))
        const secret = gateway.webhook === undefined ? null : yield* directory.webhookSecret(ref)
        const webhooks = yield* WebhookSetup.make(gateway, secret, settings)
        const historyPace = makePace(settings.historyRequestsPerSecond)
        const backfill = yield* Backfill.make(gateway, { log, ledger, time, settings, pace: historyPace })
        const alarms = yield* DueSet.make<DeviceCell>({ grain: alarmGrain, onDue: (cell) => cell.alarm() })
        const holds = yield* DueSet.make<DeviceCell>({ grain: holdGrain, onDue: recordHeld })
        const now = () => monotonicMillis(clock)
        const host: ActorHost = {
          log,
          gateway,
          ref,
          openSession,
          gate,
          incidents,
          status,
          starter,
          webhooks,
          backfill,
          historyPace,
          alarms,
          holds,
          time,
          running,
          handOvers,
          settings,
          meter,
          clock,
          now
        }
        open.add(host)
        yield* Effect.addFinalizer(() => Effect.sync(() => open.delete(host)))
        return host
      })
      const hosts = yield* RcMap.make({ lookup: make })

      /**
       * What keeps a host open: one reference for all its devices, because a scope per device would take noticeable memory.
       */
      const holds = new Map<ActorHost, { readonly scope: Scope.Closeable; devices: number }>()

      type Restore = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
      const hold = Effect.fnUntraced(function*(ref: GatewayRef, restore: Restore) {
        const scope = Scope.makeUnsafe()
        // Opening a gateway may take long, and a stopping fleet must not wait for it.
        const host = yield* restore(Scope.provide(RcMap.get(hosts, ref), scope)).pipe(
          Effect.onError(() => Scope.close(scope, Exit.void))
        )
        const held = holds.get(host)
        if (held !== undefined) yield* Scope.close(scope, Exit.void)
        const kept = held ?? { scope, devices: 0 }
        kept.devices++
        holds.set(host, kept)
        return host
      })

      const admit = (device: DesiredDevice) =>
        Effect.uninterruptibleMask(Effect.fnUntraced(function*(restore) {
          const ref = yield* Effect.fromResult(directory.current(device.gateway))
          const cell = new DeviceCell(device, yield* hold(ref, restore))
          meter.moved(null, cell.actorState.state._tag)
          cell.host.status.add(cell)
          cell.host.webhooks.add(cell)
          cell.host.backfill.add(cell)
          return cell
        }))

      const retire = (cell: DeviceCell): Effect.Effect<void> => {
        meter.moved(cell.actorState.state._tag, null)
        cell.host.status.remove(cell)
        cell.host.starter.remove(cell)
        cell.host.webhooks.remove(cell)
        cell.host.backfill.remove(cell)
        return Effect.suspend(() => {
          const held = holds.get(cell.host)
          if (held === undefined || --held.devices > 0) return Effect.void
          holds.delete(cell.host)
          return Scope.close(held.scope, Exit.void)
        })
      }

      return ActorHosts.of({
        running,
        admit,
        retire,
        dismiss: (cell) => Effect.suspend(() => retire(cell)),
        findStopRule: ({ device, host }) => {
          const now = directory.current(device.gateway)
          if (Result.isFailure(now)) return stopRuleFor(now.failure)
          return now.success === host.ref ? null : "gateway-changed"
        },
        activate: (cell, epoch, { actorState, mayHold, releaseRequests }, reception) => {
          meter.moved(cell.actorState.state._tag, actorState.state._tag)
          cell.claimed(epoch)
          cell.actorState = actorState
          cell.mayHold = mayHold
          push(cell, resume(cell, reception))
          if (cell.device.releaseRequests > releaseRequests) cell.post({ _tag: "ReleaseRequested" })
        },
        incidents: Effect.sync(() => [...open].flatMap((host) => host.incidents.view() ?? [])),
        backfills: Effect.sync(() => [...open].map((host) => host.backfill.view())),
        counts: meter.counts,
        unposted: () => {
          const sum: Partial<Record<WebhookStatus, number>> = {}
          for (const { gateway, webhooks } of open) {
            if (gateway.capabilities.liveEvents !== "webhook") continue
            for (const [status, count] of Object.entries(webhooks.unposted()) as Array<[WebhookStatus, number]>) {
              sum[status] = (sum[status] ?? 0) + count
            }
          }
          return sum
        }
      })
    })
  )
}

/** The stop rule for a device whose gateway cannot be used. */
export const stopRuleFor = (absent: GatewayAbsent): StopRule => {
  if (absent._tag === "GatewayUnknown") return "gateway-unknown"
  switch (absent.reason) {
    case "inactive":
      return "gateway-inactive"
    case "no-simulator":
      return "simulator-not-running"
    default:
      return "gateway-unusable"
  }
}
