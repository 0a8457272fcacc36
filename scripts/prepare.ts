/**
 * Runs at the end of `npm ci` and `npm install`: builds the program, so that `node dist/main.js` and `npx columba` work
 * at once, and deletes the runtime's files in node_modules for compiling native addons, of which there are none.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { buildProgram } from "./build.ts"
import { isProgramCurrent, root } from "./stamp.ts"

/** Headers and manual pages of Node: a third of its size. */
const unused = ["include", "share"]

const trimRuntime = (): void => {
  const packages = path.join(root, "node_modules/node/node_modules")
  if (!fs.existsSync(packages)) return
  for (const name of fs.readdirSync(packages).filter((name) => /^node-(bin-)?(darwin|linux|win)-/.test(name))) {
    for (const folder of unused) fs.rmSync(path.join(packages, name, folder), { recursive: true, force: true })
  }
}

trimRuntime()
if (!isProgramCurrent()) await buildProgram()
