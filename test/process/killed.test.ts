/**
 * The program is killed without warning, again and again, while its devices receive 20,000 events and more. All events that
 * it had committed must stay in the log and must come out of the broker. Events on their way into the dying process, and
 * those emitted while there was none, are read from the gateway's history as far as it has them, and the ledger of gaps
 * names the time of all the rest.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { assertSound, report } from "../support/Checker.ts"
import { freshVhost } from "../support/broker.ts"
import { freshDatabase } from "../support/database.ts"
import * as Rig from "./support/Rig.ts"

/** Events emitted between two kills. */
const each = 3_300
const kills = 5
const devices = 50
/** A minute's load: far from the limits, so that the test shows the crash and not a queue. */
const rate = 400

/** Chooses the moments of the kills. Another one may be tried by `COLUMBA_TEST_SEED`. */
const seed = process.env["COLUMBA_TEST_SEED"] ?? "killed"

const killedAndStarted = Effect.fnUntraced(function*(databaseUrl: string | null) {
  const rig = yield* Rig.make({ databaseUrl, rabbitUrl: yield* freshVhost, devices, seed })
  const restarts = yield* rig.killedUnderLoad({ kills, each, rate, before: rig.witness })
  yield* rig.online
  yield* rig.settled
  const gaps = yield* rig.gaps
  const { exited, verdict } = yield* rig.finish
  const ledger = yield* rig.gapVerdict(gaps)
  console.log(
    `seed ${seed}; ready again after ${restarts.join(", ")} ms; ${report(verdict)}; ${gaps.length} gaps, ` +
      `${ledger.recovered} events recovered, ${ledger.missing} missing`
  )
  assert.strictEqual(exited.code, 0)
  assertSound(verdict)
  assert.deepStrictEqual([ledger.unnamed, ledger.untrue], [[], []])
  // A device that was killed before it was online again has one gap for both kills; the ledgers above show that none is missing.
  assert.isAtLeast(gaps.length, devices)
  assert.isAbove(ledger.recovered, 0)
  // The run must have been as large as claimed.
  assert.isAtLeast(verdict.counts.committed, kills * each / 2)
})

// Both at once: what takes the time is the load, which is the same over a minute.
describe.concurrent("killed five times under load", () => {
  it.live("loses nothing that was committed to Postgres", () =>
    Effect.gen(function*() {
      yield* killedAndStarted(yield* freshDatabase)
    }))

  it.live("loses nothing that was committed to the embedded database", () => killedAndStarted(null))
})
