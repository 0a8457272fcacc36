/**
 * The faults that a service like this one has to expect, numbered, and where each is tested: rows of this suite, other tests,
 * or why it is not tested.
 */

export interface ListedFault {
  readonly number: number
  readonly area: string
  readonly fault: string
  /** Names of rows. */
  readonly rows?: ReadonlyArray<string>
  /** File and the beginning of the title of a test. */
  readonly tests?: ReadonlyArray<readonly [file: string, title: string]>
  /** The untested part, or why nothing is tested. */
  readonly not?: string
}

/** One row in every dialect. */
const three = (name: string): ReadonlyArray<string> => [name, `gowa-${name}`, `waha-${name}`]

const queue = "test/actors/sending/SendQueue.test.ts"
const nodes = "test/process/cluster.test.ts"

const processes: ReadonlyArray<Omit<ListedFault, "area">> = [
  {
    number: 1,
    fault: "the program is killed under load",
    rows: ["kill", "gowa-kill", "waha-kill", "crash-loop", "cluster-kill", "headline", "everything"]
  },
  { number: 2, fault: "the program is stopped by a deployment", rows: ["deploy", "cluster-stop", "cluster-churn"] },
  {
    number: 3,
    fault: "the program is stopped while a send is stuck",
    rows: ["sends-stop"],
    tests: [[queue, "leaves a message in doubt if its process dies after the claim, and the next process finds it"]]
  },
  { number: 4, fault: "the program dies between the commit and the answer to a webhook", rows: ["die-after-commit"] },
  {
    number: 5,
    fault: "the program dies between the broker's confirm and its own record of it",
    rows: ["die-after-confirm"]
  },
  {
    number: 6,
    fault: "the program dies between the gateway's answer to a send and its own record of it",
    tests: [[queue, "leaves a message in doubt whose answer was lost, and never sends it again by itself"], [
      queue,
      "finds a message in doubt in the history, or proves that it was not sent once the history must have it"
    ]],
    rows: ["sends-die"]
  },
  {
    number: 7,
    fault: "a consumer dies after its effect and before the acknowledgement",
    rows: ["consumer-killed", "handler-kill"]
  },
  {
    number: 8,
    fault: "one device's actor has repeated defects",
    rows: ["defect"],
    tests: [[
      "test/actors/fleet/LocalFleet.test.ts",
      "contains a device that crashes in a loop: it is quarantined, and other devices are not affected"
    ]]
  },
  {
    number: 9,
    fault: "the event loop is blocked for seconds",
    rows: ["freeze"],
    tests: [[
      "test/actors/fleet/ownership.test.ts",
      "is abandoned by the older actor at its next decision, which closes the session and records nothing more"
    ]]
  },
  {
    number: 10,
    fault: "the process is frozen for a minute",
    rows: [...three("freeze-long"), "cluster-freeze"],
    tests: [[
      nodes,
      "release devices before others claim them if cut off from the database, and write nothing after a suspension"
    ]]
  },
  { number: 11, fault: "memory runs short during a burst", rows: ["memory"] },
  { number: 12, fault: "file descriptors run out", rows: ["files"] }
]

const broker: ReadonlyArray<Omit<ListedFault, "area">> = [
  { number: 13, fault: "the broker is restarted", rows: ["broker-restart"] },
  { number: 14, fault: "the broker is killed during publishing", rows: ["broker-kill", "headline"] },
  { number: 15, fault: "memory alarm: publishers are blocked", rows: ["memory-alarm"] },
  { number: 16, fault: "disk alarm: publishers are blocked", rows: ["disk-alarm"] },
  { number: 17, fault: "the broker is frozen", rows: ["broker-freeze", "broker-black-hole"] },
  {
    number: 18,
    fault: "the queue, its binding or the exchange is deleted",
    rows: ["queue-deleted"],
    tests: [
      [
        "test/integration/rabbitmq/GuaranteedQueue.test.ts",
        "gets every event after it was unbound, though another queue receives them too"
      ],
      ["test/integration/rabbitmq/GuaranteedQueue.test.ts", "gets every event after the exchange was deleted"]
    ]
  },
  { number: 19, fault: "permissions are revoked", rows: ["permissions"] },
  { number: 20, fault: "messages that a consumer cannot decode", rows: ["poison"] },
  { number: 21, fault: "the queue of dead letters is missing", rows: ["dead-letters-deleted"] },
  { number: 22, fault: "a consumer never acknowledges", rows: ["consumer-stuck"] },
  { number: 23, fault: "a consumer is cancelled by the server", rows: ["consumer-cancelled"] },
  { number: 24, fault: "the queue is full and refuses messages", rows: ["queue-full"] }
]

const database: ReadonlyArray<Omit<ListedFault, "area">> = [
  {
    number: 25,
    fault: "the database is restarted, in order or as after a crash",
    rows: ["database-fast", "database-immediate", "database-kill", "gowa-database", "waha-database", "headline"]
  },
  { number: 26, fault: "all sessions are ended", rows: ["sessions"] },
  {
    number: 27,
    fault: "only the session that holds a lock is ended",
    rows: ["cluster-lock-session"],
    tests: [
      ["test/layers/postgres/fleetLease.test.ts", "is taken again when its connection has broken"],
      [
        "test/layers/postgres/fleetLease.test.ts",
        "is lost when another process was faster after its connection had broken"
      ]
    ]
  },
  {
    number: 28,
    fault: "the database is slow, frozen or locked",
    rows: ["database-slow", "database-freeze", "table-locked"]
  },
  { number: 29, fault: "no connections are left", rows: ["connections"] },
  { number: 30, fault: "the disk is full", rows: ["disk-full"] },
  { number: 31, fault: "deadlocks", rows: ["deadlock"] },
  { number: 32, fault: "a transaction stays open for a long time", rows: ["snapshot", "table-locked", "commit-order"] },
  { number: 33, fault: "a migration runs while the older version works", rows: ["migration"] },
  { number: 34, fault: "transactions commit in a different order than their numbers", rows: ["commit-order"] },
  {
    number: 35,
    fault: "a failover to a replica",
    rows: ["read-only"],
    tests: [[
      "test/layers/postgres/LogReset.test.ts",
      "delivers events committed after an older copy is restored, and ends readers with LogReset"
    ]],
    not: "a real replica (the tests use one database on one machine)"
  }
]

