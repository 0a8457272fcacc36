/** Days of failures in a moment: couriers on virtual time, with an endpoint that answers as the test says. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { fleetDevice } from "../../../../src/domain/Ids.ts"
import { OutboundFailed, OutboundHttp } from "../../../../src/services/OutboundHttp.ts"
import type { OutboundPost } from "../../../../src/services/OutboundHttp.ts"
import * as MemoryStorage from "../../../../src/layers/memory/MemoryStorage.ts"
import * as bounds from "../../../../src/services/subscriptionBounds.ts"
import { SubscriptionRepository } from "../../../../src/services/SubscriptionRepository.ts"
import { freshDevice } from "../../../support/drafts.ts"
import { withSteppedClock } from "../../../support/steppedClock.ts"
import * as Rig from "./rig.ts"

interface Posted {
  readonly seq: number
  readonly kind: string
  readonly deviceId: string
  readonly id: string
}

/** Answers by status; null: the connection fails. */
const makeEndpoint = (initial: number | null) => {
  const posted: Array<Posted & { readonly status: number | null }> = []
  const answering: { answer: (posted: Posted) => number | null } = { answer: () => initial }
  return Object.assign(answering, {
    posted,
    taken: (): Array<number> => posted.filter(({ status }) => status === 204).map(({ seq }) => seq),
    layer: Layer.succeed(
      OutboundHttp,
      OutboundHttp.of({
        check: () => Effect.void,
        fetch: () => Effect.die("subscriptions fetch nothing"),
        post: ({ body, headers }: OutboundPost) =>
          Effect.suspend(() => {
            const { deviceId, kind, seq } = JSON.parse(Buffer.from(body).toString()) as Record<string, string>
            const one = { seq: Number(seq), kind: kind!, deviceId: deviceId!, id: headers["webhook-id"]! }
            const status = answering.answer(one)
            posted.push({ ...one, status })
            return status === null
              ? Effect.fail(OutboundFailed.of("connection", "ECONNREFUSED"))
              : Effect.succeed({ status, retryAfterSeconds: null })
          })
      })
    )
  })
}

const intervals = { poll: Duration.hours(1), gauges: Duration.days(1) }

const hook = "https://hooks.example.com/"

const step = 10 * 60_000

/** In steps, so that the consequences of one wait are visible to the next. */
const pass = (millis: number) =>
  Effect.forEach(
    Array.from({ length: Math.ceil(millis / step) }),
    () => TestClock.adjust(Math.min(millis, step)),
    { discard: true }
  )

/** The log waits some milliseconds for more of the same batch. */
const gathered = <A>(append: Effect.Effect<A>) =>
  Effect.flatMap(
    Effect.forkChild(append),
    (fiber) => Effect.andThen(TestClock.adjust("10 millis"), Fiber.join(fiber))
  )

const hours = (count: number) => count * 3_600_000

describe("a subscription", () => {
  it.effect("that fails by a defect before its first delivery restarts, and delivers everything", () =>
    Effect.gen(function*() {
      const endpoint = makeEndpoint(204)
      const defects = { left: 0 }
      const storage = Layer.unwrap(Effect.gen(function*() {
        const whole = yield* Layer.build(MemoryStorage.layerMemory)
        const repository = Context.get(whole, SubscriptionRepository)
        const broken = SubscriptionRepository.of({
          ...repository,
          get: (id) => Effect.suspend(() => defects.left-- > 0 ? Effect.die("a defect") : repository.get(id))
        })
        return Layer.succeedContext(Context.add(whole, SubscriptionRepository, broken))
      }))
      const rig = yield* Rig.make({ outbound: endpoint.layer, intervals, storage })
      yield* rig.subscribe(hook)
      defects.left = 3
      yield* rig.dispatch
      const emitted = yield* rig.emit(3)
      yield* pass(60_000)
      assert.deepStrictEqual(endpoint.taken(), emitted)
    }))
})

