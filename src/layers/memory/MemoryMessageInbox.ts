/** Messages that the consumer has handled, in memory. A failed commit undoes nothing, but the message is not recorded. */
import { Duration, Effect, Layer } from "effect"
import type { EventId } from "../../domain/Ids.ts"
import { MessageInbox } from "../../services/MessageInbox.ts"
import type { InboxEntry, InboxFailure } from "../../services/MessageInbox.ts"
import { MemoryDatabase } from "./MemoryDatabase.ts"

interface Row extends InboxEntry {
  state: "done" | "failing" | "dead"
  attempts: number
  failure: string
  dueAt: number | null
  updatedAt: number
}

export const layer: Layer.Layer<MessageInbox, never, MemoryDatabase> = Layer.effect(
  MessageInbox,
  Effect.gen(function*() {
    const { now } = yield* MemoryDatabase
    const rows = new Map<string, Row>()
    const key = ({ eventId, handler }: Pick<InboxEntry, "eventId" | "handler">) => `${eventId} ${handler}`
    const make = (entry: InboxEntry): Row => {
      const row = rows.get(key(entry)) ??
        { ...entry, state: "failing", attempts: 0, failure: "", dueAt: null, updatedAt: 0 }
      rows.set(key(entry), row)
      return row
    }
    const list = (wanted: (row: Row) => boolean): Array<Row> => [...rows.values()].filter(wanted)
    const change = (wanted: (row: Row) => boolean, fields: () => Partial<Row>) =>
      Effect.sync(() => {
        const changed = list(wanted)
        for (const row of changed) Object.assign(row, { updatedAt: now(), ...fields() })
        return [...new Set(changed.map(({ eventId }) => eventId))]
      })
    return MessageInbox.of({
      isDone: (handler, eventId) => Effect.sync(() => rows.get(key({ eventId, handler }))?.state === "done"),
      once: (entry, commit) =>
        Effect.suspend(() => {
          if (rows.get(key(entry))?.state === "done") return Effect.succeed(false)
          return Effect.as(commit, true).pipe(Effect.tap(() =>
            Effect.sync(() => {
              const row = make(entry)
              Object.assign(row, { state: "done", attempts: row.attempts + 1, dueAt: null, updatedAt: now() })
            })
          ))
        }),
      fail: (entry, { decide, keep, message }) =>
        Effect.sync(() => {
          const row = make(entry)
          const attempts = row.attempts + 1
          const verdict = decide(attempts)
          Object.assign(row, {
            attempts,
            failure: message,
            state: keep && verdict._tag === "Dead" ? "dead" : "failing",
            dueAt: keep && verdict._tag === "Again" ? now() + Duration.toMillis(verdict.after) : null,
            updatedAt: now()
          })
          return { attempts, verdict }
        }),
      due: (limit) =>
        Effect.sync(() =>
          list(({ dueAt, state }) => state === "failing" && dueAt !== null && dueAt <= now())
            .sort((a, b) => a.dueAt! - b.dueAt!).slice(0, limit)
        ),
      failures: (events) =>
        Effect.sync(() => list((row) => row.state !== "done" && events.includes(row.eventId)).map(toFailure)),
      forgetFailures: (events) =>
        Effect.sync(() => {
          for (const row of list((one) => one.state !== "done" && events.includes(one.eventId))) rows.delete(key(row))
        }),
      dead: (limit) =>
        Effect.sync(() => {
          const dead = list(({ state }) => state === "dead").sort((a, b) => a.seq - b.seq)
          return { items: dead.slice(0, limit).map(toFailure), total: dead.length }
        }),
      revive: (events: ReadonlyArray<EventId> | null) =>
        change(
          (row) => row.state === "dead" && (events === null || events.includes(row.eventId)),
          () => ({ state: "failing", attempts: 0, dueAt: now() })
        ),
      drop: (events) =>
        change((row) => row.state === "dead" && events.includes(row.eventId), () => ({ state: "done", dueAt: null })),
      deleteOlderThan: (keep) =>
        Effect.sync(() => {
          const old = list((row) =>
            row.updatedAt < now() - Duration.toMillis(keep) && row.state !== "dead" && row.dueAt === null
          )
          for (const row of old) rows.delete(key(row))
          return old.length
        })
    })
  })
)

const toFailure = ({ attempts, eventId, failure, handler, seq, updatedAt }: Row): InboxFailure => ({
  eventId,
  handler,
  seq,
  attempts,
  message: failure,
  at: new Date(updatedAt).toISOString()
})
