/**
 * Planned moves under load, of a node that joins and of nodes that are stopped: the gateway is the witness that devices have
 * a socket all the time, that none has three, and that none keeps two. Emitted events are in the log, or lie in a named gap;
 * a device that was never without a socket has none.
 */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { freshVhost } from "../support/broker.ts"
import { assertSound, report } from "../support/Checker.ts"
import { freshDatabase } from "../support/database.ts"
import * as ClusterRig from "./support/ClusterRig.ts"

const devices = 120

/** Events per second. */
const rate = 150

/** The time in which a node listens for a device that it has released, and that of the gateway's answer to its end. */
const overlapMax = 20_000

/** On a busy machine the next socket of this many devices may come after the time in which the first one is kept. */
const darkMax = devices / 20

it.live("devices that move from one node to another have a socket all the time, and no gap", () =>
  Effect.gen(function*() {
    const rig = yield* ClusterRig.make({
      databaseUrl: yield* freshDatabase,
      rabbitUrl: yield* freshVhost,
      devices,
      nodes: 3,
      idle: 1,
      seed: "hand-over",
      lease: "20 seconds"
    })
    const [, two, three] = rig.nodes as [ClusterRig.ClusterNode, ClusterRig.ClusterNode, ClusterRig.ClusterNode]
    const { sockets } = rig
    yield* rig.shared
    yield* rig.still
    rig.simulator.emit({ rate })
    yield* rig.emitted(300)

    const moves: Array<string> = []
    const move = Effect.fnUntraced(function*(what: string, happens: Effect.Effect<unknown>) {
      const since = performance.now()
      const closed = sockets.closed()
      yield* happens
      yield* rig.shared
      yield* rig.still
      const { devices: both, longest, most } = sockets.overlaps(since)
      const dark = sockets.dark(since)
      const moved = sockets.closed() - closed
      moves.push(
        `${what}: ${moved} moved, ${both.size} with two sockets for at most ${
          Math.round(longest)
        } ms, ${dark.length} dark` +
          (dark.length === 0
            ? ""
            : ` for ${Math.round(quantile(dark, 0.5))} (p50) and ${Math.round(dark.at(-1)!)} ms (most)`)
      )
      assert.isAbove(moved, devices / 10)
      assert.isAtMost(most, 2)
      assert.isBelow(longest, overlapMax)
      assert.isAtMost(dark.length, darkMax)
      return dark.length
    })

    let dark = yield* move("a node joins", three.start)
    let millis = 0
    const stop = Effect.gen(function*() {
      const exited = yield* two.terminate
      assert.strictEqual(exited.code, 0)
      millis = exited.millis
    })
    dark += yield* move("a node is stopped", stop)
    dark += yield* move("it joins again", two.start)

    // The last confirmations are settled, so that a gap would be in the ledger.
    yield* rig.emitted(rig.simulator.ledger.count + 20 * rate)
    rig.simulator.emitter.stop()
    yield* rig.settled
    const { exits, gapVerdict, gaps, verdict } = yield* rig.finish
    console.log(`${moves.join("; ")}; the stop took ${Math.round(millis)} ms; ${report(verdict)}; ${gaps.length} gaps`)
    assert.deepStrictEqual(exits.map(({ code }) => code), [0, 0, 0])
    assertSound(verdict)
    assert.deepStrictEqual([gapVerdict.unnamed, gapVerdict.untrue], [[], []])
    assert.isAtMost(gaps.length, dark)
  }))

const quantile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.floor(sorted.length * share)] ?? 0
