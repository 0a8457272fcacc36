/**
 * The fleet in one process: an actor for every device that should run here (`Placement`). Rows of the `devices` table are
 * compared with the actors: all at start and every few minutes, and those that a change notice names soon after it.
 *
 * Before an actor starts, its device is claimed: what it decides carries the epoch of that claim, and once another
 * process has claimed the device, the log refuses the actor and it stops.
 *
 * Supervision has two levels. A device's own fiber absorbs whatever happens inside it, within the device's budget. This
 * module only starts and stops actors and, should the fiber of a device that ought to run ever be gone, starts it again
 * at the next comparison. What an actor needs around it comes from `ActorHosts`.
 */
import { randomUUID } from "node:crypto"
import {
  Array as Arr,
  Cause,
  Clock,
  Duration,
  Effect,
  FiberMap,
  Layer,
  Option,
  Schedule,
  Semaphore,
  Stream
} from "effect"
import type { Scope } from "effect"
import type { DesiredDevice } from "../../domain/Device.ts"
import type { DeviceId, Timestamp } from "../../domain/Ids.ts"
import type { WebhookStatus } from "../../domain/WebhookState.ts"
import { DeviceFleet } from "../../services/DeviceFleet.ts"
import type { ActorView } from "../../services/DeviceFleet.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import { EventLog } from "../../services/EventLog.ts"
import { FleetSettings } from "../../services/FleetSettings.ts"
import { GapRepository } from "../../services/GapRepository.ts"
import { GatewayDirectory } from "../../services/GatewayDirectory.ts"
import type { GatewayAbsent } from "../../services/GatewayDirectory.ts"
import { Readiness } from "../../services/Readiness.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { ServerIdentity } from "../../services/ServerIdentity.ts"
import { handOverMax } from "../../services/shutdownBudget.ts"
import type { Now } from "../device/ActorState.ts"
import * as DeviceActor from "../device/DeviceActor.ts"
import type { StopRule } from "../device/DeviceBehaviour.ts"
import { hearWebhook } from "../device/DeviceCell.ts"
import { push, refuseWebhook } from "../device/hearing.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import { restore } from "../device/memory.ts"
import { forget, restoreReception } from "../device/restoreReception.ts"
import { recordAgain, tellHeld } from "../device/telling.ts"
import * as SendQueue from "../sending/SendQueue.ts"
import { ActorHosts, stopRuleFor } from "./ActorHosts.ts"
import { ChangedDevices } from "./ChangedDevices.ts"
import { DatabaseTime } from "./DatabaseTime.ts"
import * as LoginFlows from "../login/LoginFlows.ts"
import * as RemoteRefusals from "./RemoteRefusals.ts"
import * as GapMeter from "./GapMeter.ts"
import * as InactiveDevices from "./InactiveDevices.ts"
import { claimMax } from "./InactiveDevices.ts"
import type { Ended } from "./InactiveDevices.ts"
import * as Heartbeat from "./Heartbeat.ts"
import type { Forgotten } from "./Heartbeat.ts"
import { Placement } from "./Placement.ts"

/** Changed devices are followed in rounds: four per second at most, and the first one at once. */
const roundSpacing = Duration.millis(250)

/** What could not be followed, because the database is away or by a defect, is tried again after this time. */
const retryDelay = Duration.seconds(5)

/** What is given to the log is committed within milliseconds; longer means that the database is away. */
const flushMax = Duration.seconds(5)

/** Questions for the owners of devices at a time, should another process have claimed many. */
const ownersAtOnce = 8

/** An actor with an open session acts at once; one that is being stopped meanwhile never will. */
const reportMax = Duration.seconds(1)

