/** Two nodes in one process, on one Postgres, and their records of themselves for callers. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as ClusterSocket from "../../../src/layers/cluster/ClusterSocket.ts"
import * as NodeReports from "../../../src/layers/cluster/NodeReports.ts"
import * as Postgres from "../../../src/layers/postgres/Postgres.ts"
import * as SqlStorage from "../../../src/layers/postgres/SqlStorage.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { listNodes } from "../../../src/services/listNodes.ts"
import { NodeRegistry } from "../../../src/services/NodeRegistry.ts"
import type { NodeReport } from "../../../src/services/NodeRegistry.ts"
import type { SecretKey } from "../../../src/services/SecretSeal.ts"
import { ServerIdentity } from "../../../src/services/ServerIdentity.ts"
import { ShardMoves } from "../../../src/services/ShardMoves.ts"
import { freshDatabase } from "../../support/database.ts"
import { freePort } from "../../support/servers/ServerHome.ts"
import { until } from "../../support/until.ts"

const secretKey = Redacted.make(new Uint8Array(32)) as SecretKey

/** The sharding gives a statement a third of it: a loaded machine may take some seconds for hundreds of shards. */
const lease = Duration.minutes(1)
const allShards = 300

const nodeOn = Effect.fnUntraced(function*(url: string, weight: number, settings: NodeReport["settings"] = {}) {
  const node = { host: "127.0.0.1", port: yield* freePort, lease, weight, keys: [secretKey] }
  const name = ClusterSocket.nodeAddress(node)
  const moves = new ShardMoves(name)
  const identity = {
    version: "1.2.3",
    node: name,
    startedAt: new Date().toISOString(),
    roles: ["devices"],
    database: "",
    broker: null
  }
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(
    ClusterSocket.layer(node).pipe(
      Layer.provide(ClusterSocket.layerStorage(node, moves)),
      Layer.provideMerge(NodeReports.layer({ lease, weight, settings }, moves)),
      Layer.provideMerge(SqlStorage.layer),
      Layer.provide(Layer.succeed(ServerIdentity, ServerIdentity.of(identity))),
      Layer.provideMerge(Postgres.layer(Redacted.make(url))),
      Layer.fresh,
      Layer.orDie
    ),
    scope
  )
  const registry = yield* Effect.provideContext(NodeRegistry, context)
  return {
    name,
    registry,
    context,
    nodes: Effect.orDie(listNodes(Context.get(context, DeviceRepository), registry)),
    stop: Scope.close(scope, Exit.void)
  }
})

const report: NodeReport = {
  owner: "old then",
  name: "old",
  startedAt: "2026-01-01T00:00:00.000Z",
  version: "1",
  roles: ["devices"],
  weight: 1,
  leaseMillis: 6000,
  settings: {},
  moves: { taken: 0, given: 0, recent: [] }
}

describe("the nodes of a cluster", () => {
  it.live("are listed with their shards by weight, their moves and their differences", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const one = yield* nodeOn(url, 2, { COLUMBA_RETENTION: "90d", COLUMBA_PACING: "off" })
      yield* until(
        "the first has all shards and says so",
        Effect.map(one.nodes, ([node]) => node?.cluster?.shards === allShards && node.cluster.moves.length === 1)
      )
      const two = yield* nodeOn(url, 1, { COLUMBA_RETENTION: "30d", COLUMBA_PACING: "off" })
      const settled = Effect.map(one.nodes, (nodes) =>
        nodes.length === 2 && nodes.every(({ cluster }) =>
          cluster !== null && cluster.moves.length > 0
        ) &&
        nodes.reduce((sum, { cluster }) => sum + (cluster?.taken ?? 0) - (cluster?.given ?? 0), 0) === allShards &&
        nodes.every(({ cluster }) => cluster!.taken - cluster!.given === cluster!.shards))
      yield* until("both have a share and say so", settled)
      const byName = new Map((yield* two.nodes).map((node) => [node.name, node.cluster!]))
      const [first, second] = [byName.get(one.name)!, byName.get(two.name)!]
      assert.strictEqual(first.shards, 200)
      assert.strictEqual(second.shards, 100)
      assert.deepInclude(first.moves[0], { direction: "given", reason: "node-joined", shards: 100 })
      assert.deepInclude(second.moves.at(-1), { direction: "taken", reason: "joined" })
      assert.deepStrictEqual([first.differs, second.differs], [[], ["COLUMBA_RETENTION"]])
      assert.deepStrictEqual([first.version, first.weight, first.leaseSeconds], ["1.2.3", 2, 60])
      assert.isBelow(first.leaseAgeSeconds!, 60)

      yield* two.stop
      yield* until(
        "the other has left, and its shards have come back",
        Effect.map(one.nodes, (nodes) =>
          nodes.length === 1 && nodes[0]!.cluster!.shards === allShards &&
          nodes[0]!.cluster!.moves[0]!.reason === "node-left")
      )
    }))

  it.live("that ended without leaving are listed as not alive, and forgotten after a day", () =>
    Effect.gen(function*() {
      const { context, registry } = yield* nodeOn(yield* freshDatabase, 1)
      const sql = Context.get(context, SqlClient.SqlClient)
      const known = Effect.map(registry.list, (nodes) => nodes.find(({ name }) => name === "old"))
      yield* registry.report(report)
      assert.strictEqual((yield* known)?.alive, true)
      yield* sql`update cluster_nodes set seen_at = clock_timestamp() - interval '1 minute' where name = 'old'`
      assert.deepInclude(yield* known, { alive: false, shards: 0, leaseAgeMillis: null })
      yield* sql`update cluster_nodes set seen_at = clock_timestamp() - interval '25 hours' where name = 'old'`
      yield* registry.report({ ...report, owner: "other then", name: "other" })
      assert.isUndefined(yield* known)
      yield* registry.leave("other then")
      assert.notInclude((yield* registry.list).map(({ name }) => name), "other")
    }))
})
