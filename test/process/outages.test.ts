/**
 * RabbitMQ or Postgres fails under load and returns. The program stays up, reports what is missing, and no event that was
 * sent to a live socket is lost.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Scope } from "effect"
import { assertNothingMissed, assertSound, report } from "../support/Checker.ts"
import { freshVhost } from "../support/broker.ts"
import { freshDatabase, freshDatabaseOn } from "../support/database.ts"
import * as PostgresServer from "../support/servers/PostgresServer.ts"
import * as RabbitMqServer from "../support/servers/RabbitMqServer.ts"
import * as Rig from "./support/Rig.ts"
import { until } from "../support/until.ts"

const devices = 50

/** Runs the outage under a steady load, and judges when everything has arrived. */
const under = Effect.fnUntraced(function*(
  rate: number,
  rig: Rig.Rig,
  outage: Effect.Effect<unknown, never, Scope.Scope>
) {
  const sockets = rig.simulator.stats().accepted
  rig.simulator.emit({ rate })
  yield* heard(rig, rate)
  yield* outage
  yield* heard(rig, rate)
  rig.simulator.emitter.stop()
  yield* until("ready again", Effect.map(rig.columba.readiness, (answer) => answer?.status === 200))
  yield* rig.settled
  assert.strictEqual(rig.simulator.stats().accepted, sockets, "no device reconnected")
  const { exited, verdict } = yield* rig.finish
  console.log(report(verdict))
  assert.strictEqual(exited.code, 0)
  assertSound(verdict)
  assertNothingMissed(verdict)
})

/** Waits until this many more events were emitted. */
const heard = (rig: Rig.Rig, more: number) => Effect.suspend(() => rig.emitted(rig.simulator.ledger.count + more))

/** Waits for the detail of one part in readiness. */
const said = (rig: Rig.Rig, name: string, detail: RegExp, status: number) =>
  until(
    `readiness says of the ${name} ${detail.source}`,
    Effect.map(rig.columba.readiness, (answer) =>
      answer?.status === status && answer.checks.some((check) =>
        check.name === name && detail.test(check.detail)
      ))
  )

describe("RabbitMQ", () => {
  it.live("may be restarted and killed under load: reception continues and everything is delivered", () =>
    Effect.gen(function*() {
      const broker = yield* RabbitMqServer.make
      const rig = yield* Rig.make({
        databaseUrl: yield* freshDatabase,
        rabbitUrl: broker.url,
        devices,
        seed: "broker-restart"
      })
      const away = Effect.fnUntraced(function*(end: Effect.Effect<void>) {
        yield* end
        // Not a reason to send clients elsewhere: events wait in the log.
        yield* said(rig, "broker", /^(disconnected|unreachable).*wait in the log/, 200)
        const head = rig.columba.metric("columba_log_head")
        const before = yield* head
        yield* until("the log grows without the broker", Effect.map(head, (now) => now > before + 200))
        yield* broker.start
        yield* said(rig, "broker", /^connected/, 200)
        yield* heard(rig, 300)
      })
      yield* under(300, rig, Effect.andThen(away(broker.stop), away(broker.kill)))
    }))
})

/** A new Postgres for this test, and the program on it. */
const onOwnPostgres = Effect.fnUntraced(function*(seed: string) {
  const database = yield* PostgresServer.make
  const databaseUrl = yield* freshDatabaseOn(database.url)
  return { database, rig: yield* Rig.make({ databaseUrl, rabbitUrl: yield* freshVhost, devices, seed }) }
})

describe("Postgres", () => {
  for (const mode of ["fast", "immediate"] as const) {
    it.live(`may be restarted (${mode}) under load`, () =>
      Effect.gen(function*() {
        const { database, rig } = yield* onOwnPostgres(`postgres-${mode}`)
        yield* under(
          500,
          rig,
          Effect.gen(function*() {
            yield* rig.witness
            yield* database.restart(mode)
            yield* until("ready again", Effect.map(rig.columba.readiness, (answer) => answer?.status === 200))
            yield* heard(rig, 500)
            yield* rig.witness
            yield* database.restart(mode)
          })
        )
      }))
  }

  it.live("makes sockets pause within bounded memory in a long outage, and none of their frames is lost", () =>
    Effect.gen(function*() {
      const { database, rig } = yield* onOwnPostgres("postgres-away")
      yield* under(
        4000,
        rig,
        Effect.gen(function*() {
          const before = yield* rig.columba.residentMegabytes
          yield* database.stop("immediate")
          yield* said(rig, "database", /./, 503)
          yield* until(
            "sockets pause",
            Effect.map(rig.columba.metric("columba_sockets_paused"), (paused) => paused > 0)
          )
          yield* heard(rig, 8000)
          const grown = (yield* rig.columba.residentMegabytes) - before
          assert.isBelow(grown, 200, "megabytes grown while the database was away")
          assert.isTrue(yield* rig.columba.running)
          yield* database.start
        })
      )
    }))

  it.live("makes the program wait and report it if it neither answers nor closes connections", () =>
    Effect.gen(function*() {
      const { database, rig } = yield* onOwnPostgres("postgres-frozen")
      yield* under(
        500,
        rig,
        Effect.gen(function*() {
          yield* database.freeze
          yield* said(rig, "database", /./, 503)
          yield* heard(rig, 1500)
          yield* database.thaw
        })
      )
    }))
})
