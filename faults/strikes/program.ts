/** Faults of the program itself. */
import { rmSync, writeFileSync } from "node:fs"
import { Effect } from "effect"
import { until } from "../../test/support/until.ts"
import type { Arrangement } from "../Arrangement.ts"
import { wait } from "./shared.ts"
import type { Strike } from "./shared.ts"

/** The supervisor's time limit in docs/operating.md. */
const stopMax = 30_000

/** Minimum number of unanswered messages when the program is stopped. */
const unansweredMin = 3

export const kill: Strike<"kill program"> = (on) => Effect.andThen(on.columba.kill, on.columba.start)

export const killTwice: Strike<"kill program twice"> = (on, { apartMillis }) =>
  on.columba.kill.pipe(
    Effect.andThen(on.columba.start),
    Effect.andThen(wait(apartMillis)),
    Effect.andThen(on.columba.kill),
    Effect.andThen(on.columba.start)
  )

const planted = <A, E, R>(on: Arrangement, during: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => writeFileSync(on.plantFile, "")),
    () => during,
    () => Effect.sync(() => rmSync(on.plantFile, { force: true }))
  )

/** `leading`: the action that makes it reach the planted place, where nothing else does. */
export const dieThere = (on: Arrangement, leading: Effect.Effect<void> = Effect.void) =>
  planted(
    on,
    Effect.andThen(leading, until("the program dies", Effect.map(on.columba.running, (running) => !running)))
  ).pipe(Effect.andThen(on.columba.start))

export const dieWherePlanted: Strike<"die where planted"> = (on) => dieThere(on)

export const actWherePlanted: Strike<"act where planted"> = (on, { millis }) => planted(on, wait(millis))

const end = Effect.fnUntraced(function*(on: Arrangement) {
  const { code, millis } = yield* on.columba.terminate
  if (code === 0 && millis <= stopMax) return
  return yield* Effect.die(new Error(`The program ended with ${code} after ${Math.round(millis)} ms`))
})

export const stop: Strike<"stop program"> = (on) => Effect.andThen(end(on), on.columba.start)

export const stopWhileSending: Strike<"stop program while it sends"> = (on, { sent }) =>
  Effect.acquireUseRelease(
    on.simulator.addFault({ kind: "send", when: sent ? "after" : "before", answer: "none" }),
    () =>
      Effect.andThen(
        until(
          "messages are left without an answer",
          Effect.map(on.simulator.strikes, (strikes) => strikes >= unansweredMin)
        ),
        end(on)
      ),
    () => on.simulator.clearFaults
  ).pipe(Effect.andThen(on.columba.start))

export const freeze: Strike<"freeze program"> = (on, { millis }) =>
  on.columba.freeze.pipe(Effect.andThen(wait(millis)), Effect.andThen(on.columba.thaw))