const gateway: ReadonlyArray<Omit<ListedFault, "area">> = [
  { number: 36, fault: "half-open connections", rows: three("half-open") },
  {
    number: 37,
    fault: "a silent gateway: without events, or deaf",
    rows: three("deaf"),
    tests: [["test/conformance/gateway/sessions.ts", "keeps the session of a gateway that is silent but answers pings"]]
  },
  { number: 38, fault: "connections are refused, the name does not resolve", rows: [...three("away"), "unresolved"] },
  {
    number: 39,
    fault: "a handshake that never completes",
    rows: three("hang"),
    tests: [[
      "test/conformance/gateway/sessions.ts",
      "aborts a handshake that never completes at its deadline, and closes the socket"
    ]]
  },
  { number: 40, fault: "credentials are refused, before or after the upgrade", rows: three("credentials") },
  { number: 41, fault: "too many requests, with Retry-After", rows: three("limited") },
  {
    number: 42,
    fault: "bursts of 500, 502, 503 and 504",
    rows: [...three("errors"), ...three("refused"), "sends-reset"],
    tests: [[
      queue,
      "keeps a message in its place that was surely not sent, and retries it; one that is refused for good fails"
    ]]
  },
  {
    number: 43,
    fault: "slow answers, slow transfers",
    rows: [...three("slow"), ...three("trickle"), ...three("delayed")]
  },
  { number: 44, fault: "frames that cannot be decoded", rows: three("junk") },
  { number: 45, fault: "very large frames", rows: three("huge") },
  {
    number: 46,
    fault: "binary, fragmented and compressed frames",
    rows: three("junk"),
    tests: [[
      "test/layers/gateways/websocket/FrameReader.test.ts",
      "are joined, with control frames between them"
    ]]
  },
  {
    number: 47,
    fault: "repeats, changed order, and several sources of one event",
    rows: [...three("duplicates"), ...three("order")],
    tests: [["test/layers/gateways/mixes.test.ts", "seed"]]
  },
  { number: 48, fault: "times that are in the future, very old, missing or invalid", rows: three("dated") },
  { number: 49, fault: "one id with different contents", rows: three("poisoned") },
  {
    number: 50,
    fault: "one account under its phone number and its hidden id",
    rows: ["waha-kill", "waha-dropped"],
    tests: [[
      "test/layers/gateways/waha/WahaHistory.test.ts",
      "names the hidden id of a message that may have been logged while the server returned no numbers"
    ]]
  },
  { number: 51, fault: "the gateway's process ends, and all devices reconnect at once", rows: three("exit") },
  { number: 52, fault: "flapping", rows: three("flapping") },
  { number: 53, fault: "webhooks cannot reach Columba", rows: ["gowa-ingress", "gowa-ingress-long"] },
  {
    number: 54,
    fault: "acks before their message, and for unknown ids",
    rows: three("order"),
    tests: [[
      "test/conformance/sendRepository.ts",
      "applies early, late and repeated acks correctly, with the id of the accepted message once it is known"
    ]]
  },
  {
    number: 55,
    fault: "messages are revoked while the history is paged, during live traffic",
    rows: ["taken-back", "waha-taken-back"],
    not: "GOWA, whose history is read by the same code as that of `bridge`"
  },
  { number: 56, fault: "events name the wrong device", rows: three("wrong-device") }
]

const time: ReadonlyArray<Omit<ListedFault, "area">> = [
  { number: 57, fault: "the clock is set forward and back", rows: ["clock"] },
  {
    number: 58,
    fault: "two nodes whose clocks differ",
    tests: [[
      nodes,
      "let all devices go when the database stays away, and connect them again when it is back, though their clocks differ; strangers are refused"
    ]]
  },
  {
    number: 59,
    fault: "changes to and from summer time, leap days",
    tests: [[
      "test/services/occurrences.test.ts",
      "stay at their local time when the clocks change; a skipped time is an hour later, a doubled time occurs once"
    ], [
      "test/services/SendPacing.test.ts",
      "ends quiet hours by local time, also on the days on which the clocks change"
    ]]
  },
  {
    number: 60,
    fault: "schedules that were due while no process ran",
    tests: [[queue, "starts a scheduled message within two seconds of its time, over a restart, and once"], [
      "test/process/due.test.ts",
      "sends none early, none twice and all of them, each within two seconds of its time"
    ]]
  }
]

const listOf = (area: string, faults: ReadonlyArray<Omit<ListedFault, "area">>): ReadonlyArray<ListedFault> =>
  faults.map((fault) => ({ ...fault, area }))

export const faultList: ReadonlyArray<ListedFault> = [
  ...listOf("processes", processes),
  ...listOf("RabbitMQ", broker),
  ...listOf("Postgres", database),
  ...listOf("gateway", gateway),
  ...listOf("time", time)
]
