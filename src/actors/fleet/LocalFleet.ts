/**
 * The fleet in one process: an actor for every device that should run, kept so by comparing the `devices` table with
 * the actors, at start, after every change notice and now and then regardless.
 *
 * Supervision has two levels. A device's own fiber absorbs whatever happens inside it, within the device's budget. This
 * module only starts, stops and, should a fiber ever be gone that ought to run, starts it again at the next comparison.
 */
import { Cause, Clock, Duration, Effect, FiberMap, Layer, Metric, Option, Semaphore, Stream } from "effect"
import type { Scope } from "effect"
import type { DesiredDevice } from "../../domain/Device.ts"
import type { DeviceState, DeviceStateTag } from "../../domain/DeviceState.ts"
import type { DeviceId, GatewayName } from "../../domain/Ids.ts"
import { DeviceFleet, noDevices } from "../../services/DeviceFleet.ts"
import type { ActorView } from "../../services/DeviceFleet.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import { EventLog } from "../../services/EventLog.ts"
import { FleetSettings } from "../../services/FleetSettings.ts"
import * as Metrics from "../../services/Metrics.ts"
import { Readiness } from "../../services/Readiness.ts"
import { Gateways } from "../../services/WhatsAppGateway.ts"
import * as ConnectGate from "../gateway/ConnectGate.ts"
import { run, stateDraft } from "../device/DeviceActor.ts"
import { initial } from "../device/DeviceBehaviour.ts"
import { DeviceCell } from "../device/DeviceCell.ts"
import type { ActorHost } from "../device/DeviceCell.ts"
import * as GatewayIncidents from "../gateway/GatewayIncidents.ts"
import * as StatusSync from "./StatusSync.ts"

/**
 * A comparison reads the whole table. Devices that are added one by one pulse each time; spaced like this, that costs
 * four comparisons a second at most, and the first one comes at once.
 */
const reconcileSpacing = Duration.millis(250)

const make = Effect.gen(function*() {
  const log = yield* EventLog
  const repository = yield* DeviceRepository
  const gateways = yield* Gateways
  const settings = yield* FleetSettings
  const clock = yield* Clock.Clock

  const cells = new Map<DeviceId, DeviceCell>()
  const meter = makeMeter()
  const status = yield* StatusSync.make(() => cells.values(), settings)
  const hosts = yield* makeHosts(
    {
      log,
      clock,
      onTransition: (cell, from) => {
        meter.moved(from._tag, cell.actorState.state._tag)
        if (
          cell.actorState.sessionOpen !== Number.isFinite(cell.statusDueAt) || from._tag !== cell.actorState.state._tag
        ) {
          status.plan(cell)
        }
      },
      onStatusWanted: status.want,
      onFrame: meter.frame,
      onPaused: meter.paused
    },
    gateways.all,
    settings
  )
  const fibers = yield* FiberMap.make<DeviceId, void, never>()
  const complained = new Set<string>()
  const toldInactive = new Set<DeviceId>()
  let closing = false

  const start = Effect.fnUntraced(function*(device: DesiredDevice, host: ActorHost) {
    const cell = new DeviceCell(device, host)
    cells.set(device.id, cell)
    meter.moved(null, "Inactive")
    yield* FiberMap.run(fibers, device.id, run(cell))
  })

  const stop = Effect.fnUntraced(function*(cell: DeviceCell) {
    cell.stopRule = "deactivated"
    yield* FiberMap.remove(fibers, cell.device.id)
    cells.delete(cell.device.id)
    meter.moved("Inactive", null)
  })

  const follow = Effect.fnUntraced(function*(device: DesiredDevice) {
    const cell = cells.get(device.id)
    if (!device.active) {
      if (cell !== undefined) return yield* stop(cell)
      // Told once: until it is committed, the table goes on listing the device.
      if (!toldInactive.has(device.id)) recordInactive(log, clock, device)
      toldInactive.add(device.id)
      return
    }
    const host = hosts.get(device.gateway)
    if (host === undefined) {
      if (complained.has(device.gateway)) return
      complained.add(device.gateway)
      return yield* Effect.logError("device names a gateway that is not configured").pipe(
        Effect.annotateLogs({ device: device.id, gateway: device.gateway })
      )
    }
    if (cell === undefined) return yield* start(device, host)
    if (!FiberMap.hasUnsafe(fibers, device.id)) yield* FiberMap.run(fibers, device.id, run(cell))
    raise(cell, device)
  })

  const reconcileOnce = Effect.fnUntraced(function*() {
    const desired = yield* repository.desired
    const known = new Set<DeviceId>()
    for (const device of desired) {
      if (closing) return
      known.add(device.id)
      yield* follow(device)
    }
    for (const id of toldInactive) if (!known.has(id)) toldInactive.delete(id)
    for (const cell of [...cells.values()]) {
      if (!known.has(cell.device.id)) yield* stop(cell)
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
        const { Online: online } = meter.counts()
        return compared === "done"
          ? Effect.succeed(`${online} of ${cells.size} devices online`)
          : Effect.fail(`desired state read: ${compared}; ${online} of ${cells.size} devices online`)
      })
    )
  }

  yield* Effect.forkScoped(
    Stream.merge(repository.changes, Stream.tick(settings.reconcileInterval)).pipe(
      // Pulses that arrive while a comparison runs become one more comparison, not a queue of them.
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.runForEach(() => Effect.andThen(reconcile, Effect.sleep(reconcileSpacing)))
    )
  )
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(meter.report, Effect.sleep(settings.tick))))
  // Added last, so it comes first: sockets close before anything that may have to wait for a database.
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      closing = true
      return FiberMap.clear(fibers)
    })
  )

  return DeviceFleet.of({
    view: (id) => Effect.sync(() => view(cells.get(id))),
    incidents: Effect.sync(() => [...hosts.values()].flatMap((host) => host.incidents.view() ?? [])),
    counts: Effect.sync(meter.counts),
    reconcile
  })
})

