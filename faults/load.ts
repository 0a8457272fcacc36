/**
 * How a row's load is emitted. A row of one program emits in parts, one for each fault, so that it emits the exact number. A row of
 * a cluster emits all the time: it tests what happens while devices move from one node to another.
 */
import { Effect } from "effect"
import { until } from "../test/support/until.ts"
import type { Moment } from "./moments.ts"
import type { Scenario } from "./Scenario.ts"
import type { SimulatorProcess } from "./parties/SimulatorProcess.ts"

export interface RunningLoad {
  /** Returns when the fault of this moment is due. */
  readonly untilStrike: (moment: Moment) => Effect.Effect<void>
  /** Returns when the part of the load in which it struck is emitted. */
  readonly untilEnd: (moment: Moment) => Effect.Effect<void>
  /** Stops emitting. */
  readonly stop: Effect.Effect<void>
}

const partMax = "15 minutes"

export const start = ({ cluster, load: { rate } }: Scenario, simulator: SimulatorProcess) => {
  const events = Effect.map(simulator.stats, (stats) => stats.events)
  const emitted = (count: number) =>
    until(`${count} events were emitted`, Effect.map(events, (so) => so >= count), partMax)
  let begun = 0
  /** Number of events emitted before this part, in addition to those of the plan. */
  let beyond = 0
  if (cluster === undefined) {
    return Effect.succeed<RunningLoad>({
      untilStrike: ({ at, end }) =>
        Effect.suspend(() => {
          const count = end - begun
          begun = end
          return Effect.andThen(simulator.emit({ count, rate }), emitted(at))
        }),
      untilEnd: () =>
        until(
          "the part of the load was emitted",
          Effect.map(simulator.stats, ({ jobs }) => jobs.length === 0),
          partMax
        ),
      stop: Effect.void
    })
  }
  const always: RunningLoad = {
    untilStrike: ({ at }) => Effect.suspend(() => emitted(beyond + at)),
    untilEnd: ({ end }) =>
      Effect.gen(function*() {
        yield* emitted(beyond + end)
        beyond = (yield* events) - end
      }),
    stop: simulator.stopEmitting
  }
  return Effect.as(simulator.emit({ rate }), always)
}
