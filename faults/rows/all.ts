/** Everything at once, and time. */
import type { Scenario } from "../Scenario.ts"
import { dies, row, seconds } from "./row.ts"

export const all: ReadonlyArray<Scenario> = [
  row("time", "clock", "the program's wall clock is set an hour ahead, two hours back, and to the correct time", [
    [1, { do: "step clock", seconds: 3_600 }],
    [1, { do: "step clock", seconds: -3_600 }],
    [1, { do: "step clock", seconds: 0 }]
  ], { inOrder: true }),

  row(
    "all",
    "headline",
    "100,000 events with 20 kills of the program, 10 of RabbitMQ and 5 immediate restarts of Postgres",
    [
      [20, { do: "kill program" }],
      [10, { do: "kill broker" }],
      [5, { do: "restart database", mode: "immediate" }]
    ],
    { load: { devices: 100, events: 100_000, rate: 400 }, expect: dies }
  ),
  row("all", "everything", "a seeded mix of faults of processes, RabbitMQ, Postgres and the network", [
    [2, { do: "kill program" }],
    [1, { do: "stop program" }],
    [1, { do: "kill broker" }],
    [1, { do: "freeze broker", millis: seconds(12) }],
    [1, { do: "restart database", mode: "immediate" }],
    [1, { do: "kill database" }],
    [2, { do: "end sessions" }],
    [2, { do: "cut network", to: "database", millis: seconds(2) }],
    [2, { do: "cut network", to: "broker", millis: seconds(2) }],
    [2, { do: "cut network", to: "gateway", millis: seconds(2) }],
    [1, { do: "delete queue" }],
    [1, { do: "lock table", millis: seconds(2) }]
  ], { load: { devices: 50, events: 30_000, rate: 400 }, expect: dies })
]
