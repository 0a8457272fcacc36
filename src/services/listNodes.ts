/** The processes of an installation, from what they have recorded of themselves. */
import { Effect } from "effect"
import type { Node, NodeInCluster } from "../contracts/ServerPayloads.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceOwner, DeviceRepository } from "./DeviceRepository.ts"
import { findDiffering } from "./NodeRegistry.ts"
import type { DifferingSetting, NodeRegistry, RegisteredNode } from "./NodeRegistry.ts"

/** Those that run devices or are part of a cluster, by name. */
export const listNodes = (
  devices: DeviceRepository["Service"],
  registry: NodeRegistry
): Effect.Effect<ReadonlyArray<Node>, StorageUnavailable> =>
  Effect.map(
    Effect.all([devices.owners, registry.list]),
    ([owners, registered]) => {
      const differing = findDiffering(registered.filter(({ alive }) => alive))
      const owning = new Map(owners.map((one) => [one.owner, one]))
      const known = new Map(registered.map((one) => [one.owner, one]))
      const nodes = [
        ...owners.map((one) => toNode(one, known.get(one.owner), differing)),
        ...registered.filter(({ alive, owner }) => alive && !owning.has(owner)).map((one) =>
          toNode({ owner: one.owner, alive: true, aliveAt: one.seenAt, devices: 0 }, one, differing)
        )
      ]
      return nodes.toSorted((a, b) => a.name.localeCompare(b.name))
    }
  )

const toNode = (
  { owner, ...rest }: DeviceOwner,
  registered: RegisteredNode | undefined,
  differing: ReadonlyArray<DifferingSetting>
): Node => {
  const [name = owner, startedAt = rest.aliveAt] = owner.split(" ")
  return { name, startedAt, ...rest, cluster: registered === undefined ? null : toCluster(registered, differing) }
}

const toCluster = (node: RegisteredNode, differing: ReadonlyArray<DifferingSetting>): NodeInCluster => ({
  version: node.version,
  roles: node.roles,
  weight: node.weight,
  shards: node.shards,
  leaseSeconds: node.leaseMillis / 1000,
  leaseAgeSeconds: node.leaseAgeMillis === null ? null : node.leaseAgeMillis / 1000,
  taken: node.moves.taken,
  given: node.moves.given,
  moves: node.moves.recent.map(({ at, ...move }) => ({ at: new Date(at).toISOString(), ...move })),
  differs: differing.flatMap(({ setting, values: [, ...others] }) =>
    others.some(({ nodes }) => nodes.includes(node.name)) ? [setting] : []
  )
})
