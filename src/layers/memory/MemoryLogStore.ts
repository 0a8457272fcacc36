/** The log's store in memory: for tests, and for trying the log without a database. Keeps everything. */
import { Duration, Effect, Layer, Stream } from "effect"
import { EventsExpired } from "../../domain/MessageErrors.ts"
import { LogStore } from "../../log/LogStore.ts"
import { matches } from "../../log/LogTail.ts"
import { nextEpoch } from "../../services/epochs.ts"
import { MemoryDatabase } from "./MemoryDatabase.ts"

export const layer: Layer.Layer<LogStore, never, MemoryDatabase> = Layer.effect(
  LogStore,
  Effect.gen(function*() {
    const { now, tables } = yield* MemoryDatabase
    return LogStore.of({
      write: (batch) =>
        Effect.suspend(() => {
          const result = tables.write(batch, now())
          return "written" in result ? Effect.succeed(result) : Effect.fail(result)
        }),
      read: (options) =>
        Effect.suspend(() => {
          if (options.after < tables.oldest - 1) {
            return Effect.fail(EventsExpired.of(options.after, tables.oldest))
          }
          const { head, logId, oldest } = tables
          const page = {
            head,
            oldest,
            logId,
            anchorId: tables.findId(options.anchor),
            afterId: tables.findId(options.after)
          }
          const events = []
          let bytes = 0
          for (let index = options.after + 1 - tables.oldest; index < tables.events.length; index++) {
            const event = tables.events[index]!
            if (!matches(options, event)) continue
            events.push(event)
            bytes += event.bytes
            if (events.length === options.limit || bytes >= options.bytesMax) {
              return Effect.succeed({ ...page, events, through: event.seq, throughId: event.id })
            }
          }
          const through = Math.max(options.after, tables.head)
          return Effect.succeed({ ...page, events, through, throughId: tables.findId(through) })
        }),
      latest: (options) =>
        Effect.sync(() => tables.events.filter((event) => matches(options, event)).slice(-options.limit).toReversed()),
      bounds: Effect.sync(() => {
        const { head, logId, oldest } = tables
        return { head, headId: tables.findId(head), oldest, logId }
      }),
      cursorEpoch: (sink) => Effect.sync(() => tables.cursors.get(sink)?.epoch ?? null),
      claimCursor: (sink, known, start) =>
        Effect.sync(() => {
          const row = tables.cursors.get(sink)
          if ((row?.epoch ?? null) !== known) return null
          const kept = start?.keep ?? null
          const keep = kept === null ? null : Duration.toMillis(kept)
          if (row === undefined) {
            if (start === null) return null
            const seq = start.from === "now" ? tables.head : tables.oldest - 1
            const epoch = nextEpoch(0, now())
            tables.cursors.set(sink, { epoch, seq, keep })
            return { sink, epoch, seq }
          }
          const epoch = nextEpoch(row.epoch, now())
          const seq = Math.min(row.seq, tables.head)
          tables.cursors.set(sink, { epoch, seq, keep: start === null ? row.keep : keep })
          return { sink, epoch, seq }
        }),
      cursors: Effect.sync(() =>
        Array.from(tables.cursors, ([sink, { epoch, keep, seq }]) => ({ sink, epoch, seq, limited: keep !== null }))
          .sort((a, b) => a.sink < b.sink ? -1 : 1)
      ),
      deleteOlderThan: (keep, { stepMax }) => Effect.sync(() => tables.deleteOlderThan(keep, stepMax, now())),
      renew: Effect.void,
      mergeIdentities: Effect.succeed(0),
      erase: (device, chat) => Effect.sync(() => tables.erase(device, chat, now())),
      commits: Stream.empty,
      shared: false
    })
  })
)
