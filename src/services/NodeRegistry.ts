/**
 * The self-descriptions of a cluster's processes, for those who ask about the cluster: `GET /server/nodes`, the
 * metrics and `columba doctor`. No decision of a node depends on them. A process outside of a cluster has none.
 */
import { Context, Duration, Effect } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Timestamp } from "../domain/Ids.ts"
import type { ShardMovesView } from "./ShardMoves.ts"

/** How often a process writes its row; its moves are also written as they happen, once per second at most. */
export const reportInterval = Duration.seconds(5)

/** A process that has not written for this time has ended without leaving. */
export const reportedFor = Duration.seconds(20)

/** The row of a process that has not written for this time is deleted by the others. */
export const forgottenAfter = Duration.days(1)

export interface NodeReport {
  /** As in `DeviceRepository.claim`: the process's name and start. */
  readonly owner: string
  readonly name: string
  readonly startedAt: Timestamp
  readonly version: string
  readonly roles: ReadonlyArray<string>
  /** The weight of its share of the shards; null for a process that runs no devices. */
  readonly weight: number | null
  readonly leaseMillis: number
  /** The settings that must be the same on all nodes, by the variable's name. No value is or reveals a secret. */
  readonly settings: Readonly<Record<string, string>>
  readonly moves: ShardMovesView
}

export interface RegisteredNode extends NodeReport {
  /** By the database's clock. */
  readonly seenAt: Timestamp
  readonly alive: boolean
  /** Shards whose lease it has, ended or not. */
  readonly shards: number
  /** Since the oldest of these leases was renewed; null without any. */
  readonly leaseAgeMillis: number | null
}

export interface NodeRegistry {
  /** Writes the row of this process, and deletes old rows of others. */
  readonly report: (report: NodeReport) => Effect.Effect<void, StorageUnavailable>
  readonly leave: (owner: string) => Effect.Effect<void, StorageUnavailable>
  /** By name. */
  readonly list: Effect.Effect<ReadonlyArray<RegisteredNode>, StorageUnavailable>
}

export const NodeRegistry = Context.Reference<NodeRegistry>("columba/services/NodeRegistry", {
  defaultValue: () => ({ report: () => Effect.void, leave: () => Effect.void, list: Effect.succeed([]) })
})

/** A setting that is not the same on all nodes, and the values of the nodes, by name. */
export interface DifferingSetting {
  readonly setting: string
  readonly values: ReadonlyArray<{ readonly value: string; readonly nodes: ReadonlyArray<string> }>
}

/** Each setting that differs, its commonest value first; among equals that of the process that started first. */
export const findDiffering = (
  nodes: ReadonlyArray<Pick<NodeReport, "name" | "settings" | "startedAt">>
): ReadonlyArray<DifferingSetting> => {
  const oldestFirst = nodes.toSorted((a, b) => a.startedAt.localeCompare(b.startedAt))
  const names = [...new Set(nodes.flatMap(({ settings }) => Object.keys(settings)))].sort()
  return names.flatMap((setting) => {
    const byValue = Map.groupBy(
      // A process of another version may not have the setting.
      oldestFirst.filter(({ settings }) => settings[setting] !== undefined),
      ({ settings }) => settings[setting]!
    )
    if (byValue.size < 2) return []
    const values = [...byValue].map(([value, some]) => ({ value, nodes: some.map(({ name }) => name) }))
    return [{ setting, values: values.toSorted((a, b) => b.nodes.length - a.nodes.length) }]
  })
}
