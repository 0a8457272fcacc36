/** The program under test as it is shipped. */
import { join } from "node:path"

export const builtMain = process.env["COLUMBA_TEST_MAIN"] ?? join(import.meta.dirname, "../dist/main.js")
