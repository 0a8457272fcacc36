/** Nodes of a cluster that break a promise on purpose. */
import type { Mutant } from "./mutants.ts"

export const clusterMutants: ReadonlyArray<Mutant> = [
  {
    name: "fence-not-checked",
    title: "the append does not look at the epoch of a decision",
    file: "src/layers/postgres/migrations/appendFunction.ts",
    changes: [[
      "select 1 from devices d where d.id = g.device and d.epoch = g.epoch",
      "select 1 from devices d where d.id = g.device"
    ]],
    rows: ["cluster-freeze"],
    condemned: ["stale"],
    smoke: false
  },
  {
    name: "keeps-its-sockets",
    title: "a node whose shards are gone goes on with their devices",
    file: "src/actors/fleet/ClusterFleet.ts",
    changes: [["            return leave(id)\n", "            return Effect.void\n"]],
    rows: ["cluster-partition", "cluster-freeze"],
    condemned: ["heldTwice", "unreturned", "unmet"],
    smoke: false
  },
  {
    name: "looks-seldom",
    title: "a node does not notice that shards have come to it, and finds their devices when it next compares all",
    file: "src/actors/fleet/ClusterFleet.ts",
    changes: [["      seen = now\n      local.look(null)\n", "      seen = now\n"]],
    rows: ["cluster-kill"],
    condemned: ["unreturned"],
    smoke: false
  }
]
