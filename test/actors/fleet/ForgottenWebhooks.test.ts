/**
 * Webhooks that a process accepted for devices of other processes, and that an older database lost: the recorded devices and
 * intervals.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { DatabaseTime } from "../../../src/actors/fleet/DatabaseTime.ts"
import * as ForgottenWebhooks from "../../../src/actors/fleet/ForgottenWebhooks.ts"
import type { GatewayName, UpstreamId } from "../../../src/domain/Ids.ts"
import * as MemoryStorage from "../../../src/layers/memory/MemoryStorage.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { GatewayDirectory } from "../../../src/services/GatewayDirectory.ts"
import { WebhookRefusals } from "../../../src/services/WebhookRefusals.ts"
import type { WhatsAppGateway } from "../../../src/services/WhatsAppGateway.ts"
import { deviceId } from "../../support/fleetBench.ts"
import { makeRefusals } from "../../support/recordedRefusals.ts"

const gateway = (name: string, posts: boolean): WhatsAppGateway => ({
  name: name as GatewayName,
  dialect: "gowa",
  description: "a gateway",
  capabilities: {
    liveEvents: "session",
    history: null,
    ackLevels: [],
    qrRefresh: false,
    passkey: false,
    overlap: true
  },
  status: () => Effect.never,
  ensureSlot: () => Effect.void,
  probe: Effect.void,
  ...(posts ? { ingest: () => ({ _tag: "UnknownSlot" as const, slot: "" }) } : undefined)
})

const at = (seconds: number) => new Date(seconds * 1000).toISOString()

it.effect("is written down for the devices to which gateways post and which do not run here", () =>
  Effect.gen(function*() {
    const devices = yield* DeviceRepository
    for (const [n, name] of [[1, "posts"], [2, "posts"], [3, "silent"], [4, "posts"], [5, "unknown"]] as const) {
      const id = deviceId(n)
      yield* devices.insert({ id, name: id, gateway: name as GatewayName, upstreamId: id as string as UpstreamId })
    }
    yield* devices.setActive(deviceId(4), false)
    const { refusals, reported } = makeRefusals({ away: false })
    const report = yield* ForgottenWebhooks.make(new Map([[deviceId(1), null]])).pipe(
      Effect.provideService(WebhookRefusals, refusals),
      Effect.provide(Layer.merge(
        GatewayDirectory.layerFixed([gateway("posts", true), gateway("silent", false)]),
        DatabaseTime.layer
      ))
    )
    yield* TestClock.adjust("100 seconds")
    yield* report({ from: at(40), to: at(90) })
    assert.deepStrictEqual(reported, [{ deviceId: deviceId(2), firstAgo: 60_000, lastAgo: 10_000 }])
    yield* report({ from: null, to: at(90) })
    assert.deepInclude(reported[1]!, { firstAgo: 100_000 }, "since always, where nothing is known of the time before")
  }).pipe(Effect.orDie, Effect.provide(Layer.fresh(MemoryStorage.layerMemory))))
