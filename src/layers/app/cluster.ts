/** A process as one of several that share the fleet. Loaded only with `COLUMBA_CLUSTER=on`. */
import { Effect, Layer } from "effect"
import type { SqlClient } from "effect/sql"
import type { Part } from "../../actors/fleet/singletons.ts"
import type { DeviceFleet } from "../../services/DeviceFleet.ts"
import type { DeviceRepository } from "../../services/DeviceRepository.ts"
import type { EventLog } from "../../services/EventLog.ts"
import type { GapRepository } from "../../services/GapRepository.ts"
import type { GatewayDirectory } from "../../services/GatewayDirectory.ts"
import type { ServerIdentity } from "../../services/ServerIdentity.ts"
import { ShardMoves } from "../../services/ShardMoves.ts"
import type { NodeSettings } from "../cluster/ClusterSocket.ts"
import type { Settings } from "../Settings.ts"
import { sharedSettings } from "./sharedSettings.ts"
import { StartFailed } from "./StartFailed.ts"

type Node = Required<NodeSettings>

/** This node's fleet, and the parts that run on one node at a time. */
export const clusterFleet = <R, E>(
  settings: Settings,
  node: Node,
  parts: ReadonlyArray<Part<R, E>>
): Layer.Layer<
  DeviceFleet,
  StartFailed,
  R | DeviceRepository | EventLog | GapRepository | GatewayDirectory | ServerIdentity | SqlClient.SqlClient
> =>
  Layer.unwrap(Effect.gen(function*() {
    const { ClusterFleet, ClusterSocket, NodeReports, singletons } = yield* load
    const moves = new ShardMoves(ClusterSocket.nodeAddress(node))
    // The actors stop first, then the deliveries of their last events, then the shards are released, and the sessions end last.
    return ClusterFleet.layer.pipe(
      Layer.provide(singletons.layer(parts)),
      Layer.provide(ClusterSocket.layer(node)),
      Layer.provide(ClusterFleet.layerHosts),
      Layer.provide(ClusterSocket.layerStorage(node, moves)),
      Layer.provideMerge(NodeReports.layer({ ...node, settings: sharedSettings(settings) }, moves)),
      Layer.catch((error) => Layer.effectContext(Effect.fail(nodeFailed(node, error))))
    )
  }))

/** For a node that runs no devices and calls the nodes that do. */
export const clusterClient = (
  settings: Settings,
  node: Node
): Layer.Layer<DeviceFleet, StartFailed, ServerIdentity | SqlClient.SqlClient> =>
  Layer.unwrap(Effect.gen(function*() {
    const { ClusterFleet, ClusterSocket, NodeReports } = yield* load
    const moves = new ShardMoves("")
    return ClusterFleet.layerClient.pipe(
      Layer.provide(ClusterSocket.layerClient(node, moves)),
      Layer.provideMerge(NodeReports.layer({ ...node, weight: null, settings: sharedSettings(settings) }, moves)),
      Layer.catch((error) => Layer.effectContext(Effect.fail(nodeFailed(node, error))))
    )
  }))

const load = Effect.promise(async () => ({
  ClusterFleet: await import("../../actors/fleet/ClusterFleet.ts"),
  ClusterSocket: await import("../cluster/ClusterSocket.ts"),
  NodeReports: await import("../cluster/NodeReports.ts"),
  singletons: await import("../../actors/fleet/singletons.ts")
}))

const nodeFailed = ({ host, port }: NodeSettings, error: { readonly message: string }): StartFailed =>
  StartFailed.of(
    `this node could not join the cluster as ${host}:${port} (${error.message})`,
    "COLUMBA_NODE_HOST must be an address of this machine that the other nodes reach, and COLUMBA_NODE_PORT free there"
  )
