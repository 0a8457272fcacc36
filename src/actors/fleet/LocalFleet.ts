/**
 * The fleet in one process: an actor for every device that should run, kept so by comparing the `devices` table with
 * the actors, at start, after every change notice and now and then regardless.
 *
 * Supervision has two levels. A device's own fiber absorbs whatever happens inside it, within the device's budget. This
 * module only starts and stops actors and, should the fiber of a device that ought to run ever be gone, starts it again
 * at the next comparison. What an actor needs around it comes from `ActorHosts`.
 */
import { Cause, Clock, Duration, Effect, Exit, FiberMap, Layer, Option, Scope, Semaphore, Stream } from "effect"
import type { DesiredDevice } from "../../domain/Device.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { DeviceFleet } from "../../services/DeviceFleet.ts"
import type { ActorView } from "../../services/DeviceFleet.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import { EventLog } from "../../services/EventLog.ts"
import { FleetSettings } from "../../services/FleetSettings.ts"
import { GatewayDirectory } from "../../services/GatewayDirectory.ts"
import type { GatewayAbsent } from "../../services/GatewayDirectory.ts"
import { Readiness } from "../../services/Readiness.ts"
import { run, stateDraft } from "../device/DeviceActor.ts"
import { initial } from "../device/DeviceBehaviour.ts"
import type { StopRule } from "../device/DeviceBehaviour.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import { ActorHosts, stopRuleFor } from "./ActorHosts.ts"

/**
 * A comparison reads the whole table. Devices that are added one by one pulse each time; spaced like this, that costs
 * four comparisons a second at most, and the first one comes at once.
 */
const reconcileSpacing = Duration.millis(250)

const make = Effect.gen(function*() {
  const log = yield* EventLog
  const repository = yield* DeviceRepository
  const hosts = yield* ActorHosts
  const directory = yield* GatewayDirectory
  const settings = yield* FleetSettings
  const clock = yield* Clock.Clock

  const cells = new Map<DeviceId, DeviceCell>()
  const fibers = yield* FiberMap.make<DeviceId, void, never>()
  const warnedAbout = new Set<string>()
  /** Devices without an actor whose end is recorded, with the rule of that record. */
  const recordedInactive = new Map<DeviceId, StopRule>()
  let closing = false

  /** The actor holds its place at the host for as long as its fiber runs. */
  const start = Effect.fnUntraced(function*(device: DesiredDevice) {
    const place = Scope.makeUnsafe()
    const leave = Scope.close(place, Exit.void)
    const cell = yield* Scope.provide(hosts.admit(device), place).pipe(Effect.onError(() => leave))
    warnedAbout.delete(device.gateway)
    recordedInactive.delete(device.id)
    cells.set(device.id, cell)
    yield* FiberMap.run(fibers, device.id, Effect.ensuring(run(cell), leave))
  }, (effect, device) =>
    Effect.catch(effect, (absent) => {
      recordOnce(device, stopRuleFor(absent))
      return warnOnce(warnedAbout, absent)
    }))

  /** Recorded once per rule: until the record is committed, the table goes on listing the device as it was. */
  const recordOnce = (device: DesiredDevice, rule: StopRule): void => {
    if (recordedInactive.get(device.id) === rule) return
    recordedInactive.set(device.id, rule)
    recordInactive(log, clock, device, rule)
  }

  const stop = Effect.fnUntraced(function*(cell: DeviceCell, rule: StopRule) {
    cell.stopRule = rule
    recordedInactive.set(cell.device.id, rule)
    yield* FiberMap.remove(fibers, cell.device.id)
    cells.delete(cell.device.id)
  })

  const follow = Effect.fnUntraced(function*(device: DesiredDevice) {
    const cell = cells.get(device.id)
    if (!device.active) {
      return cell === undefined ? recordOnce(device, "deactivated") : yield* stop(cell, "deactivated")
    }
    const leaveRule = cell === undefined ? null : hosts.mustLeave(cell)
    if (cell !== undefined && leaveRule !== null) {
      yield* stop(cell, leaveRule)
      return yield* start(device)
    }
    if (cell === undefined || !FiberMap.hasUnsafe(fibers, device.id)) return yield* start(device)
    postRequests(cell, device)
  })

  const reconcileOnce = Effect.fnUntraced(function*() {
    const desired = yield* repository.desired
    const known = new Set<DeviceId>()
    for (const device of desired) {
      if (closing) return
      known.add(device.id)
      yield* follow(device)
    }
    for (const id of recordedInactive.keys()) if (!known.has(id)) recordedInactive.delete(id)
    for (const cell of [...cells.values()]) {
      if (!known.has(cell.device.id)) yield* stop(cell, "deactivated")
    }
  })

  const turn = Semaphore.makeUnsafe(1)
  let compared: "not yet" | "done" | "failed" = "not yet"
  const reconcile = Semaphore.withPermit(turn, reconcileOnce()).pipe(
    Effect.andThen(Effect.sync(() => {
      compared = "done"
    })),
    // A defect in the comparison must not end it for good: the next one finds the same rows and the same actors.
    Effect.catchCause((cause) => {
      compared = "failed"
      return Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.logWarning("desired state could not be followed; devices go on as they are", cause)
    })
  )
  const readiness = yield* Effect.serviceOption(Readiness)
  if (Option.isSome(readiness)) {
    yield* readiness.value.contribute(
      "fleet",
      Effect.suspend(() => {
        const { Online: online } = hosts.counts()
        return compared === "done"
          ? Effect.succeed(`${online} of ${cells.size} devices online`)
          : Effect.fail(`desired state read: ${compared}; ${online} of ${cells.size} devices online`)
      })
    )
  }

  yield* Effect.forkScoped(
    Stream.mergeAll([repository.changes, directory.changes, Stream.tick(settings.reconcileInterval)], {
      concurrency: "unbounded"
    }).pipe(
      // Pulses that arrive while a comparison runs become one more comparison, not a queue of them.
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.runForEach(() => Effect.andThen(reconcile, Effect.sleep(reconcileSpacing)))
    )
  )
  // Added last, so it runs first: sockets close before anything that may have to wait for a database.
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      closing = true
      return FiberMap.clear(fibers)
    })
  )

  return DeviceFleet.of({
    view: (id) => Effect.sync(() => view(cells.get(id))),
    incidents: hosts.incidents,
    counts: Effect.sync(hosts.counts),
    reconcile
  })
})

