/**
 * An Effect program that consumes events through the typed client, without a broker.
 *
 *   npm run pack:client && cd examples/effectConsumer && npm install && node main.ts
 *
 * It stores its position in its own database, in the transaction of its work, so that each event is handled exactly
 * once, over restarts of both sides. SQLite stands for any database with transactions. It answers "price" with a
 * message, whose idempotency key is the event's id: a repeat sends nothing.
 *
 * In a project of your own: npm install columba-client effect
 */
import { beginning, ColumbaClient, Position } from "columba-client"
import type { ReadableEvent } from "columba-client"
import { Config, Effect, Layer, Option, Schema, Stream } from "effect"
import { DatabaseSync } from "node:sqlite"

const database = new DatabaseSync(process.env["DATABASE"] ?? "effect-consumer.db", { timeout: 5_000 })
database.exec("create table if not exists place (one integer primary key check (one = 1), position text not null)")
database.exec("create table if not exists messages (event_id text primary key, device text, chat text, body text)")

const readPlace = (): Position => {
  const row = database.prepare("select position from place").get()
  return row === undefined ? beginning : Schema.decodeUnknownSync(Position)(row["position"])
}

/** The work and the position after it, in one transaction: a crash leaves both or neither. */
const commit = (work: () => void, position: Position): void => {
  database.exec("begin immediate")
  try {
    work()
    database.prepare("insert into place values (1, ?) on conflict (one) do update set position = excluded.position")
      .run(position)
    database.exec("commit")
  } catch (error) {
    database.exec("rollback")
    throw error
  }
}

const store = (event: ReadableEvent) => (): void => {
  if (event.kind !== "message.received") return
  database.prepare("insert into messages values (?, ?, ?, ?) on conflict do nothing")
    .run(event.id, event.deviceId, event.data.chat, event.data.body)
}

/** Before the commit: after a crash in between the request is repeated, and the key keeps it from being sent twice. */
const answer = Effect.fnUntraced(function*(event: ReadableEvent) {
  if (event.kind !== "message.received" || event.data.body?.trim().toLowerCase() !== "price") return
  const columba = yield* ColumbaClient
  yield* columba.messages.send({
    id: event.deviceId,
    to: event.data.chat,
    text: "A new saddle is 250,000.",
    idempotencyKey: `price-${event.id}`
  })
})

const program = Effect.gen(function*() {
  const columba = yield* ColumbaClient
  const after = readPlace()
  yield* Effect.log("consuming").pipe(Effect.annotateLogs({ after }))
  // The stream reconnects by itself. It fails only where waiting does not help, such as a position that retention deleted.
  yield* columba.events.follow({ after, kinds: ["message.received"] }).pipe(
    Stream.runForEach((item) =>
      item._tag === "Event"
        ? Effect.andThen(answer(item.event), Effect.sync(() => commit(store(item.event), item.position)))
        // No event for us until here: the position advances, so that the next start does not examine this part again.
        : Effect.sync(() => commit(() => {}, item.through))
    )
  )
})

const client = Layer.unwrap(Effect.gen(function*() {
  const url = yield* Config.String("COLUMBA_URL").pipe(Config.withDefault("http://127.0.0.1:8080"))
  const apiKey = yield* Config.option(Config.Redacted("COLUMBA_API_KEY"))
  return ColumbaClient.layer({ url, apiKey: Option.getOrUndefined(apiKey) })
}))

await Effect.runPromise(Effect.provide(program, client))
