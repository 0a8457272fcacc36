/**
 * The check `nodes` of `columba doctor`: the nodes of the cluster as they have recorded themselves, whether each
 * answers, and in which settings they differ that must be the same.
 */
import { Duration, Effect } from "effect"
import { connect } from "node:net"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { sharedSettings } from "../layers/app/sharedSettings.ts"
import type { Settings } from "../layers/Settings.ts"
import { isLoopback } from "../services/ApiKeys.ts"
import { findDiffering, NodeRegistry } from "../services/NodeRegistry.ts"
import type { RegisteredNode } from "../services/NodeRegistry.ts"
import { failed, ok, warning } from "./finding.ts"
import type { Finding } from "./finding.ts"

const name = "nodes"

/** A node on a private network answers in milliseconds. */
const connectMax = Duration.seconds(2)

/** Nodes that are checked at a time. */
const asksAtOnce = 16

/** A program that can connect to a node's port can act as a node. */
export const clusterFinding = ({ host, port }: NonNullable<Settings["cluster"]>): Finding =>
  isLoopback(host)
    ? warning(
      "cluster",
      `nodes on other machines cannot reach this one at ${host}`,
      "set COLUMBA_NODE_HOST to an address that they reach"
    )
    : ok("cluster", `other nodes reach this one at ${host}:${port}, and are known by COLUMBA_SECRET_KEY`)

export const checkNodes = (settings: Settings): Effect.Effect<Finding, StorageUnavailable> =>
  Effect.gen(function*() {
    const { list } = yield* NodeRegistry
    const nodes = yield* list
    const alive = nodes.filter(({ alive }) => alive)
    if (alive.length === 0) return ok(name, "none runs yet")
    const holders = alive.filter(({ weight }) => weight !== null)
    const reached = yield* Effect.forEach(holders, answers, { concurrency: asksAtOnce })
    return judgeNodes(nodes, holders.filter((_, index) => !reached[index]), sharedSettings(settings))
  })

/** The most severe fault. `silent`: those that run devices and do not answer at their node port. */
export const judgeNodes = (
  nodes: ReadonlyArray<RegisteredNode>,
  silent: ReadonlyArray<RegisteredNode>,
  ours: Readonly<Record<string, string>>
): Finding => {
  const alive = nodes.filter(({ alive }) => alive)
  const gone = nodes.filter(({ alive }) => !alive)
  const stale = alive.filter(({ leaseAgeMillis, leaseMillis }) =>
    leaseAgeMillis !== null && leaseAgeMillis > leaseMillis
  )
  const versions = [...new Set(alive.map(({ version }) => version))]
  const here = { name: "these settings", startedAt: "9", settings: ours }
  const differing = findDiffering([...alive, here])
  const all = `${alive.length} ${alive.length === 1 ? "process" : "processes"}: ${alive.map(describe).join(", ")}`
  if (silent.length > 0) {
    return failed(
      name,
      `${listNames(silent)} cannot be reached from here, though alive`,
      "open the node ports between the nodes, and set COLUMBA_NODE_HOST to an address that the others reach"
    )
  }
  if (stale.length > 0) {
    return failed(
      name,
      `${listNames(stale)} has not renewed its leases in time`,
      "look at its log and at its way to the database; others take its devices over"
    )
  }
  if (differing.length > 0) {
    const detail = differing.map(({ setting, values }) =>
      `${setting} is ${values.map(({ nodes, value }) => `${value} (${nodes.join(", ")})`).join(", ")}`
    )
    return warning(name, `not the same everywhere: ${detail.join("; ")}`, "give all processes of the cluster the same")
  }
  if (versions.length > 1) {
    return warning(name, `versions ${versions.join(" and ")} run side by side`, "finish the upgrade on all nodes")
  }
  if (gone.length > 0) {
    return warning(
      name,
      `${all}; ${listNames(gone)} ended without leaving`,
      "nothing, if that was meant: it is forgotten after a day"
    )
  }
  return ok(name, all)
}

const listNames = (nodes: ReadonlyArray<RegisteredNode>): string => nodes.map(({ name }) => name).join(", ")

const describe = ({ name, roles, shards, weight }: RegisteredNode): string =>
  weight === null ? `${name} (${roles.join(", ")})` : `${name} with ${shards} shards`

const answers = ({ name }: RegisteredNode): Effect.Effect<boolean> =>
  Effect.callback<boolean>((resume) => {
    const at = name.lastIndexOf(":")
    const socket = connect({ host: name.slice(0, at), port: Number(name.slice(at + 1)) })
    const end = (reached: boolean) => () => {
      socket.destroy()
      resume(Effect.succeed(reached))
    }
    socket.once("connect", end(true))
    socket.once("error", end(false))
    return Effect.sync(() => socket.destroy())
  }).pipe(Effect.timeoutOrElse({ duration: connectMax, orElse: () => Effect.succeed(false) }))
