/** One process of a cluster: the built program with the settings of a node. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"
import { freshDirectory } from "../../support/directory.ts"
import { freePort } from "../../support/servers/ServerHome.ts"
import * as ColumbaProcess from "./ColumbaProcess.ts"

export interface ClusterNode extends ColumbaProcess.ColumbaProcess {
  /** Its name in the cluster. */
  readonly name: string
}

const clockShift = join(import.meta.dirname, "../../../faults/program/clockShift.mjs")

/** Of all nodes. */
export const secretKey = Buffer.alloc(32, 7).toString("base64")

/** Not started yet. */
export const make = Effect.fnUntraced(function*(options: {
  /** In addition to the settings of a node: where its database, broker and gateway are. */
  readonly env: Readonly<Record<string, string>>
  /** The time for which a killed node keeps its devices. */
  readonly lease: string
  /** Seconds by which its wall clock is ahead. */
  readonly clockAhead?: number | undefined
  /** Its `main.js`, if another than the one just built. */
  readonly program?: string | undefined
}): Effect.fn.Return<ClusterNode, never, Scope.Scope> {
  const { clockAhead = 0, env, lease, program } = options
  const port = yield* freePort
  const directory = yield* freshDirectory
  const clockFile = join(directory, "clock")
  writeFileSync(clockFile, String(clockAhead))
  const node = yield* ColumbaProcess.make({
    directory,
    program,
    env: {
      COLUMBA_FAULTS_CLOCK: clockFile,
      COLUMBA_SECRET_KEY: secretKey,
      COLUMBA_CLUSTER: "on",
      COLUMBA_NODE_PORT: String(port),
      COLUMBA_CLUSTER_LEASE: lease,
      ...env,
      NODE_OPTIONS: `--import=${clockShift} ${env["NODE_OPTIONS"] ?? ""}`
    }
  })
  return { ...node, name: `127.0.0.1:${port}` }
})
