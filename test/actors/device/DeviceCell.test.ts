import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import type { DesiredDevice } from "../../../src/domain/Device.ts"
import { DeviceCell, pauseUntilRoom } from "../../../src/actors/device/DeviceCell.ts"
import type { ActorHost } from "../../../src/actors/device/ActorHost.ts"
import * as DueSet from "../../../src/actors/gateway/DueSet.ts"

const makeSession = () => {
  const session = {
    paused: false,
    pause: () => (session.paused = true),
    resume: () => {
      session.paused = false
    },
    end: () => {},
    finish: () => {}
  }
  return session
}

it("a closed session does not end the pause of its successor", () => {
  const callbacks = new Set<() => void>()
  let paused = 0
  const host = {
    now: () => 0,
    backfill: { changed: () => {} },
    log: {
      onRoom: (resume: () => void) => {
        callbacks.add(resume)
        return () => callbacks.delete(resume)
      }
    },
    meter: {
      paused: (change: 1 | -1) => {
        paused += change
      }
    }
  } as unknown as ActorHost
  const cell = new DeviceCell({ id: "dev_1", jid: null } as DesiredDevice, host)
  const open = () => {
    const session = makeSession()
    cell.session = session
    pauseUntilRoom(cell)
    assert.isTrue(session.paused && cell.paused)
    return session
  }
  open()
  const stale = [...callbacks]
  cell.forgetSession()
  assert.deepStrictEqual([cell.paused, paused, callbacks.size], [false, 0, 0])
  const successor = open()
  for (const resume of stale) if (callbacks.has(resume)) resume()
  assert.deepStrictEqual([successor.paused, cell.paused, paused], [true, true, 1])
  for (const resume of callbacks) resume()
  assert.deepStrictEqual([successor.paused, cell.paused, paused], [false, false, 0])
})

describe("the alarm of a device", () => {
  const make = Effect.gen(function*() {
    const alarms = yield* DueSet.make<DeviceCell>({ grain: Duration.millis(10), onDue: (cell) => cell.alarm() })
    const cell = new DeviceCell({ id: "dev_1", jid: null } as DesiredDevice, { alarms } as ActorHost)
    return { cell, alarms }
  })

  it.effect("fires at its time, and not if an input came first", () =>
    Effect.gen(function*() {
      const { alarms, cell } = yield* make
      const due = yield* Effect.forkChild(cell.takeUntil(1000))
      yield* TestClock.adjust(990)
      assert.isTrue(alarms.has(cell))
      yield* TestClock.adjust(20)
      assert.deepStrictEqual(yield* Fiber.join(due), { _tag: "RetryDue" })
      cell.post({ _tag: "ReconnectRequested" })
      assert.strictEqual((yield* cell.takeUntil(5000))._tag, "ReconnectRequested")
      const woken = yield* Effect.forkChild(cell.takeUntil(5000))
      yield* TestClock.adjust(0)
      cell.post({ _tag: "IncidentOver" })
      assert.strictEqual((yield* Fiber.join(woken))._tag, "IncidentOver")
      assert.isFalse(alarms.has(cell))
      yield* TestClock.adjust(10_000)
      const next = yield* Effect.forkChild(cell.take)
      yield* TestClock.adjust(10_000)
      assert.isUndefined(next.pollUnsafe(), "an alarm that was not needed any more posts nothing")
    }))

  it.effect("is cancelled when the device is stopped", () =>
    Effect.gen(function*() {
      const { alarms, cell } = yield* make
      const waiting = yield* Effect.forkChild(cell.takeUntil(1000))
      yield* TestClock.adjust(0)
      assert.isTrue(alarms.has(cell))
      yield* Fiber.interrupt(waiting)
      assert.isFalse(alarms.has(cell))
    }))
})
