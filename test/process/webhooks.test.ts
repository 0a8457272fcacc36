/**
 * A gateway that posts its events, and abandons each after a few tries: the program is killed and stopped between receipt
 * and answer, and its address is unreachable for ten seconds. No event that was answered may be missing, and as long as
 * the gateway's tries last, no event may be missing at all.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { asGowa } from "../../src/simulator/gowa/GowaServer.ts"
import { assertSound, report } from "../support/Checker.ts"
import { freshDatabase } from "../support/database.ts"
import { until } from "../support/until.ts"
import * as Rig from "./support/Rig.ts"

/** `apart`: the devices run in another process than the one that accepts the webhooks. */
const make = Effect.fnUntraced(function*(apart = false) {
  const rig = yield* Rig.make({
    databaseUrl: yield* freshDatabase,
    rabbitUrl: null,
    devices: 4,
    seed: "webhooks",
    // Its tries last for two minutes, so that a start of the program on a busy machine is not too slow.
    simulator: { dialect: "gowa", gowa: { pace: 0, webhookPace: 4, webhooks: { secret: "nobody knows" } } },
    apart
  })
  const { webhooks } = asGowa(rig.simulator)
  return {
    ...rig,
    sent: webhooks,
    /** Returns once the gateway has delivered or abandoned everything. */
    delivered: until(
      "the gateway has delivered everything",
      Effect.sync(() => webhooks.pending === 0),
      "150 seconds"
    ),
    someUnanswered: until("some are received and not answered", Effect.sync(() => webhooks.pending > 0))
  }
})

/** Delivered events must be in the log; an event without an id looks like its repeat if both have the same content. */
const judge = Effect.fnUntraced(function*({ finish, sent }: Effect.Success<ReturnType<typeof make>>) {
  const { verdict } = yield* finish
  const { attempts, delivered, dropped } = sent
  console.log(`${attempts} attempts, ${delivered} delivered, ${dropped} given up; ${report(verdict)}`)
  assertSound(verdict)
  assert.deepStrictEqual(verdict.missed.filter((event) => !event.endsWith("chat_presence")), [])
  assert.strictEqual(dropped, 0)
})

describe("a gateway that posts its events", () => {
  it.live("loses none while the program is killed and stopped in order between receipt and answer", () =>
    Effect.gen(function*() {
      const rig = yield* make()
      const { columba, delivered, emitted, sent, simulator, someUnanswered } = rig
      const part = 300
      const ends = [columba.kill, columba.terminate, columba.kill]
      for (const [index, end] of ends.entries()) {
        simulator.emit({ count: part, rate: 200 })
        yield* emitted(part * index + part / 2)
        yield* someUnanswered
        yield* end
        yield* columba.start
        yield* emitted(part * (index + 1))
        yield* delivered
      }
      assert.isAbove(sent.attempts, part * ends.length)
      yield* judge(rig)
    }))

  it.live("loses none if a process without devices accepts them, and is killed", () =>
    Effect.gen(function*() {
      const rig = yield* make(true)
      const { columba, delivered, emitted, simulator, someUnanswered } = rig
      const events = 400
      simulator.emit({ count: events, rate: 200 })
      yield* emitted(events / 2)
      yield* someUnanswered
      yield* columba.kill
      yield* columba.start
      yield* emitted(events)
      yield* delivered
      yield* judge(rig)
    }))

  it.live("loses none while its connection to the program is cut for ten seconds", () =>
    Effect.gen(function*() {
      const rig = yield* make()
      const { delivered, emitted, sent, simulator, webhooks } = rig
      const events = 1000
      simulator.emit({ count: events, rate: 60 })
      yield* emitted(100)
      yield* webhooks.disable
      yield* Effect.sleep("10 seconds")
      yield* webhooks.enable
      yield* emitted(events)
      yield* delivered
      assert.isAbove(sent.attempts, events + 400)
      yield* judge(rig)
    }))
})
