/**
 * Throughput of the log: `node bench/append.ts <database url | memory | embedded>`.
 *
 * Prints JSON: events per second when pushed as fast as the log accepts them (full batches), with messages and
 * identities, and the median and 99th percentile of single appends to an idle log.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Layer, Redacted } from "effect"
import * as EmbeddedDatabase from "../src/layers/postgres/Embedded.ts"
import * as PostgresDatabase from "../src/layers/postgres/Postgres.ts"
import * as SqlStorage from "../src/layers/postgres/SqlStorage.ts"
import { EventLog } from "../src/services/EventLog.ts"
import { layerMemory } from "../src/layers/memory/MemoryStorage.ts"
import { makeDraft } from "./support/drafts.ts"

const total = Number(process.env["EVENTS"] ?? 40_000)
const singles = 300

const program = Effect.gen(function*() {
  const log = yield* EventLog
  yield* log.append([makeDraft(0)])
  const drafts = Array.from({ length: total }, (_, index) => makeDraft(index + 1))
  const start = performance.now()
  for (let index = 0; index < total; index++) {
    if (!log.push(drafts[index]!)) {
      yield* Effect.callback<void>((resume) => log.onRoom(() => resume(Effect.void)) && undefined)
    }
  }
  yield* log.flush
  const seconds = (performance.now() - start) / 1000
  const times: Array<number> = []
  for (let index = 0; index < singles; index++) {
    yield* Effect.sleep("5 millis")
    const draft = makeDraft(total + 1 + index)
    const begin = performance.now()
    yield* log.append([draft])
    times.push(performance.now() - begin)
  }
  times.sort((a, b) => a - b)
  const { head } = yield* log.bounds
  return {
    events: total,
    head,
    eventsPerSecond: Math.round(total / seconds),
    singleMillis: { p50: times[singles >> 1], p99: times[Math.floor(singles * 0.99)] }
  }
})

const target = process.argv[2] ?? "memory"
const dataDir = mkdtempSync(join(tmpdir(), "columba-bench-"))
const storage = target === "memory"
  ? layerMemory
  : target === "embedded"
  ? Layer.orDie(SqlStorage.layer.pipe(Layer.provide(EmbeddedDatabase.layer({ dataDir }))))
  : Layer.orDie(SqlStorage.layer.pipe(Layer.provide(PostgresDatabase.layer(Redacted.make(target)))))

Effect.runPromise(Effect.provide(program, storage)).then((figures) => {
  console.log(JSON.stringify({ target: target.replace(/:[^:@/]*@/, ":…@"), ...figures }))
}).finally(() => rmSync(dataDir, { recursive: true, force: true }))
