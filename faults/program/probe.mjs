/**
 * Loaded into the program before anything else: on SIGUSR2 it collects garbage, writes a heap snapshot
 * to the file of `COLUMBA_FAULTS_HEAP`, and renames it when it is complete.
 */
import { renameSync } from "node:fs"
import { writeHeapSnapshot } from "node:v8"

const file = process.env["COLUMBA_FAULTS_HEAP"]

if (file !== undefined) {
  process.on("SIGUSR2", () => {
    writeHeapSnapshot(`${file}.part`)
    renameSync(`${file}.part`, file)
  })
}
