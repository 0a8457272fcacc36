/**
 * The handler of the rows: the one of examples/messageHandler.ts, which permanently refuses every message while a file exists.
 */
import { existsSync } from "node:fs"
import example from "../../examples/messageHandler.ts"

const refuses = () => existsSync(process.env["COLUMBA_FAULTS_REFUSES"] ?? "")

export default {
  name: example.name,
  handle: async (message) => {
    if (refuses()) throw Object.assign(new Error("refused by the row"), { permanent: true })
    return example.handle(message)
  }
}
