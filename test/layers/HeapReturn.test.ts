/** When V8 is asked to save memory. The effect in V8 is measured by the benchmark of idle devices. */
import { assert, describe, it } from "@effect/vitest"
import { HeapWatch } from "../../src/layers/HeapReturn.ts"

const mib = 1024 * 1024
/** A fleet that only pings, and one with a thousand events per second. */
const [idle, busy] = [0.05, 0.2]

/** The answers to looks of one kind in a row. */
const looks = (watch: HeapWatch, count: number, heap: number, share: number): ReadonlyArray<boolean> =>
  Array.from({ length: count }, () => watch.look({ heap: heap * mib, busy: share }))

describe("the heap after a burst", () => {
  it("is shrunk once the process has been idle for a while, and for a bounded time", () => {
    const watch = new HeapWatch()
    assert.notInclude(looks(watch, 3, 100, idle), true, "a process that has just started")
    assert.notInclude(looks(watch, 20, 240, busy), true, "a rush")
    assert.deepStrictEqual(looks(watch, 3, 240, idle), [false, false, true])
    assert.deepStrictEqual(looks(watch, 6, 150, idle), [true, true, true, true, true, false])
    assert.notInclude(looks(watch, 200, 150, idle), true, "what is left is in use")
  })

  it("is left unrestricted at once when load returns", () => {
    const watch = new HeapWatch()
    looks(watch, 1, 100, idle)
    assert.isTrue(looks(watch, 3, 240, idle).at(-1))
    assert.deepStrictEqual(looks(watch, 1, 240, busy), [false])
  })

  it("is not restricted if it has not grown, however long the process is idle", () => {
    const watch = new HeapWatch()
    looks(watch, 1, 100, idle)
    assert.notInclude(looks(watch, 500, 131, idle), true)
  })

  it("is shrunk again after the next burst, but not after each of many", () => {
    const watch = new HeapWatch()
    looks(watch, 1, 100, idle)
    let times = 0
    let before = false
    for (let rush = 0; rush < 100; rush++) {
      for (
        const tight of [...looks(watch, 2, 240, busy), ...looks(watch, 5, 240, idle), ...looks(watch, 1, 100, idle)]
      ) {
        if (tight && !before) times++
        before = tight
      }
    }
    // Eight looks of five seconds each: more than an hour in all.
    assert.isAtLeast(times, 10)
    assert.isAtMost(times, 13)
  })
})
