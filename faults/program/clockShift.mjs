/**
 * Loaded into the program before anything else (`node --import`): shifts its wall clock by the number of seconds in the file
 * of `COLUMBA_FAULTS_CLOCK`. The monotonic clock and all timers are unchanged.
 */
import { readFileSync } from "node:fs"

const file = process.env["COLUMBA_FAULTS_CLOCK"]
const RealDate = Date
let offset = 0

const read = () => {
  try {
    offset = Number(readFileSync(file, "utf8")) * 1000
  } catch {
    offset = 0
  }
}

if (file !== undefined) {
  read()
  setInterval(read, 50).unref()
  globalThis.Date = class extends RealDate {
    constructor(...args) {
      if (args.length === 0) super(RealDate.now() + offset)
      else super(...args)
    }
    static now() {
      return RealDate.now() + offset
    }
  }
}
