/** Faults of a whole broker, on one that belongs to this file. */
import { assert, describe, layer as withLayer } from "@effect/vitest"
import { Context, Effect, Fiber, Layer } from "effect"
import { BrokerStatus } from "../../../src/services/BrokerStatus.ts"
import { assertSound } from "../../support/Checker.ts"
import { forgetVhosts, freshVhostOn } from "../../support/broker.ts"
import * as RabbitMqServer from "../../support/servers/RabbitMqServer.ts"
import { appendAll, caughtUp, drafts, drain, layer, theView, verdict } from "./delivery.ts"
import { untilSo } from "../../support/until.ts"

class Broker extends Context.Service<Broker, RabbitMqServer.RabbitMqServer>()("test/Broker") {}

const broker = Layer.effect(Broker, Effect.orDie(RabbitMqServer.make))

const stateBecomes = (tag: "Connected" | "Blocked" | "Disconnected") =>
  Effect.flatMap(
    BrokerStatus,
    ({ current }) => untilSo(`the broker counts as ${tag}`, current, (state) => state._tag === tag)
  )

/**
 * RabbitMQ 3.10 keeps the names of its queues' logs in tables that reach the disk some time after a queue is declared.
 * Killed before that, it restarts with an empty queue that confirms nothing. Queues of a fleet are older than that.
 */
const settleNames = "[dets:sync(Table) || Table <- dets:all()]."

/** A node needs some seconds to stop and start, on a busy machine two minutes. */
const timeout = 600_000

describe("a broker that fails", () => {
  withLayer(broker, { excludeTestServices: true, timeout })((it) => {
    it.effect("is awaited over a memory alarm: the cursor stays, and nothing is lost", () =>
      Effect.gen(function*() {
        const { ctl, ctlCommand, url: server } = yield* Broker
        const url = yield* freshVhostOn(server, ctlCommand)
        yield* Effect.gen(function*() {
          yield* appendAll(drafts(100))
          yield* caughtUp
          yield* Effect.gen(function*() {
            yield* ctl("set_vm_memory_high_watermark", "absolute", "1")
            yield* appendAll(drafts(500))
            yield* stateBecomes("Blocked")
            // What the broker has already accepted may still be confirmed.
            yield* appendAll(drafts(100))
            const { failure } = yield* untilSo("the relay has failed", theView, (view) => view.failure !== null)
            assert.strictEqual(failure?.reason, "blocked")
            assert.isAtMost((yield* theView).confirmed, 600)
          }).pipe(Effect.ensuring(ctl("set_vm_memory_high_watermark", "0.6").pipe(Effect.orDie)))
          yield* stateBecomes("Connected")
          yield* caughtUp
          assertSound(yield* verdict(yield* drain(url)))
        }).pipe(Effect.provide(layer(url)))
      }), timeout)

    it.effect("loses nothing over a restart under load", () =>
      Effect.gen(function*() {
        const { ctlCommand, restart, url: server } = yield* Broker
        const url = yield* freshVhostOn(server, ctlCommand)
        yield* Effect.gen(function*() {
          const load = yield* Effect.forkChild(appendAll(drafts(6000), "30 millis"))
          yield* untilSo("a thousand are confirmed", theView, ({ confirmed }) => confirmed >= 1000)
          yield* restart
          yield* Fiber.join(load)
          yield* caughtUp
          assertSound(yield* verdict(yield* drain(url)))
        }).pipe(Effect.provide(layer(url)))
      }), timeout)

    it.effect("loses nothing over a kill under load", () =>
      Effect.gen(function*() {
        const { ctl, ctlCommand, kill, start, url: server } = yield* Broker
        const url = yield* freshVhostOn(server, ctlCommand)
        yield* Effect.gen(function*() {
          const load = yield* Effect.forkChild(appendAll(drafts(6000), "30 millis"))
          yield* untilSo("a thousand are confirmed", theView, ({ confirmed }) => confirmed >= 1000)
          yield* ctl("eval", settleNames)
          yield* kill
          yield* stateBecomes("Disconnected")
          yield* start
          yield* Fiber.join(load)
          yield* caughtUp
          assertSound(yield* verdict(yield* drain(url)))
        }).pipe(Effect.provide(layer(url)))
      }), timeout)

    it.effect(
      "has its exchanges and queues declared again when it returns without its definitions",
      () =>
        Effect.gen(function*() {
          const { ctl, url } = yield* Broker
          yield* Effect.gen(function*() {
            yield* appendAll(drafts(100))
            yield* caughtUp
            // The default virtual host and the user are created by a reset; all else is gone, messages too.
            yield* ctl("stop_app")
            yield* Effect.ensuring(ctl("reset"), Effect.orDie(ctl("start_app")))
            forgetVhosts(url)
            yield* appendAll(drafts(200))
            yield* caughtUp
            assert.strictEqual(
              new Set((yield* drain(url)).map(({ properties }) => properties.headers?.["seq"])).size,
              200
            )
          }).pipe(Effect.provide(layer(url)))
        }),
      timeout
    )

    it.effect("is disconnected when it is suspended, and used again when it resumes", () =>
      Effect.gen(function*() {
        const { ctlCommand, freeze, thaw, url: server } = yield* Broker
        const url = yield* freshVhostOn(server, ctlCommand)
        yield* Effect.gen(function*() {
          yield* appendAll(drafts(100))
          yield* caughtUp
          yield* freeze
          yield* appendAll(drafts(500))
          yield* stateBecomes("Disconnected")
          yield* thaw
          yield* stateBecomes("Connected")
          yield* caughtUp
          assertSound(yield* verdict(yield* drain(url)))
        }).pipe(Effect.provide(layer(url)), Effect.ensuring(thaw))
      }), timeout)

    it.effect("does not delay the start or the end of a process while it is down", () =>
      Effect.gen(function*() {
        const { start, stop, url } = yield* Broker
        yield* stop
        yield* Effect.gen(function*() {
          yield* appendAll(drafts(10))
          const { failure } = yield* untilSo("the relay has failed", theView, (view) => view.failure !== null)
          assert.strictEqual(failure?.reason, "disconnected")
        }).pipe(Effect.provide(layer(url)), Effect.ensuring(start))
      }), timeout)
  })
})
