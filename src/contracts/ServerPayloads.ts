/** What a server says about itself, its processes and its caller. */
import { Schema } from "effect"
import { DeviceStateTag } from "../domain/DeviceState.ts"
import { GapCause } from "../domain/Gap.ts"
import { DeviceId, GatewayName, Seq, Timestamp } from "../domain/Ids.ts"
import { Scope } from "./Authorization.ts"
import { GatewayIncident } from "./DevicePayloads.ts"

/** How far one sink has come, and what keeps it. */
const SinkProgress = Schema.Struct({
  sink: Schema.String,
  state: Schema.Literals(["starting", "running", "waiting", "stopped"]),
  /** The number up to which the other side has confirmed every event. */
  confirmed: Schema.Int,
  /** Committed events that are not confirmed, as of a few seconds ago. */
  lag: Schema.Int,
  /** Events that retention deleted before this sink read them. */
  expired: Schema.Int,
  failure: Schema.NullOr(Schema.Struct({ reason: Schema.String, message: Schema.String, since: Timestamp }))
}).annotate({ identifier: "SinkProgress" })

/** The fleet in figures. What only a process with devices knows, `sinks` and `incidents`, is empty elsewhere. */
export const Overview = Schema.Struct({
  /** The database's clock is not asked: this is the answering process's. */
  at: Timestamp,
  /** The last committed number of the log; null where the database does not answer. */
  head: Schema.NullOr(Seq),
  /** Devices by state; null where the database does not answer. */
  states: Schema.NullOr(Schema.Record(DeviceStateTag, Schema.Int)),
  /** Open gaps by cause, of the causes that have any; null where the database does not answer. */
  openGaps: Schema.NullOr(Schema.Array(Schema.Struct({ cause: GapCause, count: Schema.Int }))),
  sinks: Schema.Array(SinkProgress),
  incidents: Schema.Array(GatewayIncident)
}).annotate({ identifier: "Overview" })
export type Overview = typeof Overview.Type

/** Shards that came to a node or went from it, at about the same time and for the same reason. */
export const NodeMove = Schema.Struct({
  at: Timestamp,
  direction: Schema.Literals(["taken", "given"]),
  /** See `moveReasons`; later versions may know more. */
  reason: Schema.String,
  shards: Schema.Int
}).annotate({ identifier: "NodeMove" })
export type NodeMove = typeof NodeMove.Type

/** What a process of a cluster says of itself. */
export const NodeInCluster = Schema.Struct({
  version: Schema.String,
  roles: Schema.Array(Schema.String),
  /** Of its share of the shards, against the weights of the others; null: it runs no devices. */
  weight: Schema.NullOr(Schema.Finite),
  /** Shards whose lease it has. Each device belongs to one of 300. */
  shards: Schema.Int,
  /** How long a lease lasts, and since when the oldest of its leases was not renewed; null without shards. */
  leaseSeconds: Schema.Finite,
  leaseAgeSeconds: Schema.NullOr(Schema.Finite),
  /** Shards that came and went since it started; the newest moves first, ten at most. */
  taken: Schema.Int,
  given: Schema.Int,
  moves: Schema.Array(NodeMove),
  /** Settings in which it differs from most others and should not, by the variable's name. */
  differs: Schema.Array(Schema.String)
}).annotate({ identifier: "NodeInCluster" })
export type NodeInCluster = typeof NodeInCluster.Type

/** A process that runs devices, or is part of a cluster. */
export const Node = Schema.Struct({
  /** In a cluster, where the other nodes reach it; else the host's name. */
  name: Schema.String,
  startedAt: Timestamp,
  /** When it last wrote down that it was alive; by the database's clock. */
  aliveAt: Timestamp,
  /** False: it has ended or cannot write, and still has devices that no other process has taken over. */
  alive: Schema.Boolean,
  /** Active devices that it has. */
  devices: Schema.Int,
  /** Null where it is part of no cluster, or has ended and is known by its devices alone. */
  cluster: Schema.NullOr(NodeInCluster)
}).annotate({ identifier: "Node" })
export type Node = typeof Node.Type

export const NodeList = Schema.Struct({ items: Schema.Array(Node), next: Schema.Null }).annotate({
  identifier: "NodeList"
})

/** Who calls, as the key says. */
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
  /** How far the histories of gateways are read by this process: empty where it runs no devices. */
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
  /** The last committed number of the log; null where the database does not answer, and for a limited key. */
  head: Schema.NullOr(Seq)
}).annotate({ identifier: "ServerInfo" })
export type ServerInfo = typeof ServerInfo.Type
