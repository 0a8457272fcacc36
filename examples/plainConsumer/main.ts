/**
 * A plain TypeScript program that consumes events through the client for promises, without a broker and without Effect.
 *
 *   npm run pack:client && cd examples/plainConsumer && npm install && node main.ts
 *
 * It stores its position in its own database, in the transaction of its work, so that each event is handled exactly
 * once, over restarts of both sides. SQLite stands for any database with transactions. It answers "price" with a
 * message, whose idempotency key is the event's id: a repeat sends nothing.
 *
 * In a project of your own: npm install columba-client effect
 */
import { beginning, connect } from "columba-client/promise"
import type { PlainEvent } from "columba-client/promise"
import { DatabaseSync } from "node:sqlite"

const columba = connect({
  url: process.env["COLUMBA_URL"] ?? "http://127.0.0.1:8080",
  apiKey: process.env["COLUMBA_API_KEY"]
})

const database = new DatabaseSync(process.env["DATABASE"] ?? "plain-consumer.db", { timeout: 5_000 })
database.exec("create table if not exists place (one integer primary key check (one = 1), position text not null)")
database.exec("create table if not exists messages (event_id text primary key, device text, chat text, body text)")

const readPlace = (): string => String(database.prepare("select position from place").get()?.["position"] ?? beginning)

/** The work and the position after it, in one transaction: a crash leaves both or neither. */
const commit = (work: () => void, position: string): void => {
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

const store = (event: PlainEvent): void => {
  if (event.kind !== "message.received") return
  database.prepare("insert into messages values (?, ?, ?, ?) on conflict do nothing")
    .run(event.id, event.deviceId, event.data.chat, event.data.body)
}

/** Before the commit: after a crash in between the request is repeated, and the key keeps it from being sent twice. */
const answer = async (event: PlainEvent): Promise<void> => {
  if (event.kind !== "message.received" || event.data.body?.trim().toLowerCase() !== "price") return
  await columba.messages.send({
    id: event.deviceId,
    to: event.data.chat,
    text: "A new saddle is 250,000.",
    idempotencyKey: `price-${event.id}`
  })
}

process.once("SIGTERM", () => void columba.close())

// The loop reconnects by itself. It throws only where waiting does not help, such as a position that retention deleted, and
// ends when the client is closed.
for await (const item of columba.events.follow({ after: readPlace(), kinds: ["message.received"] })) {
  if (item._tag === "Heartbeat") {
    // No event for us until here: the position advances, so that the next start does not examine this part again.
    commit(() => {}, item.through)
    continue
  }
  await answer(item.event)
  commit(() => store(item.event), item.position)
}
