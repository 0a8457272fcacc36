/** `columba gaps …`: when devices could not receive, and what is known about it, over the typed client. */
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { GapStatus, provables } from "../domain/Gap.ts"
import type { Gap } from "../domain/Gap.ts"
import { DeviceId } from "../domain/Ids.ts"
import { limitFlag, moreLines } from "./pages.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, json, remoteFlags, withClient } from "./remote.ts"
import { given } from "./settingsFlags.ts"
import { dim, green, padEnd, red, styled, yellow } from "./styledText.ts"
import type { Paint, Part } from "./styledText.ts"

const list = Command.make("list", {
  ...remoteFlags,
  json,
  device: Flag.String("device").pipe(
    Flag.withDescription("only gaps of this device"),
    Flag.withSchema(DeviceId),
    Flag.optional
  ),
  status: Flag.Literals("status", GapStatus.literals).pipe(
    Flag.withDescription("only gaps with this status"),
    Flag.optional
  ),
  unproven: Flag.Literals("unproven", provables).pipe(
    Flag.withDescription("only closed or unprovable gaps in which this kind is not proven to be complete"),
    Flag.optional
  ),
  limit: limitFlag()
}, (flags) =>
  withClient(
    flags,
    (client) =>
      answeredInTime(
        client.gaps.list({
          ...given("device", flags.device),
          ...given("status", flags.status),
          ...given("unproven", flags.unproven),
          limit: flags.limit
        })
      )
  ).pipe(
    Effect.flatMap(({ items, next }) => {
      if (flags.json) return Effect.forEach(items, printJson, { discard: true })
      return items.length === 0 ? print("no gaps") : print(...gapTable(items), ...(next === null ? [] : moreLines))
    })
  )).pipe(
    Command.withAlias("ls"),
    Command.withDescription(
      "Shows intervals in which devices could not receive, what was recovered and what cannot be proven"
    ),
    Command.withExamples([
      {
        command: "columba gaps list --status open",
        description: "Gaps that last, or whose history is still to be read"
      },
      {
        command: "columba gaps list --status unprovable",
        description: "Gaps in which something may be missing permanently"
      },
      {
        command: "columba gaps list --unproven messages",
        description: "Gaps in which messages may be missing permanently"
      },
      { command: "columba gaps list --device dev_01K5ZQ…", description: "Of one device" }
    ])
  )

export const gaps = Command.make("gaps").pipe(
  Command.withDescription("Show the ledger of gaps: intervals in which devices could not receive events"),
  Command.withSubcommands([list])
)

const paints: Readonly<Record<GapStatus, Paint>> = { open: yellow, closed: green, unprovable: red }

const statusWidth = Math.max(...GapStatus.literals.map((status) => status.length))

/** Columns as wide as their widest cell. */
export const gapTable = (gaps: ReadonlyArray<Gap>): ReadonlyArray<Part> => {
  const rows = gaps.map((gap) => ({
    ...gap,
    end: gap.endedAt ?? "lasts",
    count: String(gap.recovered),
    all: gap.proven.join(",")
  }))
  const width = (title: string, cells: ReadonlyArray<string>) =>
    Math.max(title.length, ...cells.map((cell) => cell.length))
  const device = width("device", rows.map(({ deviceId }) => deviceId))
  const cause = width("cause", rows.map((row) => row.cause))
  const from = width("from", rows.map(({ openedAt }) => openedAt))
  const to = width("to", rows.map(({ end }) => end))
  const all = width("proven", rows.map((row) => row.all))
  const count = width("recovered", rows.map((row) => row.count))
  const header = `${"device".padEnd(device)}  ${"cause".padEnd(cause)}  ${"from".padEnd(from)}  ${"to".padEnd(to)}  ` +
    `${"status".padEnd(statusWidth)}  ${"proven".padEnd(all)}  ${"recovered".padEnd(count)}  detail`
  return [
    dim(header),
    ...rows.map((row) =>
      styled`${row.deviceId.padEnd(device)}  ${row.cause.padEnd(cause)}  ${row.openedAt.padEnd(from)}  ${
        row.end.padEnd(to)
      }  ${padEnd(paints[row.status](row.status), statusWidth)}  ${row.all.padEnd(all)}  ${
        row.count.padStart(count)
      }  ${dim(row.detail)}`
    )
  ]
}
