/** The program over a simulated gateway of the test's own process, whose ledger the test reads. */
import { Effect } from "effect"
import { start as startSimulator } from "../../../src/simulator/SimulatedGateway.ts"
import { freshDirectory } from "../../support/directory.ts"
import { until } from "../../support/until.ts"
import * as ColumbaProcess from "./ColumbaProcess.ts"
import { addDevices } from "./viaApi.ts"

/** With `devices` devices, all of them online. `databaseUrl` null: the embedded database. */
export const startSimulated = Effect.fnUntraced(function*(options: {
  readonly seed: string
  readonly devices: number
  readonly databaseUrl: string | null
}) {
  const { databaseUrl, devices, seed } = options
  const { core, url } = yield* Effect.orDie(startSimulator({ seed }))
  const columba = yield* ColumbaProcess.make({
    directory: yield* freshDirectory,
    env: { WHATSAPP_API_URL: url, ...(databaseUrl === null ? undefined : { DATABASE_URL: databaseUrl }) }
  })
  yield* columba.start
  const ids = [...(yield* addDevices(columba, devices)).keys()]
  yield* until("every device is online", Effect.sync(() => core.stats().sockets === devices))
  return { core, columba, ids }
})
