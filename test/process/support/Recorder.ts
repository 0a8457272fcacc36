/** The handle of the recorder's process. It ends with the scope and with the test process. */
import { fork } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"
import { readRecorded } from "../../support/Ledger.ts"
import type { Delivered } from "../../support/Ledger.ts"
import { until } from "../../support/until.ts"

export interface Recorder {
  /** The highest log number received. */
  readonly highest: Effect.Effect<number>
  readonly recorded: Effect.Effect<number>
  /** Returns when the queue is empty and all its messages are written. */
  readonly drained: Effect.Effect<void>
  readonly entries: Effect.Effect<ReadonlyArray<Delivered>>
}

type Told =
  | { readonly _tag: "bound" }
  | { readonly _tag: "recorded"; readonly recorded: number; readonly highest: number }
  | { readonly _tag: "drained"; readonly drained: boolean }

/** Returns when its queue is bound: all later events reach it. */
export const make = Effect.fnUntraced(function*(
  rabbitUrl: string,
  directory: string
): Effect.fn.Return<Recorder, never, Scope.Scope> {
  const file = join(directory, "recorded.ndjson")
  writeFileSync(file, "")
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      fork(join(import.meta.dirname, "recorderProcess.ts"), [rabbitUrl, file], { execArgv: [], stdio: "inherit" })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  let bound = false
  let highest = 0
  let recorded = 0
  let drained: (drained: boolean) => void = () => {}
  child.on("message", (message: Told) => {
    if (message._tag === "bound") bound = true
    else if (message._tag === "drained") drained(message.drained)
    else {
      highest = message.highest
      recorded = message.recorded
    }
  })
  const askDrained = Effect.callback<boolean>((resume) => {
    drained = (answer) => resume(Effect.succeed(answer))
    child.send({ _tag: "drain" })
  })
  yield* until("the recorder is bound", Effect.sync(() => bound))
  return {
    highest: Effect.sync(() => highest),
    recorded: Effect.sync(() => recorded),
    drained: until("the recorder has everything", askDrained),
    entries: Effect.sync(() => readRecorded(file))
  }
})
