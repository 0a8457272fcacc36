/** The streams over RPC: replay, the switch to live, and the view of a watcher of devices. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Queue, Stream } from "effect"
import type { Scope } from "effect"
import { RpcMiddleware, RpcTest } from "effect/rpc"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import { RpcAuthorization } from "../../src/contracts/Authorization.ts"
import { ColumbaRpcs } from "../../src/contracts/ColumbaRpcs.ts"
import type { EventsItem } from "../../src/contracts/EventPayloads.ts"
import type { DeviceState } from "../../src/domain/DeviceState.ts"
import { positionAfter, readPosition } from "../../src/domain/Ids.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { AuditTrail } from "../../src/http/AuditTrail.ts"
import * as AuthorizationHttp from "../../src/http/AuthorizationHttp.ts"
import { Draining } from "../../src/http/Draining.ts"
import { OpenStreams } from "../../src/http/OpenStreams.ts"
import { Operations } from "../../src/http/Operations.ts"
import { CallerSockets } from "../../src/http/CallerSockets.ts"
import { RpcHandlers } from "../../src/http/RpcHandlers.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { messageDraft, services, stateDraft } from "../support/surface.ts"
import { propertyLimits } from "../support/propertyLimits.ts"

const makeDeviceId = (number: number) => `dev_${String(number).padStart(26, "0")}` as DeviceId

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** The real handlers and middleware over storage in memory; only the transport is left out. */
const layer = Layer.mergeAll(
  RpcHandlers,
  AuthorizationHttp.layerRpc,
  RpcMiddleware.layerClient(RpcAuthorization, ({ next, request }) => next(request))
).pipe(
  Layer.provide(Operations.layer),
  Layer.provide(AuditTrail.layer),
  Layer.provideMerge(
    Layer.mergeAll(AuthorizationHttp.Authorizer.layer, Draining.layer, OpenStreams.layer, CallerSockets.layer)
  ),
  Layer.provideMerge(services())
)

const run = <A, E>(test: Effect.Effect<A, E, Layer.Success<typeof layer> | Scope.Scope>) =>
  Effect.runPromise(test.pipe(Effect.provide(Layer.fresh(layer)), Effect.scoped))

const state = (number: number): DeviceState => ({ _tag: "Connecting", attempt: number, sessionOpen: false })

