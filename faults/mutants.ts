/**
 * Programs that break a promise on purpose, one each: the suite must detect every one of them. They are built from the
 * sources with one place changed; a place that is not found is an error.
 */
import type { Change } from "./planted.ts"
import type { Broken } from "./judge.ts"
import { clusterMutants } from "./clusterMutants.ts"
import { sendMutants } from "./sendMutants.ts"
import { later } from "./laterMutants.ts"

export interface Mutant extends Change {
  readonly title: string
  /** The rows that detect it, and for what: one of these. */
  readonly rows: ReadonlyArray<string>
  readonly condemned: ReadonlyArray<keyof Broken>
  /** Whether every test run detects it on the first of its rows. */
  readonly smoke: boolean
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
    rows: ["database-smoke"],
    condemned: ["vanished", "unexpected", "broken"],
    smoke: true
  },
  {
    name: "watermark-reader",
    title: "numbers are assigned out of commit order, and readers use the highest one",
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
    rows: ["commit-order"],
    condemned: ["lost", "broken"],
    smoke: true
  },
  {
    name: "confirm-not-awaited",
    title: "the cursor passes events that the broker has not confirmed",
    file: "src/layers/rabbitmq/RabbitSink.ts",
    changes: [[
      "      // Sent messages cannot be withdrawn, and unsent ones must not follow: the channel ends.\n",
      "      resume(Effect.void)\n"
    ]],
    rows: ["broker-kill-smoke"],
    condemned: ["lost"],
    smoke: true
  },
  {
    name: "deduplicated-before-commit",
    title: "an event counts as known before it is committed, so a batch that is retried is dropped",
    file: "src/layers/postgres/SqlLogStore.ts",
    changes: [[
      "const write: LogStore[\"Service\"][\"write\"] = (batch) =>\n",
      `const seen = new Set<string>()
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
    // Ended sessions do not show it: the connection itself repeats what was lost with one.
    rows: ["database-smoke", "deadlock"],
    condemned: ["missed"],
    smoke: true
  },
  {
    name: "watermark-before-rows",
    title: "the watermark moves and the gaps are closed before the rows of the history are stored",
    file: "src/actors/gateway/HistoryReader.ts",
    changes: [[
      "    for (let page = 0; page < pagesPerTurn; page++) {\n      yield* pace\n",
      `    if (read.pages === 0 && kind !== "look") {
      yield* decide(cell, [], [GapDrafts.watermark(cell.device.id, new Date(read.through).toISOString(), null)])
      yield* close(cell, read, read.through, [])
      // A slow gateway, so that the gap is seen as closed while its rows are missing.
      yield* Effect.sleep(Duration.seconds(10))
    }
    for (let page = 0; page < pagesPerTurn; page++) {
      yield* pace
`
    ]],
    rows: ["kill-smoke"],
    condemned: ["unrecovered"],
    smoke: true
  },
  ...later,
  ...sendMutants,
  ...clusterMutants
]
