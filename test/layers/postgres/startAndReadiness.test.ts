/** A server without a free connection at the start, and one that accepts no writes later. */
import { assert, it } from "@effect/vitest"
import { PgClient } from "@effect/sql-pg"
import { Context, Deferred, Effect, Fiber, Layer, Logger, Redacted } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Database from "../../../src/layers/app/database.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { LogStatus } from "../../../src/services/LogStatus.ts"
import { Readiness } from "../../../src/services/Readiness.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice, messageDraft } from "../../support/drafts.ts"
import { layerPostgresAt } from "../../support/storage.ts"
import { untilSo } from "../../support/until.ts"

const adminOf = (url: string) => PgClient.makeClient({ url: Redacted.make(url) }).pipe(Effect.provide(Reactivity.layer))

it.live("the start waits while the server has too many clients", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const admin = yield* adminOf(url)
    const role = `${new URL(url).pathname.slice(1)}_role`
    yield* admin.unsafe(`CREATE ROLE ${role} LOGIN CONNECTION LIMIT 0`)
    yield* Effect.addFinalizer(() =>
      Effect.orDie(Effect.andThen(admin.unsafe(`DROP OWNED BY ${role}`), admin.unsafe(`DROP ROLE ${role}`)))
    )
    yield* admin.unsafe(`GRANT ALL ON SCHEMA public TO ${role}`)
    const asRole = new URL(url)
    asRole.username = role
    const waits = yield* Deferred.make<string>()
    const logger = Logger.make(({ message }) => {
      const text = JSON.stringify(message)
      if (text.includes("does not answer yet")) Deferred.doneUnsafe(waits, Effect.succeed(text))
    })
    yield* Effect.scoped(Effect.gen(function*() {
      const opening = yield* Effect.forkChild(
        Database.openStorage({ _tag: "Postgres", url: Redacted.make(asRole.href) }).pipe(
          Effect.provide(Logger.layer([logger]))
        )
      )
      assert.include(yield* Effect.raceFirst(Deferred.await(waits), Fiber.join(opening)), "too many connections")
      yield* admin.unsafe(`ALTER ROLE ${role} CONNECTION LIMIT -1`)
      yield* Fiber.join(opening)
    }))
  }).pipe(Effect.scoped))

it.live(
  "readiness and the status of the log show that a read-only database accepts no writes, and why",
  () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const name = new URL(url).pathname.slice(1)
      const admin = yield* adminOf(url)
      const cutOthers = admin`select pg_terminate_backend(pid, 5000) from pg_stat_activity
      where datname = ${name} and pid <> pg_backend_pid()`
      const context = yield* Layer.build(
        LogStatus.readiness.pipe(Layer.provideMerge(Readiness.layer), Layer.provideMerge(layerPostgresAt(url)))
      )
      const log = Context.get(context, EventLog)
      const check = Effect.map(
        Context.get(context, Readiness).report,
        (checks) => checks.find((one) => one.name === "log")!
      )
      yield* log.append([messageDraft({ device: freshDevice() })])
      assert.deepInclude(yield* check, { ready: true })
      yield* admin.unsafe(`ALTER DATABASE ${name} SET default_transaction_read_only = on`)
      yield* cutOthers
      const append = yield* Effect.forkChild(log.append([messageDraft({ device: freshDevice() })]))
      const failing = yield* untilSo(
        "the process is not ready for the reason that the server gives",
        check,
        ({ detail, ready }) => !ready && detail.includes("SQLSTATE 25006")
      )
      assert.match(failing.detail, /writes have failed for \d+ s: .*25006.*1 events wait, the oldest for \d+ s/)
      yield* admin.unsafe(`ALTER DATABASE ${name} SET default_transaction_read_only = off`)
      yield* cutOthers
      yield* Fiber.join(append)
      assert.deepInclude(yield* check, { ready: true })
    }).pipe(Effect.scoped)
)
