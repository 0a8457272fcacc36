/** `columba keys …`: who may call a running Columba, over the typed client. */
import { DateTime, Duration, Effect, Option, Redacted, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { keepKeySeconds } from "../contracts/KeyOperations.ts"
import { ApiKey, ApiKeyId, ApiKeyName, Scope } from "../domain/ApiKey.ts"
import { DeviceId } from "../domain/Ids.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, json, remoteFlags, withClient } from "./remote.ts"
import { given } from "./settingsFlags.ts"
import { bold, countColumns, cyan, dim, plain, red, styled, yellow } from "./styledText.ts"
import type { Part } from "./styledText.ts"
import { describeTime } from "./times.ts"

const idArgument = Argument.String("key").pipe(
  Argument.withDescription("the key's id, key_…; it is also the middle part of the key itself"),
  Argument.withSchema(ApiKeyId)
)

/** `90 days`, `12 hours`; the same form as in the settings. */
const DurationText = Schema.String.check(
  Schema.makeFilter(
    (text) => Option.exists(readDuration(text), Duration.isPositive) || "Expected a time like '90 days' or '12 hours'"
  )
)

const readDuration = (text: string): Option.Option<Duration.Duration> => Duration.fromInput(text as Duration.Input)

const encodeKey = Schema.encodeSync(ApiKey)

const list = Command.make(
  "list",
  { ...remoteFlags, json },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.keys.list())).pipe(
      Effect.flatMap(({ items }) => {
        if (flags.json) return Effect.forEach(items, (item) => printJson(encodeKey(item)), { discard: true })
        return items.length > 0
          ? Effect.flatMap(DateTime.now, (now) => print(...table(items, DateTime.toEpochMillis(now))))
          : print("no keys but those of COLUMBA_API_KEYS; make one with: columba keys add shop --scope read")
      })
    )
).pipe(
  Command.withAlias("ls"),
  Command.withDescription("Shows the keys with scopes and expiry, but never the secrets"),
  Command.withExamples([{ command: "columba keys list", description: "All keys except those of COLUMBA_API_KEYS" }])
)

const add = Command.make("add", {
  ...remoteFlags,
  json,
  name: Argument.String("name").pipe(
    Argument.withDescription("the name of the key, shown in logs and the audit trail"),
    Argument.withSchema(ApiKeyName)
  ),
  scope: Flag.Literals("scope", Scope.literals).pipe(
    Flag.withDescription("a scope; may be repeated"),
    Flag.between(1, Scope.literals.length)
  ),
  device: Flag.String("device").pipe(
    Flag.withDescription("only this device; may be repeated (default: all)"),
    Flag.withSchema(DeviceId),
    Flag.between(0, 256)
  ),
  expires: Flag.String("expires").pipe(
    Flag.withDescription("how long it is valid, such as '90 days' (default: until it is revoked)"),
    Flag.withMetavar("time"),
    Flag.withSchema(DurationText),
    Flag.optional
  ),
  rate: Flag.Int("rate").pipe(
    Flag.withDescription("requests per second that each process accepts from it"),
    Flag.optional
  )
}, (flags) =>
  Effect.gen(function*() {
    const now = yield* DateTime.now
    const expiresAt = Option.map(
      Option.flatMap(flags.expires, readDuration),
      (time) => DateTime.formatIso(DateTime.addDuration(now, time))
    )
    const { key, ...made } = yield* withClient(flags, (client) =>
      answeredInTime(client.keys.create({
        name: flags.name,
        scopes: [...new Set(flags.scope)],
        ...(flags.device.length === 0 ? {} : { devices: flags.device }),
        ...given("expiresAt", expiresAt),
        ...given("requestsPerSecond", flags.rate)
      })))
    if (flags.json) return yield* printJson({ ...encodeKey(made), key: Redacted.value(key) })
    yield* print(
      styled`made ${bold(made.id)} for ${made.name}: ${
        made.scopes.join(", ")
      }; this is the key, which is shown only now:`,
      styled`  ${cyan(Redacted.value(key))}`
    )
  })).pipe(
    Command.withDescription("Creates a key; its scopes must be among those of the caller's key"),
    Command.withExamples([
      { command: "columba keys add shop --scope read --scope send", description: "Reads and sends, on all devices" },
      {
        command: "columba keys add report --scope read --device dev_01K5ZQ… --expires '90 days'",
        description: "Reads one device, for a limited time"
      }
    ])
  )

