/** Builds the program once, as it is shipped; the process tests run nothing but `dist/main.js`. */
import { execFile } from "node:child_process"
import { promisify } from "node:util"

export default async function build(): Promise<void> {
  if (process.env["COLUMBA_TEST_BUILT"] === "1") return
  await promisify(execFile)(process.execPath, ["scripts/build.ts"])
}
