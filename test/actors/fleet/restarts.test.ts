/** State that a fleet resumes from an earlier process. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { StorageUnavailable } from "../../../src/domain/DeviceErrors.ts"
import { BenchTables, device, deviceId, FleetBench, layerOn, pass, settle } from "../../support/fleetBench.ts"

const one = deviceId(1)

/** One life of a process over these tables. */
const live = <A>(tables: BenchTables, life: (bench: FleetBench["Service"]) => Effect.Effect<A>): Effect.Effect<A> =>
  Effect.flatMap(FleetBench, life).pipe(Effect.provide(Layer.fresh(layerOn(tables))), Effect.scoped)

const quarantine = (bench: FleetBench["Service"]) =>
  Effect.gen(function*() {
    bench.gateway.mode = "transport"
    for (let waited = 0; waited < 300 && bench.readState(one) !== "Quarantined"; waited++) yield* pass("1 second")
    assert.strictEqual(bench.readState(one), "Quarantined")
  })

describe("a fleet after a restart of the process", () => {
  it.effect("keeps a device in quarantine until its end, and shows the recorded state", () =>
    Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      yield* live(tables, quarantine)
      assert.strictEqual(tables.readState(one), "Quarantined", "the end of a process ends no quarantine")
      yield* TestClock.adjust("1 minute")
      yield* live(tables, (bench) =>
        Effect.gen(function*() {
          yield* pass("3 minutes")
          assert.deepStrictEqual(bench.gateway.openedAt, [])
          assert.strictEqual((yield* Effect.orDie(bench.fleet.view(one)))?.state._tag, "Quarantined")
          assert.strictEqual((yield* bench.fleet.counts).Quarantined, 1)
          yield* pass("70 seconds")
          assert.strictEqual(bench.readState(one), "Online")
        }))
    }))

  it.effect("ends a quarantine at once whose time passed meanwhile", () =>
    Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      yield* live(tables, quarantine)
      yield* TestClock.adjust("1 hour")
      yield* live(tables, (bench) =>
        Effect.gen(function*() {
          yield* pass("2 seconds")
          assert.strictEqual(bench.readState(one), "Online")
          assert.include(bench.transitions(one).map(({ rule }) => rule), "quarantine-over")
        }))
    }))

  it.effect("counts the failures of its predecessor against the budget, as long as they are recent", () =>
    Effect.gen(function*() {
      const lose = (bench: FleetBench["Service"], times: number) =>
        Effect.gen(function*() {
          for (let n = 0; n < times; n++) {
            yield* pass("31 seconds")
            bench.gateway.live(one)[0]?.lose("transport")
            yield* settle
          }
        })
      const tables = new BenchTables([device(1)])
      yield* live(tables, (bench) => lose(bench, 8))
      yield* live(tables, (bench) =>
        Effect.gen(function*() {
          yield* lose(bench, 3)
          assert.strictEqual(bench.readState(one), "Quarantined")
        }))
      const later = new BenchTables([device(1)])
      yield* live(later, (bench) => lose(bench, 8))
      yield* TestClock.adjust("10 minutes")
      yield* live(later, (bench) =>
        Effect.gen(function*() {
          yield* lose(bench, 3)
          assert.strictEqual(bench.readState(one), "Backoff")
        }))
    }))

  it.effect("honours a release that was requested while no process ran, and no older one", () =>
    Effect.gen(function*() {
      const tables = new BenchTables([device(1, { releaseRequests: 2 })])
      yield* live(tables, quarantine)
      yield* live(tables, (bench) =>
        Effect.gen(function*() {
          yield* pass("2 seconds")
          assert.strictEqual(bench.readState(one), "Quarantined")
        }))
      tables.desired = [device(1, { releaseRequests: 3 })]
      yield* live(tables, (bench) =>
        Effect.gen(function*() {
          yield* pass("2 seconds")
          assert.strictEqual(bench.readState(one), "Online")
          assert.include(bench.transitions(one).map(({ rule }) => rule), "released")
        }))
    }))

  it.effect("resets a device that was deactivated and activated again", () =>
    Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      yield* live(tables, (bench) =>
        Effect.gen(function*() {
          yield* quarantine(bench)
          yield* bench.want([device(1, { active: false })])
        }))
      tables.desired = [device(1)]
      yield* live(tables, (bench) =>
        Effect.gen(function*() {
          yield* pass("2 seconds")
          assert.strictEqual(bench.readState(one), "Online")
          assert.deepStrictEqual(bench.transitions(one).at(-1)!.memory.failures, [])
        }))
    }))

  it.effect("reports once per database outage that devices could not be followed, and starts them after it", () => {
    const warnings: Array<string> = []
    const listening = Logger.layer([
      Logger.make(({ logLevel, message }) => {
        if (logLevel === "Warn") warnings.push(String(message))
      })
    ])
    const outage = (bench: FleetBench["Service"], tables: BenchTables) =>
      Effect.gen(function*() {
        const claim = tables.claiming
        tables.claiming = () => Effect.fail(StorageUnavailable.of("claim devices"))
        yield* bench.announce(null)
        yield* pass("1 minute")
        tables.claiming = claim
        yield* pass("10 seconds")
      })
    const tables = new BenchTables([])
    return live(tables, (bench) =>
      Effect.gen(function*() {
        tables.desired = [device(1)]
        yield* outage(bench, tables)
        assert.strictEqual(bench.readState(one), "Online")
        assert.strictEqual(warnings.length, 1)
        assert.match(warnings[0]!, /could not be followed; devices continue as they are: .*claim devices/)
        tables.desired = [device(1), device(2)]
        yield* outage(bench, tables)
        assert.strictEqual(warnings.length, 2)
      })).pipe(Effect.provide(listening))
  })
})
