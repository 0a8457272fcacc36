/**
 * The nodes that share a fleet: effect's sharding over TCP between them, and over the database for who is there and who
 * has which shard. Shards are rows with a lease; the lease is long enough for a database that restarts, and is given back
 * at once by a node that stops in order.
 *
 * Nodes trust every program that can connect to their port.
 */
import { layerClientProtocol, layerSocketServer } from "@effect/platform-node/NodeClusterSocket"
import { Duration, Effect, Layer, Option, Schedule } from "effect"
import type { PlatformError } from "effect"
import {
  MessageStorage,
  RunnerAddress,
  RunnerHealth,
  Runners,
  RunnerStorage,
  Sharding,
  ShardingConfig,
  SocketRunner,
  SqlRunnerStorage
} from "effect/cluster"
import { RpcSerialization } from "effect/rpc"
import type { SocketServer } from "effect/socket"
import type { SqlClient, SqlError } from "effect/sql"

export interface NodeSettings {
  /** Where the other nodes reach this one. */
  readonly host: string
  readonly port: number
  /** The same on all nodes. */
  readonly lease: Duration.Duration
}

/** Its tables are `columba_cluster_runners`, `columba_cluster_locks` and the record of their migrations. */
const prefix = "columba_cluster"

/**
 * A lease is refreshed so many times before it ends. A node keeps its sockets while the database is away for as long as
 * one of these intervals, and is sure to have closed them after two.
 */
const refreshesPerLease = 3

/** A connection to a database that has restarted may hang. */
const refreshAttemptMax = Duration.seconds(1)
const refreshAttemptInterval = Duration.millis(250)

/** How soon nodes notice one that has come or left in order: one small query each. */
const membersReadEvery = Duration.seconds(1)

/** One node pings all others. One that does not answer loses its shards when its lease ends. */
const pingInterval = Duration.seconds(2)

const config = ({ host, lease, port }: NodeSettings): Partial<ShardingConfig.ShardingConfig["Service"]> => ({
  runnerAddress: Option.some(RunnerAddress.make(host, port)),
  shardLockDisableAdvisory: true,
  shardLockExpiration: lease,
  shardLockRefreshInterval: Duration.millis(Duration.toMillis(lease) / refreshesPerLease),
  refreshAssignmentsInterval: membersReadEvery,
  runnerHealthCheckInterval: pingInterval,
  // A shard that is to come here may be given up by its last owner only when its lease ends.
  entityMessagePollInterval: membersReadEvery,
  // One per device, for as long as the device is here.
  maxResidentEntities: "unbounded",
  entityMaxIdleTime: Duration.infinity,
  simulateRemoteSerialization: false
})

/**
 * The sharding gives up a refresh after a few quick attempts, and then drops everything that it runs. A database that
 * restarts takes seconds, and shows itself as a failure, a defect or silence, so an attempt is bounded and repeated
 * whatever ended it; the sharding bounds all of them by the interval of the refreshes.
 */
const storage = Layer.effect(
  RunnerStorage.RunnerStorage,
  Effect.gen(function*() {
    const inner = yield* RunnerStorage.RunnerStorage
    return RunnerStorage.RunnerStorage.of({
      ...inner,
      refresh: (address, shards) =>
        inner.refresh(address, shards).pipe(
          Effect.timeout(refreshAttemptMax),
          Effect.sandbox,
          Effect.retry({ schedule: Schedule.spaced(refreshAttemptInterval) }),
          Effect.orDie
        )
    })
  })
).pipe(Layer.provide(SqlRunnerStorage.layerWith({ prefix })))

const wire = Layer.provideMerge(layerClientProtocol, RpcSerialization.layerSchemaBinary())

type Failure = SocketServer.SocketServerError | SqlError.SqlError | PlatformError.PlatformError

/** A node that holds shards. */
export const layer = (
  node: NodeSettings
): Layer.Layer<Sharding.Sharding | ShardingConfig.ShardingConfig, Failure, SqlClient.SqlClient> =>
  SocketRunner.layer.pipe(
    Layer.provide(layerSocketServer),
    Layer.provide(RunnerHealth.layerPing.pipe(Layer.provide(Runners.layerRpc))),
    Layer.provide(wire),
    Layer.provide(MessageStorage.layerNoop),
    Layer.provide(storage),
    Layer.provideMerge(ShardingConfig.layer(config(node)))
  )

/** A node that holds none, and asks those that do. */
export const layerClient = (
  node: NodeSettings
): Layer.Layer<Sharding.Sharding, Failure, SqlClient.SqlClient> =>
  SocketRunner.layerClientOnly.pipe(
    Layer.provide(wire),
    Layer.provide(MessageStorage.layerNoop),
    Layer.provide(storage),
    Layer.provide(ShardingConfig.layer({ ...config(node), runnerAddress: Option.none() }))
  )