describe("streams over RPC", () => {
  it("join replay and live without missing or repeated events, wherever appends fall, for every filter", () =>
    fc.assert(
      fc.asyncProperty(
        fc.record({
          before: fc.nat(40),
          skip: fc.nat(40),
          during: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 8 }),
          pauses: fc.array(fc.nat(3), { maxLength: 8 }),
          device: fc.option(fc.constantFrom(1, 2), { nil: undefined })
        }),
        ({ before, device, during, pauses, skip }) =>
          run(Effect.gen(function*() {
            const log = yield* EventLog
            const client = yield* RpcTest.makeClient(ColumbaRpcs)
            const after = Math.min(skip, before)
            const total = during.reduce((sum, count) => sum + count, before)
            const append = (from: number, to: number) =>
              log.append(numbers(from, to).map((number) => messageDraft(makeDeviceId(1 + number % 2), number)))
            yield* append(1, before)
            // One last event, of the followed device, shows that everything before it has passed.
            const last = total + 1
            const reading = yield* client.Events({
              after: positionAfter(after),
              ...(device === undefined ? {} : { device: makeDeviceId(device) })
            }).pipe(
              Stream.takeUntil((item) => item._tag === "Event" && item.event.data["waId" as never] === `WA${last}`),
              Stream.runCollect,
              Effect.forkChild
            )
            let appended = before
            for (const [index, count] of during.entries()) {
              for (let pause = 0; pause < (pauses[index] ?? 0); pause++) yield* Effect.yieldNow
              yield* append(appended + 1, appended + count)
              appended += count
            }
            yield* log.append([messageDraft(makeDeviceId(device ?? 1), last)])
            const items = yield* Fiber.join(reading)
            assert.deepStrictEqual(items[0], { _tag: "Heartbeat", through: positionAfter(after) })
            const seen = items.flatMap((item) => item._tag === "Event" ? [item.event.seq] : [])
            const wanted = numbers(after + 1, total).filter((seq) => device === undefined || 1 + seq % 2 === device)
            assert.deepStrictEqual(seen, [...wanted, last])
            // A heartbeat never covers events that were not sent before it.
            let given = after
            for (const item of items) {
              if (item._tag === "Event") given = item.event.seq
              else if (device === undefined) assert.isAtMost(readPosition(item.through)!.seq, given)
            }
          }))
      ),
      propertyLimits(60)
    ))

  it("start a stream without a position with an item that states where it starts", () =>
    run(Effect.gen(function*() {
      const log = yield* EventLog
      const client = yield* RpcTest.makeClient(ColumbaRpcs)
      yield* log.append([messageDraft(makeDeviceId(1), 1), messageDraft(makeDeviceId(1), 2)])
      const [first] = yield* client.Events({}).pipe(Stream.take(1), Stream.runCollect)
      assert.deepStrictEqual(first, { _tag: "Heartbeat", through: positionAfter(2, (yield* log.bounds).headId) })
    })))

  it.effect("report every 15 seconds how far an idle stream has looked", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const client = yield* RpcTest.makeClient(ColumbaRpcs)
      const items = yield* Queue.unbounded<EventsItem>()
      yield* client.Events({ after: positionAfter(0), device: makeDeviceId(1) }).pipe(
        Stream.runForEach((item) => Queue.offer(items, item)),
        Effect.forkScoped
      )
      assert.deepStrictEqual(yield* Queue.take(items), { _tag: "Heartbeat", through: positionAfter(0) })
      for (let round = 1; round <= 3; round++) {
        yield* log.append([messageDraft(makeDeviceId(2), round)])
        const { head, headId } = yield* log.bounds
        yield* TestClock.adjust("14 seconds")
        assert.strictEqual(yield* Queue.size(items), 0)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* Queue.take(items), { _tag: "Heartbeat", through: positionAfter(head, headId) })
      }
    }).pipe(Effect.provide(Layer.fresh(layer))))

  it("end a watcher's view with every device's newest state, whenever it changed", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(4), fc.nat(3)), { maxLength: 30 }),
        fc.nat(30),
        (changes, watchFrom) =>
          run(Effect.gen(function*() {
            const log = yield* EventLog
            const manager = yield* DeviceManager
            const client = yield* RpcTest.makeClient(ColumbaRpcs)
            const ids: Array<DeviceId> = []
            for (let index = 0; index < 4; index++) ids.push((yield* manager.register({ name: `${index}` })).id)
            const change = Effect.fnUntraced(function*(index: number, attempt: number) {
              // The fifth device is added while somebody is watching.
              if (index === ids.length) ids.push((yield* manager.register({ name: "late" })).id)
              yield* log.append([stateDraft(ids[index]!, "Inactive", state(attempt))])
            })
            let watching: Fiber.Fiber<ReadonlyArray<unknown>, unknown> | undefined
            const states = new Map<string, DeviceState>()
            const synced = yield* Deferred.make<void>()
            const end = state(999)
            const watch = client.WatchDevices().pipe(
              Stream.tap((item) =>
                Effect.suspend(() => {
                  if (item._tag === "Device") states.set(item.device.id, item.device.state)
                  if (item._tag === "Changed") states.set(item.deviceId, item.state)
                  return item._tag === "Synced" ? Deferred.succeed(synced, undefined) : Effect.void
                })
              ),
              Stream.takeUntil((item) =>
                item._tag === "Changed" && item.state._tag === "Connecting" && item.state.attempt === 999
              ),
              Stream.runCollect
            )
            for (const [at, [index, pauses]] of changes.entries()) {
              if (at === watchFrom) watching = yield* Effect.forkChild(watch)
              for (let pause = 0; pause < pauses; pause++) yield* Effect.yieldNow
              yield* change(index, at + 1)
            }
            watching ??= yield* Effect.forkChild(watch)
            // Only a change after the snapshot is sure to be seen as a change.
            yield* Deferred.await(synced)
            yield* log.append([stateDraft(ids[0]!, "Connecting", end)])
            yield* Fiber.join(watching)
            for (const id of ids) assert.deepStrictEqual(states.get(id), (yield* manager.get(id)).state, id)
          }))
      ),
      propertyLimits(40)
    ))

  it("return server info that names the parts, also when a part is down", () =>
    run(Effect.gen(function*() {
      const client = yield* RpcTest.makeClient(ColumbaRpcs)
      const info = yield* client["Server.Info"]({})
      assert.deepInclude(info, { version: "0.0.0-test", node: "test-node", database: "memory", broker: null, head: 0 })
      assert.deepStrictEqual(info.gateways, [{ name: "default" as never, description: "bridge at http://scripted" }])
      assert.deepStrictEqual(info.histories, [])
    })))
})