/** All actors in this process. Closing it ends every session in order and leaves a record that they were stopped. */
export const layer = Layer.effect(DeviceFleet, make).pipe(Layer.provide(ActorHosts.layer))

/** Once per gateway, until a device of it could be started. */
const warnOnce = (warnedAbout: Set<string>, absent: GatewayAbsent): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (warnedAbout.has(absent.gateway)) return Effect.void
    warnedAbout.add(absent.gateway)
    return Effect.logWarning("devices do not run, because their gateway cannot be used").pipe(
      Effect.annotateLogs({ gateway: absent.gateway, reason: absent.message })
    )
  })

/** Counters that were raised since this actor last looked become inputs, once each. */
const postRequests = (cell: DeviceCell, device: DesiredDevice): void => {
  if (device.reconnectRequests > cell.device.reconnectRequests) cell.post({ _tag: "ReconnectRequested" })
  if (device.releaseRequests > cell.device.releaseRequests) cell.post({ _tag: "ReleaseRequested" })
  cell.device = device
}

/** A device that stopped while no process ran it still shows its last state: the log records that it ended, and why. */
const recordInactive = (
  log: EventLog["Service"],
  clock: Clock.Clock,
  device: DesiredDevice,
  rule: StopRule
): void => {
  const actorState = initial(device.jid)
  log.push(
    stateDraft(
      device.id,
      actorState.state,
      actorState,
      { rule, failure: null },
      clock.currentTimeMillisUnsafe()
    )
  )
}

const view = (cell: DeviceCell | undefined): ActorView | null =>
  cell === undefined ? null : {
    state: cell.actorState.state,
    attempts: cell.actorState.attempt,
    lastFrameAt: cell.lastFrameAt === 0 ? null : new Date(cell.lastFrameAt).toISOString(),
    lastFailure: cell.lastFailure,
    framesReceived: cell.framesReceived,
    restarts: cell.restarts,
    paused: cell.paused
  }
