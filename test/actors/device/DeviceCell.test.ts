import { assert, it } from "@effect/vitest"
import type { DesiredDevice } from "../../../src/domain/Device.ts"
import { DeviceCell, pauseUntilRoom } from "../../../src/actors/device/DeviceCell.ts"
import type { ActorHost } from "../../../src/actors/device/ActorHost.ts"

const makeSession = () => {
  const session = {
    paused: false,
    pause: () => (session.paused = true),
    resume: () => {
      session.paused = false
    },
    end: () => {}
  }
  return session
}

it("a session that is gone does not end the pause of its successor", () => {
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
