import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { appendRows } from "../../../src/actors/gateway/appendRows.ts"
import * as MemoryStorage from "../../../src/layers/memory/MemoryStorage.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { EventLog, groupEventsMax } from "../../../src/services/EventLog.ts"
import { freshDevice, messageDraft } from "../../support/drafts.ts"

it.live("stores rows of any number for the owner of the device, and none for a process that has lost it", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const devices = yield* DeviceRepository
    const device = freshDevice()
    yield* devices.insert({ id: device, name: "kasir", gateway: "default" as never, upstreamId: device as never })
    const claim = (owner: string) => Effect.map(devices.claim(owner, [device]), (claims) => claims.get(device)!.epoch)
    const rows = (count: number) => Array.from({ length: count }, () => messageDraft({ device }))
    const [first, second] = [yield* claim("suspended"), yield* claim("another")]
    const refused = yield* Effect.flip(appendRows(log, rows(3), { deviceId: device, epoch: first }))
    assert.strictEqual(refused._tag, "Fenced")
    const stored = yield* appendRows(log, rows(groupEventsMax * 2 + 1), { deviceId: device, epoch: second })
    assert.lengthOf(stored.filter(({ _tag }) => _tag === "Committed"), groupEventsMax * 2 + 1)
    assert.strictEqual((yield* log.bounds).head, groupEventsMax * 2 + 1)
  }).pipe(Effect.provide(Layer.fresh(MemoryStorage.layerMemory))))
