/** Rows with messages that the program's own consumer hands to a handler. */
import type { Scenario } from "../Scenario.ts"
import { afterRetry } from "../plants.ts"
import { brief, dies, row, seconds } from "./row.ts"

const handling = { load: { ...brief, rate: 200 }, handler: true, noEndpoint: true } as const

export const handlers: ReadonlyArray<Scenario> = [
  row("handlers", "handler-kill", "the program is killed four times while messages are handled", [
    [4, { do: "kill program" }]
  ], { ...handling, expect: dies }),
  row("handlers", "handler-broker", "RabbitMQ is killed, restarted and cut off while messages are handled", [
    [1, { do: "kill broker" }],
    [1, { do: "restart broker" }],
    [2, { do: "cut network", to: "broker", millis: seconds(2) }]
  ], handling),
  row("handlers", "handler-database", "Postgres is killed twice while messages are handled", [
    [2, { do: "kill database" }]
  ], handling),
  row(
    "handlers",
    "dead-letters-retried",
    "dead letters are retried; the program dies while one is in both its queue and the queue of dead letters; twice",
    [
      [2, { do: "retry dead letters", messages: 20 }]
    ],
    { ...handling, plant: afterRetry, expect: dies }
  )
]
