/**
 * The nodes that share a fleet: effect's sharding over connections between them (`NodeWire`), and over the database for
 * membership and shard ownership. Shards are rows with a lease. The lease is long enough for a database to restart, and a node
 * that stops in order releases it at once.
 */
import { Clock, Context, Duration, Effect, Equal, Layer, Option, Schedule } from "effect"
import type { PlatformError } from "effect"
import {
  MessageStorage,
  type Runner,
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
import { DatabaseSilence } from "../../services/DatabaseSilence.ts"
import * as NodeLease from "../../services/NodeLease.ts"
import type { SecretKey } from "../../services/SecretSeal.ts"
import { ShardMoves } from "../../services/ShardMoves.ts"
import { Successors } from "../../services/Successors.ts"
import * as NodeWire from "./NodeWire.ts"
import * as SharedReleases from "./sharedReleases.ts"

export interface NodeSettings {
  /** The address where the other nodes reach this one. */
  readonly host: string
  readonly port: number
  /** The same on all nodes. */
  readonly lease: Duration.Duration
  /** Weight of this node's share of the shards against those of the others; 1 by default. */
  readonly weight?: number
  /** The keys that the nodes authenticate each other with; the first that both have is used. */
  readonly keys: ReadonlyArray<SecretKey>
}

export const nodeAddress = ({ host, port }: Pick<NodeSettings, "host" | "port">): string => `${host}:${port}`

/** The tables are `columba_cluster_runners`, `columba_cluster_locks` and the record of their migrations. */
const prefix = "columba_cluster"

/**
 * Number of refreshes of a lease before it ends. A node keeps its sockets for one of these intervals while the database is
 * away, and is certain to have closed them after two.
 */
const refreshesPerLease = 3

/** A connection to a database that has restarted may hang. */
const refreshAttemptMax = Duration.seconds(1)
const refreshAttemptInterval = Duration.millis(250)

/** How soon nodes notice one that has joined or left in order: one small query each. */
const membersReadEvery = Duration.seconds(1)

/** One node pings all others. One that does not answer loses its shards when its lease ends. */
const pingInterval = Duration.seconds(2)

const config = (
  { host, lease, port, weight = 1 }: NodeSettings
): Partial<ShardingConfig.ShardingConfig["Service"]> => ({
  runnerAddress: Option.some(RunnerAddress.make(host, port)),
  runnerShardWeight: weight,
  shardLockDisableAdvisory: true,
  shardLockExpiration: lease,
  shardLockRefreshInterval: Duration.millis(Duration.toMillis(lease) / refreshesPerLease),
  refreshAssignmentsInterval: membersReadEvery,
  runnerHealthCheckInterval: pingInterval,
  // The last owner may release a shard that is to move here only when its lease ends.
  entityMessagePollInterval: membersReadEvery,
  // One per device, for as long as the device is here.
  maxResidentEntities: "unbounded",
  entityMaxIdleTime: Duration.infinity,
  simulateRemoteSerialization: false
})

/**
 * The sharding abandons a refresh after a few quick attempts, and then drops everything that it runs. A database that
 * restarts takes seconds, and appears as a failure, a defect or a missing answer. So an attempt is bounded and repeated
 * whatever ended it; the sharding bounds all attempts together by the interval of the refreshes.
 *
 * After a time in which packets were lost, the refresh's connection may answer again while others are still dead. A node
 * whose shards are gone then stays away while any connection has been silent for longer than a refresh may take: the devices
 * of shards that it acquired before would not be connected.
 */
const resilient = (
  storage: RunnerStorage.RunnerStorage["Service"],
  node: NodeLease.RenewedLease,
  silent: () => boolean
): RunnerStorage.RunnerStorage["Service"] => ({
  ...storage,
  register: (runner, healthy) => Effect.suspend(() => silent() ? databaseSilent : storage.register(runner, healthy)),
  // One refresh renews the leases of all shards of the node; a newly acquired shard has a lease that ends later.
  refresh: (address, shards) =>
    Effect.suspend(() =>
      [...shards].length === 0 && silent()
        ? databaseSilent
        : node.renewing(storage.refresh(address, shards))
    ).pipe(
      Effect.timeout(refreshAttemptMax),
      Effect.sandbox,
      Effect.retry({ schedule: Schedule.spaced(refreshAttemptInterval) }),
      Effect.orDie
    )
})

const databaseSilent = Effect.die(new Error("the database does not answer on all connections"))

/** Reports to the moves which shards the sharding asks for and gets. */
const observed = (
  storage: RunnerStorage.RunnerStorage["Service"],
  moves: ShardMoves,
  clock: Clock.Clock
): RunnerStorage.RunnerStorage["Service"] => {
  const now = () => clock.currentTimeMillisUnsafe()
  return {
    ...storage,
    getRunners: Effect.tap(
      storage.getRunners,
      (runners) =>
        Effect.sync(() =>
          moves.seen(runners.map(([{ address }, healthy]) => ({ name: nodeAddress(address), healthy })))
        )
    ),
    unregister: (address) => Effect.andThen(Effect.sync(() => moves.stopping()), storage.unregister(address)),
    acquire: (address, shards) =>
      Effect.tap(
        storage.acquire(address, shards),
        (held) => Effect.sync(() => moves.acquired(held.map(String), now()))
      ),
    refresh: (address, shards) =>
      Effect.tap(
        storage.refresh(address, shards),
        (held) => Effect.sync(() => moves.refreshed(Array.from(shards, String), new Set(held.map(String)), now()))
      ),
    release: (address, shard) =>
      Effect.tap(storage.release(address, shard), () => Effect.sync(() => moves.released(String(shard), now()))),
    releaseAll: (address) => Effect.tap(storage.releaseAll(address), () => Effect.sync(() => moves.releasedAll(now())))
  }
}

/** How long a stopping node waits for the list of the other nodes. */
const successorsMax = Duration.seconds(1)

/** Also provides the node's lease (`NodeLease`), and the nodes that take over its devices (`Successors`). */
const storage = (moves: ShardMoves, lease: Duration.Duration) =>
  Layer.effectContext(
    Effect.gen(function*() {
      const inner = {
        ...yield* RunnerStorage.RunnerStorage,
        release: yield* SharedReleases.make(`${prefix}_locks`)
      }
      const { runnerAddress } = yield* ShardingConfig.ShardingConfig
      const clock = yield* Clock.Clock
      const node = NodeLease.make(clock, lease)
      const silence = yield* DatabaseSilence
      const silent = () => silence() > Duration.toMillis(lease) / refreshesPerLease
      const isOther = ([{ address }, healthy]: readonly [Runner.Runner, boolean]) =>
        healthy && !Equal.equals(address, Option.getOrUndefined(runnerAddress))
      const successors = inner.getRunners.pipe(
        Effect.map((runners) => runners.some(isOther)),
        Effect.timeout(successorsMax),
        Effect.catchCause(() => Effect.succeed(false))
      )
      return Context.make(RunnerStorage.RunnerStorage, observed(resilient(inner, node, silent), moves, clock)).pipe(
        Context.add(NodeLease.NodeLease, node),
        Context.add(Successors, successors)
      )
    })
  ).pipe(Layer.provide(SqlRunnerStorage.layerWith({ prefix })))

const wire = ({ keys }: NodeSettings) =>
  Layer.provideMerge(NodeWire.layerClient(keys), RpcSerialization.layerSchemaBinary())

type Failure = SocketServer.SocketServerError | SqlError.SqlError | PlatformError.PlatformError

/** The membership of the nodes, and this node's lease. It outlives the shards of the node. */
export const layerStorage = (
  node: NodeSettings,
  moves = new ShardMoves(nodeAddress(node))
): Layer.Layer<
  RunnerStorage.RunnerStorage | ShardingConfig.ShardingConfig,
  SqlError.SqlError,
  SqlClient.SqlClient
> => Layer.provideMerge(storage(moves, node.lease), ShardingConfig.layer(config(node)))

/** A node that holds shards, over `layerStorage`. */
export const layer = (
  node: NodeSettings
): Layer.Layer<
  Sharding.Sharding,
  Failure,
  RunnerStorage.RunnerStorage | ShardingConfig.ShardingConfig
> =>
  SocketRunner.layer.pipe(
    Layer.provide(NodeWire.layerServer(node, node.keys)),
    Layer.provide(RunnerHealth.layerPing.pipe(Layer.provide(Runners.layerRpc))),
    Layer.provide(wire(node)),
    Layer.provide(MessageStorage.layerNoop)
  )

/** A node that holds no shards, and calls those that do. */
export const layerClient = (
  node: NodeSettings,
  moves = new ShardMoves("")
): Layer.Layer<Sharding.Sharding, Failure, SqlClient.SqlClient> =>
  SocketRunner.layerClientOnly.pipe(
    Layer.provide(wire(node)),
    Layer.provide(MessageStorage.layerNoop),
    Layer.provide(storage(moves, node.lease)),
    Layer.provide(ShardingConfig.layer({ ...config(node), runnerAddress: Option.none() }))
  )
