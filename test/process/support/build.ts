/** Builds the program as it is shipped, if sources have changed. The process tests run only `dist/main.js`. */
import { buildProgram, isProgramCurrent } from "../../../scripts/build.ts"

export default async function build(): Promise<void> {
  if (process.env["COLUMBA_TEST_MAIN"] === undefined && !isProgramCurrent()) await buildProgram()
}