const revoke = Command.make(
  "revoke",
  { ...remoteFlags, id: idArgument },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.keys.revoke({ id: flags.id }))).pipe(
      Effect.andThen(print(`revoked ${flags.id}; within 5 s no process accepts it, and its streams are ended`))
    )
).pipe(
  Command.withAlias("rm"),
  Command.withDescription("Ends a key at once, with the streams and WebSockets that were opened with it"),
  Command.withExamples([{
    command: "columba keys revoke key_01K5ZR…",
    description: "Ids are in 'list' and in the key"
  }])
)

const rotate = Command.make(
  "rotate",
  {
    ...remoteFlags,
    json,
    id: idArgument,
    keep: Flag.String("keep").pipe(
      Flag.withDescription("how long the old key also works, such as '1 hour' (default 1 day)"),
      Flag.withMetavar("time"),
      Flag.withSchema(DurationText),
      Flag.optional
    ),
    now: Flag.Boolean("now").pipe(
      Flag.withDescription("end the old key at once"),
      Flag.withDefault(false)
    )
  },
  (flags) =>
    Effect.gen(function*() {
      const wanted = Option.map(
        Option.flatMap(flags.keep, readDuration),
        (time) => Math.floor(Duration.toSeconds(time))
      )
      const keepSeconds = flags.now ? 0 : keepKeySeconds(Option.getOrUndefined(wanted))
      const { key, ...changed } = yield* withClient(
        flags,
        (client) => answeredInTime(client.keys.rotate({ id: flags.id, keepSeconds }))
      )
      if (flags.json) return yield* printJson({ ...encodeKey(changed), key: Redacted.value(key) })
      yield* print(
        styled`rotated ${bold(changed.id)} of ${changed.name}; this is the new key, which is shown only now:`,
        styled`  ${cyan(Redacted.value(key))}`,
        dim(keepSeconds === 0 ? "the one before it is ended" : `the one before it ends at ${changed.previousUntil}`)
      )
    })
).pipe(
  Command.withDescription(
    "Replaces a key; the one before it is accepted for a time, so that its users can change over"
  ),
  Command.withExamples([
    { command: "columba keys rotate key_01K5ZR…", description: "Both keys work for a day" },
    { command: "columba keys rotate key_01K5ZR… --now", description: "The key has leaked" }
  ])
)

export const keys = Command.make("keys").pipe(
  Command.withDescription("Manage API keys: add, rotate, revoke"),
  Command.withSubcommands([list, add, rotate, revoke])
)

const describeExpiry = ({ expiresAt, previousUntil }: ApiKey, now: number): Part => {
  const rotating = previousUntil !== null && Date.parse(previousUntil) > now
    ? yellow(`, the one before ends ${describeTime(previousUntil, now)}`)
    : ""
  if (expiresAt === null) return styled`${dim("never")}${rotating}`
  const expired = Date.parse(expiresAt) <= now
  const when = describeTime(expiresAt, now)
  return styled`${expired ? red(`expired ${when}`) : plain(when)}${rotating}`
}

/** Columns as wide as their widest cell. */
const table = (keys: ReadonlyArray<ApiKey>, now: number): ReadonlyArray<Part> => {
  const rows = keys.map((key) => ({
    id: key.id,
    name: key.name,
    scopes: key.scopes.join("+"),
    devices: key.devices === null ? "all" : String(key.devices.length),
    by: key.createdBy,
    expires: describeExpiry(key, now)
  }))
  const width = (name: "id" | "name" | "scopes" | "devices" | "by") =>
    Math.max(name.length, ...rows.map((row) => countColumns(row[name])))
  const columns = ["id", "name", "scopes", "devices", "by"] as const
  return [
    dim(`${columns.map((name) => name.padEnd(width(name))).join("  ")}  expires`),
    ...rows.map((row) => styled`${columns.map((name) => row[name].padEnd(width(name))).join("  ")}  ${row.expires}`)
  ]
}