/** All actors in this process. Closing it ends every session in order and leaves a record that they were stopped. */
export const layer = Layer.effect(DeviceFleet, make)

const makeHosts = Effect.fnUntraced(function*(
  shared: Omit<ActorHost, "gateway" | "gate" | "incidents">,
  gateways: Gateways["Service"]["all"],
  settings: FleetSettings
): Effect.fn.Return<ReadonlyMap<GatewayName, ActorHost>, never, Scope.Scope> {
  const hosts = new Map<GatewayName, ActorHost>()
  for (const [name, gateway] of gateways) {
    const incidents = yield* GatewayIncidents.make(gateway)
    hosts.set(name, { ...shared, gateway, incidents, gate: ConnectGate.make(settings) })
  }
  return hosts
})

/** Counters that were raised since this actor last looked become inputs, once each. */
const raise = (cell: DeviceCell, device: DesiredDevice): void => {
  if (device.reconnectRequests > cell.device.reconnectRequests) cell.post({ _tag: "ReconnectRequested" })
  if (device.releaseRequests > cell.device.releaseRequests) cell.post({ _tag: "ReleaseRequested" })
  cell.device = device
}

/** A device that was switched off while nobody ran it still shows its last state: the log is told that it is over. */
const recordInactive = (log: EventLog["Service"], clock: Clock.Clock, device: DesiredDevice): void => {
  const actorState = initial(device.jid)
  log.push(
    stateDraft(
      device.id,
      actorState.state,
      actorState,
      { rule: "deactivated", failure: null },
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

/** Counts in plain numbers what happens thousands of times a second; the metrics are told once a tick. */
const makeMeter = () => {
  const byState: Record<DeviceStateTag, number> = { ...noDevices }
  let frames = 0
  let paused = 0
  let quarantined = 0
  return {
    moved: (from: DeviceState["_tag"] | null, to: DeviceState["_tag"] | null): void => {
      if (from !== null) byState[from]--
      if (to !== null) byState[to]++
      if (to === "Quarantined" && from !== to) quarantined++
    },
    frame: (): void => {
      frames++
    },
    paused: (change: 1 | -1): void => {
      paused += change
    },
    counts: () => ({ ...byState }),
    report: Effect.gen(function*() {
      for (const [state, count] of Object.entries(byState)) {
        yield* Metric.update(Metric.withAttributes(Metrics.devices, { state }), count)
      }
      yield* Metric.update(Metrics.framesReceived, frames)
      yield* Metric.update(Metrics.quarantines, quarantined)
      yield* Metric.update(Metrics.socketsPaused, paused)
      frames = 0
      quarantined = 0
    })
  }
}
