/**
 * Rows with faults of the gateway and the connection to it, in every dialect in which the fault can happen. A row has its name of the
 * `bridge` dialect, prefixed by the dialect in the others.
 */
import type { SimulatedDialect } from "../../src/simulator/Dialect.ts"
import type { Fault as GatewayFault } from "../../src/simulator/FaultPlan.ts"
import type { Scenario } from "../Scenario.ts"
import { dies, few, losesSockets, row, seconds } from "./row.ts"
import type { More, Struck } from "./row.ts"

const dialects: ReadonlyArray<SimulatedDialect> = ["bridge", "gowa", "waha"]

const labels: Readonly<Record<SimulatedDialect, string>> = { bridge: "", gowa: "GOWA: ", waha: "WAHA: " }

const inDialects = (
  name: string,
  title: string,
  faults: Struck | ((dialect: SimulatedDialect) => Struck),
  more: More | ((dialect: SimulatedDialect) => More) = {},
  only: ReadonlyArray<SimulatedDialect> = dialects
): ReadonlyArray<Scenario> =>
  only.map((dialect) =>
    row(
      "gateway",
      dialect === "bridge" ? name : `${dialect}-${name}`,
      `${labels[dialect]}${title}`,
      typeof faults === "function" ? faults(dialect) : faults,
      { load: few, ...(typeof more === "function" ? more(dialect) : more), dialect }
    )
  )

/** GOWA's events come as webhooks: without its socket nothing is missed. */
const withoutSocket = (dialect: SimulatedDialect): More => dialect === "gowa" ? {} : { expect: losesSockets }

const strike = (fault: GatewayFault, millis: number, also: ReadonlyArray<GatewayFault> = []) =>
  ({ do: "fault gateway", fault, also, millis }) as const

const drop = { kind: "drop", reset: true } as const

const refuseFor = (count: number) => strike({ kind: "refuse", status: 503 }, seconds(count), [drop])

/** 1,000 devices that reconnect at once; GOWA itself starts one after the other, for 300 ms each. */
const fleet = (dialect: SimulatedDialect): More => ({
  load: { devices: dialect === "bridge" ? 1_000 : dialect === "waha" ? 200 : 30, events: 4_000, rate: 150 },
  expect: losesSockets
})