describe("an endpoint that is down", () => {
  it.effect("that lasts two days is probed every minute, and receives everything within two minutes, in order per device", () =>
    Effect.gen(function*() {
      const endpoint = makeEndpoint(null)
      const rig = yield* Rig.make({ outbound: endpoint.layer, intervals })
      const { id } = yield* rig.subscribe(hook)
      yield* rig.dispatch
      const devices = Array.from({ length: 5 }, freshDevice)
      const emitted = yield* rig.emit(200, devices)
      yield* pass(hours(48))
      const down = yield* rig.get(id)
      assert.deepStrictEqual([down.state, down.health.failing?.outcome], ["active", "connection"])
      // A probe per minute, and not a request per event.
      assert.isBelow(endpoint.posted.length, 48 * 60 / (1 - bounds.retryJitter))
      endpoint.answer = () => 204
      yield* pass(120_000)
      assert.sameMembers([...new Set(endpoint.taken())], [...emitted])
      for (const device of devices) {
        const seqs = endpoint.posted.filter(({ deviceId, status }) => deviceId === device && status === 204)
          .map(({ seq }) => seq)
        assert.deepStrictEqual(seqs, [...seqs].sort((a, b) => a - b))
      }
      const row = yield* rig.get(id)
      assert.deepStrictEqual([row.behind, row.health.failing, row.health.held], [0, null, []])
    }))

  it.effect("that lasts three days is disabled, which another subscription reports once; enabled, it resumes where it stopped", () =>
    Effect.gen(function*() {
      const endpoint = makeEndpoint(500)
      const rig = yield* Rig.make({ outbound: endpoint.layer, intervals })
      const { id } = yield* rig.subscribe(hook, { kinds: ["message.received"], name: "Orders" })
      const { id: alerts } = yield* rig.subscribe(hook, { kinds: ["subscription.disabled"] })
      endpoint.answer = ({ kind }) => kind === "subscription.disabled" ? 204 : 500
      const dispatcher = yield* rig.dispatch
      const emitted = yield* rig.emit(20, [freshDevice(), freshDevice(), freshDevice()])
      // The waits are scattered: together they differ from three days by less than one hour in most runs, and four in all.
      yield* pass(hours(68))
      assert.strictEqual((yield* rig.get(id)).state, "active")
      // A new process starts from the recorded state and does not restart the three days.
      yield* Effect.forkChild(dispatcher.stop)
      yield* pass(60_000)
      yield* rig.dispatch
      yield* pass(hours(8))
      const disabled = yield* rig.get(id)
      assert.deepStrictEqual([disabled.state, disabled.disabled?.reason], ["disabled", "failing"])
      const { events } = yield* rig.log.read({ after: 0, limit: 1000, kinds: ["subscription.disabled"] })
      assert.lengthOf(events, 1)
      assert.strictEqual(events[0]!.deviceId, fleetDevice)
      assert.deepInclude(JSON.parse(events[0]!.data), {
        subscriptionId: id,
        name: "Orders",
        host: "hooks.example.com",
        reason: "failing",
        outcome: "failed",
        status: 500
      })
      assert.deepStrictEqual(endpoint.taken(), [events[0]!.seq])
      const before = endpoint.posted.length
      yield* pass(hours(2))
      assert.strictEqual(endpoint.posted.length, before)
      endpoint.answer = () => 204
      yield* rig.manager.enable(id, undefined)
      yield* pass(120_000)
      assert.sameMembers(endpoint.taken(), [events[0]!.seq, ...emitted])
      assert.strictEqual((yield* rig.get(alerts)).behind, 0)
    }))

  it.effect("is not disabled by a wall clock that steps ahead by a week, nor by days in which no process ran", () =>
    withSteppedClock((clock) =>
      Effect.gen(function*() {
        const endpoint = makeEndpoint(null)
        const rig = yield* Rig.make({ outbound: endpoint.layer, intervals })
        const { id } = yield* rig.subscribe(hook)
        const dispatcher = yield* rig.dispatch
        const emitted = yield* rig.emit(5)
        yield* pass(hours(1))
        clock.stepWall(hours(24 * 7))
        yield* pass(hours(1))
        assert.strictEqual((yield* rig.get(id)).state, "active")
        yield* Effect.forkChild(dispatcher.stop)
        yield* pass(hours(24 * 4))
        yield* rig.dispatch
        clock.stepWall(-hours(24 * 14))
        yield* pass(hours(1))
        assert.strictEqual((yield* rig.get(id)).state, "active")
        endpoint.answer = () => 204
        yield* pass(hours(1))
        assert.deepStrictEqual(endpoint.taken(), emitted)
      })
    ))

  it.effect("refuses one event for three days: its device waits, others do not; then that event alone is abandoned", () =>
    Effect.gen(function*() {
      const endpoint = makeEndpoint(204)
      const rig = yield* Rig.make({ outbound: endpoint.layer, intervals })
      const { id } = yield* rig.subscribe(hook)
      const dispatcher = yield* rig.dispatch
      const [held, free] = [freshDevice(), freshDevice()]
      const [poison] = yield* rig.emit(1, [held])
      endpoint.answer = ({ seq }) => seq === poison ? 422 : 204
      const behind = yield* gathered(rig.emit(10, [held]))
      const others = yield* gathered(rig.emit(10, [free]))
      yield* pass(60_000)
      assert.deepStrictEqual(endpoint.taken(), others)
      assert.deepInclude((yield* rig.get(id)).health.held[0], {
        deviceId: held,
        seq: poison!,
        outcome: "refused",
        status: 422
      })
      // Waiting events are not lost with a new process, whose cursor is past them.
      yield* Effect.forkChild(dispatcher.stop)
      yield* pass(60_000)
      yield* rig.dispatch
      yield* pass(hours(77))
      assert.deepStrictEqual(endpoint.taken(), [...others, ...behind])
      const row = yield* rig.get(id)
      assert.deepInclude(row.health, { abandoned: 1, held: [], failing: null })
      const { items } = yield* rig.manager.deliveries(id, { limit: 1000, outcome: "refused" }, undefined)
      assert.deepStrictEqual(items.filter(({ abandoned }) => abandoned).map(({ seq }) => seq), [poison])
      // All refused deliveries had one id.
      assert.strictEqual(new Set(endpoint.posted.filter(({ seq }) => seq === poison).map((one) => one.id)).size, 1)
    }))
})
