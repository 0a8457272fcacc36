/** A stop in order leaves nothing half done, and the next start continues where it ended. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertSound, report } from "../support/Checker.ts"
import { freshVhost } from "../support/broker.ts"
import { freshDirectory } from "../support/directory.ts"
import { freshDatabase, freshDatabaseOn } from "../support/database.ts"
import * as PostgresServer from "../support/servers/PostgresServer.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"
import * as Rig from "./support/Rig.ts"
import { until } from "../support/until.ts"

const devices = 50
const stopWithinMillis = 20_000

/** Events per second: few enough for the embedded database on a busy machine, and for the rest of a stop to have its time. */
const rate = 200

const stoppedUnderLoad = Effect.fnUntraced(function*(databaseUrl: string | null) {
  const rig = yield* Rig.make({ databaseUrl, rabbitUrl: yield* freshVhost, devices, seed: "stopped" })
  const codes: Array<number> = []
  for (const device of rig.simulator.devices.values()) {
    for (const socket of device.sockets) socket.once("close", (code) => codes.push(code))
  }
  rig.simulator.emit({ rate })
  yield* rig.emitted(2000)
  yield* rig.delivering
  const first = yield* rig.columba.terminate
  rig.simulator.emitter.stop()
  assert.deepStrictEqual([first.code, first.signal], [0, null])
  assert.isBelow(first.millis, stopWithinMillis)
  yield* until("all sockets are closed", Effect.sync(() => codes.length === devices))
  assert.deepStrictEqual([...new Set(codes)], [1001])
  const stopped = yield* rig.verdict
  console.log(`stopped in ${Math.round(first.millis)} ms; ${report(stopped)}`)
  // Confirms were awaited: with a broker that answers, all committed events are delivered before the end.
  assertSound(stopped)

  yield* rig.columba.start
  yield* rig.online
  yield* rig.witness
  rig.simulator.emit({ count: 1000, rate })
  yield* until("1,000 more were emitted", Effect.sync(() => rig.simulator.stats().jobs.length === 0))
  yield* rig.settled
  const { exited, verdict } = yield* rig.finish
  assert.strictEqual(exited.code, 0)
  assertSound(verdict)
  assert.isAtLeast(verdict.counts.committed, stopped.counts.committed + 1000)
})

describe("SIGTERM under load", () => {
  it.live("ends in order and in time on Postgres, and the next start continues", () =>
    Effect.gen(function*() {
      yield* stoppedUnderLoad(yield* freshDatabase)
    }))

  it.live("ends in order and in time on the embedded database, and the next start continues", () =>
    stoppedUnderLoad(null))
})

describe("SIGTERM while the database does not answer", () => {
  it.live("still closes every socket with a code and ends in order and in time", () =>
    Effect.gen(function*() {
      const database = yield* PostgresServer.make
      const databaseUrl = yield* freshDatabaseOn(database.url)
      const rig = yield* Rig.make({ databaseUrl, rabbitUrl: yield* freshVhost, devices, seed: "frozen stop" })
      const codes: Array<number> = []
      for (const device of rig.simulator.devices.values()) {
        for (const socket of device.sockets) socket.once("close", (code) => codes.push(code))
      }
      rig.simulator.emit({ rate: 200 })
      yield* rig.emitted(100)
      yield* database.freeze
      const exited = yield* rig.columba.terminate
      rig.simulator.emitter.stop()
      yield* database.thaw
      assert.deepStrictEqual([exited.code, exited.signal], [0, null])
      assert.isBelow(exited.millis, stopWithinMillis)
      assert.deepStrictEqual(codes, Array.from({ length: devices }, () => 1001))
    }))
})

describe("a second process", () => {
  it.live("on the same data directory is refused with the reason, and does not disturb the first", () =>
    Effect.gen(function*() {
      const rig = yield* Rig.make({ databaseUrl: null, rabbitUrl: yield* freshVhost, devices: 2, seed: "second" })
      const second = yield* ColumbaProcess.make({ directory: rig.directory, env: {} })
      const exited = yield* second.runToEnd
      assert.notStrictEqual(exited.code, 0)
      assert.match(yield* second.log, /is open in process \d+/)
      assert.strictEqual((yield* rig.columba.readiness)?.status, 200)
      rig.simulator.emit({ count: 20 })
      yield* rig.settled
      assertSound((yield* rig.finish).verdict)
    }))

  it.live("with the role 'devices' on the same Postgres is refused, names the first, and does not disturb it", () =>
    Effect.gen(function*() {
      const databaseUrl = yield* freshDatabase
      const rabbitUrl = yield* freshVhost
      const rig = yield* Rig.make({ databaseUrl, rabbitUrl, devices: 2, seed: "second server" })
      const second = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: { DATABASE_URL: databaseUrl, RABBITMQ_URL: rabbitUrl, WHATSAPP_API_URL: "http://127.0.0.1:9" }
      })
      const exited = yield* second.runToEnd
      assert.notStrictEqual(exited.code, 0)
      assert.match(yield* second.log, /another process runs the devices of this database: 'columba devices /)
      assert.notMatch(yield* second.log, /Sink begins/)
      const api = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: { DATABASE_URL: databaseUrl, COLUMBA_ROLES: "api" }
      })
      yield* api.start
      assert.strictEqual((yield* rig.columba.readiness)?.status, 200)
      rig.simulator.emit({ count: 20 })
      yield* rig.settled
      assert.notMatch(yield* rig.columba.log, /stands by/)
      assertSound((yield* rig.finish).verdict)
    }))
})
