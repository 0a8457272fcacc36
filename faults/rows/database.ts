/** Rows with faults of Postgres. */
import type { Scenario } from "../Scenario.ts"
import { laterMigration } from "../plants.ts"
import { brief, row, seconds, short } from "./row.ts"

export const database: ReadonlyArray<Scenario> = [
  row("database", "database-fast", "Postgres is restarted (fast) three times", [[3, {
    do: "restart database",
    mode: "fast"
  }]]),
  row("database", "database-immediate", "Postgres is restarted (immediate, as after a crash) three times", [
    [3, { do: "restart database", mode: "immediate" }]
  ]),
  row("database", "database-smoke", "Postgres is restarted (immediate, as after a crash)", [
    [1, { do: "restart database", mode: "immediate" }]
  ], { load: brief, smoke: true }),
  row("database", "database-kill", "Postgres is killed (SIGKILL) three times", [[3, { do: "kill database" }]]),
  row("database", "database-freeze", "Postgres is stopped by SIGSTOP for 15 s", [
    [1, { do: "freeze database", millis: seconds(15) }]
  ]),
  row("database", "sessions", "all database sessions are ended by an administrator, ten times", [[10, {
    do: "end sessions"
  }]]),
  row("database", "sessions-smoke", "all database sessions are ended by an administrator, three times", [
    [3, { do: "end sessions" }]
  ], { load: brief, smoke: false }),
  row("database", "database-slow", "every answer of Postgres is delayed by 300 ms for 10 s", [
    [1, {
      do: "disturb network",
      to: "database",
      direction: "downstream",
      toxic: { type: "latency", millis: 300 },
      millis: seconds(10)
    }]
  ]),
  row("database", "table-locked", "another session locks the table of events for 3 s, three times", [
    [3, { do: "lock table", millis: seconds(3) }]
  ]),
  row("database", "connections", "all connections of Postgres are in use for 8 s and the program's own are ended", [
    [1, { do: "take connections", millis: seconds(8) }]
  ]),
  row("database", "snapshot", "a transaction holds a snapshot of the whole log for 15 s", [
    [1, { do: "hold snapshot", millis: seconds(15) }]
  ]),
  row("database", "read-only", "the database refuses writes for 8 s, like a replica after a failover", [
    [1, { do: "refuse writes", millis: seconds(8) }]
  ]),
  row("database", "disk-full", "the database's disk is full for 8 s", [[1, { do: "fill disk", millis: seconds(8) }]]),
  row("database", "database-cut", "the network to Postgres is cut for 3 s, three times", [
    [3, { do: "cut network", to: "database", millis: seconds(3) }]
  ]),
  row("database", "database-black-hole", "the network drops all answers of Postgres for 20 s", [
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
  ], { load: short, smoke: false }),
  row(
    "database",
    "deadlock",
    "another session locks in the opposite order, and Postgres aborts the program's transaction, three times",
    [
      [1, { do: "deadlock", times: 3 }]
    ],
    { load: short }
  ),
  row(
    "database",
    "migration",
    "the migration of a later version runs while this version works",
    [[1, { do: "migrate" }]],
    {
      load: short,
      plant: laterMigration
    }
  )
]
