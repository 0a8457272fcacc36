/** Rows with faults of readers: the endpoint of a subscription, and a consumer of a queue. */
import type { Scenario } from "../Scenario.ts"
import { row, seconds, few } from "./row.ts"

const consumed = { load: few, consumer: true } as const

export const readers: ReadonlyArray<Scenario> = [
  row("readers", "endpoint-cut", "the network to a subscription's endpoint is cut for 10 s, twice", [
    [2, { do: "cut network", to: "endpoint", millis: seconds(10) }]
  ], { load: few }),
  row(
    "readers",
    "endpoint-black-hole",
    "the network drops the requests to the endpoint for 15 s, then its answers for 15 s",
    (["upstream", "downstream"] as const).map((direction) => [1, {
      do: "disturb network",
      to: "endpoint",
      direction,
      toxic: { type: "timeout", millis: 0 },
      millis: seconds(15)
    }]),
    { load: few, inOrder: true }
  ),
  row("readers", "endpoint-slow", "every answer of the endpoint is delayed by 500 ms for 10 s", [
    [1, {
      do: "disturb network",
      to: "endpoint",
      direction: "downstream",
      toxic: { type: "latency", millis: 500 },
      millis: seconds(10)
    }]
  ], { load: few }),
  row(
    "readers",
    "endpoint-errors",
    "the endpoint answers one request in fifty with 500, and then all with 503 for 10 s",
    [
      [1, { do: "fail endpoint", status: 500, chance: 0.02, millis: seconds(5) }],
      [1, { do: "fail endpoint", status: 503, chance: 1, millis: seconds(10) }]
    ],
    { load: few, settle: "5 minutes" }
  ),
  row("readers", "consumer-killed", "a consumer is killed five times while it processes messages", [
    [5, { do: "kill consumer" }]
  ], consumed),
  row("readers", "consumer-stuck", "a consumer acknowledges nothing until the broker closes its channel", [
    [1, { do: "freeze consumer", millis: seconds(12), patienceMillis: seconds(4) }]
  ], consumed),
  row("readers", "consumer-cancelled", "the queue of a consumer is deleted while it consumes, twice", [
    [2, { do: "delete consumer's queue" }]
  ], consumed),
  row("readers", "poison", "ten messages that a consumer cannot decode are put into its queue", [
    [1, { do: "poison queue", messages: 10 }]
  ], consumed),
  row("readers", "dead-letters-deleted", "20 messages are rejected while the queue of dead letters does not exist", [
    [1, { do: "reject without dead letters", messages: 20 }]
  ], { load: few })
]
