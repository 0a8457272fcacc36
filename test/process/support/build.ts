/** Builds the program as it is shipped, where sources changed; the process tests run nothing but `dist/main.js`. */
import { buildProgram, isProgramCurrent } from "../../../scripts/build.ts"

export default async function build(): Promise<void> {
  if (process.env["COLUMBA_TEST_MAIN"] === undefined && !isProgramCurrent()) await buildProgram()
}
