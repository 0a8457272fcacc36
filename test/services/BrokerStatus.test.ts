/** The state of the broker in readiness. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { BrokerStatus } from "../../src/services/BrokerStatus.ts"
import type { BrokerState, BrokerTopology } from "../../src/services/BrokerStatus.ts"
import { Readiness } from "../../src/services/Readiness.ts"

const since = "2026-01-01T00:00:00.000Z"

const intact: BrokerTopology = { missing: [], problem: null, queues: [] }

const checked = (state: BrokerState, topology: BrokerTopology = intact) =>
  Effect.map(Effect.flatMap(Readiness, ({ report }) => report), ([check]) => check!).pipe(
    Effect.provide(BrokerStatus.readiness.pipe(
      Layer.provideMerge(Readiness.layer),
      Layer.provide(Layer.succeed(
        BrokerStatus,
        BrokerStatus.of({ current: Effect.succeed(state), changes: Stream.empty, topology: Effect.succeed(topology) })
      ))
    ))
  )

describe("readiness of the broker", () => {
  it.effect("fails when the broker has refused the password since the start", () =>
    Effect.gen(function*() {
      const { detail, ready } = yield* checked({
        _tag: "Disconnected",
        since,
        cause: "credentials",
        reason: "ACCESS_REFUSED",
        connectedBefore: false
      })
      assert.isFalse(ready)
      assert.include(detail, "refuses the user or password of RABBITMQ_URL")
    }))

  it.effect("fails when the virtual host has been missing since the start", () =>
    Effect.gen(function*() {
      const { detail, ready } = yield* checked({
        _tag: "Disconnected",
        since,
        cause: "vhost",
        reason: "NOT_ALLOWED",
        connectedBefore: false
      })
      assert.isFalse(ready)
      assert.include(detail, "virtual host of RABBITMQ_URL is missing")
    }))

  it.effect("holds through an outage, and names the reason", () =>
    Effect.gen(function*() {
      const states: ReadonlyArray<readonly [BrokerState, string]> = [
        [
          { _tag: "Disconnected", since, cause: "credentials", reason: "ACCESS_REFUSED", connectedBefore: true },
          "refuses the user or password"
        ],
        [
          { _tag: "Disconnected", since, cause: "unreachable", reason: "ECONNREFUSED", connectedBefore: false },
          "unreachable since"
        ],
        [{ _tag: "Disconnected", since, cause: "lost", reason: "closed", connectedBefore: true }, "disconnected since"],
        [{ _tag: "Blocked", since, reason: "low on memory" }, "low on memory"]
      ]
      for (const [state, words] of states) {
        const { detail, ready } = yield* checked(state)
        assert.isTrue(ready)
        assert.include(detail, words)
        assert.include(detail, "events wait in the log")
      }
    }))

  it.effect("names what was missing, and how full the queues are", () =>
    Effect.gen(function*() {
      const { detail, ready } = yield* checked({ _tag: "Connected", since }, {
        missing: ["columba.events"],
        problem: null,
        queues: [{ queue: "columba.messages.incoming", messages: 7, consumers: 0 }]
      })
      assert.isTrue(ready)
      assert.include(detail, "missing at the last check: columba.events (declared again)")
      assert.include(detail, "columba.messages.incoming holds 7, 0 consumers")
    }))
})
