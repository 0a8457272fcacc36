/** `columba dead …`: incoming messages that could not be handled, over the typed client. */
import { Effect, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { DeadLetter, DeadLetterId } from "../domain/DeadLetter.ts"
import { CommandFailed, exitCode } from "./failures.ts"
import { limitFlag } from "./pages.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, json, remoteFlags, withClient } from "./remote.ts"
import { bold, dim, plain, styled, yellow } from "./styledText.ts"
import type { Part } from "./styledText.ts"

const list = Command.make("list", {
  ...remoteFlags,
  json,
  limit: limitFlag()
}, (flags) =>
  withClient(flags, (client) => answeredInTime(client.deadLetters.list({ limit: flags.limit }))).pipe(
    Effect.flatMap(({ items, total }) => {
      if (flags.json) {
        return Effect.forEach(items, (item) => printJson(Schema.encodeSync(DeadLetter)(item)), { discard: true })
      }
      if (items.length === 0) return print("no dead letters")
      const more = total > items.length ? [dim(`${total - items.length} more; raise --limit`)] : []
      return print(...items.flatMap(describe), ...more)
    })
  )).pipe(
    Command.withAlias("ls"),
    Command.withDescription("Shows incoming messages that could not be handled, oldest first, with the reason"),
    Command.withExamples([{ command: "columba dead list", description: "All dead letters" }])
  )

const idArguments = Argument.String("id").pipe(
  Argument.withDescription("ids of dead letters, as 'list' shows them"),
  Argument.withSchema(DeadLetterId),
  Argument.variadic()
)

const all = Flag.Boolean("all").pipe(Flag.withDescription("all current dead letters"), Flag.withDefault(false))

const retry = Command.make("retry", { ...remoteFlags, all, ids: idArguments }, (flags) =>
  Effect.gen(function*() {
    if (flags.all === (flags.ids.length > 0)) {
      return yield* CommandFailed.of("name dead letters, or give --all", null, exitCode.misused)
    }
    const { ids } = yield* withClient(flags, (client) =>
      inTime(client.deadLetters.retry(flags.all ? {} : { ids: flags.ids })))
    yield* print(...ids.map((id) =>
      styled`to be handled again: ${plain(id)}`
    ))
    yield* reportMissing(flags.ids, ids)
  })).pipe(
    Command.withDescription("Retries dead letters, with a new count of attempts"),
    Command.withExamples([{ command: "columba dead retry --all", description: "After the cause is fixed" }])
  )

const drop = Command.make("drop", { ...remoteFlags, ids: idArguments }, (flags) =>
  Effect.gen(function*() {
    if (flags.ids.length === 0) return yield* CommandFailed.of("name dead letters", null, exitCode.misused)
    const { ids } = yield* withClient(flags, (client) => inTime(client.deadLetters.drop({ ids: flags.ids })))
    yield* print(...ids.map((id) => styled`dropped: ${plain(id)}`))
    yield* reportMissing(flags.ids, ids)
  })).pipe(
    Command.withDescription("Drops dead letters; their events stay in the log"),
    Command.withExamples([{ command: "columba dead drop 0199b2c4-…", description: "Discards this one" }])
  )

export const dead = Command.make("dead").pipe(
  Command.withDescription("Manage dead letters: incoming messages that could not be handled"),
  Command.withSubcommands([list, retry, drop])
)

/** The server searches thousands of messages at the broker. */
const inTime = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.timeoutOrElse(call, {
    duration: "75 seconds",
    orElse: () => Effect.fail(CommandFailed.of("no answer within 75 seconds", null, exitCode.unavailable))
  })

const reportMissing = (asked: ReadonlyArray<string>, found: ReadonlyArray<string>) => {
  const missing = asked.filter((id) => !found.includes(id))
  return missing.length === 0
    ? Effect.void
    : Effect.fail(CommandFailed.of(`no such dead letter: ${missing.join(", ")}`, "see: columba dead list"))
}

const describe = ({ deviceId, diedAt, failures, id, kind, queue, reason, seq }: DeadLetter): ReadonlyArray<Part> => [
  styled`${bold(plain(id))}  ${yellow(plain(reason))}${
    dim(
      `  ${diedAt ?? "at an unknown time"}  ${kind ?? "no event"}${seq === null ? "" : ` ${seq}`}${
        deviceId === null ? "" : ` of ${deviceId}`
      }${queue === null ? "" : ` from ${queue}`}`
    )
  }`,
  ...failures.map(({ at, attempts, handler, message }) =>
    styled`  ${plain(handler)}: ${plain(message)} ${dim(`(attempt ${attempts}, ${at})`)}`
  )
]
