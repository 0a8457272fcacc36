/**
 * Records that a device has no actor. Devices that stopped while no process ran them still show their last state, and get a
 * record of why they do not run.
 */
import { Array as Arr, Clock, Effect } from "effect"
import type { DesiredDevice } from "../../domain/Device.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import type { RecordedDevice } from "../../domain/RecordedDevice.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import type { DeviceClaim } from "../../services/DeviceRepository.ts"
import { EventLog } from "../../services/EventLog.ts"
import { initial } from "../device/ActorState.ts"
import type { StopRule } from "../device/DeviceBehaviour.ts"
import { readHandOver } from "../device/actorMemory.ts"
import { stateDraft } from "../device/stateRecords.ts"

/** Devices are claimed, and their records are read, in sets of this size: one statement each. */
export const claimMax = 500

/** A device without an actor, and why. */
export interface Ended {
  readonly device: DesiredDevice
  readonly rule: StopRule
}

export const make = Effect.fnUntraced(function*(owner: string) {
  const log = yield* EventLog
  const repository = yield* DeviceRepository
  const clock = yield* Clock.Clock
  const recorded = new Map<DeviceId, StopRule>()

  /**
   * Recorded once per rule: until the record is committed, the table still lists the device as before. Records of an
   * earlier process stay.
   */
  const record = Effect.fnUntraced(function*(ended: ReadonlyArray<Ended>) {
    const changed = ended.filter(({ device, rule }) => recorded.get(device.id) !== rule)
    for (const some of Arr.chunksOf(changed, claimMax)) {
      const found = yield* repository.recorded(some.map(({ device }) => device.id), 1)
      const missing = some.filter(({ device, rule }) => !isRecorded(found.get(device.id), rule))
      const claims = missing.length === 0
        ? new Map<DeviceId, DeviceClaim>()
        : yield* repository.claim(owner, missing.map(({ device }) => device.id))
      for (const { device, rule } of missing) {
        const claimed = claims.get(device.id)
        if (claimed === undefined) continue
        const handOver = readHandOver(found.get(device.id))
        pushInactive(log, { device, rule }, claimed.epoch, handOver, clock.currentTimeMillisUnsafe())
      }
      for (const { device, rule } of some) recorded.set(device.id, rule)
    }
  })

  return {
    /** Devices without an actor whose end is recorded, with the rule of that record. */
    recorded,
    record
  }
})

const isRecorded = (recorded: RecordedDevice | undefined, rule: StopRule): boolean =>
  recorded?.device.state._tag === "Inactive" && recorded.transitions[0]?.data.rule === rule

const pushInactive = (
  log: EventLog["Service"],
  { device, rule }: Ended,
  epoch: number,
  handOver: number | null,
  now: number
): void => {
  const actorState = initial(device.jid)
  const change = { from: actorState.state._tag, rule, failure: null, steps: [] }
  // A hand-over that its next actor must settle stays unsettled.
  const draft = stateDraft(device, change, actorState, now, rule === "deactivated" ? null : handOver)
  // Refused: another process has claimed the device, and records its state.
  log.push(draft, { fence: { deviceId: device.id, epoch }, onFenced: () => {} })
}
