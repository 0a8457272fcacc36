/**
 * The actors of this process: claims devices, starts an actor for each and stops it. `LocalFleet` decides which devices
 * should run.
 */
import { Array as Arr, Clock, Effect, FiberMap, Option } from "effect"
import type { Scope } from "effect"
import type { DesiredDevice } from "../../domain/Device.ts"
import type { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import { EventLog } from "../../services/EventLog.ts"
import { GapRepository } from "../../services/GapRepository.ts"
import type { GatewayAbsent } from "../../services/GatewayDirectory.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { handOverMax } from "../../services/shutdownBudget.ts"
import { Successors } from "../../services/Successors.ts"
import type { Now } from "../device/ActorState.ts"
import * as DeviceActor from "../device/DeviceActor.ts"
import type { Input, StopRule } from "../device/DeviceBehaviour.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import { push } from "../device/receptionGaps.ts"
import { restore } from "../device/actorMemory.ts"
import { forget, restoreReception } from "../device/restoreReception.ts"
import { recordAgain } from "../device/stateRecords.ts"
import { ActorHosts, stopRuleFor } from "./ActorHosts.ts"
import { HandOvers } from "./HandOvers.ts"
import type { Forgotten } from "./Heartbeat.ts"
import { claimMax } from "./InactiveDevices.ts"
import type { Ended } from "./InactiveDevices.ts"
import type { LostDevices } from "./LostDevices.ts"
import { Placement } from "./Placement.ts"
import type { Suspects } from "./Suspects.ts"

interface Options {
  /** As in `DeviceRepository.claim`. */
  readonly owner: string
  readonly lost: LostDevices
  readonly suspects: Suspects
  /** The device has an actor from now on. */
  readonly onStart: (id: DeviceId) => void
  /** Its actor is ending, for whatever reason. Before the device leaves its host. */
  readonly onEnd: (id: DeviceId) => void
  /** Its actor was refused as stale and has ended: the device must be compared again. */
  readonly onFenced: (id: DeviceId) => void
}

export interface RunningActors {
  /** Every device with an actor, including those whose actor has ended by a defect. */
  readonly cells: ReadonlyMap<DeviceId, DeviceCell>
  /** The cell whose fiber is running. */
  readonly running: (id: DeviceId) => DeviceCell | undefined
  /** Claims the devices and starts their actors. Returns those that cannot start because of their gateway. */
  readonly start: (devices: ReadonlyArray<DesiredDevice>) => Effect.Effect<ReadonlyArray<Ended>, StorageUnavailable>
  /** Ends the actor, which records the rule as the reason. */
  readonly stop: (cell: DeviceCell, rule: StopRule) => Effect.Effect<void>
  /** As `HostedFleet.leave`. */
  readonly leave: (id: DeviceId) => Effect.Effect<void>
  /**
   * An older database has taken our database's place: its epochs and its records of our devices are outdated. The devices
   * are claimed again, which starts no fight: any other process that wants them needs the lease that we hold.
   */
  readonly reclaim: (forgotten: Forgotten) => Effect.Effect<void, StorageUnavailable>
  readonly closing: () => boolean
  /** Ends all actors; none starts after that. Completes as `leave` does. */
  readonly close: Effect.Effect<void>
}

export const make = Effect.fnUntraced(function*(
  { lost, onEnd, onFenced, onStart, owner, suspects }: Options
): Effect.fn.Return<
  RunningActors,
  never,
  ActorHosts | DeviceRepository | EventLog | GapRepository | HandOvers | Scope.Scope
> {
  const log = yield* EventLog
  const repository = yield* DeviceRepository
  const ledger = yield* GapRepository
  const hosts = yield* ActorHosts
  const placement = yield* Placement
  const handOvers = yield* HandOvers
  const successors = yield* Successors
  const clock = yield* Clock.Clock

  const cells = new Map<DeviceId, DeviceCell>()
  const fibers = yield* FiberMap.make<DeviceId, void, never>()
  const warnedAbout = new Set<string>()
  let closing = false

  const readNow = (): Now => ({ wall: clock.currentTimeMillisUnsafe(), monotonic: monotonicMillis(clock) })

  /** The actor holds its place at the host for as long as its fiber runs. */
  const admit = Effect.fnUntraced(
    function*(device: DesiredDevice) {
      const cell = yield* hosts.admit(device)
      warnedAbout.delete(device.gateway)
      onStart(device.id)
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
      onEnd(id)
      if (cell.passed !== null) return Effect.sync(() => handOvers.give(cell, hosts.retire(cell)))
      if (!cell.fenced) return hosts.dismiss(cell)
      // Otherwise it has been claimed again since.
      if (cell.refusedEpoch === cell.epoch) lost.refused(id)
      if (cells.get(id) === cell) cells.delete(id)
      return Effect.ensuring(hosts.dismiss(cell), Effect.sync(() => onFenced(id)))
    })
    // The placement may have released it since.
    const actor = Effect.suspend(() => placement.holds(id) ? DeviceActor.run(cell) : Effect.void)
    cells.set(id, cell)
    return FiberMap.run(fibers, id, Effect.ensuring(actor, end))
  }

  /** Claims first and then reads: the records read are the last ones that an older owner could write. */
  const claim = Effect.fnUntraced(function*(ids: ReadonlyArray<DeviceId>) {
    const claims = yield* repository.claim(owner, ids)
    return {
      claims,
      recorded: yield* repository.recorded(ids, 1),
      gaps: yield* ledger.openOf(ids),
      watermarks: yield* ledger.watermarks(ids)
    }
  })

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
      const verdict = suspects.judge(id, claimed)
      if (verdict === "wait") {
        yield* hosts.dismiss(cell)
        continue
      }
      if (verdict === "quarantine") cell.begin = killsProcess(claimed.deaths)
      const row = recorded.get(id)
      hosts.activate(
        cell,
        claimed.epoch,
        restore(row, cell.device.jid, readNow()),
        restoreReception(row, claimed, gaps.get(id) ?? [], watermarks.get(id))
      )
      yield* run(cell)
    }
    return absent
  })

  const stop = Effect.fnUntraced(function*(cell: DeviceCell, rule: StopRule) {
    cell.stopRule = rule
    yield* FiberMap.remove(fibers, cell.device.id)
    cells.delete(cell.device.id)
  })

  const leave = Effect.fnUntraced(function*(id: DeviceId) {
    const cell = cells.get(id)
    if (cell === undefined) return
    cell.stopRule = "moved"
    cell.passesOn = placement.passesOn()
    yield* FiberMap.remove(fibers, id)
    if (cells.get(id) === cell) cells.delete(id)
    yield* settle([cell])
  })

  /**
   * The next owner continues from the committed records. Without a commit there is no next owner yet, or it cannot know
   * about the session.
   */
  const settle = Effect.fnUntraced(function*(left: ReadonlyArray<DeviceCell>) {
    const flushed = yield* Effect.timeoutOption(log.flush, handOverMax)
    if (Option.isNone(flushed)) handOvers.cut(left)
  })

  const reclaim = Effect.fnUntraced(function*(forgotten: Forgotten) {
    // Others that it names as ours belong to another process, or to none. Our next heartbeat is not theirs.
    const ids = [...cells.keys()]
    yield* repository.disclaim(owner, ids, forgotten.from)
    const remembered = ids.flatMap((id) => cells.get(id)?.reception.gaps.gaps.map((gap) => gap.id) ?? [])
    // One that has left this node since may have been claimed by another.
    const found = yield* Effect.forEach(
      Arr.chunksOf(ids, claimMax),
      (chunk) => claim(chunk.filter((id) => placement.holds(id)))
    )
    const recorded = yield* ledger.known(remembered)
    // Synchronous from here on: decisions made meanwhile must be neither refused nor repeated.
    for (const { claims, gaps, watermarks } of found) {
      for (const [id, { epoch }] of claims) {
        const cell = cells.get(id)
        if (cell === undefined) continue
        cell.claimed(epoch)
        const from = forgotten.from === null ? null : Date.parse(forgotten.from)
        const older = {
          from,
          to: Date.parse(forgotten.to),
          gaps: gaps.get(id) ?? [],
          recorded,
          watermark: watermarks.get(id)
        }
        push(cell, forget(cell, older))
        recordAgain(cell)
      }
    }
    lost.forgetAll()
  })

  return {
    cells,
    running: (id) => FiberMap.hasUnsafe(fibers, id) ? cells.get(id) : undefined,
    start,
    stop,
    leave,
    reclaim,
    closing: () => closing,
    close: Effect.gen(function*() {
      closing = true
      const passesOn = cells.size > 0 && placement.passesOn() && (yield* successors)
      const left = [...cells.values()]
      for (const cell of left) cell.passesOn = passesOn
      yield* FiberMap.clear(fibers)
      if (placement.isShared) yield* settle(left)
    })
  }
})

const killsProcess = (deaths: number): Input => ({
  _tag: "KillsProcess",
  detail:
    `${deaths} processes in a row have ended while they ran this device, the last one when it had started this device alone`
})

/** Once per gateway, until a device of it could be started. */
const warnOnce = (warnedAbout: Set<string>, absent: GatewayAbsent): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (warnedAbout.has(absent.gateway)) return Effect.void
    warnedAbout.add(absent.gateway)
    return Effect.logWarning("devices do not run, because their gateway cannot be used").pipe(
      Effect.annotateLogs({ gateway: absent.gateway, reason: absent.message })
    )
  })
