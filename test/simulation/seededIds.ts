/**
 * Event ids contain random bytes that the program draws from Node. While a simulation runs, these bytes follow from its
 * seed, so that two runs of one seed create the same ids. It replaces a function of Node for the whole process: one
 * simulation runs at a time.
 */
import crypto from "node:crypto"
import { syncBuiltinESMExports } from "node:module"
import { makeEventId } from "../../src/services/EventIdentity.ts"
import { seeded } from "../../src/simulator/Seeded.ts"

/** Runs with random bytes of this seed. */
export const withSeededIds = async <A>(seed: string, run: () => Promise<A>): Promise<A> => {
  const random = seeded(`${seed}/ids`)
  const original = crypto.randomFillSync
  let filled = false
  crypto.randomFillSync = <Bytes extends ArrayBufferLike | NodeJS.ArrayBufferView>(buffer: Bytes): Bytes => {
    filled = true
    const bytes = ArrayBuffer.isView(buffer)
      ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
      : new Uint8Array(buffer)
    for (let at = 0; at < bytes.length; at++) bytes[at] = Math.floor(random.next() * 256)
    return buffer
  }
  syncBuiltinESMExports()
  try {
    // Bytes are drawn in advance: earlier ones are used up first.
    while (!filled) makeEventId(0)
    return await run()
  } finally {
    crypto.randomFillSync = original
    syncBuiltinESMExports()
  }
}
