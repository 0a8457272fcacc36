/**
 * The fleet in one process: an actor for every device that should run here (`Placement`). Rows of the `devices` table are
 * compared with the actors: all at start and every few minutes, and those in a change notice soon after it.
 *
 * Before an actor starts, its device is claimed: its decisions carry the epoch of that claim, and once another process has
 * claimed the device, the log refuses them and the actor stops.
 *
 * Supervision has two levels. A device's own fiber handles every failure inside it, within the device's budget. This module
 * only decides which actors start and stop (`RunningActors` executes it) and, if the fiber of a device that should run has
 * ended, starts it again at the next comparison. `ActorHosts` provides the services that an actor needs.
 */
import { randomUUID } from "node:crypto"
import { Array as Arr, Cause, Duration, Effect, Layer, Option, Schedule, Semaphore, Stream } from "effect"
import type { Scope } from "effect"
import type { DesiredDevice } from "../../domain/Device.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { DeviceFleet } from "../../services/DeviceFleet.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import { EventLog } from "../../services/EventLog.ts"
import { FleetSettings } from "../../services/FleetSettings.ts"
import type { GapRepository } from "../../services/GapRepository.ts"
import { GatewayDirectory } from "../../services/GatewayDirectory.ts"
import { ServerIdentity } from "../../services/ServerIdentity.ts"
import type { StopRule } from "../device/DeviceBehaviour.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import * as LoginFlows from "../login/LoginFlows.ts"
import * as SendQueue from "../sending/SendQueue.ts"
import * as ActorCalls from "./actorCalls.ts"
import { ActorHosts } from "./ActorHosts.ts"
import { ChangedDevices } from "./ChangedDevices.ts"
import { DatabaseTime } from "./DatabaseTime.ts"
import * as FleetReadiness from "./fleetReadiness.ts"
import * as ForgottenWebhooks from "./ForgottenWebhooks.ts"
import * as GapMeter from "./GapMeter.ts"
import { HandOvers } from "./HandOvers.ts"
import * as Heartbeat from "./Heartbeat.ts"
import type { Forgotten } from "./Heartbeat.ts"
import * as InactiveDevices from "./InactiveDevices.ts"
import { claimMax } from "./InactiveDevices.ts"
import type { Ended } from "./InactiveDevices.ts"
import * as LostDevices from "./LostDevices.ts"
import { Placement } from "./Placement.ts"
import * as RemoteRefusals from "./RemoteRefusals.ts"
import * as RunningActors from "./RunningActors.ts"
import * as Suspects from "./Suspects.ts"

/** Changed devices are followed in rounds: at most four per second, and the first one at once. */
const roundSpacing = Duration.millis(250)

/** The wait before changes are followed again, after an outage of the database or a defect. */
const retryDelay = Duration.seconds(5)

/** Appended events are committed within milliseconds; longer means that the database is unavailable. */
const flushMax = Duration.seconds(5)

/** The operations of a cluster on its node's fleet, besides `DeviceFleet`. */
export interface HostedFleet {
  readonly fleet: DeviceFleet["Service"]
  /** The rows of these devices are compared soon; null: all. */
  readonly look: (id: DeviceId | null) => void
  /** The placement holds the device from now on: a process that claimed it before is no longer its owner. */
  readonly entered: (id: DeviceId) => void
  /**
   * Stops the device's actor, which the placement no longer holds. Completes once its socket is closed, or kept open for
   * the next node (`HandOvers`), and its events are committed, or could not be in time.
   */
  readonly leave: (id: DeviceId) => Effect.Effect<void>
  /** As `leave`, for all devices at once when the process stops. No actor starts after that. */
  readonly close: Effect.Effect<void>
}

export const make: Effect.Effect<
  HostedFleet,
  never,
  | ActorHosts
  | DatabaseTime
  | DeviceRepository
  | EventLog
  | GapRepository
  | GatewayDirectory
  | HandOvers
  | Scope.Scope
