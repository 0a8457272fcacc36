/**
 * The events of a simulated world, line by line. Only a digest of all lines is kept, by which two runs of one seed are
 * compared; a caller can get the lines. No line has an id that was drawn at random.
 */
import { createHash } from "node:crypto"
import type { VirtualTime } from "./VirtualTime.ts"

export class Trace {
  readonly #hash = createHash("sha256")
  readonly #time: VirtualTime
  readonly #show: ((line: string) => void) | null
  lines = 0

  constructor(time: VirtualTime, show: ((line: string) => void) | null) {
    this.#time = time
    this.#show = show
  }

  add(what: string): void {
    this.lines++
    const line = `${formatTime(this.#time.now)} ${what}`
    this.#hash.update(line)
    this.#show?.(line)
  }

  /** Shown and not part of the digest. */
  note(what: string): void {
    this.#show?.(`${formatTime(this.#time.now)}   ${what}`)
  }

  get digest(): string {
    return this.#hash.copy().digest("hex").slice(0, 16)
  }
}

/** Hours, minutes and seconds since the world began, to the tenth of a millisecond. */
export const formatTime = (millis: number): string => {
  const hours = Math.floor(millis / 3_600_000)
  const minutes = Math.floor(millis / 60_000) % 60
  const seconds = (millis % 60_000) / 1000
  return `${String(hours).padStart(3, "0")}:${String(minutes).padStart(2, "0")}:${seconds.toFixed(4).padStart(7, "0")}`
}
