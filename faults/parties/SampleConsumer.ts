/**
 * The sample consumer of docs/consuming.md in a separate process, with its own queue at the broker. Its ledger is its
 * database: the ids of the events that it has handled, and the results of its handling.
 */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Effect } from "effect"
import type { Scope } from "effect"
import { until } from "../../test/support/until.ts"

export const consumerQueue = "shop.whatsapp"

export interface Consumed {
  /** Ids of events. */
  readonly handled: ReadonlyArray<string>
  /** The WhatsApp ids of the stored messages, one for each time it was stored. */
  readonly stored: ReadonlyArray<string>
}

export interface SampleConsumer {
  readonly kill: Effect.Effect<void>
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  readonly ledger: Effect.Effect<Consumed>
}

const sample = process.env["COLUMBA_FAULTS_CONSUMER"] ?? join(import.meta.dirname, "../../examples/rabbitmqConsumer.ts")

export const make = Effect.fnUntraced(function*(
  rabbitUrl: string,
  directory: string
): Effect.fn.Return<SampleConsumer, never, Scope.Scope> {
  const database = join(directory, "consumer.db")
  const running: { child: ChildProcess | undefined; wanted: boolean; consuming: boolean } = {
    child: undefined,
    wanted: true,
    consuming: false
  }
  /** Starts it again after it has ended, like a supervisor. */
  const start = () => {
    if (!running.wanted) return
    running.consuming = false
    const child = spawn(process.execPath, [sample], {
      stdio: ["ignore", "pipe", "ignore"],
      env: { PATH: process.env["PATH"], RABBITMQ_URL: rabbitUrl, QUEUE: consumerQueue, DATABASE: database }
    })
    running.child = child
    child.stdout.on("data", () => running.consuming = true)
    child.on("exit", start)
  }
  yield* Effect.acquireRelease(Effect.sync(start), () =>
    Effect.sync(() => {
      running.wanted = false
      running.child?.kill("SIGKILL")
    }))
  yield* until("the consumer consumes", Effect.sync(() => running.consuming))
  const send = (signal: NodeJS.Signals) => Effect.sync(() => void running.child?.kill(signal))
  return {
    kill: send("SIGKILL"),
    freeze: send("SIGSTOP"),
    thaw: send("SIGCONT"),
    ledger: Effect.sync(() => {
      // The consumer may be writing; it holds its file for a commit at most.
      const opened = new DatabaseSync(database, { readOnly: true, timeout: 10_000 })
      try {
        const read = (text: string) => opened.prepare(text).all().map((row) => String(row["id"]))
        return {
          handled: read("select event_id as id from handled"),
          stored: read("select device || ' ' || wa_id as id from messages")
        }
      } finally {
        opened.close()
      }
    })
  }
})
