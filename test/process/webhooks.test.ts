/**
 * A gateway that posts its events, and gives up on each after a few tries: the program is killed and stopped
 * between receipt and answer, and its address is out of reach for ten seconds. Nothing that was answered may be missing, and
 * as long as the gateway's tries last, nothing may be missing at all.
 */
import { assert, describe, it } from "@effect/vitest"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"
import type { GowaServer } from "../../src/simulator/gowa/GowaServer.ts"
import { start as startSimulator } from "../../src/simulator/SimulatedGateway.ts"
import type { SimulatorCore } from "../../src/simulator/SimulatorCore.ts"
import { assertSound, check, report } from "../support/Checker.ts"
import { freshDatabase } from "../support/database.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import { readLog, toEmitted } from "../support/Ledger.ts"
import { until } from "../support/until.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"

const devices = 4

interface Rig {
  readonly columba: ColumbaProcess.ColumbaProcess
  readonly simulator: SimulatorCore
  readonly gateway: GowaServer
  /** Between the gateway and the program. */
  readonly way: FaultProxy.FaultProxy
  /** Returns once the gateway has delivered or given up everything. */
  readonly delivered: Effect.Effect<void>
  /** Ends the program and compares what was emitted with what is in the log. */
  readonly verdict: Effect.Effect<ReturnType<typeof check>>
}

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "columba-test-webhooks-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** `apart`: the devices run in another process than the one that takes the webhooks. */
const make = Effect.fnUntraced(function*(apart = false): Effect.fn.Return<Rig, never, Scope.Scope> {
  const databaseUrl = yield* freshDatabase
  const gateway = yield* Effect.orDie(
    startSimulator({ dialect: "gowa", seed: "webhooks", gowa: { pace: 0, webhooks: { secret: "nobody knows" } } })
  )
  const env: Record<string, string> = {
    DATABASE_URL: databaseUrl,
    WHATSAPP_API_URL: gateway.url,
    WHATSAPP_API_DIALECT: "gowa",
    COLUMBA_SECRET_KEY: Buffer.alloc(32, 7).toString("base64")
  }
  const roles = (some: string) => apart ? { ...env, COLUMBA_ROLES: some } : env
  const columba = yield* ColumbaProcess.make({ directory: yield* directory, env: roles("api") })
  const way = yield* FaultProxy.make({ host: "127.0.0.1", port: Number(new URL(columba.url).port) })
  env["COLUMBA_PUBLIC_URL"] = `http://127.0.0.1:${way.port}`
  const fleet = apart
    ? yield* ColumbaProcess.make({ directory: yield* directory, env: roles("devices,scheduler") })
    : columba
  yield* columba.start
  if (apart) yield* fleet.start
  const upstreamOf = new Map<string, string>()
  for (let n = 1; n <= devices; n++) {
    const upstreamId = `slot-${n}`
    const { id } = yield* columba.post<{ readonly id: string }>("/api/v1/devices", { name: upstreamId, upstreamId })
    upstreamOf.set(id, upstreamId)
  }
  yield* until(
    "the gateway was told where to post",
    Effect.map(fleet.metric(`columba_device_webhooks{gateway="default",status="set"}`), (set) => set === devices)
  )
  const server = gateway.core.dialect as GowaServer
  return {
    columba,
    simulator: gateway.core,
    gateway: server,
    way,
    delivered: until(
      "the gateway has delivered everything",
      Effect.sync(() => server.webhooks.pending === 0),
      "60 seconds"
    ),
    verdict: Effect.gen(function*() {
      yield* columba.terminate
      if (apart) yield* fleet.terminate
      const committed = yield* readLog(databaseUrl)
      return check({
        emitted: gateway.core.ledger.entries().map(toEmitted),
        committed,
        // There is no broker in this run.
        delivered: committed.map(({ deviceId, id, kind, seq }) => ({
          messageId: id,
          seq,
          kind,
          deviceId,
          redelivered: false
        })),
        streamed: null,
        witnessed: [],
        upstreamOf
      })
    })
  }
})

/** So many more events were emitted. */
const emitted = ({ simulator }: Rig, count: number) =>
  until(`${count} events were emitted`, Effect.sync(() => simulator.ledger.count >= count), "60 seconds")

/** What the gateway delivered must be in the log; an event without an id looks like its repeat if both say the same. */
const judge = Effect.fnUntraced(function*(rig: Rig) {
  const { gateway } = rig
  const verdict = yield* rig.verdict
  const { attempts, delivered, dropped } = gateway.webhooks
  console.log(`${attempts} attempts, ${delivered} delivered, ${dropped} given up; ${report(verdict)}`)
  assertSound(verdict)
  assert.deepStrictEqual(verdict.missed.filter((event) => !event.endsWith("chat_presence")), [])
  assert.strictEqual(dropped, 0)
})

describe("a gateway that posts its events", () => {
  it.live("loses none while the program is killed and stopped in order between receipt and answer", () =>
    Effect.gen(function*() {
      const rig = yield* make()
      const { columba, gateway, simulator } = rig
      const part = 300
      const ends = [columba.kill, columba.terminate, columba.kill]
      for (const [index, end] of ends.entries()) {
        simulator.emit({ count: part, rate: 200 })
        yield* emitted(rig, part * index + part / 2)
        yield* until("some are received and not answered", Effect.sync(() => gateway.webhooks.pending > 0))
        yield* end
        yield* columba.start
        yield* emitted(rig, part * (index + 1))
        yield* rig.delivered
      }
      assert.isAbove(gateway.webhooks.attempts, part * ends.length)
      yield* judge(rig)
    }))

  it.live("loses none where a process without devices takes them, and is killed", () =>
    Effect.gen(function*() {
      const rig = yield* make(true)
      const { columba, gateway, simulator } = rig
      const events = 400
      simulator.emit({ count: events, rate: 200 })
      yield* emitted(rig, events / 2)
      yield* until("some are received and not answered", Effect.sync(() => gateway.webhooks.pending > 0))
      yield* columba.kill
      yield* columba.start
      yield* emitted(rig, events)
      yield* rig.delivered
      yield* judge(rig)
    }))

  it.live("loses none while its way to the program is cut for ten seconds", () =>
    Effect.gen(function*() {
      const rig = yield* make()
      const { gateway, simulator, way } = rig
      const events = 1000
      simulator.emit({ count: events, rate: 60 })
      yield* emitted(rig, 100)
      yield* way.disable
      yield* Effect.sleep("10 seconds")
      yield* way.enable
      yield* emitted(rig, events)
      yield* rig.delivered
      assert.isAbove(gateway.webhooks.attempts, events + 400)
      yield* judge(rig)
    }))
})
