/** `columba schedules …`: recurring sends, over the typed client. */
import { Effect, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { DeviceId } from "../domain/Ids.ts"
import { Schedule, ScheduleId } from "../domain/Schedule.ts"
import type { ColumbaClient } from "../client/ColumbaClient.ts"
import { limitFlag, moreLines } from "./pages.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, deviceArgument, json, remoteFlags, withClient } from "./remote.ts"
import { given } from "./settingsFlags.ts"
import { bold, cyan, dim, fit, green, red, styled, yellow } from "./styledText.ts"
import type { Part } from "./styledText.ts"
import { describeTime } from "./times.ts"

const idArgument = Argument.String("schedule").pipe(
  Argument.withDescription("the schedule's id, sch_…"),
  Argument.withSchema(ScheduleId)
)

const printSchedule = (schedule: Schedule) => printJson(Schema.encodeSync(Schedule)(schedule))

/** Maximum width of a text in a line. */
const textWidth = 40

const describeState = ({ ended, next, paused }: Schedule, now: number): Part =>
  ended !== null
    ? red(`ended: ${ended.reason}`)
    : paused
    ? yellow("paused")
    : next === null
    ? dim("being planned")
    : green(`next ${describeTime(next.at, now)} (${next.at})`)

/** Two lines each, because expressions vary in width. */
export const scheduleLines = (schedules: ReadonlyArray<Schedule>, now: number): ReadonlyArray<Part> =>
  schedules.flatMap((schedule) => {
    const { cron, id, message, zone } = schedule
    const said = message === null ? "(erased)" : message.text ?? message.poll?.question ?? "(no text)"
    return [
      styled`${bold(id)}  ${cyan(`${cron} ${zone}`)}  ${describeState(schedule, now)}`,
      styled`  ${dim(`${schedule.deviceId} to ${message?.to ?? "-"}`)}  ${fit(said, textWidth)}${
        schedule.skipped === 0 ? "" : yellow(`  ${schedule.skipped} left out`)
      }`
    ]
  })

const say = (flags: { readonly json: boolean }, schedule: Schedule) =>
  flags.json ? printSchedule(schedule) : print(...scheduleLines([schedule], Date.now()))

const add = Command.make("add", {
  ...remoteFlags,
  json,
  device: deviceArgument,
  to: Argument.String("to").pipe(Argument.withDescription("a phone number with its country code, or a chat's address")),
  text: Argument.String("text").pipe(Argument.withDescription("the text")),
  cron: Flag.String("cron").pipe(
    Flag.withDescription("a cron expression, such as '0 9 * * 1-5'"),
    Flag.withMetavar("expression")
  ),
  zone: Flag.String("zone").pipe(Flag.withDescription("the time zone, such as Asia/Jakarta")),
  until: Flag.String("until").pipe(
    Flag.withDescription("no occurrence is later than this time"),
    Flag.withMetavar("time"),
    Flag.optional
  ),
  key: Flag.String("idempotency-key").pipe(
    Flag.withDescription("makes repeats of the command one recurring send, for 24 hours"),
    Flag.withMetavar("key"),
    Flag.optional
  )
}, (flags) =>
  withClient(flags, (client) =>
    answeredInTime(client.schedules.create({
      device: flags.device,
      message: { to: flags.to, text: flags.text },
      cron: flags.cron,
      zone: flags.zone,
      ...given("until", flags.until),
      ...given("idempotencyKey", flags.key)
    }))).pipe(Effect.flatMap((schedule) => say(flags, schedule)))).pipe(
    Command.withDescription("Sends a text at recurring times"),
    Command.withExamples([{
      command:
        "columba schedules add dev_01K5ZQ… 6281298765432 'We open at nine.' --cron '30 8 * * 1-6' --zone Asia/Jakarta",
      description: "On workdays at half past eight"
    }])
  )

const list = Command.make("list", {
  ...remoteFlags,
  json,
  device: Flag.String("device").pipe(
    Flag.withDescription("only schedules of this device"),
    Flag.withSchema(DeviceId),
    Flag.optional
  ),
  limit: limitFlag()
}, (flags) =>
  withClient(
    flags,
    (client) => answeredInTime(client.schedules.list({ ...given("device", flags.device), limit: flags.limit }))
  ).pipe(
    Effect.flatMap(({ items, next }) => {
      if (flags.json) return Effect.forEach(items, printSchedule, { discard: true })
      return items.length === 0
        ? print("no recurring sends; add one with: columba schedules add")
        : print(
          ...scheduleLines(items, Date.now()),
          ...(next === null ? [] : moreLines)
        )
    })
  )).pipe(
    Command.withAlias("ls"),
    Command.withDescription("Shows recurring sends and their next times"),
    Command.withExamples([{ command: "columba schedules list", description: "All of them" }])
  )

/** A failure of a call: every one has a tag, and a sentence for people. */
type Failure = { readonly _tag: string; readonly message: string }

const change = <const Name extends string, E extends Failure>(
  name: Name,
  description: string,
  run: (client: ColumbaClient["Service"], id: ScheduleId) => Effect.Effect<Schedule, E>
) =>
  Command.make(
    name,
    { ...remoteFlags, json, schedule: idArgument },
    (flags) =>
      withClient(flags, (client) => answeredInTime(run(client, flags.schedule))).pipe(
        Effect.flatMap((schedule) => say(flags, schedule))
      )
  ).pipe(
    Command.withDescription(description),
    Command.withExamples([{ command: `columba schedules ${name} sch_01K5ZQ…`, description: "By its id" }])
  )

export const schedules = Command.make("schedules").pipe(
  Command.withDescription("Send messages at recurring times"),
  Command.withSubcommands([
    add,
    list,
    change("show", "Shows one", (client, id) => client.schedules.get({ id })),
    change(
      "pause",
      "Leaves out what comes until it is resumed",
      (client, id) => client.schedules.edit({ id, paused: true })
    ),
    change("resume", "Goes on from now", (client, id) => client.schedules.edit({ id, paused: false })),
    change("remove", "Deletes it, with the occurrence that waits", (client, id) => client.schedules.remove({ id }))
  ])
)
