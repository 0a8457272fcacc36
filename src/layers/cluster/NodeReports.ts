/**
 * Reports this process's part in the cluster to the other nodes and the metrics: a row that it writes every few seconds and
 * after its moves, and deletes when it stops in order. A database that is away costs only reports.
 */
import { Clock, Duration, Effect, Layer, Metric } from "effect"
import * as Metrics from "../../services/Metrics.ts"
import { NodeRegistry, reportInterval } from "../../services/NodeRegistry.ts"
import type { NodeReport } from "../../services/NodeRegistry.ts"
import { ServerIdentity } from "../../services/ServerIdentity.ts"
import type { ShardMoves } from "../../services/ShardMoves.ts"

/** Time limit of a report, also of the last one: it must not delay a process that stops. */
const reportMax = Duration.seconds(1)

/** The interval at which the metrics are updated and moves are reported. */
const tick = Duration.seconds(1)

export interface NodeFacts extends Pick<NodeReport, "settings" | "weight"> {
  readonly lease: Duration.Duration
}

export const layer = (
  { lease, settings, weight }: NodeFacts,
  moves: ShardMoves
): Layer.Layer<never, never, ServerIdentity> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const registry = yield* NodeRegistry
    const { node: name, roles, startedAt, version } = yield* ServerIdentity
    const clock = yield* Clock.Clock
    const owner = `${name} ${startedAt}`
    const leaseMillis = Duration.toMillis(lease)
    const counted = new Map<string, number>()
    let reportedAt = Number.NEGATIVE_INFINITY
    let reportedMoves = moves.view.recent

    const measure = Effect.gen(function*() {
      const healthy = [...moves.members.values()].filter((healthy) => healthy).length
      yield* Metric.update(Metric.withAttributes(Metrics.clusterNodes, { state: "healthy" }), healthy)
      yield* Metric.update(
        Metric.withAttributes(Metrics.clusterNodes, { state: "silent" }),
        moves.members.size - healthy
      )
      yield* Metric.update(Metrics.clusterShards, moves.shards)
      const { refreshedAt } = moves
      const age = refreshedAt === null ? 0 : Math.max(0, clock.currentTimeMillisUnsafe() - refreshedAt)
      yield* Metric.update(Metrics.clusterLeaseAge, age / 1000)
      for (const { direction, reason, shards } of moves.totals) {
        const key = `${direction} ${reason}`
        const more = shards - (counted.get(key) ?? 0)
        if (more === 0) continue
        counted.set(key, shards)
        yield* Metric.update(Metric.withAttributes(Metrics.clusterShardMoves, { direction, reason }), more)
      }
    })

    const report = Effect.suspend(() => {
      const { view } = moves
      const now = clock.currentTimeMillisUnsafe()
      if (view.recent === reportedMoves && now - reportedAt < Duration.toMillis(reportInterval)) return Effect.void
      reportedAt = now
      reportedMoves = view.recent
      return registry.report({ owner, name, startedAt, version, roles, weight, leaseMillis, settings, moves: view })
    }).pipe(Effect.timeoutOption(reportMax), Effect.ignore)

    yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeoutOption(registry.leave(owner), reportMax)))
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.andThen(measure, report), Effect.sleep(tick))))
  }))
