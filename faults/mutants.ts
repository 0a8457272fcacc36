/**
 * Programs that break a promise on purpose, one each: the suite must condemn every one of them. They are built from the
 * sources with one place changed; a place that is not found any more is an error.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { buildProgram } from "../scripts/build.ts"
import { root } from "../scripts/stamp.ts"
import { freshDirectory } from "../test/support/directory.ts"
import type { Violation } from "../test/support/Checker.ts"

export interface Mutant {
  readonly name: string
  readonly title: string
  readonly file: string
  /** Each is found exactly once. */
  readonly changes: ReadonlyArray<readonly [find: string, replace: string]>
  /** The row that condemns it, and for what: one of these. */
  readonly row: string
  readonly condemned: ReadonlyArray<Violation | "missed" | "unrecovered">
}

export const mutants: ReadonlyArray<Mutant> = [
  {
    name: "acknowledged-before-durable",
    title: "a commit counts before it is on disk",
    file: "src/layers/postgres/Postgres.ts",
    changes: [[
      "  default_transaction_isolation: \"read committed\",",
      "  default_transaction_isolation: \"read committed\",\n  synchronous_commit: \"off\","
    ]],
    row: "database-smoke",
    condemned: ["vanished", "unexpected", "broken"]
  },
  {
    name: "watermark-reader",
    title: "numbers are given out of commit order, and readers go by the highest one",
    file: "src/layers/postgres/migrations/appendFunction.ts",
    changes: [
      [
        "    perform pg_advisory_xact_lock(4341001, 1);\n    select * into v_log from log_identity;",
        "    select * into v_log from log_identity;"
      ],
      [
        "    v_now := greatest(v_last, ",
        `    create sequence if not exists columba_numbers;
    perform pg_advisory_lock(77);
    v_head := nextval('columba_numbers') - 1;
    perform setval('columba_numbers', v_head + greatest(cardinality(p_id), 1), cardinality(p_id) > 0);
    perform pg_advisory_unlock(77);
    v_now := greatest(v_last, `
      ]
    ],
    row: "commit-order",
    condemned: ["lost", "broken"]
  },
  {
    name: "confirm-not-awaited",
    title: "the cursor passes what the broker has not confirmed",
    file: "src/layers/rabbitmq/RabbitSink.ts",
    changes: [[
      "      // What was sent cannot be withdrawn, and what was not sent must not follow: the channel ends.\n",
      "      resume(Effect.void)\n"
    ]],
    row: "broker-kill-smoke",
    condemned: ["lost"]
  },
  {
    name: "deduplicated-before-commit",
    title: "an event counts as known before it is committed, so a batch that is tried again is dropped",
    file: "src/layers/postgres/SqlLogStore.ts",
    changes: [[
      "    const write: LogStore[\"Service\"][\"write\"] = (batch) =>\n",
      `    const seen = new Set<string>()
    const write: LogStore["Service"]["write"] = (batch) => {
      const drafts = batch.groups.flatMap((group) => group.drafts)
      const known = drafts.map((draft) => draft.key !== null && seen.has(draft.key))
      for (const draft of drafts) if (draft.key !== null) seen.add(draft.key)
      let at = 0
      const groups = batch.groups.map((group) => ({ ...group, drafts: group.drafts.filter(() => !known[at++]) }))
        .filter((group) => group.drafts.length > 0 || group.effects.length > 0)
      return Effect.map(writeAll({ ...batch, groups }), (result) => {
        const written = [...result.written]
        return { ...result, written: known.map((is) => is ? { _tag: "Duplicate" } as const : written.shift()!) }
      })
    }
    const writeAll: LogStore["Service"]["write"] = (batch) =>
`
    ]],
    row: "sessions-smoke",
    condemned: ["missed"]
  },
  {
    name: "watermark-before-rows",
    title: "the watermark moves and the gaps are closed before the rows of the history are stored",
    file: "src/actors/gateway/Backfill.ts",
    changes: [[
      "    for (let page = 0; page < pagesPerTurn; page++) {\n      yield* pace\n",
      `    if (read.pages === 0 && kind !== "look") {
      yield* decide(cell, [], [GapDrafts.watermark(cell.device.id, new Date(read.through).toISOString(), null)])
      yield* close(cell, read, read.through, null)
      // A slow gateway, so that the gap is seen closed while its rows are not there.
      yield* Effect.sleep(Duration.seconds(10))
    }
    for (let page = 0; page < pagesPerTurn; page++) {
      yield* pace
`
    ]],
    row: "kill-smoke",
    condemned: ["unrecovered"]
  }
]

/** The changed source. */
export const changed = (mutant: Mutant): string =>
  mutant.changes.reduce((text, [find, replace]) => {
    const places = text.split(find).length - 1
    if (places !== 1) {
      throw new Error(`mutant ${mutant.name}: ${mutant.file} has ${places} places instead of one: ${find}`)
    }
    return text.replace(find, () => replace)
  }, readFileSync(join(root, mutant.file), "utf8"))

/** The path of its `main.js`. It is removed with the scope. */
export const buildMutant = Effect.fnUntraced(function*(mutant: Mutant) {
  const directory = yield* freshDirectory
  const contents = changed(mutant)
  const file = join(root, mutant.file)
  yield* Effect.promise(() =>
    buildProgram({
      directory,
      plugins: [{
        name: mutant.name,
        setup: (build) =>
          build.onLoad({ filter: /\.ts$/ }, ({ path }) => path === file ? { contents, loader: "ts" } : undefined)
      }]
    })
  )
  return join(directory, "main.js")
})
