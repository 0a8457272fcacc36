/** A process that appends to the embedded database in `argv[2]` forever and prints each number once it is committed. */
import { Effect, Layer } from "effect"
import * as EmbeddedDatabase from "../../src/layers/postgres/Embedded.ts"
import * as SqlStorage from "../../src/layers/postgres/SqlStorage.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { freshDevice, messageDraft } from "./drafts.ts"

const program = Effect.gen(function*() {
  const log = yield* EventLog
  const device = freshDevice()
  while (true) {
    const results = yield* log.append(Array.from({ length: 5 }, () => messageDraft({ device })))
    const last = results.at(-1)
    if (last?._tag === "Committed") console.log(`committed ${last.seq}`)
  }
})

const dataDir = process.argv[2] ?? ""
const storage = SqlStorage.layer.pipe(Layer.provide(EmbeddedDatabase.layer({ dataDir })))
Effect.runPromise(Effect.provide(program, storage)).catch((error: unknown) => {
  console.log(`refused ${String(error)}`)
  process.exitCode = 1
})