export const gateway: ReadonlyArray<Scenario> = [
  ...inDialects("dropped", "the gateway drops all sockets (RST) three times", [
    [3, strike(drop, seconds(1))]
  ], withoutSocket),
  ...inDialects("away", "the gateway is unreachable for 10 s: one incident for all its devices", [
    [1, { do: "cut network", to: "gateway", millis: seconds(10) }]
  ], withoutSocket),
  ...inDialects(
    "unresolved",
    "the gateway's name does not resolve for 10 s, and its sockets are dropped",
    [
      [1, { do: "unresolve gateway", millis: seconds(10) }]
    ],
    withoutSocket,
    ["bridge"]
  ),
  ...inDialects("half-open", "all sockets are half-open: TCP is up and nothing arrives", [
    [1, strike({ kind: "half-open", forMillis: seconds(40) }, seconds(40))]
  ], withoutSocket),
  ...inDialects(
    "deaf",
    "sockets answer pings, but no event arrives for 15 s, by socket or webhook: only the history has them",
    [
      [1, strike({ kind: "mute" }, seconds(15))]
    ],
    { load: { devices: 20, events: 4_000, rate: 100 }, expect: losesSockets }
  ),
  ...inDialects("junk", "one in ten events follows a frame that cannot be decoded, text or binary", [
    [1, strike({ kind: "junk", probability: 0.1 }, seconds(4))],
    [1, strike({ kind: "binary", probability: 0.1 }, seconds(4))]
  ]),
  ...inDialects("huge", "one in two hundred events follows a frame of 3 MiB", [
    [1, strike({ kind: "huge", bytes: 3 * 1024 * 1024, probability: 0.005 }, seconds(5))]
  ]),
  ...inDialects("duplicates", "the gateway sends every event three times", [
    [1, strike({ kind: "duplicate", copies: 3 }, seconds(8))]
  ]),
  ...inDialects("order", "the gateway sends events in another order, within a window of 20", [
    [1, strike({ kind: "reorder", window: 20 }, seconds(6))]
  ]),
  ...inDialects(
    "dated",
    "events are dated a year ahead, to 1970, not at all and with invalid times; then nothing arrives for a while",
    (dialect) => [
      [1, strike({ kind: "dated", as: "future", probability: 0.3 }, seconds(2))],
      [1, strike({ kind: "dated", as: "ancient", probability: 0.3 }, seconds(2))],
      [1, strike({ kind: "dated", as: "missing", probability: 0.3 }, seconds(2))],
      [1, strike({ kind: "dated", as: "text", probability: 0.3 }, seconds(2))],
      [1, dialect === "gowa" ? { do: "cut network", to: "webhooks", millis: seconds(30) } : refuseFor(5)]
    ],
    { inOrder: true, load: { devices: 10, events: 3_000, rate: 150 }, expect: losesSockets }
  ),
  ...inDialects("poisoned", "one message in five is repeated under its id with another text: the first one remains", [
    [1, strike({ kind: "poison", probability: 0.2 }, seconds(6))]
  ]),
  ...inDialects("wrong-device", "for 5 s the events of one device name another device", [
    [1, strike({ kind: "wrong-device", as: "slot-2", devices: ["slot-1"] }, seconds(5))]
  ], { expect: losesSockets }),
  ...inDialects(
    "taken-back",
    "while long histories are read, messages are revoked between two pages",
    [
      [
        1,
        strike({ kind: "shrink", rows: 3 }, seconds(20), [{ kind: "refuse", status: 503, forMillis: seconds(6) }, drop])
      ]
    ],
    { load: { devices: 4, events: 4_000, rate: 250 }, expect: losesSockets },
    ["bridge", "waha"]
  ),
  ...inDialects("refused", "the gateway drops all sockets and answers upgrades with 503 for 5 s, twice", [
    [2, strike({ kind: "refuse", status: 503 }, seconds(5), [drop])]
    // On a machine on which the five seconds become twenty, ten losses may take a device out of service for five minutes.
  ], (dialect) => ({ ...withoutSocket(dialect), settle: "8 minutes" })),
  ...inDialects("limited", "the gateway drops all sockets and answers upgrades with 429 and Retry-After for 6 s", [
    [1, strike({ kind: "refuse", status: 429, retryAfter: "5" }, seconds(6), [drop])]
  ], withoutSocket),
  ...inDialects("hang", "the gateway drops all sockets and completes no handshake for 15 s", [
    [1, strike({ kind: "hang" }, seconds(15), [drop])]
  ], withoutSocket),
  ...inDialects(
    "credentials",
    "the gateway refuses the credentials for 30 s: few attempts, and an operator reconnects",
    (dialect) => [
      [1, {
        do: "refuse credentials",
        status: 401,
        ...(dialect === "waha" ? { code: 1008 } : undefined),
        millis: seconds(30)
      }]
    ],
    (dialect) => ({
      load: { devices: 10, events: 1_000, rate: 100 },
      settle: "6 minutes",
      // The first connections, one more each by chance, a refused one, and one by the operator.
      expect: { ...withoutSocket(dialect).expect, attemptsMax: dialect === "gowa" ? 8 : 40 }
    })
  ),
  ...inDialects("errors", "a third of all requests gets 500, 502 or 504 for 10 s, and sockets are dropped", [
    [
      1,
      strike({ kind: "http", status: 500, probability: 0.1 }, seconds(10), [
        { kind: "http", status: 502, probability: 0.1 },
        { kind: "http", status: 504, probability: 0.1 },
        drop
      ])
    ]
  ], withoutSocket),
  ...inDialects("slow", "every request is answered after 20 s, and sockets are dropped", [
    [1, strike({ kind: "http", millis: seconds(20) }, seconds(25), [drop])]
  ], withoutSocket),
  ...inDialects("trickle", "the gateway's data arrives at 5 KB per second on each connection for 15 s", [
    [1, {
      do: "disturb network",
      to: "gateway",
      direction: "downstream",
      toxic: { type: "bandwidth", bytesPerSecond: 5_000 },
      millis: seconds(15)
    }]
  ]),
  ...inDialects("delayed", "the gateway's data arrives 6 s late on each connection for 10 s", [
    [1, {
      do: "disturb network",
      to: "gateway",
      direction: "downstream",
      toxic: { type: "latency", millis: seconds(6) },
      millis: seconds(10)
    }]
  ]),
  ...inDialects("exit", "the gateway's process ends and starts again after 10 s, with all its devices", [
    [1, { do: "restart gateway", millis: seconds(10) }]
  ], fleet),
  ...inDialects("flapping", "the gateway accepts connections for 2 s, then drops and refuses them for 2 s, for 80 s", [
    [1, { do: "flap gateway", times: 20, eachMillis: seconds(2) }]
  ], (dialect) => ({
    load: { devices: 10, events: 1_000, rate: 100 },
    settle: "8 minutes",
    // Ten losses in ten minutes take a device out of service; each may have been refused before it.
    expect: { ...withoutSocket(dialect).expect, attemptsMax: dialect === "gowa" ? 60 : 250 }
  })),
  ...inDialects("kill", "the program is killed three times", [[3, { do: "kill program" }]], (dialect) => ({
    expect: dies,
    smoke: dialect === "gowa"
  }), ["gowa", "waha"]),
  ...inDialects(
    "freeze-long",
    "the program is stopped by SIGSTOP for 60 s, longer than every timeout of its peers",
    [
      [1, { do: "freeze program", millis: seconds(60) }]
    ],
    { load: { devices: 10, events: 4_000, rate: 60 }, expect: losesSockets },
    ["gowa", "waha"]
  ),
  ...inDialects(
    "database",
    "Postgres is restarted (immediate) twice while the gateway sends",
    [
      [2, { do: "restart database", mode: "immediate" }]
    ],
    (dialect) => dialect === "gowa" ? { expect: losesSockets } : { smoke: true },
    ["gowa", "waha"]
  ),
  row("gateway", "gowa-ingress", "GOWA cannot reach the program for 10 s and for 25 s: its five attempts end before", [
    [1, { do: "cut network", to: "webhooks", millis: seconds(10) }],
    [1, { do: "cut network", to: "webhooks", millis: seconds(25) }]
  ], { dialect: "gowa", load: { devices: 20, events: 6_000, rate: 100 }, expect: losesSockets }),
  row("gateway", "gowa-ingress-long", "GOWA cannot reach the program for five minutes", [
    [1, { do: "cut network", to: "webhooks", millis: seconds(300) }]
  ], { dialect: "gowa", load: { devices: 10, events: 3_000, rate: 20 }, expect: losesSockets })
]
