/**
 * Faults of one node of a cluster, in turn. Each records when it struck and when it was healed; the effect on the devices
 * is in the gateway's record of its sockets.
 */
import { Effect } from "effect"
import { query } from "../../test/support/Ledger.ts"
import { until } from "../../test/support/until.ts"
import type { Arrangement } from "../Arrangement.ts"
import type { Cluster, Node, Spread } from "../cluster/Cluster.ts"
import { explainMissing } from "../cluster/explainMissing.ts"
import type { Fault } from "../Scenario.ts"
import { wait } from "./shared.ts"
import type { Strike } from "./shared.ts"

/** A device without a socket for this time does not come back: far above the longest lease of a row. */
const backMax = 60_000

/** The gateway's record has the exact times. */
const lookEvery = "75 millis"

/** Time without any change. */
const steadyMillis = 1_000

/** The supervisor's time limit in docs/operating.md. */
const stopMax = 30_000

const clusterOf = ({ cluster }: Arrangement): Cluster => {
  if (cluster === null) throw new Error("the row has no cluster")
  return cluster
}

const chooseNode = ({ nodes, repetitions }: Cluster): Node => nodes[repetitions.length % nodes.length]!

/** Waits for the condition, and explains the devices that no node holds when that takes too long. */
const untilBack = Effect.fnUntraced(function*(
  on: Arrangement,
  what: string,
  without: Node | null,
  so: (spread: Spread) => boolean
) {
  const cluster = clusterOf(on)
  const began = performance.now()
  let explained = false
  yield* until(
    what,
    Effect.gen(function*() {
      yield* Effect.sleep(lookEvery)
      const spread = yield* cluster.spread(without)
      if (so(spread)) return true
      if (!explained && performance.now() - began > backMax) {
        explained = true
        cluster.unreturned.push(...yield* explainMissing(on, spread.missing))
      }
      return false
    }),
    "5 minutes"
  )
})

/** The node holds nothing, and the others hold all. */
const takenOver = (on: Arrangement, node: Node, gone: boolean) =>
  untilBack(
    on,
    "the others have the devices of the node",
    gone ? node : null,
    ({ counts, missing }) => missing.length === 0 && (gone || counts.get(node.at) === 0)
  )

const sharedAgain = Effect.fnUntraced(function*(on: Arrangement) {
  const cluster = clusterOf(on)
  let since = performance.now()
  yield* untilBack(on, "every device has one socket", null, ({ missing, twice }) => missing.length === 0 && twice === 0)
  yield* until(
    "every node has its share",
    Effect.map(Effect.delay(cluster.shared, lookEvery), (shared) => {
      if (!shared) since = performance.now()
      return performance.now() - since > steadyMillis
    }),
    "5 minutes"
  )
})

const repeated = Effect.fnUntraced(function*(
  on: Arrangement,
  fault: Fault["do"],
  node: Node,
  strike: Effect.Effect<void>,
  heal: Effect.Effect<void>
) {
  const cluster = clusterOf(on)
  const struckAt = Date.now()
  yield* strike
  const healedAt = Date.now()
  yield* heal
  yield* sharedAgain(on)
  cluster.repetitions.push({ fault, at: node.at, struckAt, healedAt, endedAt: Date.now() })
})

export const kill: Strike<"kill node"> = (on, { do: name }) => {
  const node = chooseNode(clusterOf(on))
  return repeated(on, name, node, Effect.andThen(node.kill, takenOver(on, node, true)), node.start)
}

const end = (node: Node) =>
  Effect.flatMap(node.terminate, ({ code, millis }) =>
    code === 0 && millis <= stopMax
      ? Effect.void
      : Effect.die(new Error(`The node ended with ${code} after ${Math.round(millis)} ms`)))

export const stop: Strike<"stop node"> = (on, { do: name }) => {
  const node = chooseNode(clusterOf(on))
  const stopped = Effect.all([end(node), takenOver(on, node, false)], { concurrency: 2, discard: true })
  return repeated(on, name, node, stopped, node.start)
}

export const cutOff: Strike<"cut node off"> = (on, { do: name }) => {
  const node = chooseNode(clusterOf(on))
  return repeated(on, name, node, Effect.andThen(node.cutOff, takenOver(on, node, false)), node.reconnect)
}

export const freeze: Strike<"freeze node"> = (on, { do: name }) => {
  const cluster = clusterOf(on)
  const node = chooseNode(cluster)
  let from = 0
  const frozen = Effect.gen(function*() {
    from = Date.now()
    yield* node.freeze
    yield* takenOver(on, node, true)
  })
  const thaw = Effect.suspend(() => {
    cluster.pauses.push({ at: node.at, from, to: Date.now() })
    return node.thaw
  })
  return repeated(on, name, node, frozen, thaw)
}

/** By the ports of its connections; the last statement of a session shows its purpose. */
const listSessions = (on: Arrangement, ports: ReadonlyArray<number>) =>
  query<{ readonly pid: number; readonly lease: boolean }>(
    on.databaseUrl,
    `select a.pid, a.application_name like 'columba devices %' as lease from pg_stat_activity a
    where a.client_port = any ($1::integer[])
      and (a.application_name like 'columba devices %' or a.query like '%columba_cluster_locks%')`,
    [ports]
  )

export const endSessions: Strike<"end node's sessions"> = (on, { do: name }) =>
  Effect.gen(function*() {
    const node = chooseNode(clusterOf(on))
    const sessions = Effect.flatMap(node.databasePorts, (ports) => listSessions(on, ports))
    const before = yield* sessions
    const ended = new Set(before.map(({ pid }) => pid))
    const strike = Effect.gen(function*() {
      for (const pid of ended) yield* query(on.databaseUrl, `select pg_terminate_backend(${pid})`)
      yield* until(
        "the node has the lease's lock again",
        Effect.map(sessions, (now) => now.some(({ lease, pid }) => lease && !ended.has(pid)))
      )
    })
    if (!before.some(({ lease }) => lease)) return yield* Effect.die(new Error("no session has the lease's lock"))
    yield* repeated(on, name, node, strike, Effect.void)
  })

export const leaveAndJoin: Strike<"leave and join"> = (on, { apartMillis, do: name }) =>
  Effect.gen(function*() {
    const cluster = clusterOf(on)
    const node = chooseNode(cluster)
    const struckAt = Date.now()
    const untilMillis = (millis: number) => Effect.suspend(() => wait(Math.max(0, struckAt + millis - Date.now())))
    yield* end(node)
    yield* untilMillis(apartMillis)
    const healedAt = Date.now()
    yield* node.start
    yield* untilMillis(2 * apartMillis)
    cluster.repetitions.push({ fault: name, at: node.at, struckAt, healedAt, endedAt: Date.now() })
  })
