/** `columba nodes`: the processes that run devices, over the typed client. */
import { Clock, Effect } from "effect"
import { Command } from "effect/cli"
import type { Node } from "../contracts/ServerPayloads.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, json, remoteFlags, withClient } from "./remote.ts"
import { dim, green, padEnd, red, styled } from "./styledText.ts"
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
  Command.withDescription("Shows the processes that run devices, and how many each has"),
  Command.withExamples([{ command: "columba nodes", description: "The nodes of a cluster, or the one process" }])
)

const stateWidth = 5

export const nodeTable = (items: ReadonlyArray<Node>, now: number): ReadonlyArray<Part> => {
  const width = Math.max("node".length, ...items.map(({ name }) => name.length))
  return [
    dim(`${"node".padEnd(width)}  ${"state".padEnd(stateWidth)}  devices  started`),
    ...items.map(({ alive, aliveAt, devices, name, startedAt }) =>
      styled`${name.padEnd(width)}  ${padEnd(alive ? green("alive") : red("gone"), stateWidth)}  ${
        String(devices).padStart("devices".length)
      }  ${describeTime(startedAt, now)}${dim(alive ? "" : `, last heard of ${describeTime(aliveAt, now)}`)}`
    )
  ]
}
