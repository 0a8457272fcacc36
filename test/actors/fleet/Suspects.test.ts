/** Devices of processes that ended: which ones start, in what groups, and which one is the cause. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Scope } from "effect"
import { leased, Placement } from "../../../src/actors/fleet/Placement.ts"
import * as Suspects from "../../../src/actors/fleet/Suspects.ts"
import type { DeviceId, GatewayName, UpstreamId } from "../../../src/domain/Ids.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { stateDraft } from "../../support/drafts.ts"
import { deviceId, pass, settle } from "../../support/fleetBench.ts"
import { storage } from "../../support/receptionBench.ts"

const inCluster: Placement = {
  owns: () => true,
  holds: () => true,
  enter: () => Effect.void,
  reclaimAfter: Duration.seconds(20),
  isShared: true,
  passesOn: () => false
}

/** A process that ends as soon as this device runs, or never. `ran`: the devices it started, in order and by turns. */
const life = Effect.fnUntraced(function*(
  owner: string,
  ids: ReadonlyArray<DeviceId>,
  killer: DeviceId | null,
  placement = inCluster
) {
  const repository = yield* DeviceRepository
  const log = yield* EventLog
  const scope = yield* Scope.make()
  const ran: Array<ReadonlyArray<DeviceId>> = []
  const quarantined: Array<DeviceId> = []
  let due: Array<DeviceId> = []
  const suspects = yield* Suspects.make(owner, (id) => due.push(id)).pipe(
    Effect.provideService(Placement, placement),
    Scope.provide(scope)
  )
  const start = Effect.fnUntraced(function*(some: ReadonlyArray<DeviceId>) {
    const claims = yield* repository.claim(owner, some)
    const verdicts = some.map((id) => [id, suspects.judge(id, claims.get(id)!)] as const)
    quarantined.push(...verdicts.flatMap(([id, verdict]) => verdict === "quarantine" ? [id] : []))
    const running = verdicts.flatMap(([id, verdict]) => verdict === "run" ? [id] : [])
    if (running.length > 0) ran.push(running)
    // The process records a state of each before it ends.
    const told = yield* Effect.forkChild(log.append(running.map((id) => stateDraft(id, "LoggedOut"))))
    yield* pass("1 second")
    yield* Fiber.join(told)
    return killer !== null && running.includes(killer)
  })
  let killed = yield* start(ids)
  for (let seconds = 0; !killed && seconds < 300; seconds++) {
    yield* pass("1 second")
    const now = due
    due = []
    killed = now.length > 0 && (yield* start(now))
  }
  yield* Scope.close(scope, Exit.void)
  yield* settle
  return { killed, ran, quarantined }
})

const insert = Effect.fnUntraced(function*(count: number) {
  const repository = yield* DeviceRepository
  const ids = Array.from({ length: count }, (_, index) => deviceId(index + 1))
  for (const id of ids) {
    yield* repository.insert({
      id,
      name: id,
      gateway: "default" as GatewayName,
      upstreamId: id as string as UpstreamId
    })
  }
  return ids
})

describe("a device that kills its process", () => {
  it.effect("is quarantined after a few deaths, and all others run", () =>
    Effect.provide(
      Effect.gen(function*() {
        const ids = yield* insert(100)
        const killer = ids[41]!
        let deaths = 0
        for (;;) {
          const { killed, quarantined, ran } = yield* life(`process ${deaths + 1}`, ids, killer)
          if (killed) {
            deaths++
            assert.isAtMost(deaths, 6)
            continue
          }
          assert.deepStrictEqual(quarantined, [killer])
          assert.lengthOf(ran.flat(), 99)
          assert.notInclude(ran.flat(), killer)
          break
        }
        // Three until it is a suspect, one with its group, one alone.
        assert.strictEqual(deaths, 5)
      }),
      storage
    ))

  it.effect("is quarantined only after two deaths during its trials, if it was alone from the first", () =>
    Effect.provide(
      Effect.gen(function*() {
        const ids = yield* insert(10)
        const killer = ids[4]!
        for (const n of [1, 2, 3, 4]) {
          const { killed, quarantined } = yield* life(`process ${n}`, ids, killer)
          assert.isTrue(killed)
          assert.deepStrictEqual(quarantined, [])
        }
        // The death of process 4 had another reason.
        const { quarantined, ran } = yield* life("process 5", ids, null)
        assert.deepStrictEqual(quarantined, [])
        assert.sameMembers(ran.flat(), ids)
        for (const n of [6, 7, 8, 9]) {
          assert.deepStrictEqual((yield* life(`process ${n}`, ids, killer)).quarantined, [])
        }
        assert.deepStrictEqual((yield* life("process 10", ids, killer)).quarantined, [killer])
      }),
      storage
    ))

  it.effect("begins anew when it has been in quarantine for a while", () =>
    Effect.provide(
      Effect.gen(function*() {
        const repository = yield* DeviceRepository
        const ids = yield* insert(10)
        const killer = ids[4]!
        for (const n of [1, 2, 3, 4, 5]) yield* life(`process ${n}`, ids, killer)
        // Nothing was recorded in quarantine, as if the process had ended at once, but it has lasted for five minutes.
        assert.deepStrictEqual((yield* life("process 6", ids, killer)).quarantined, [killer])
        const { deaths, trials } = (yield* repository.claim("process 7", [killer])).get(killer)!
        assert.deepStrictEqual([deaths, trials], [1, 0])
      }),
      storage
    ))

  it.effect("is not searched for if processes end for another reason: all devices run within their trials", () =>
    Effect.provide(
      Effect.gen(function*() {
        const ids = yield* insert(100)
        for (const n of [1, 2, 3]) yield* life(`process ${n}`, ids, ids[0]!)
        const { quarantined, ran } = yield* life("process 4", ids, null)
        assert.deepStrictEqual(quarantined, [])
        assert.sameMembers(ran.flat(), ids)
        assert.isAtMost(ran.length, 16)
        assert.strictEqual(ran[0]?.length, 7)
        // Devices that have lasted are no longer suspects.
        const after = yield* life("process 5", ids, null)
        assert.lengthOf(after.ran[0]!, 100)
      }),
      storage
    ))

  it.effect("is not searched for by a process that is alone", () =>
    Effect.provide(
      Effect.gen(function*() {
        const ids = yield* insert(3)
        for (let n = 1; n < 7; n++) {
          const { ran } = yield* life(`process ${n}`, ids, ids[0]!, leased)
          assert.deepStrictEqual(ran, [ids])
        }
      }),
      storage
    ))
})
