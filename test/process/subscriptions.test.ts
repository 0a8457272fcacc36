/**
 * The program is killed without warning while it delivers to two subscribers, one of them slow. Each must receive every
 * committed event, in order per device, under one id; repeats are only those that a crash may cause.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Webhook } from "standardwebhooks"
import { freshDatabase } from "../support/database.ts"
import * as Subscriber from "../support/subscriber.ts"
import { until } from "../support/until.ts"
import * as Rig from "./support/Rig.ts"
import { readAllEvents } from "./support/viaApi.ts"

const devices = 20
/** Events emitted between two kills. */
const each = 550
const rate = 150
const kills = 4

/** Chooses the moments of the kills. Another one may be tried by `COLUMBA_TEST_SEED`. */
const seed = process.env["COLUMBA_TEST_SEED"] ?? "subscriptions"

describe("killed four times in the middle of deliveries", () => {
  it.live(
    "every subscriber receives every committed event, in order per device, under one id",
    () =>
      Effect.gen(function*() {
        const rig = yield* Rig.make({
          databaseUrl: yield* freshDatabase,
          rabbitUrl: null,
          devices,
          seed,
          env: { COLUMBA_WEBHOOK_ALLOW_PRIVATE: "true" }
        })
        const { columba } = rig
        const subscribers = yield* Effect.forEach(
          [
            Subscriber.status(204),
            (received: Subscriber.Received, response) =>
              void setTimeout(() => Subscriber.status(200)(received, response), 20)
          ] satisfies ReadonlyArray<Subscriber.Answer>,
          (answer) =>
            Effect.gen(function*() {
              const subscriber = yield* Subscriber.start(answer)
              const { id, secret } = yield* columba.post<{ id: string; secret: string }>("/api/v1/subscriptions", {
                url: subscriber.url,
                from: "beginning"
              })
              return { id, subscriber, webhook: new Webhook(secret) }
            })
        )
        const restarts: Array<number> = []
        const count = Effect.sync(() => void restarts.push(subscribers[0]!.subscriber.received.length))
        yield* rig.killedUnderLoad({ kills, each, rate, before: count })
        const behind = Effect.map(
          columba.get<{ readonly items: ReadonlyArray<{ readonly behind: number }> }>("/api/v1/subscriptions"),
          ({ items }) => items.reduce((sum, one) => sum + one.behind, 0)
        )
        yield* rig.settled
        yield* until("every subscriber has everything", Effect.map(behind, (count) => count === 0))
        const log = yield* readAllEvents(columba)
        assert.isAtLeast(log.length, kills * each / 2)

        for (const { subscriber, webhook } of subscribers) {
          const { received } = subscriber
          const idOf = new Map(log.map((one) => [Number(one.seq), one.id]))
          assert.deepStrictEqual(
            log.filter(({ seq }) => !received.some((one) => one.seq === Number(seq))).map(({ seq }) => seq),
            [],
            "lost"
          )
          for (const one of received) {
            assert.strictEqual(one.id, idOf.get(one.seq))
            webhook.verify(one.text, one.headers as Record<string, string>)
          }
          const last = new Map<string, number>()
          const seen = new Set<string>()
          for (const { deviceId, id, seq } of received) {
            if (seen.has(id)) continue
            seen.add(id)
            assert.isAbove(seq, last.get(deviceId) ?? 0, `order of ${deviceId}`)
            last.set(deviceId, seq)
          }
          // A second of deliveries per crash, at most: the cursor is written once per second.
          const repeated = received.length - seen.size
          console.log(`seed ${seed}; ${log.length} events, ${repeated} of ${received.length} deliveries were repeats`)
          assert.isBelow(repeated, kills * 4 * rate)
        }
        assert.strictEqual((yield* columba.terminate).code, 0)
      })
  )
})
