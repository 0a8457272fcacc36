/** The sample of docs/consuming.md is the program in examples/, and it behaves as the page states. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Queue } from "effect"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { DatabaseSync } from "node:sqlite"
import { eventsExchange } from "../../../src/layers/rabbitmq/Topology.ts"
import { freshDirectory } from "../../support/directory.ts"
import { freshVhost } from "../../support/broker.ts"
import { appendAll, drafts, layer, openChannel } from "./delivery.ts"

const root = join(import.meta.dirname, "../../..")
const sample = join(root, "examples/rabbitmqConsumer.ts")
const queue = "shop.whatsapp"

/** The lines of the running sample. It is killed, as by a crash, when the scope closes. */
const started = Effect.fnUntraced(function*(url: string, database: string) {
  const lines = yield* Queue.unbounded<string>()
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [sample], {
        stdio: ["ignore", "pipe", "pipe"],
        env: { ...process.env, RABBITMQ_URL: url, QUEUE: queue, DATABASE: database }
      })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.on("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => Queue.offerUnsafe(lines, line))
  }
  const next = (start: string, count = 1) =>
    Effect.gen(function*() {
      for (let seen = 0; seen < count;) if ((yield* Queue.take(lines)).startsWith(start)) seen++
    })
  yield* next(`consuming ${queue}`)
  return next
})

const readBodies = (path: string) => {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5_000 })
  try {
    return database.prepare("select wa_id from messages").all().map((row) => row["wa_id"])
  } finally {
    database.close()
  }
}

describe("the sample consumer", () => {
  it("is printed on the page unchanged", () => {
    const page = readFileSync(join(root, "docs/consuming.md"), "utf8")
    const [, printed] = /```ts\n([^]*?)```/.exec(page) ?? []
    assert.strictEqual(printed, readFileSync(sample, "utf8"))
  })

  it.live(
    "stores each message once, over a crash, a repeat and an event that it cannot read",
    () =>
      Effect.gen(function*() {
        const url = yield* freshVhost
        const database = join(yield* freshDirectory, "consumer.db")
        const committed = drafts(30)
        yield* Effect.gen(function*() {
          yield* Effect.scoped(Effect.gen(function*() {
            const next = yield* started(url, database)
            yield* appendAll(committed.slice(0, 20))
            yield* next("handled", 20)
          }))
          // The queue keeps the messages that arrive while the consumer is down.
          yield* appendAll(committed.slice(20))
          const next = yield* started(url, database)
          yield* next("handled", 10)
          assert.strictEqual(readBodies(database).length, 30)
          assert.strictEqual(new Set(readBodies(database)).size, 30)

          const channel = yield* openChannel(url)
          const repeat = JSON.stringify({ id: committed[0]!.id, kind: "message.received" })
          channel.publish(eventsExchange, "message.received.x", Buffer.from(repeat))
          yield* next("repeated")
          assert.strictEqual(readBodies(database).length, 30)

          channel.publish(eventsExchange, "message.received.x", Buffer.from("not JSON"))
          yield* next("failed", 5)
          const dead = yield* Effect.promise(() =>
            new Promise<string>((resolve) => {
              void channel.consume(`${queue}.dead`, (message) => resolve(message?.content.toString() ?? ""))
            })
          )
          assert.strictEqual(dead, "not JSON")
        }).pipe(Effect.provide(layer(url)))
      })
  )
})