/** What a cluster does with the fleet of its node, beside asking it. */
export interface HostedFleet {
  readonly fleet: DeviceFleet["Service"]
  /** The rows of these devices are compared soon; null: all. */
  readonly look: (id: DeviceId | null) => void
  /** The placement holds the device, and has not before: a process that claimed it until now is not its owner any more. */
  readonly entered: (id: DeviceId) => void
  /**
   * Stops the device's actor, which the placement no longer holds. Returns once its socket is closed and what it gave to
   * the log is committed, or could not be in time.
   */
  readonly leave: (id: DeviceId) => Effect.Effect<void>
  /** The same for all at once, for a process that stops. Nothing starts any more. */
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
  | Scope.Scope
> = Effect.gen(function*() {
  const log = yield* EventLog
  const repository = yield* DeviceRepository
  const ledger = yield* GapRepository
  const hosts = yield* ActorHosts
  const directory = yield* GatewayDirectory
  const settings = yield* FleetSettings
  const placement = yield* Placement
  const clock = yield* Clock.Clock
  const identity = yield* Effect.serviceOption(ServerIdentity)
  const node = Option.match(identity, { onNone: () => `unnamed ${randomUUID()}`, onSome: ({ node }) => node })
  const owner = Option.match(identity, { onNone: () => node, onSome: ({ startedAt }) => `${node} ${startedAt}` })

  const cells = new Map<DeviceId, DeviceCell>()
  const fibers = yield* FiberMap.make<DeviceId, void, never>()
  const scope = yield* Effect.scope
  const warnedAbout = new Set<string>()
  const inactive = yield* InactiveDevices.make(owner)
  /** Their actors were refused as stale; by whose claim is looked up before anything else. */
  const refused = new Set<DeviceId>()
  /** Claimed by another process since. Claiming them back would begin a fight; a new fleet may. */
  const lost = new Set<DeviceId>()
  /** Stopped because an older database refused them: until when its log had what they received. Until they start again. */
  const aliveBefore = new Map<DeviceId, Timestamp | null>()
  const changed = new ChangedDevices()
  const logins = yield* LoginFlows.make((id) => {
    const cell = cells.get(id)
    return cell === undefined || cell.fenced ? undefined : cell
  })
  let closing = false

  const readNow = (): Now => ({ wall: clock.currentTimeMillisUnsafe(), monotonic: monotonicMillis(clock) })

  /** The actor holds its place at the host for as long as its fiber runs. */
  const admit = Effect.fnUntraced(
    function*(device: DesiredDevice) {
      const cell = yield* hosts.admit(device)
      warnedAbout.delete(device.gateway)
      inactive.recorded.delete(device.id)
      return { admitted: [cell], absent: [] }
    },
    (effect, device) =>
      Effect.catch(
        effect,
        (absent) =>
          Effect.as(warnOnce(warnedAbout, absent), { admitted: [], absent: [{ device, rule: stopRuleFor(absent) }] })
      )
  )

  const run = (cell: DeviceCell) => {
    const { id } = cell.device
    const end = Effect.suspend(() => {
      logins.stop(id)
      if (!cell.fenced) return hosts.dismiss(cell)
      // Else it was claimed again since.
      if (cell.refusedEpoch === cell.epoch) refused.add(id)
      if (cells.get(id) === cell) cells.delete(id)
      return Effect.ensuring(hosts.dismiss(cell), Effect.sync(() => changed.add(id)))
    })
    // The placement may have let it go since.
    const actor = Effect.suspend(() => placement.holds(id) ? DeviceActor.run(cell) : Effect.void)
    cells.set(id, cell)
    return FiberMap.run(fibers, id, Effect.ensuring(actor, end))
  }

  /** Claims first and reads then: what is read is the last that an older owner could record. */
  const claim = Effect.fnUntraced(function*(ids: ReadonlyArray<DeviceId>) {
    const claims = yield* repository.claim(owner, ids)
    return {
      claims,
      recorded: yield* repository.recorded(ids, 1),
      gaps: yield* ledger.openOf(ids),
      watermarks: yield* ledger.watermarks(ids)
    }
  })

  /** Returns the devices that cannot start because of their gateway. */
  const start = Effect.fnUntraced(function*(devices: ReadonlyArray<DesiredDevice>) {
    yield* placement.enter(devices.map(({ id }) => id))
    const asked = yield* Effect.forEach(devices.filter(({ id }) => placement.holds(id)), admit)
    const admitted = asked.flatMap((one): ReadonlyArray<DeviceCell> => one.admitted)
    const absent = asked.flatMap((one): ReadonlyArray<Ended> => one.absent)
    if (admitted.length === 0) return absent
    const dismissAll = Effect.forEach(admitted, hosts.dismiss, { discard: true })
    const { claims, gaps, recorded, watermarks } = yield* claim(admitted.map(({ device }) => device.id)).pipe(
      Effect.onError(() => dismissAll)
    )
    for (const cell of admitted) {
      const { id } = cell.device
      const claimed = claims.get(id)
      if (closing || claimed === undefined || !placement.holds(id)) {
        yield* hosts.dismiss(cell)
        continue
      }
      const row = recorded.get(id)
      const before = aliveBefore.get(id)
      aliveBefore.delete(id)
      hosts.activate(
        cell,
        claimed.epoch,
        restore(row, cell.device.jid, readNow()),
        restoreReception(
          row,
          before === undefined ? claimed : { ...claimed, aliveUntil: before },
          gaps.get(id) ?? [],
          watermarks.get(id)
        )
      )
      yield* run(cell)
    }
    return absent
  })

  const stop = Effect.fnUntraced(function*(cell: DeviceCell, rule: StopRule) {
    cell.stopRule = rule
    inactive.recorded.set(cell.device.id, rule)
    yield* FiberMap.remove(fibers, cell.device.id)
    cells.delete(cell.device.id)
  })

  /**
   * A claim that we had given up, because its answer did not come, may be carried out after the one that followed it. The
   * device is ours then, under an epoch that nobody knows, and is claimed once more.
   */
  const judgeRefused = Effect.suspend(() =>
    Effect.forEach([...refused], (id) =>
      repository.owner(id).pipe(
        Effect.catchTag("DeviceNotFound", () => Effect.succeed(null)),
        Effect.map((found) => {
          refused.delete(id)
          return found !== null && found !== owner && placement.owns(id)
        }),
        Effect.flatMap((byOthers) => byOthers ? lose(id) : Effect.void)
      ), { concurrency: ownersAtOnce, discard: true })
  )

  const lose = (id: DeviceId): Effect.Effect<void> =>
    Effect.suspend(() => {
      lost.add(id)
      if (placement.reclaimAfter === null) return Effect.void
      const again = Effect.sync(() => {
        if (lost.delete(id)) changed.add(id)
      })
      return Effect.asVoid(Effect.forkIn(Effect.delay(again, placement.reclaimAfter), scope))
    })

  const follow = Effect.fnUntraced(function*(ids: ReadonlyArray<DeviceId> | undefined) {
    yield* judgeRefused
    const desired = new Map((yield* repository.desired(ids)).map((device) => [device.id, device]))
    const starting: Array<DesiredDevice> = []
    const ended: Array<Ended> = []
    let stopped = false
    for (const device of desired.values()) {
      const cell = FiberMap.hasUnsafe(fibers, device.id) ? cells.get(device.id) : undefined
      const rule = !device.active ? "deactivated" : cell === undefined ? null : hosts.mustLeave(cell)
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
    // A new claim would refuse what the actors that stopped have just given to the log: their state and their gaps.
    if (stopped && starting.length > 0) yield* Effect.timeoutOption(log.flush, flushMax)
    for (const some of Arr.chunksOf(starting, claimMax)) if (!closing) ended.push(...(yield* start(some)))
    if (!closing) yield* inactive.record(ended)
  })

  const leave = Effect.fnUntraced(function*(id: DeviceId) {
    const cell = cells.get(id)
    lost.delete(id)
    inactive.recorded.delete(id)
    if (cell === undefined) return
    cell.stopRule = "moved"
    yield* FiberMap.remove(fibers, id)
    if (cells.get(id) === cell) cells.delete(id)
    yield* Effect.timeoutOption(log.flush, handOverMax)
  })

  const turn = Semaphore.makeUnsafe(1)
  let compared: "not yet" | "done" | "failed" = "not yet"
  /** Of these devices; without ids, of all. False: it failed and must be repeated. */
  const reconcile = (ids?: ReadonlyArray<DeviceId>): Effect.Effect<boolean> =>
    Semaphore.withPermit(turn, follow(ids)).pipe(
      Effect.andThen(Effect.sync(() => {
        if (ids === undefined) compared = "done"
        return true
      })),
      // A defect in the comparison must not end it for good: the next one finds the same rows and the same actors.
      Effect.catchCause((cause) => {
        compared = "failed"
        return Cause.hasInterruptsOnly(cause)
          ? Effect.interrupt
          : Effect.as(
            Effect.logWarning("desired state could not be followed; devices go on as they are", cause),
            false
          )
      })
    )
  const readiness = yield* Effect.serviceOption(Readiness)
  if (Option.isSome(readiness)) {
    yield* readiness.value.contribute(
      "fleet",
      Effect.gen(function*() {
        const { Online: online } = hosts.counts()
        const unread = (yield* hosts.backfills).reduce((sum, { devicesToGo }) => sum + devicesToGo, 0)
        const detail = `${online} of ${cells.size} devices online` +
          (unread === 0 ? "" : `; the history of ${unread} is still to be read`) +
          (lost.size === 0 ? "" : `; ${lost.size} were claimed by another process`) +
          describeWebhooks(hosts.unposted())
        return compared === "done"
          ? detail
          : yield* Effect.fail(`desired state read: ${compared}; ${detail}`)
      })
    )
  }

  /**
   * An older database has taken the place of ours: its epochs, and what it records of our devices, are of before. They are
   * claimed again, which is no fight, for whoever else wants them needs the lease that we hold.
   */
  const reclaim = Effect.fnUntraced(
    function*(forgotten: Forgotten) {
      const ids = [...cells.keys()]
      const found = yield* Effect.forEach(Arr.chunksOf(ids, claimMax), claim)
      // From here on at once: what is decided meanwhile must neither be refused nor come twice.
      for (const { claims, gaps, watermarks } of found) {
        for (const [id, { epoch }] of claims) {
          const cell = cells.get(id)
          if (cell === undefined) continue
          cell.claimed(epoch)
          const from = forgotten.from === null ? null : Date.parse(forgotten.from)
          const older = { from, to: Date.parse(forgotten.to), gaps: gaps.get(id) ?? [], watermark: watermarks.get(id) }
          push(cell, forget(cell, older))
          recordAgain(cell)
        }
      }
      // Whoever has them by the older database had them before us.
      for (const id of [...lost, ...refused]) aliveBefore.set(id, forgotten.from)
      lost.clear()
      refused.clear()
      inactive.recorded.clear()
      changed.add(null)
    },
    Semaphore.withPermit(turn),
    Effect.retry(Schedule.spaced(retryDelay)),
    Effect.orDie
  )
  yield* Heartbeat.make({
    owner,
    interval: settings.heartbeatInterval,
    closing: () => closing,
    onForgotten: (forgotten) =>
      Effect.andThen(
        Effect.logError("The log lacks what it had received: an older database has taken its place", forgotten),
        reclaim(forgotten)
      )
  })
  yield* GapMeter.make

  yield* Effect.forkScoped(Stream.runForEach(repository.changes, (id) => Effect.sync(() => changed.add(id))))
  // Any device may be of the gateway that changed.
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
  const close = Effect.suspend(() => {
    closing = true
    return FiberMap.clear(fibers)
  })
  // Added last, so it runs first: sockets close before anything that may have to wait for a database.
  yield* Effect.addFinalizer(() => close)

  yield* RemoteRefusals.follow(cells)
  yield* SendQueue.make(cells)

  const fleet = DeviceFleet.of({
    view: (id) => Effect.sync(() => view(cells.get(id), node)),
    reportStatus: Effect.fn("LocalFleet.reportStatus")(function*(id, status) {
      const cell = cells.get(id)
      if (cell === undefined || !cell.actorState.sessionOpen) return false
      cell.post({ _tag: "StatusRead", status })
      yield* Effect.timeoutOption(cell.awaitDrained(), reportMax)
      // The caller reads what is recorded.
      tellHeld(cell)
      return true
    }),
    reportSilence: Effect.fn("LocalFleet.reportSilence")(function*(id, detail) {
      const cell = cells.get(id)
      if (cell === undefined) return
      const input = yield* DeviceActor.confirmSilence(cell, detail)
      if (input === null) return
      cell.post(input)
      yield* Effect.timeoutOption(cell.awaitDrained(), reportMax)
    }),
    loggedOut: Effect.fnUntraced(function*(id) {
      const cell = cells.get(id)
      if (cell === undefined || !cell.actorState.sessionOpen) return
      cell.post({ _tag: "LoggedOut", reason: "an operator logged it out" })
      yield* Effect.timeoutOption(cell.awaitDrained(), reportMax)
    }),
    heard: (id, events, repeats = []) =>
      Effect.sync(() => {
        const cell = cells.get(id)
        if (cell !== undefined) hearWebhook(cell, events, repeats)
      }),
    refused: (id) =>
      Effect.sync(() => {
        const cell = cells.get(id)
        if (cell === undefined) return false
        cell.webhooksRefused++
        push(cell, refuseWebhook(cell))
        return true
      }),
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
      lost.delete(id)
      changed.add(id)
    },
    leave,
    close: Effect.andThen(close, Effect.asVoid(Effect.timeoutOption(log.flush, handOverMax)))
  }
})

/** All actors in this process. Closing it ends every session in order and leaves a record that they were stopped. */
export const layer = Layer.effect(DeviceFleet, Effect.map(make, ({ fleet }) => fleet)).pipe(
  Layer.provide(ActorHosts.layer),
  Layer.provide(DatabaseTime.layer)
)

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

/** What is not as it should be; a device without a webhook hears nothing where live events come by webhook. */
const describeWebhooks = (unposted: Readonly<Partial<Record<WebhookStatus, number>>>): string =>
  (Object.entries(unposted) as ReadonlyArray<[WebhookStatus, number]>)
    .map(([status, count]) => `; ${count} without a webhook at the gateway: ${webhookAdvice[status]}`)
    .join("")

const webhookAdvice: Readonly<Record<WebhookStatus, string>> = {
  set: "it is set",
  pending: "the gateway is asked",
  failed: "the gateway did not answer; see columba devices explain",
  unsupported: "set it there by hand, as columba doctor says",
  "no-address": "set COLUMBA_PUBLIC_URL, or set it there by hand, as columba doctor says",
  "no-secret": "set COLUMBA_SECRET_KEY"
}

const view = (cell: DeviceCell | undefined, node: string): ActorView | null =>
  cell === undefined ? null : {
    node,
    incident: cell.host.incidents.view() ?? null,
    state: cell.actorState.state,
    attempts: cell.actorState.attempt,
    lastFrameAt: cell.lastFrameAt === 0 ? null : new Date(cell.lastFrameAt).toISOString(),
    lastWebhookAt: cell.lastWebhookAt === 0 ? null : new Date(cell.lastWebhookAt).toISOString(),
    lastFailure: cell.lastFailure,
    webhook: cell.webhook,
    framesReceived: cell.framesReceived,
    restarts: cell.restarts,
    paused: cell.paused
  }
