/**
 * Finds the device that kills its process. The death of a process does not show which of its devices caused it, and the
 * device's next owner would die as well, and so on through the cluster.
 *
 * Claims count the processes in a row that have ended while they ran a device. Devices with several such deaths are
 * suspects. They are started in small groups, one after another, and the group on trial is recorded in the database before
 * it starts. If the process dies then, the next owners know that one of this group caused it, and make the groups smaller.
 * A device that was on trial in two such deaths, and alone in the last one, is the cause, and is quarantined. A single death
 * during a trial may have another reason.
 *
 * Only in a cluster: otherwise, a single process that is killed manually a few times would delay its whole fleet.
 */
import { Duration, Effect, Schedule } from "effect"
import type { Scope } from "effect"
import type { DeviceId } from "../../domain/Ids.ts"
import { Condition } from "../../services/Condition.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import type { DeviceClaim } from "../../services/DeviceRepository.ts"
import { stableAfter } from "../Supervision.ts"
import { Placement } from "./Placement.ts"

/** Two deaths within a minute of each other may be chance: a rolling crash, an operator. */
const suspectAfter = 3

/** Maximum number of trials until all suspects of a node have run. */
const trialsMax = 16

/** The length of a trial, from the start of an actor. A device that kills its process later is not found. */
const trialTime = Duration.seconds(10)

/** The wait for more suspects: the devices of an ended node arrive in several sets. */
const gatherTime = Duration.seconds(1)

/** The wait after an outage of the database. */
const retryDelay = Duration.seconds(1)

export type Verdict = "run" | "wait" | "quarantine"

export interface Suspects {
  /** The verdict on a device that was just claimed. One that must wait is started later by `onTurn`. */
  readonly judge: (id: DeviceId, claim: DeviceClaim) => Verdict
  /** The device no longer belongs to this node. */
  readonly forget: (id: DeviceId) => void
}

/** `onTurn`: these devices are to be started now. */
export const make = Effect.fnUntraced(function*(
  owner: string,
  onTurn: (id: DeviceId) => void
): Effect.fn.Return<Suspects, never, DeviceRepository | Scope.Scope> {
  const repository = yield* DeviceRepository
  const placement = yield* Placement
  const work = new Condition()
  const waiting = new Set<DeviceId>()
  const onTrial = new Set<DeviceId>()
  /**
   * Devices that run or are quarantined, and whose recorded deaths count until that has lasted for `stableAfter`: a device that is
   * released from quarantine begins anew.
   */
  const unsettled = new Set<DeviceId>()
  if (!placement.isShared) return { judge: () => "run", forget: () => {} }

  const trial = Effect.fnUntraced(function*(ids: ReadonlyArray<DeviceId>) {
    yield* untilWritten(repository.beginTrial(owner, ids))
    for (const id of ids) {
      if (!waiting.delete(id)) continue
      onTrial.add(id)
      onTurn(id)
    }
    yield* Effect.sleep(trialTime)
    for (const id of ids) onTrial.delete(id)
    yield* untilWritten(repository.endTrial(owner, ids))
  })

  yield* Effect.forkScoped(Effect.forever(Effect.gen(function*() {
    yield* work.waitUntil(() => waiting.size > 0)
    yield* Effect.sleep(gatherTime)
    const size = Math.ceil(waiting.size / trialsMax)
    yield* Effect.logWarning(
      "Devices whose processes have ended several times in a row are started one group after the other"
    ).pipe(
      Effect.annotateLogs({ devices: waiting.size, group: size })
    )
    while (waiting.size > 0) yield* trial([...waiting].slice(0, size))
  })))

  yield* Effect.forkScoped(Effect.forever(Effect.gen(function*() {
    yield* work.waitUntil(() => unsettled.size > 0)
    const ids = [...unsettled]
    yield* Effect.sleep(stableAfter)
    const lasted = ids.filter((id) => unsettled.delete(id))
    yield* untilWritten(repository.forgetDeaths(owner, lasted))
  })))

  return {
    judge: (id, { deaths, trials, triedWith }) => {
      if (deaths === 0) return "run"
      const isCause = triedWith === 1 && trials > 1
      if (isCause || deaths < suspectAfter || onTrial.has(id)) {
        unsettled.add(id)
        work.changed()
        return isCause ? "quarantine" : "run"
      }
      waiting.add(id)
      work.changed()
      return "wait"
    },
    forget: (id) => {
      waiting.delete(id)
      unsettled.delete(id)
    }
  }
})

const untilWritten = <E>(write: Effect.Effect<void, E>): Effect.Effect<void> =>
  Effect.orDie(Effect.retry(write, { schedule: Schedule.spaced(retryDelay) }))