> = Effect.gen(function*() {
  const log = yield* EventLog
  const repository = yield* DeviceRepository
  const hosts = yield* ActorHosts
  const directory = yield* GatewayDirectory
  const settings = yield* FleetSettings
  const placement = yield* Placement
  const identity = yield* Effect.serviceOption(ServerIdentity)
  const node = Option.match(identity, { onNone: () => `unnamed ${randomUUID()}`, onSome: ({ node }) => node })
  const owner = Option.match(identity, { onNone: () => node, onSome: ({ startedAt }) => `${node} ${startedAt}` })

  const changed = new ChangedDevices()
  const inactive = yield* InactiveDevices.make(owner)
  const lost = yield* LostDevices.make(owner, (id) => changed.add(id))
  const suspects = yield* Suspects.make(owner, (id) => changed.add(id))
  const logins = yield* LoginFlows.make((id) => {
    const cell = actors.cells.get(id)
    return cell === undefined || cell.fenced ? undefined : cell
  })
  const actors: RunningActors.RunningActors = yield* RunningActors.make({
    owner,
    lost,
    suspects,
    onStart: (id) => inactive.recorded.delete(id),
    onEnd: logins.stop,
    onFenced: (id) => changed.add(id)
  })
  const { cells } = actors

  const stop = (cell: DeviceCell, rule: StopRule) =>
    Effect.suspend(() => {
      inactive.recorded.set(cell.device.id, rule)
      return actors.stop(cell, rule)
    })

  const follow = Effect.fnUntraced(function*(ids: ReadonlyArray<DeviceId> | undefined) {
    yield* lost.settle
    const desired = new Map((yield* repository.desired(ids)).map((device) => [device.id, device]))
    const starting: Array<DesiredDevice> = []
    const ended: Array<Ended> = []
    let stopped = false
    for (const device of desired.values()) {
      const cell = actors.running(device.id)
      const rule = !device.active ? "deactivated" : cell === undefined ? null : hosts.findStopRule(cell)
      if (cell !== undefined && rule === null) postRequests(cell, device)
      if (cell !== undefined && rule !== null) {
        yield* stop(cell, rule)
        stopped = true
      }
      if (lost.has(device.id) || !placement.owns(device.id)) continue
      if (device.active && (cell === undefined || rule !== null)) starting.push(device)
      if (!device.active && cell === undefined) ended.push({ device, rule: "deactivated" })
    }
    for (const id of ids ?? [...cells.keys(), ...inactive.recorded.keys()]) {
      const cell = cells.get(id)
      if (desired.has(id)) continue
      if (cell !== undefined) yield* stop(cell, "deactivated")
      inactive.recorded.delete(id)
    }
    // A new claim would make the log refuse the last events of the stopped actors: their states and their gaps.
    if (stopped && starting.length > 0) yield* Effect.timeoutOption(log.flush, flushMax)
    for (const some of Arr.chunksOf(starting, claimMax)) {
      if (!actors.closing()) ended.push(...(yield* actors.start(some)))
    }
    if (!actors.closing()) yield* inactive.record(ended)
  })

  const turn = Semaphore.makeUnsafe(1)
  let compared: FleetReadiness.Compared = "not yet"
  /** Whether the outage of the database was logged: it is retried every few seconds, and one log line is enough. */
  let outageLogged = false
  const failed = (log: Effect.Effect<void>): Effect.Effect<boolean> => {
    compared = "failed"
    return Effect.as(log, false)
  }
  const unfollowed = "desired state could not be followed; devices continue as they are"
  /** Compares these devices; without ids, all. False: it failed and must be repeated. */
  const reconcile = (ids?: ReadonlyArray<DeviceId>): Effect.Effect<boolean> =>
    Semaphore.withPermit(turn, follow(ids)).pipe(
      Effect.andThen(Effect.sync(() => {
        outageLogged = false
        if (ids === undefined) compared = "done"
        return true
      })),
      Effect.catch((error) => {
        const logged = outageLogged
        outageLogged = true
        return failed(logged ? Effect.void : Effect.logWarning(`${unfollowed}: ${error.message}`))
      }),
      // A defect in the comparison must not end it permanently: the next one finds the same rows and the same actors.
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause) ? Effect.interrupt : failed(Effect.logWarning(unfollowed, cause))
      )
    )
  yield* FleetReadiness.contribute(() => ({ compared, devices: cells.size, lost: lost.count() }))

  /** Runs between two comparisons, because both claim devices. */
  const reclaim = Effect.fnUntraced(
    function*(forgotten: Forgotten) {
      yield* actors.reclaim(forgotten)
      inactive.recorded.clear()
      changed.add(null)
    },
    Semaphore.withPermit(turn),
    Effect.retry(Schedule.spaced(retryDelay)),
    Effect.orDie
  )
  const reportForgotten = yield* ForgottenWebhooks.make(cells)
  yield* Heartbeat.make({
    owner,
    interval: settings.heartbeatInterval,
    running: hosts.running,
    closing: actors.closing,
    onForgotten: (forgotten) =>
      Effect.andThen(
        Effect.logError("The log lacks events that it had received: an older database has taken its place", forgotten),
        Effect.andThen(
          reclaim(forgotten),
          Effect.orDie(Effect.retry(reportForgotten(forgotten), Schedule.spaced(retryDelay)))
        )
      )
  })
  yield* GapMeter.make

  yield* Effect.forkScoped(Stream.runForEach(repository.changes, (id) => Effect.sync(() => changed.add(id))))
  // Any device may belong to the changed gateway.
  yield* Effect.forkScoped(
    Stream.merge(directory.changes, Stream.tick(settings.reconcileInterval)).pipe(
      Stream.runForEach(() => Effect.sync(() => changed.add(null)))
    )
  )
  yield* Effect.forkScoped(Effect.forever(Effect.gen(function*() {
    const followed = yield* reconcile(yield* changed.take)
    if (!followed) changed.add(null)
    yield* Effect.sleep(followed ? roundSpacing : retryDelay)
  })))
  // Added last, so it runs first: sockets close before anything that may have to wait for a database.
  yield* Effect.addFinalizer(() => actors.close)

  yield* RemoteRefusals.follow(cells)
  yield* SendQueue.make(cells)

  const fleet = DeviceFleet.of({
    ...ActorCalls.make(cells, node),
    incidents: hosts.incidents,
    backfills: hosts.backfills,
    counts: Effect.sync(hosts.counts),
    reconcile: Effect.asVoid(reconcile()),
    logins
  })
  return {
    fleet,
    look: (id) => changed.add(id),
    entered: (id) => {
      lost.forget(id)
      changed.add(id)
    },
    leave: (id) =>
      Effect.suspend(() => {
        lost.forget(id)
        suspects.forget(id)
        inactive.recorded.delete(id)
        return actors.leave(id)
      }),
    close: actors.close
  }
})

/** The services that actors need. Sessions that outlive their actors need them for a while longer. */
export const layerHosts = Layer.effectDiscard(
  Effect.flatMap(HandOvers, ({ settled }) => Effect.addFinalizer(() => settled))
).pipe(
  Layer.provideMerge(ActorHosts.layer),
  Layer.provideMerge(HandOvers.layer),
  Layer.provideMerge(DatabaseTime.layer)
)

/** All actors in this process. Closing it ends every session in order and records that the actors were stopped. */
export const layer = Layer.effect(DeviceFleet, Effect.map(make, ({ fleet }) => fleet)).pipe(Layer.provide(layerHosts))

/** Request counters that have increased since the actor's last check become inputs, once each. */
const postRequests = (cell: DeviceCell, device: DesiredDevice): void => {
  if (device.reconnectRequests > cell.device.reconnectRequests) cell.post({ _tag: "ReconnectRequested" })
  if (device.releaseRequests > cell.device.releaseRequests) cell.post({ _tag: "ReleaseRequested" })
  cell.device = device
}
