/** How long a looked-up slot is valid, and how often the database is asked. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, PubSub, Stream } from "effect"
import { TestClock } from "effect/testing"
import { StorageUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { DeviceId, GatewayName, UpstreamId } from "../../src/domain/Ids.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import type { SlotHolder } from "../../src/services/DeviceRepository.ts"
import { ofDevice, SlotLookup } from "../../src/services/SlotLookup.ts"
import { deviceId, settle } from "../support/fleetBench.ts"

const gateway = "default" as GatewayName

const holder = (n: number, change: Partial<SlotHolder> = {}): SlotHolder => ({
  deviceId: deviceId(n),
  upstreamId: `slot-${n}` as UpstreamId,
  jid: `62811${n}@s.whatsapp.net`,
  active: true,
  ...change
})

interface Bench {
  readonly lookup: SlotLookup["Service"]
  /** Of the gateway `default`. */
  table: ReadonlyArray<SlotHolder>
  database: "answers" | "away" | "silent"
  reads: number
  readonly announce: (id: DeviceId | null) => Effect.Effect<void>
  /** Asked as a webhook asks: read if it is not loaded. */
  readonly find: (name: string) => Effect.Effect<DeviceId | null, StorageUnavailable>
}

const within = (table: ReadonlyArray<SlotHolder>, test: (bench: Bench) => Effect.Effect<void, StorageUnavailable>) =>
  Effect.gen(function*() {
    const changes = yield* PubSub.unbounded<DeviceId | null>()
    const repository = DeviceRepository.of({
      ...({} as DeviceRepository["Service"]),
      changes: Stream.fromPubSub(changes),
      findSlots: (of, { accounts, ids, upstreamIds }) =>
        Effect.suspend(() => {
          bench.reads++
          if (bench.database === "silent") return Effect.never
          if (bench.database === "away") return Effect.fail(StorageUnavailable.of("find the device of a slot"))
          return Effect.succeed(bench.table.filter((one) =>
            of === gateway &&
            (ids.includes(one.deviceId) || upstreamIds.includes(one.upstreamId) ||
              (one.jid !== null && accounts.includes(one.jid)))
          ))
        })
    })
    const context = yield* Layer.build(
      Layer.provide(SlotLookup.layer, Layer.succeed(DeviceRepository, repository))
    )
    const lookup = Context.get(context, SlotLookup)
    const bench: Bench = {
      lookup,
      table,
      database: "answers",
      reads: 0,
      announce: (id) => Effect.andThen(PubSub.publish(changes, id), settle),
      find: (name) =>
        Effect.gen(function*() {
          if (lookup.peek(gateway, name) === undefined) yield* lookup.read(gateway, [name])
          return lookup.peek(gateway, name)?.deviceId ?? null
        })
    }
    yield* settle
    yield* test(bench)
  }).pipe(Effect.scoped)

describe("the look-up of slots", () => {
  it.effect("finds a device by its slot, its account in any spelling and its id, and asks once for each", () =>
    within([holder(1), holder(2)], (bench) =>
      Effect.gen(function*() {
        const names = ["slot-1", "628111:12@s.whatsapp.net", "628111@c.us", ofDevice(deviceId(1))]
        for (let round = 0; round < 3; round++) {
          for (const name of names) assert.strictEqual(yield* bench.find(name), deviceId(1), name)
        }
        assert.strictEqual(bench.reads, 3, "two spellings of one account are one name")
        assert.isNull(yield* bench.find("slot-9"))
        assert.isNull(yield* bench.find("x".repeat(300)))
        assert.isNull(bench.lookup.peek(gateway, "slot-9"))
        assert.isUndefined(bench.lookup.peek("other" as GatewayName, "slot-1"))
      })))

  it.effect("asks only once for many concurrent webhooks of one slot", () =>
    within([holder(1)], (bench) =>
      Effect.gen(function*() {
        yield* Effect.forEach(Array.from({ length: 100 }), () => bench.find("slot-1"), { concurrency: "unbounded" })
        assert.isAtMost(bench.reads, 2)
      })))

  it.effect("trusts an account for seconds, a slot for a minute, and nothing after a notification", () =>
    within([holder(1), holder(2, { jid: null })], (bench) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* bench.find("628111@s.whatsapp.net"), deviceId(1))
        // The account is logged in on the other slot now.
        bench.table = [holder(1, { jid: null }), holder(2, { jid: "628111@s.whatsapp.net" })]
        yield* TestClock.adjust("11 seconds")
        assert.strictEqual(yield* bench.find("628111@s.whatsapp.net"), deviceId(2))
        assert.strictEqual(yield* bench.find("slot-1"), deviceId(1))
        bench.table = [holder(1, { active: false })]
        assert.isTrue(bench.lookup.peek(gateway, "slot-1")?.active)
        yield* bench.announce(deviceId(1))
        assert.isUndefined(bench.lookup.peek(gateway, "slot-1"))
        yield* bench.find("slot-1")
        assert.isFalse(bench.lookup.peek(gateway, "slot-1")?.active)
        yield* TestClock.adjust("61 seconds")
        assert.isUndefined(bench.lookup.peek(gateway, "slot-1"))
      })))

  it.effect("finds a device that was added after a lookup failed", () =>
    within([], (bench) =>
      Effect.gen(function*() {
        assert.isNull(yield* bench.find("slot-1"))
        bench.table = [holder(1)]
        yield* TestClock.adjust("6 seconds")
        assert.strictEqual(yield* bench.find("slot-1"), deviceId(1))
        bench.table = [holder(1), holder(2)]
        assert.isNull(yield* bench.find("slot-3"))
        yield* bench.announce(deviceId(2))
        assert.isUndefined(bench.lookup.peek(gateway, "slot-3"))
      })))

  it.effect("keeps its entries while the database is down or silent, and reports failures for others", () =>
    within([holder(1)], (bench) =>
      Effect.gen(function*() {
        yield* bench.find("slot-1")
        for (const database of ["away", "silent"] as const) {
          bench.database = database
          // A lost connection causes a notification that names no device.
          yield* bench.announce(null)
          const known = yield* Effect.forkChild(bench.find("slot-1"))
          const unknown = yield* Effect.forkChild(Effect.result(bench.find("slot-2")))
          yield* TestClock.adjust("5 seconds")
          assert.strictEqual(yield* Fiber.join(known), deviceId(1), database)
          assert.strictEqual((yield* Fiber.join(unknown))._tag, "Failure")
        }
      })))

  it.effect("assigns an account to the slot in use if two have it, and to none if both are in use", () =>
    within([holder(1), holder(2, { jid: "628111@s.whatsapp.net", active: false })], (bench) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* bench.find("628111@s.whatsapp.net"), deviceId(1))
        bench.table = [holder(1), holder(2, { jid: "628111@s.whatsapp.net" })]
        yield* bench.announce(null)
        assert.isNull(yield* bench.find("628111@s.whatsapp.net"))
      })))
})
