/** A process that was suspended accepted no webhooks: which devices that concerns, and from when to when. */
import { assert, it } from "@effect/vitest"
import { Clock, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as UnansweredWebhooks from "../../../src/actors/gateway/UnansweredWebhooks.ts"
import type { GatewayName, UpstreamId } from "../../../src/domain/Ids.ts"
import * as MemoryStorage from "../../../src/layers/memory/MemoryStorage.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { GatewayDirectory } from "../../../src/services/GatewayDirectory.ts"
import { WebhookRefusals } from "../../../src/services/WebhookRefusals.ts"
import { makeRefusals } from "../../support/recordedRefusals.ts"
import type { WhatsAppGateway } from "../../../src/services/WhatsAppGateway.ts"
import { deviceId, pass } from "../../support/fleetBench.ts"

const gateway = (name: string, liveEvents: "webhook" | "session"): WhatsAppGateway => ({
  name: name as GatewayName,
  dialect: "gowa",
  description: "a gateway",
  capabilities: { liveEvents, history: null, ackLevels: [], qrRefresh: false, passkey: false, overlap: true },
  status: () => Effect.never,
  ensureSlot: () => Effect.void,
  probe: Effect.void
})

it.effect("is recorded for each device whose events come by webhook only, once the database accepts it", () =>
  Effect.gen(function*() {
    const test = yield* Clock.Clock
    let stoodStill = 0n
    /** The clock of a suspended process: no timer fires meanwhile. */
    const clock: Clock.Clock = {
      ...test,
      monotonicTimeNanosUnsafe: () => test.monotonicTimeNanosUnsafe() + stoodStill,
      monotonicTimeNanos: Effect.map(test.monotonicTimeNanos, (nanos) => nanos + stoodStill),
      sleep: (duration) => test.sleep(duration)
    }
    const standStill = (seconds: number) => {
      stoodStill += BigInt(seconds) * 1_000_000_000n
    }
    const devices = yield* DeviceRepository
    for (const [n, name] of [[1, "posts"], [2, "posts"], [3, "speaks"], [4, "posts"], [5, "unknown"]] as const) {
      const id = deviceId(n)
      yield* devices.insert({ id, name: id, gateway: name as GatewayName, upstreamId: id as string as UpstreamId })
    }
    yield* devices.setActive(deviceId(4), false)
    const { refusals, reported, setAway } = makeRefusals({ away: true })
    yield* UnansweredWebhooks.make.pipe(
      Effect.provideService(WebhookRefusals, refusals),
      Effect.provideService(Clock.Clock, clock),
      Effect.provide(GatewayDirectory.layerFixed([gateway("posts", "webhook"), gateway("speaks", "session")]))
    )
    yield* pass("10 seconds")
    standStill(12)
    yield* pass("1 minute")
    standStill(40)
    yield* pass("1 minute")
    yield* setAway(false)
    assert.deepStrictEqual(reported, [])
    yield* pass("20 seconds")
    assert.deepStrictEqual(reported.map(({ deviceId: id }) => id), [deviceId(1), deviceId(2)])
    const { firstAgo, lastAgo } = reported[0]!
    // From the last moment in which it ran, and not the twelve seconds before.
    assert.isAtLeast(firstAgo - lastAgo, 40_000)
    assert.isAtMost(firstAgo - lastAgo, 42_000)
    assert.isAtLeast(lastAgo, 58_000)
    yield* TestClock.adjust("10 minutes")
    assert.lengthOf(reported, 2, "and once")
  }).pipe(Effect.orDie, Effect.provide(Layer.fresh(MemoryStorage.layerMemory))))
