/** Rows with faults of RabbitMQ. */
import type { Scenario } from "../Scenario.ts"
import { brief, row, seconds } from "./row.ts"

export const broker: ReadonlyArray<Scenario> = [
  row("broker", "broker-restart", "RabbitMQ is restarted twice", [[2, { do: "restart broker" }]]),
  row("broker", "broker-kill", "RabbitMQ is killed twice while it accepts messages", [[2, { do: "kill broker" }]]),
  row("broker", "broker-kill-smoke", "RabbitMQ is killed while it accepts messages", [[1, { do: "kill broker" }]], {
    load: brief,
    smoke: true
  }),
  row("broker", "broker-freeze", "RabbitMQ is stopped by SIGSTOP for 20 s: confirms come late, or never", [
    [1, { do: "freeze broker", millis: seconds(20) }]
  ]),
  row("broker", "memory-alarm", "RabbitMQ has a memory alarm for 15 s and blocks publishers", [
    [1, { do: "alarm broker", of: "memory", millis: seconds(15) }]
  ]),
  row("broker", "disk-alarm", "RabbitMQ has a disk alarm for 15 s and blocks publishers", [
    [1, { do: "alarm broker", of: "disk", millis: seconds(15) }]
  ]),
  row("broker", "queue-deleted", "the guaranteed queue is deleted three times", [[3, { do: "delete queue" }]]),
  row("broker", "permissions", "the program's user loses its permissions for 8 s", [
    [1, { do: "revoke permissions", millis: seconds(8) }]
  ]),
  row("broker", "queue-full", "the guaranteed queue is full for 8 s and refuses messages", [
    [1, { do: "fill queue", millis: seconds(8) }]
  ]),
  row("broker", "broker-cut", "the network to RabbitMQ is cut for 3 s, three times", [
    [3, { do: "cut network", to: "broker", millis: seconds(3) }]
  ]),
  row("broker", "broker-black-hole", "the network drops all answers of RabbitMQ for 15 s", [
    [1, {
      do: "disturb network",
      to: "broker",
      direction: "downstream",
      toxic: { type: "timeout", millis: 0 },
      millis: seconds(15)
    }]
  ])
]
