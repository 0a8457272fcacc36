/** Logs of several processes over one store in memory, which can be reset to an earlier number. */
import { Context, Effect, Layer } from "effect"
import * as MemoryDatabase from "../../src/layers/memory/MemoryDatabase.ts"
import * as MemoryLogStore from "../../src/layers/memory/MemoryLogStore.ts"
import * as GroupCommit from "../../src/log/GroupCommit.ts"
import { LogStore } from "../../src/log/LogStore.ts"
import { EventLog } from "../../src/services/EventLog.ts"

export const makeLogs = Effect.gen(function*() {
  const database = yield* Layer.build(MemoryDatabase.layer)
  const { tables } = Context.get(database, MemoryDatabase.MemoryDatabase)
  const store = Context.get(
    yield* Effect.provideContext(Layer.build(MemoryLogStore.layer), database),
    LogStore
  )
  /** The log of a process that starts now. */
  const process = Layer.fresh(GroupCommit.layer).pipe(Layer.provide(Layer.succeed(LogStore, store)))
  const openLog = Effect.map(Layer.build(process), (context) => Context.get(context, EventLog))
  const goBack = (head: number) => {
    for (const event of tables.events.splice(head)) tables.seqById.delete(event.id)
    tables.head = head
    for (const [sink, row] of tables.cursors) tables.cursors.set(sink, { ...row, seq: Math.min(row.seq, head) })
  }
  return { ours: yield* openLog, other: yield* openLog, goBack, process, tables }
})
