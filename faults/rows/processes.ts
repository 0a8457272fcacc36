/** Rows with faults of the program itself. */
import type { Scenario } from "../Scenario.ts"
import { afterCommit, afterConfirm, defect } from "../plants.ts"
import { brief, dies, losesSockets, row, seconds, short } from "./row.ts"

export const processes: ReadonlyArray<Scenario> = [
  row("processes", "kill", "the program is killed (SIGKILL) five times and started again", [[5, {
    do: "kill program"
  }]], {
    expect: dies
  }),
  row("processes", "kill-smoke", "the program is killed (SIGKILL) twice and started again", [[2, {
    do: "kill program"
  }]], {
    load: brief,
    expect: dies,
    smoke: true
  }),
  row(
    "processes",
    "crash-loop",
    "the program is killed, and again 7 s after it was ready, while it reads histories; twice",
    [
      [2, { do: "kill program twice", apartMillis: seconds(7) }]
    ],
    { load: short, expect: dies }
  ),
  row("processes", "deploy", "the program is stopped (SIGTERM) five times, as by deployments", [[5, {
    do: "stop program"
  }]], {
    expect: dies
  }),
  row(
    "processes",
    "freeze",
    "the program is stopped by SIGSTOP for 5 s, twice, like a paused machine or a blocked event loop",
    [
      [2, { do: "freeze program", millis: seconds(5) }]
    ]
  ),
  row(
    "processes",
    "freeze-long",
    "the program is stopped by SIGSTOP for 60 s, longer than every timeout of its peers",
    [
      [1, { do: "freeze program", millis: seconds(60) }]
    ],
    { expect: losesSockets }
  ),
  row(
    "processes",
    "memory",
    "a heap of 256 MB, and 50,000 events as fast as the sockets accept them while the database does not answer",
    [
      [1, { do: "freeze database", millis: seconds(8) }]
    ],
    {
      load: { devices: 50, events: 50_000, rate: 8_000 },
      noEndpoint: true,
      env: { NODE_OPTIONS: "--max-old-space-size=256" },
      // At this rate one person repeats a reaction within a second, which is one reaction. Messages must all be there.
      expect: { missed: "counted", residentMax: 700 }
    }
  ),
  row(
    "processes",
    "files",
    "the program may open 96 files, fewer than its devices need while they reconnect",
    [
      [2, { do: "cut network", to: "gateway", millis: seconds(2) }]
    ],
    { wrapper: ["sh", "-c", "ulimit -n 96; exec \"$0\" \"$@\""], load: { ...short, devices: 40 }, expect: losesSockets }
  ),
  row(
    "processes",
    "die-after-commit",
    "the program dies between the commit of a GOWA webhook and its answer, three times",
    [
      [3, { do: "die where planted" }]
    ],
    { dialect: "gowa", load: short, plant: afterCommit, expect: dies }
  ),
  row(
    "processes",
    "die-after-confirm",
    "the program dies after RabbitMQ's confirm and before the cursor moves, three times",
    [
      [3, { do: "die where planted" }]
    ],
    { load: short, plant: afterConfirm, expect: dies }
  ),
  row("processes", "defect", "the frames of one device make its actor fail for 10 s; the others are not affected", [
    [1, { do: "act where planted", millis: seconds(10) }]
  ], { load: short, plant: defect, settle: "8 minutes", expect: losesSockets })
]
