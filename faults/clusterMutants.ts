/** Nodes of a cluster that break a promise on purpose. */
import type { Mutant } from "./mutants.ts"

export const clusterMutants: ReadonlyArray<Mutant> = [
  {
    name: "fence-not-checked",
    title: "the append does not check the epoch of a decision",
    file: "src/layers/postgres/migrations/appendFunction.ts",
    changes: [[
      "select 1 from devices d where d.id = g.device and d.epoch = g.epoch",
      "select 1 from devices d where d.id = g.device"
    ]],
    rows: ["cluster-freeze"],
    condemned: ["stale"],
    smoke: false
  }
]
