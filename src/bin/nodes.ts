/** `columba nodes`: the processes that run devices, over the typed client. */
import { Clock, Effect } from "effect"
import { Command } from "effect/cli"
import type { Node, NodeInCluster, NodeMove } from "../contracts/ServerPayloads.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, json, remoteFlags, withClient } from "./remote.ts"
import { dim, green, padEnd, red, styled, yellow } from "./styledText.ts"
import type { Part } from "./styledText.ts"
import { describeTime } from "./times.ts"

export const nodes = Command.make(
  "nodes",
  { ...remoteFlags, json },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.server.nodes())).pipe(
      Effect.flatMap(({ items }) => {
        if (flags.json) return Effect.forEach(items, printJson, { discard: true })
        if (items.length === 0) return print("no process runs devices")
        return Effect.flatMap(Clock.currentTimeMillis, (now) => print(...nodeTable(items, now)))
      })
    )
).pipe(
  Command.withDescription(
    "Shows the processes that run devices, and how many each has; in a cluster also its shards, and the last that came and went"
  ),
  Command.withExamples([{ command: "columba nodes", description: "The nodes of a cluster, or the one process" }])
)

const stateWidth = 5

export const nodeTable = (items: ReadonlyArray<Node>, now: number): ReadonlyArray<Part> => {
  const width = Math.max("node".length, ...items.map(({ name }) => name.length))
  const clustered = items.some(({ cluster }) => cluster !== null)
  return [
    dim(`${"node".padEnd(width)}  ${"state".padEnd(stateWidth)}  devices  ${clustered ? "shards  " : ""}started`),
    ...items.flatMap((node) => [
      styled`${node.name.padEnd(width)}  ${padEnd(node.alive ? green("alive") : red("gone"), stateWidth)}  ${
        String(node.devices).padStart("devices".length)
      }  ${clustered ? `${String(node.cluster?.shards ?? "").padStart("shards".length)}  ` : ""}${
        describeTime(node.startedAt, now)
      }${dim(node.alive ? "" : `, last heard of ${describeTime(node.aliveAt, now)}`)}`,
      ...(node.cluster === null ?
        [] :
        clusterLines(node.cluster, items, now).map((line) => styled`${" ".repeat(width)}  ${line}`))
    ])
  ]
}

/** Share of the lease: it is renewed three times before it ends. */
const staleShare = 2 / 3

const clusterLines = (cluster: NodeInCluster, items: ReadonlyArray<Node>, now: number): ReadonlyArray<Part> => {
  const { differs, leaseAgeSeconds, leaseSeconds, moves, roles, version, weight } = cluster
  const versions = new Set(items.flatMap((other) => other.cluster === null ? [] : [other.cluster.version]))
  const [last] = moves
  return [
    dim(
      `${roles.join(", ")}${weight === null || weight === 1 ? "" : `, weight ${weight}`}${
        last === undefined ? "" : `; ${describeMove(last, now)}`
      }`
    ),
    ...(versions.size > 1 ? [yellow(`version ${version}, and others run another one`)] : []),
    ...(leaseAgeSeconds !== null && leaseAgeSeconds > leaseSeconds * staleShare
      ? [yellow(`has not renewed its leases for ${Math.round(leaseAgeSeconds)} s; they last ${leaseSeconds} s`)]
      : []),
    ...(differs.length === 0 ? [] : [yellow(`differs from the others in ${differs.join(", ")}: columba doctor`)])
  ]
}

const describeMove = ({ at, direction, reason, shards }: NodeMove, now: number): string =>
  `${direction === "taken" ? "took" : "gave away"} ${shards} shards ${describeTime(at, now)} (${reason})`
