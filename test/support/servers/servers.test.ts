import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { connect } from "amqplib"
import { Effect, Redacted } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { inject } from "vitest"
import { freshVhost } from "../broker.ts"
import { freshDatabase, freshDatabaseOn } from "../database.ts"
import * as PostgresServer from "./PostgresServer.ts"
import * as RabbitMqServer from "./RabbitMqServer.ts"

const query = (url: string, text: string) =>
  Effect.scoped(Effect.flatMap(PgClient.makeClient({ url: Redacted.make(url) }), (client) => client.unsafe(text)))
    .pipe(Effect.provide(Reactivity.layer))

describe("freshDatabase", () => {
  it.live("gives each caller an empty UTF-8 database and removes it with sessions open", () =>
    Effect.gen(function*() {
      const [first, second] = yield* Effect.scoped(Effect.gen(function*() {
        const urls = yield* Effect.all([freshDatabase, freshDatabase])
        yield* query(urls[0], "CREATE TABLE mine (note text)")
        assert.deepStrictEqual(yield* query(urls[1], "SELECT to_regclass('mine') AS found"), [{ found: null }])
        assert.deepStrictEqual(yield* query(urls[1], "SHOW server_encoding"), [{ server_encoding: "UTF8" }])
        assert.deepStrictEqual(yield* query(urls[1], "SHOW fsync"), [{ fsync: "on" }])
        yield* PgClient.makeClient({ url: Redacted.make(urls[1]) }).pipe(Effect.provide(Reactivity.layer))
        return urls
      }))
      assert.notStrictEqual(first, second)
      const left = yield* query(inject("postgresUrl"), "SELECT datname FROM pg_database WHERE datname LIKE 'columba%'")
      const names = left.map((row) => (row as { datname: string }).datname)
      assert.notInclude(names, new URL(first).pathname.slice(1))
      assert.notInclude(names, new URL(second).pathname.slice(1))
    }))
})

describe("freshVhost", () => {
  it.live("gives each caller a virtual host that others do not see", () =>
    Effect.gen(function*() {
      const [mine, other] = yield* Effect.all([freshVhost, freshVhost])
      const queues = (url: string) =>
        Effect.promise(async () => {
          const connection = await connect(url)
          const channel = await connection.createChannel()
          channel.on("error", () => {})
          if (url === mine) await channel.assertQueue("only-here")
          const found = await channel.checkQueue("only-here").then(() => true, () => false)
          await connection.close()
          return found
        })
      assert.isTrue(yield* queues(mine))
      assert.isFalse(yield* queues(other))
    }))
})

describe("PostgresServer", () => {
  it.live("keeps committed rows over fast and immediate restarts and a kill", () =>
    Effect.gen(function*() {
      const server = yield* PostgresServer.make
      const url = yield* freshDatabaseOn(server.url)
      yield* query(url, "CREATE TABLE kept (step text)")
      for (
        const [step, restart] of [
          ["fast", server.restart("fast")],
          ["immediate", server.restart("immediate")],
          ["kill", Effect.andThen(server.kill, server.start)]
        ] as const
      ) {
        yield* query(url, `INSERT INTO kept VALUES ('${step}')`)
        yield* restart
      }
      assert.deepStrictEqual(yield* query(url, "SELECT step FROM kept"), [
        { step: "fast" },
        { step: "immediate" },
        { step: "kill" }
      ])
    }))

  it.live("accepts connections without an answer while suspended, and answers all of them after", () =>
    Effect.gen(function*() {
      const server = yield* PostgresServer.make
      yield* server.freeze
      const frozen = yield* Effect.exit(Effect.timeout(query(server.url, "SELECT 1"), "300 millis"))
      assert.strictEqual(frozen._tag, "Failure")
      yield* server.thaw
      assert.strictEqual((yield* query(server.url, "SELECT 1 AS one")).length, 1)
    }))
})

describe("RabbitMqServer", () => {
  it.live(
    "keeps a confirmed persistent message over a restart and a kill, on the same port",
    () =>
      Effect.gen(function*() {
        const server = yield* RabbitMqServer.make
        const use = <A>(work: (channel: Awaited<ReturnType<typeof open>>[1]) => Promise<A>) =>
          Effect.promise(async () => {
            const [connection, channel] = await open(server.url)
            const result = await work(channel)
            await connection.close()
            return result
          })
        yield* use(async (channel) => {
          await channel.assertQueue("kept", { durable: true, arguments: { "x-queue-type": "quorum" } })
          channel.sendToQueue("kept", Buffer.from("one"), { persistent: true })
          await channel.waitForConfirms()
        })
        yield* server.restart
        yield* server.kill
        yield* server.start
        // A quorum queue elects its leader after the node is up; the consume request waits for that.
        const kept = yield* use((channel) =>
          new Promise<string>((resolve, reject) => {
            channel.consume("kept", (message) => resolve(message?.content.toString() ?? "cancelled")).catch(reject)
          })
        )
        assert.strictEqual(kept, "one")
        assert.include(yield* server.ctl("list_queues", "name"), "kept")
      })
  )
})

const open = async (url: string) => {
  const connection = await connect(url)
  return [connection, await connection.createConfirmChannel()] as const
}
