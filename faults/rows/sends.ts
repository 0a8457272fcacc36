/** Rows with messages that a client has sent while the load runs. */
import type { Scenario } from "../Scenario.ts"
import type { FaultOf as GatewayFaultOf } from "../../src/simulator/FaultPlan.ts"
import { afterAnswer } from "../plants.ts"
import { dies, row, seconds } from "./row.ts"
import type { More } from "./row.ts"

/** 30 messages per second in addition to the events. */
const sending: More = {
  load: { devices: 20, events: 3_000, rate: 150 },
  sends: 600,
  // A message is proven unsent 90 s after it was claimed, and the gateway may have been silent for 60 s before.
  settle: "4 minutes"
}

const kills = [[4, { do: "kill program" }]] as const

const strike = (settings: Omit<GatewayFaultOf<"send">, "kind">) =>
  [1, { do: "fault gateway", fault: { kind: "send", ...settings }, millis: seconds(3) }] as const

export const sends: ReadonlyArray<Scenario> = [
  row("sends", "sends-kill", "the program is killed four times while it sends messages", kills, {
    ...sending,
    expect: dies
  }),
  row("sends", "gowa-sends-kill", "GOWA: the program is killed four times while it sends messages", kills, {
    ...sending,
    dialect: "gowa",
    expect: dies
  }),
  row("sends", "waha-sends-kill", "WAHA: the program is killed four times while it sends messages", kills, {
    ...sending,
    dialect: "waha",
    expect: dies
  }),
  row(
    "sends",
    "sends-die",
    "the program dies between the gateway's answer to a message and its record of it, three times",
    [
      [3, { do: "die where planted" }]
    ],
    { ...sending, plant: afterAnswer, expect: dies }
  ),
  row(
    "sends",
    "sends-stop",
    "the program is stopped (SIGTERM) four times while the gateway does not answer, whether it sends messages or not",
    [
      [2, { do: "stop program while it sends", sent: true }],
      [2, { do: "stop program while it sends", sent: false }]
    ],
    { ...sending, expect: dies }
  ),
  row(
    "sends",
    "sends-reset",
    "one in five messages is sent and the connection reset; not sent and reset; sent without an answer; sent and answered with 502",
    [
      strike({ when: "after", probability: 0.2 }),
      strike({ when: "before", probability: 0.2 }),
      strike({ when: "after", answer: "none", probability: 0.2 }),
      strike({ when: "after", status: 502, probability: 0.2 })
    ],
    sending
  ),
  row(
    "sends",
    "sends-database",
    "Postgres is killed twice while messages are sent",
    [[2, { do: "kill database" }]],
    sending
  )
]
