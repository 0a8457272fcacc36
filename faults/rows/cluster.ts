/** Rows in which several processes share devices, and one of them is struck again and again. */
import type { ClusterSettings, Scenario } from "../Scenario.ts"
import { row } from "./row.ts"
import type { More, Struck } from "./row.ts"

const three: ClusterSettings = { nodes: 3, lease: "6 seconds", partition: "proxy" }

/** Sockets are closed before others open, or all at once. The gateway may notice a moment later. */
const closedFirst = 250

/** A device that moves as planned has both sockets until the next node is online, and then until the first has ended its socket. */
const handedOver = 5_000

/** Events and messages to send per repetition; most repetitions take longer than these events, and more are emitted then. */
const events = 200
const sends = 20

const repeated = (
  name: string,
  title: string,
  faults: Struck,
  more: More & { readonly doubledMax?: number } = {}
): Scenario => {
  const { doubledMax = closedFirst, ...others } = more
  const times = faults.reduce((sum, [count]) => sum + count, 0)
  return row("cluster", name, title, faults, {
    load: { devices: 60, events: events * times, rate: 40 },
    cluster: three,
    noEndpoint: true,
    sends: sends * times,
    settle: "4 minutes",
    ...others,
    expect: { missed: "counted", survives: false, doubledMax }
  })
}

const few = 5

/** A restart may take longer than a third of the lease, so that all nodes close their sockets. */
const outages: Struck = Array.from({ length: few }).flatMap((): Struck => [
  [1, { do: "restart database", mode: "immediate" }],
  [1, { do: "kill node" }]
])

export const cluster: ReadonlyArray<Scenario> = [
  repeated("cluster-kill", "one of three nodes is killed (SIGKILL) and started again", [[few, { do: "kill node" }]]),
  repeated("cluster-stop", "one of three nodes is stopped (SIGTERM) and started again", [[few, { do: "stop node" }]], {
    doubledMax: handedOver
  }),
  repeated(
    "cluster-partition",
    "packets between one of three nodes and Postgres get no answer until other nodes have its devices",
    [
      [few, { do: "cut node off" }]
    ]
  ),
  repeated(
    "cluster-packets",
    "the network loses packets between one of three nodes and Postgres (needs root on Linux)",
    [[few, { do: "cut node off" }]],
    { cluster: { ...three, partition: "packets" } }
  ),
  repeated("cluster-freeze", "one of three nodes is stopped by SIGSTOP past its lease, and continues", [
    [few, { do: "freeze node" }]
  ]),
  repeated(
    "cluster-lock-session",
    "the database ends a node's session that holds the lease's lock, and those that renew its shards",
    [
      [few, { do: "end node's sessions" }]
    ]
  ),
  repeated("cluster-churn", "one of three nodes leaves in order and joins again 10 s later; 10 s later another one", [
    [few, { do: "leave and join", apartMillis: 10_000 }]
  ], { doubledMax: handedOver }),
  repeated("cluster-default", "with the default lease: nodes are killed, stopped, cut off and frozen", [
    [2, { do: "kill node" }],
    [1, { do: "stop node" }],
    [1, { do: "cut node off" }],
    [1, { do: "freeze node" }]
  ], { cluster: { ...three, lease: "20 seconds" }, doubledMax: handedOver }),
  repeated(
    "cluster-outage",
    "Postgres is restarted (immediate), and a node is killed when all devices are back",
    outages,
    {
      inOrder: true
    }
  ),
  repeated(
    "cluster-large",
    "10,000 devices, the default lease: nodes are killed, stopped, cut off and frozen",
    [
      [1, { do: "kill node" }],
      [1, { do: "stop node" }],
      [1, { do: "cut node off" }],
      [1, { do: "freeze node" }]
    ],
    {
      load: { devices: 10_000, events: 2_000, rate: 100 },
      cluster: { ...three, lease: "20 seconds" },
      // Histories are read at 50 requests per second and node.
      settleMax: "30 minutes",
      doubledMax: handedOver
    }
  ),
  repeated(
    "gowa-cluster",
    "GOWA: webhooks arrive at any node, while nodes are killed, stopped and frozen, and the gateway restarts",
    [
      [1, { do: "kill node" }],
      [1, { do: "stop node" }],
      [1, { do: "freeze node" }],
      [1, { do: "restart gateway", millis: 5_000 }]
    ],
    { dialect: "gowa" }
  ),
  repeated(
    "waha-cluster",
    "WAHA: nodes are killed, stopped and frozen, and the gateway restarts",
    [
      [1, { do: "kill node" }],
      [1, { do: "stop node" }],
      [1, { do: "freeze node" }],
      [1, { do: "restart gateway", millis: 5_000 }]
    ],
    { dialect: "waha", doubledMax: handedOver }
  )
]
