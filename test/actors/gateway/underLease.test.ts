/** What a node does not do at its gateways once its lease may be over. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Fiber } from "effect"
import * as NodeLease from "../../../src/services/NodeLease.ts"
import { SendRepository } from "../../../src/services/SendRepository.ts"
import { newSend } from "../../conformance/sendRepository.ts"
import { deviceId, pass } from "../../support/fleetBench.ts"
import { begin, live, storage } from "../../support/receptionBench.ts"
import { ScriptedSending } from "../../support/scriptedSending.ts"

const id = deviceId(1)
const lease = Duration.seconds(20)

const bench = Effect.gen(function*() {
  const { gateway } = yield* begin(1)
  const send = new ScriptedSending()
  const node = NodeLease.make(yield* Clock.Clock, lease)
  return {
    gateway: Object.assign(gateway, { send }),
    send,
    renew: node.renewing(Effect.void),
    underLease: Effect.provideService(NodeLease.NodeLease, node)
  }
})

const accept = Effect.fnUntraced(function*(text: string) {
  const sends = yield* SendRepository
  return (yield* Effect.orDie(sends.accept(newSend(id, text)))).send
})

describe("a node whose lease may be over", () => {
  it.effect("gives no message to a gateway, and the message keeps its place until the lease is renewed", () =>
    Effect.provide(
      Effect.gen(function*() {
        const { gateway, renew, send, underLease } = yield* bench
        yield* renew
        const life = yield* underLease(live(gateway))
        yield* accept("one")
        yield* pass("5 seconds")
        assert.deepStrictEqual(send.texts(), ["one"])

        yield* pass(lease)
        const { id: waiting } = yield* accept("two")
        yield* pass("5 minutes", "5 seconds")
        assert.deepStrictEqual(send.texts(), ["one"])
        const sends = yield* SendRepository
        assert.strictEqual((yield* sends.find(waiting))?.state, "pending")

        yield* renew
        yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.sleep("5 seconds"), renew)))
        yield* pass("2 minutes", "5 seconds")
        assert.deepStrictEqual(send.texts(), ["one", "two"])
        yield* Effect.forkChild(life.stop)
        yield* pass("3 seconds")
      }),
      storage
    ))

  it.effect("opens no connection before it holds the lease", () =>
    Effect.provide(
      Effect.gen(function*() {
        const { gateway, renew, underLease } = yield* bench
        const life = yield* underLease(live(gateway))
        yield* pass("1 minute", "5 seconds")
        assert.deepStrictEqual(gateway.live(), [])
        yield* renew
        yield* pass("1 second")
        assert.lengthOf(gateway.live(), 1)
        yield* Effect.forkChild(life.stop)
        yield* pass("3 seconds")
      }),
      storage
    ))
})

describe("the lease of a node", () => {
  it.effect("counts from the start of a renewal, and not from its answer", () =>
    Effect.gen(function*() {
      const node = NodeLease.make(yield* Clock.Clock, lease)
      assert.isFalse(node.held())
      const answer = yield* Deferred.make<void>()
      const renewal = yield* Effect.forkChild(node.renewing(Deferred.await(answer)), { startImmediately: true })
      yield* pass("15 seconds")
      yield* Deferred.succeed(answer, undefined)
      yield* Fiber.join(renewal)
      assert.isTrue(node.held())
      yield* pass("5 seconds")
      assert.isFalse(node.held())
    }))

  it.effect("is over too if only the wall clock advanced, as on a machine that was suspended", () =>
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      let asleep = 0
      const node = NodeLease.make({ ...clock, currentTimeMillisUnsafe: () => asleep }, lease)
      yield* node.renewing(Effect.void)
      assert.isTrue(node.held())
      asleep = 60_000
      assert.isFalse(node.held())
      const held = yield* Effect.forkChild(node.whenHeld, { startImmediately: true })
      yield* node.renewing(Effect.void)
      yield* Fiber.join(held)
    }))

  it.effect("is not shortened by an answer that comes after a later one, nor by a renewal that fails", () =>
    Effect.gen(function*() {
      const node = NodeLease.make(yield* Clock.Clock, lease)
      const answer = yield* Deferred.make<void>()
      const early = yield* Effect.forkChild(node.renewing(Deferred.await(answer)), { startImmediately: true })
      yield* pass("15 seconds")
      yield* node.renewing(Effect.void)
      yield* Deferred.succeed(answer, undefined)
      yield* Fiber.join(early)
      yield* pass("10 seconds")
      assert.isTrue(node.held())
      yield* Effect.ignore(node.renewing(Effect.fail("away")))
      yield* pass("10 seconds")
      assert.isFalse(node.held())
    }))
})
