/** The rows of the fault suite. */
import type { Fault, Load, Scenario } from "./Scenario.ts"

const seconds = (count: number): number => count * 1000

/** Far from the limits of a small machine, so that what is seen is the fault and not a queue. */
const steady: Load = { devices: 50, events: 8_000, rate: 400 }
const short: Load = { devices: 20, events: 4_000, rate: 400 }

const row = (
  area: Scenario["area"],
  name: string,
  title: string,
  faults: ReadonlyArray<readonly [times: number, fault: Fault]>,
  more: Partial<Omit<Scenario, "faults" | "expect">> & { readonly expect?: Partial<Scenario["expect"]> } = {}
): Scenario => ({
  name,
  area,
  title,
  load: steady,
  dialect: "bridge",
  smoke: false,
  ...more,
  faults: faults.map(([times, fault]) => ({ times, fault })),
  expect: { missed: "none", survives: true, ...more.expect }
})

/** The program dies, so what was on its way into it may be missing, and is counted. */
const dies = { missed: "counted", survives: false } as const

/** Sockets are lost, so what was emitted without a socket may be missing. */
const hearsLess = { missed: "counted", survives: true } as const

export const scenarios: ReadonlyArray<Scenario> = [
  row("processes", "kill", "the program is killed (SIGKILL) five times and started again", [[5, {
    do: "kill program"
  }]], {
    expect: dies
  }),
  row("processes", "kill-smoke", "the program is killed (SIGKILL) twice and started again", [[2, {
    do: "kill program"
  }]], {
    load: short,
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
    "the program is stopped by SIGSTOP for 5 s, twice: as a paused machine, or a blocked event loop",
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
    { expect: hearsLess }
  ),
  row(
    "processes",
    "memory",
    "a heap of 256 MB, and 50,000 events as fast as the sockets take them while the database is away",
    [
      [1, { do: "freeze database", millis: seconds(8) }]
    ],
    {
      load: { devices: 50, events: 50_000, rate: 8_000 },
      env: { NODE_OPTIONS: "--max-old-space-size=256" },
      // At this rate one person repeats a reaction within a second, which is one reaction. Messages must all be there.
      expect: { missed: "counted", residentMax: 700 }
    }
  ),
  row(
    "processes",
    "files",
    "the program may open 96 files, fewer than its devices need while connections come and go",
    [
      [2, { do: "cut network", to: "gateway", millis: seconds(2) }]
    ],
    { wrapper: ["sh", "-c", "ulimit -n 96; exec \"$0\" \"$@\""], load: { ...short, devices: 40 }, expect: hearsLess }
  ),

  row("broker", "broker-restart", "RabbitMQ is restarted twice", [[2, { do: "restart broker" }]]),
  row("broker", "broker-kill", "RabbitMQ is killed twice while it takes messages", [[2, { do: "kill broker" }]]),
  row("broker", "broker-kill-smoke", "RabbitMQ is killed while it takes messages", [[1, { do: "kill broker" }]], {
    load: short,
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
  row("broker", "queue-full", "the guaranteed queue is full for 8 s and refuses", [
    [1, { do: "fill queue", millis: seconds(8) }]
  ]),
  row("broker", "broker-cut", "the network to RabbitMQ is cut for 3 s, three times", [
    [3, { do: "cut network", to: "broker", millis: seconds(3) }]
  ]),
  row("broker", "broker-black-hole", "the network to RabbitMQ swallows all answers for 15 s", [
    [1, {
      do: "disturb network",
      to: "broker",
      direction: "downstream",
      toxic: { type: "timeout", millis: 0 },
      millis: seconds(15)
    }]
  ]),

  row("database", "database-fast", "Postgres is restarted (fast) three times", [[3, {
    do: "restart database",
    mode: "fast"
  }]]),
  row("database", "database-immediate", "Postgres is restarted (immediate, as after a crash) three times", [
    [3, { do: "restart database", mode: "immediate" }]
  ]),
  row("database", "database-smoke", "Postgres is restarted (immediate, as after a crash)", [
    [1, { do: "restart database", mode: "immediate" }]
  ], { load: short, smoke: true }),
  row("database", "database-kill", "Postgres is killed (SIGKILL) three times", [[3, { do: "kill database" }]]),
  row("database", "database-freeze", "Postgres is stopped by SIGSTOP for 15 s", [
    [1, { do: "freeze database", millis: seconds(15) }]
  ]),
  row("database", "sessions", "all database sessions are ended by an administrator, ten times", [[10, {
    do: "end sessions"
  }]]),
  row("database", "sessions-smoke", "all database sessions are ended by an administrator, three times", [
    [3, { do: "end sessions" }]
  ], { load: short, smoke: true }),
  row("database", "database-slow", "every answer of Postgres is 300 ms late for 10 s", [
    [1, {
      do: "disturb network",
      to: "database",
      direction: "downstream",
      toxic: { type: "latency", millis: 300 },
      millis: seconds(10)
    }]
  ]),
  row("database", "table-locked", "somebody locks the table of events for 3 s, three times", [
    [3, { do: "lock table", millis: seconds(3) }]
  ]),
  row("database", "connections", "all connections of Postgres are taken for 8 s while the program's own are ended", [
    [1, { do: "take connections", millis: seconds(8) }]
  ]),
  row("database", "snapshot", "a transaction holds a snapshot of the whole log for 15 s", [
    [1, { do: "hold snapshot", millis: seconds(15) }]
  ]),
  row("database", "read-only", "the database refuses writes for 8 s, as a replica after a failover", [
    [1, { do: "refuse writes", millis: seconds(8) }]
  ]),
  row("database", "disk-full", "the database's disk is full for 8 s", [[1, { do: "fill disk", millis: seconds(8) }]]),
  row("database", "database-cut", "the network to Postgres is cut for 3 s, three times", [
    [3, { do: "cut network", to: "database", millis: seconds(3) }]
  ]),
  row("database", "database-black-hole", "the network to Postgres swallows all answers for 20 s", [
    [1, {
      do: "disturb network",
      to: "database",
      direction: "downstream",
      toxic: { type: "timeout", millis: 0 },
      millis: seconds(20)
    }]
  ]),
  row("database", "commit-order", "another process appends too, and its transactions stay open for 300 ms each", [
    [1, { do: "write beside", events: 30, openMillis: 300 }]
  ], { load: short, smoke: true }),

  row("gateway", "sockets-dropped", "the gateway drops all sockets (RST) five times", [
    [5, { do: "fault gateway", fault: { kind: "drop", reset: true }, millis: seconds(1) }]
  ], { expect: hearsLess }),
  row("gateway", "gateway-away", "the gateway is unreachable for 10 s: one incident for all its devices", [
    [1, { do: "cut network", to: "gateway", millis: seconds(10) }]
  ], { expect: hearsLess }),
  row("gateway", "half-open", "all sockets are half-open: TCP is up and nothing comes", [
    [1, { do: "fault gateway", fault: { kind: "half-open", forMillis: seconds(40) }, millis: seconds(40) }]
  ], { expect: hearsLess }),
  row("gateway", "junk", "one in ten events comes after a frame that cannot be read, text or binary", [
    [1, { do: "fault gateway", fault: { kind: "junk", probability: 0.1 }, millis: seconds(8) }],
    [1, { do: "fault gateway", fault: { kind: "binary", probability: 0.1 }, millis: seconds(8) }]
  ]),
  row("gateway", "duplicates", "the gateway sends every event three times", [
    [1, { do: "fault gateway", fault: { kind: "duplicate", copies: 3 }, millis: seconds(15) }]
  ]),
  row("gateway", "order", "the gateway sends events in another order, within a window of 20", [
    [1, { do: "fault gateway", fault: { kind: "reorder", window: 20 }, millis: seconds(10) }]
  ]),
  row("gateway", "refused", "the gateway drops all sockets and answers upgrades with 503 for 5 s", [
    [2, { do: "fault gateway", fault: { kind: "refuse", status: 503 }, also: { kind: "drop" }, millis: seconds(5) }]
  ], { expect: hearsLess }),

  row("gateway", "gowa-kill", "GOWA posts its events, and the program is killed three times", [[3, {
    do: "kill program"
  }]], {
    dialect: "gowa",
    load: short,
    expect: dies
  }),
  row("gateway", "gowa-ingress", "GOWA cannot reach the program for 10 s, then for 25 s: its five tries end before", [
    [1, { do: "cut network", to: "webhooks", millis: seconds(10) }],
    [1, { do: "cut network", to: "webhooks", millis: seconds(25) }]
  ], { dialect: "gowa", load: { devices: 20, events: 6_000, rate: 100 }, expect: hearsLess }),
  row("gateway", "gowa-database", "Postgres is restarted (immediate) twice while GOWA posts: 503, and it tries again", [
    [2, { do: "restart database", mode: "immediate" }]
  ], { dialect: "gowa", load: short, expect: hearsLess }),
  row("gateway", "waha-kill", "WAHA, and the program is killed three times", [[3, { do: "kill program" }]], {
    dialect: "waha",
    load: short,
    expect: dies
  }),
  row("gateway", "waha-dropped", "WAHA drops all sockets (RST) three times", [
    [3, { do: "fault gateway", fault: { kind: "drop", reset: true }, millis: seconds(1) }]
  ], { dialect: "waha", load: short, expect: hearsLess }),
  row("gateway", "waha-database", "Postgres is restarted (immediate) twice while WAHA sends", [
    [2, { do: "restart database", mode: "immediate" }]
  ], { dialect: "waha", load: short }),

  row("time", "clock", "the program's wall clock is set an hour ahead, two hours back, and right again", [
    [1, { do: "step clock", seconds: 3_600 }],
    [1, { do: "step clock", seconds: -3_600 }],
    [1, { do: "step clock", seconds: 0 }]
  ]),

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

/** Faults that the program survives as the same process, so that a trend of its memory can be seen. */
const lasting: ReadonlyArray<Fault> = [
  { do: "kill broker" },
  { do: "restart broker" },
  { do: "freeze broker", millis: seconds(12) },
  { do: "delete queue" },
  { do: "restart database", mode: "immediate" },
  { do: "kill database" },
  { do: "end sessions" },
  { do: "lock table", millis: seconds(3) },
  { do: "cut network", to: "database", millis: seconds(3) },
  { do: "cut network", to: "broker", millis: seconds(3) },
  { do: "cut network", to: "gateway", millis: seconds(3) },
  { do: "freeze program", millis: seconds(5) },
  { do: "fault gateway", fault: { kind: "drop", reset: true }, millis: seconds(1) },
  { do: "fault gateway", fault: { kind: "junk", probability: 0.1 }, millis: seconds(5) }
]

/** Events per second of the soak: a fleet of a few hundred numbers by day. */
const soakRate = 50

/** A fault per minute at a steady load: nothing may grow. */
export const makeSoak = (minutes: number): Scenario =>
  row(
    "all",
    "soak",
    `${minutes} minutes with a fault per minute: memory and open files stay level`,
    Array.from({ length: minutes }, (_, minute) => [1, lasting[minute % lasting.length]!] as const),
    {
      load: { devices: 100, events: minutes * 60 * soakRate, rate: soakRate },
      expect: { ...hearsLess, level: true }
    }
  )
