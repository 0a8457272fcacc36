/**
 * A cluster is upgraded node by node: the old and the new version run together for as long as that takes, over one database
 * and one fleet. A version that is further away is refused.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { buildChanged } from "../../faults/planted.ts"
import type { Change } from "../../faults/planted.ts"
import { freshVhost } from "../support/broker.ts"
import { assertSound } from "../support/Checker.ts"
import { freshDatabase } from "../support/database.ts"
import { freshDirectory } from "../support/directory.ts"
import { untilSo } from "../support/until.ts"
import * as ClusterRig from "./support/ClusterRig.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"

const devices = 60

/** What a minor version may add to the calls between nodes: a field, and a call. */
const newerWords: ReadonlyArray<Change> = [
  {
    name: "newer words",
    file: "src/actors/fleet/DeviceProtocol.ts",
    changes: [
      ["  incident: Schema.NullOr(", "  added: Schema.optionalKey(Schema.String),\n  incident: Schema.NullOr("],
      ["  Rpc.make(\"Hold\"),", "  Rpc.make(\"Hold\"),\n  Rpc.make(\"Added\"),"]
    ]
  },
  {
    name: "newer answers",
    file: "src/actors/fleet/ClusterFleet.ts",
    changes: [
      [
        "        View: () => Effect.orDie(fleet.view(id)),",
        `        Added: () => Effect.void,
        View: () => Effect.map(Effect.orDie(fleet.view(id)), (view) => view && { ...view, added: "by a newer version" }),`
      ]
    ]
  }
]

describe("versions of a program in a cluster", () => {
  it.live("share a fleet with the next version while nodes are replaced one by one, and refuse one that is further away", () =>
    Effect.gen(function*() {
      const newer = yield* buildChanged(newerWords, "0.2.0")
      const databaseUrl = yield* freshDatabase
      const rig = yield* ClusterRig.make({
        databaseUrl,
        rabbitUrl: yield* freshVhost,
        devices,
        nodes: 4,
        idle: 2,
        programs: [undefined, undefined, newer, newer],
        seed: "upgrade",
        lease: "10 seconds"
      })
      const [one, two, three, four] = rig.nodes as [
        ClusterRig.ClusterNode,
        ClusterRig.ClusterNode,
        ClusterRig.ClusterNode,
        ClusterRig.ClusterNode
      ]
      yield* rig.shared
      rig.simulator.emit({ rate: 30 })

      const tooNew = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        program: yield* buildChanged([], "0.3.0"),
        env: {
          DATABASE_URL: databaseUrl,
          WHATSAPP_API_URL: "http://127.0.0.1:9",
          COLUMBA_SECRET_KEY: ClusterRig.secretKey,
          COLUMBA_CLUSTER: "on",
          COLUMBA_NODE_PORT: "7899"
        }
      })
      assert.notStrictEqual((yield* tooNew.runToEnd).code, 0)
      assert.match(yield* tooNew.log, /this process has version 0\.3\.0, and a process of 0\.1\.x is in the cluster/)

      yield* three.start
      yield* rig.shared
      yield* answersForAll(one, rig.devices)
      yield* answersForAll(three, rig.devices)
      assert.strictEqual((yield* one.terminate).code, 0)
      yield* rig.shared
      yield* four.start
      assert.strictEqual((yield* two.terminate).code, 0)
      yield* rig.shared
      yield* answersForAll(four, rig.devices)

      rig.simulator.emitter.stop()
      yield* rig.settled
      const { exits, gapVerdict, verdict } = yield* rig.finish
      assert.deepStrictEqual(exits.map(({ code }) => code), [0, 0])
      assertSound(verdict)
      assert.deepStrictEqual([gapVerdict.unnamed, gapVerdict.untrue], [[], []])
    }))
})

/** The actor's own view of each device, from wherever it runs. A device that moves at the moment has none. */
const answersForAll = Effect.fnUntraced(function*(asked: ClusterRig.ClusterNode, ids: ReadonlyArray<string>) {
  const nodes = new Set<string>()
  for (const id of ids) {
    const connection = yield* untilSo(
      `${asked.name} has the answer of ${id}`,
      asked.get<{ readonly node: string; readonly hosted: object | null }>(`/api/v1/devices/${id}/connection`),
      ({ hosted }) => hosted !== null
    )
    nodes.add(connection.node)
  }
  assert.isAbove(nodes.size, 1)
})
