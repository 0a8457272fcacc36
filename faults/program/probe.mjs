/**
 * Loaded into the program before anything else: on SIGUSR2 it writes a snapshot of its heap, after a collection of garbage,
 * to the file that `COLUMBA_FAULTS_HEAP` names, and renames it when it is whole.
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
