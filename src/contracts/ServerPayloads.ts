/** A server's description of itself, its processes and its caller. */
import { Schema } from "effect"
import { DeviceStateTag } from "../domain/DeviceState.ts"
import { GapCause } from "../domain/Gap.ts"
import { DeviceId, GatewayName, Seq, Timestamp } from "../domain/Ids.ts"
import { Scope } from "./Authorization.ts"
import { GatewayIncident } from "./DevicePayloads.ts"

/** The progress of one sink, and its obstacle if it has one. */
const SinkProgress = Schema.Struct({
  sink: Schema.String,
  state: Schema.Literals(["starting", "running", "waiting", "stopped"]),
  /** The number up to which the receiving side has confirmed every event. */
  confirmed: Schema.Int,
  /** Committed events that are not confirmed, as of a few seconds ago. */
  lag: Schema.Int,
  /** Events that retention deleted before this sink read them. */
  expired: Schema.Int,
  failure: Schema.NullOr(Schema.Struct({ reason: Schema.String, message: Schema.String, since: Timestamp }))
}).annotate({ identifier: "SinkProgress" })

/** The fleet in figures. `sinks` and `incidents` are empty in a process without devices. */
export const Overview = Schema.Struct({
  /** The answering process's clock; the database's is not asked. */
  at: Timestamp,
  /** The last committed number of the log; null if the database does not answer. */
  head: Schema.NullOr(Seq),
  /** Devices by state; null if the database does not answer. */
  states: Schema.NullOr(Schema.Record(DeviceStateTag, Schema.Int)),
  /** Open gaps by cause, for causes with any; null if the database does not answer. */
  openGaps: Schema.NullOr(Schema.Array(Schema.Struct({ cause: GapCause, count: Schema.Int }))),
  sinks: Schema.Array(SinkProgress),
  incidents: Schema.Array(GatewayIncident)
}).annotate({ identifier: "Overview" })
export type Overview = typeof Overview.Type

/** Shards that a node gained or lost at about the same time and for the same reason. */
export const NodeMove = Schema.Struct({
  at: Timestamp,
  direction: Schema.Literals(["taken", "given"]),
  /** See `moveReasons`; later versions may add reasons. */
  reason: Schema.String,
  shards: Schema.Int
}).annotate({ identifier: "NodeMove" })
export type NodeMove = typeof NodeMove.Type

/** A process of a cluster, as it describes itself. */
export const NodeInCluster = Schema.Struct({
  version: Schema.String,
  roles: Schema.Array(Schema.String),
  /** The weight of its share of the shards, against those of the others; null if it runs no devices. */
  weight: Schema.NullOr(Schema.Finite),
  /** Shards whose lease it has. Each device belongs to one of 300. */
  shards: Schema.Int,
  /**
   * The duration of a lease, and how long ago the least recently renewed of its leases was renewed; null without
   * shards.
   */
  leaseSeconds: Schema.Finite,
  leaseAgeSeconds: Schema.NullOr(Schema.Finite),
  /** Shards gained and lost since it started; the newest moves first, ten at most. */
  taken: Schema.Int,
  given: Schema.Int,
  moves: Schema.Array(NodeMove),
  /** Settings that differ from those of most other nodes and should not, by the variable's name. */
  differs: Schema.Array(Schema.String)
}).annotate({ identifier: "NodeInCluster" })
export type NodeInCluster = typeof NodeInCluster.Type

/** A process that runs devices, or is part of a cluster. */
export const Node = Schema.Struct({
  /** In a cluster, the address for the other nodes; otherwise the host's name. */
  name: Schema.String,
  startedAt: Timestamp,
  /** When it last recorded that it was alive, by the database's clock. */
  aliveAt: Timestamp,
  /** False: it has ended or cannot write, and still has devices that no other process has taken over. */
  alive: Schema.Boolean,
  /** Active devices that it has. */
  devices: Schema.Int,
  /** Null if it is not part of a cluster, or has ended and only its devices are recorded. */
  cluster: Schema.NullOr(NodeInCluster)
}).annotate({ identifier: "Node" })
export type Node = typeof Node.Type

export const NodeList = Schema.Struct({ items: Schema.Array(Node), next: Schema.Null }).annotate({
  identifier: "NodeList"
})

/** The caller, as identified by its key. */
export const Caller = Schema.Struct({
  /** The configured name of the key; `anonymous` on a server without keys. */
  name: Schema.String,
  scopes: Schema.Array(Scope),
  /** The devices that the key is limited to; null for all. */
  devices: Schema.NullOr(Schema.Array(DeviceId))
}).annotate({ identifier: "Caller" })
export type Caller = typeof Caller.Type

export const ReadinessCheck = Schema.Struct({ name: Schema.String, ready: Schema.Boolean, detail: Schema.String })
export type ReadinessCheck = typeof ReadinessCheck.Type

/** `node` is the host name of the answering process. */
export const Pong = Schema.Struct({ node: Schema.String }).annotate({ identifier: "Pong" })

/** A key that is limited to some devices gets no gateways, no histories, no head, and checks without details. */
export const ServerInfo = Schema.Struct({
  version: Schema.String,
  /** Host name of the answering process. */
  node: Schema.String,
  startedAt: Timestamp,
  roles: Schema.Array(Schema.String),
  /** One line each, without secrets. */
  database: Schema.String,
  broker: Schema.NullOr(Schema.String),
  gateways: Schema.Array(Schema.Struct({ name: GatewayName, description: Schema.String })),
  /** How far this process has read the histories of gateways: empty if it runs no devices. */
  histories: Schema.Array(Schema.Struct({
    gateway: GatewayName,
    /** Devices whose history waits to be read, or is being read. */
    devicesToGo: Schema.Int,
    reading: Schema.Int,
    /** Since the process began to use the gateway: rows that were new to the log, and pages. */
    rows: Schema.Int,
    pages: Schema.Int,
    /** Over the last ten seconds. */
    rowsPerSecond: Schema.Number,
    pagesPerSecond: Schema.Number
  })),
  checks: Schema.Array(ReadinessCheck),
  /** The last committed number of the log; null if the database does not answer, and for a limited key. */
  head: Schema.NullOr(Seq)
}).annotate({ identifier: "ServerInfo" })
export type ServerInfo = typeof ServerInfo.Type
