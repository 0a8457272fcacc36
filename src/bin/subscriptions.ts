/** `columba subscriptions …`: the servers that get events by HTTP, over the typed client. */
import { Config, Effect, Option, Redacted, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { EventKindFilter } from "../contracts/EventPayloads.ts"
import { beginning, DeviceId, Position } from "../domain/Ids.ts"
import { DeliveryOutcome, Subscription, SubscriptionId, SubscriptionName } from "../domain/Subscription.ts"
import type { Delivery } from "../domain/Subscription.ts"
import { CommandFailed, exitCode } from "./failures.ts"
import { limitFlag } from "./pages.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, json, remoteFlags, withClient } from "./remote.ts"
import { given } from "./settingsFlags.ts"
import { bold, countColumns, cyan, dim, fit, green, padEnd, plain, red, styled, yellow } from "./styledText.ts"
import type { Part } from "./styledText.ts"

const idArgument = Argument.String("subscription").pipe(
  Argument.withDescription("the subscription's id, sub_…"),
  Argument.withSchema(SubscriptionId)
)

/** The form of the API. */
const printSubscription = (subscription: Subscription) => printJson(Schema.encodeSync(Subscription)(subscription))

const list = Command.make(
  "list",
  { ...remoteFlags, json },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.subscriptions.list())).pipe(
      Effect.flatMap(({ items }) => {
        if (flags.json) return Effect.forEach(items, printSubscription, { discard: true })
        return items.length > 0
          ? print(...table(items))
          : print("no subscriptions; add one with: columba subscriptions add https://hooks.example.com/columba")
      })
    )
).pipe(
  Command.withAlias("ls"),
  Command.withDescription("Shows the subscriptions, their positions and the health of their endpoints"),
  Command.withExamples([{ command: "columba subscriptions list", description: "All subscriptions" }])
)

const add = Command.make("add", {
  ...remoteFlags,
  json,
  endpoint: Argument.String("endpoint").pipe(Argument.withDescription("the URL that events are posted to")),
  name: Flag.String("name").pipe(
    Flag.withDescription("a name for people"),
    Flag.withSchema(SubscriptionName),
    Flag.optional
  ),
  kind: Flag.String("kind").pipe(
    Flag.withDescription("only events of this kind; may be repeated"),
    Flag.withSchema(EventKindFilter),
    Flag.between(0, 32)
  ),
  device: Flag.String("device").pipe(
    Flag.withDescription("only events of this device; may be repeated"),
    Flag.withSchema(DeviceId),
    Flag.between(0, 256)
  ),
  header: Flag.String("header").pipe(
    Flag.withDescription("a header to send, as name=value; may be repeated [COLUMBA_SUBSCRIPTION_HEADER for one]"),
    Flag.withMetavar("name=value"),
    Flag.between(0, 16)
  ),
  rate: Flag.Int("rate").pipe(Flag.withDescription("maximum events per second"), Flag.optional),
  from: Flag.Literals("from", ["beginning", "now"]).pipe(
    Flag.withDescription("where to start: at the oldest event that is kept, or at the next one (default now)"),
    Flag.withDefault("now" as const)
  ),
  secret: Flag.Redacted("secret").pipe(
    Flag.withDescription("the signing secret, whsec_… (default: generated) [COLUMBA_SUBSCRIPTION_SECRET]"),
    Flag.withMetavar("secret"),
    Flag.withFallbackConfig(Config.Redacted("COLUMBA_SUBSCRIPTION_SECRET")),
    Flag.optional
  ),
  headerVariable: Flag.Redacted("header-secret").pipe(
    Flag.withDescription("a header that must not appear in the list of processes [COLUMBA_SUBSCRIPTION_HEADER]"),
    Flag.withMetavar("name=value"),
    Flag.withFallbackConfig(Config.Redacted("COLUMBA_SUBSCRIPTION_HEADER")),
    Flag.optional
  )
}, (flags) =>
  Effect.gen(function*() {
    const hidden = Option.toArray(Option.map(flags.headerVariable, Redacted.value))
    const headers = yield* readHeaders([...flags.header, ...hidden])
    const { secret, ...made } = yield* withClient(flags, (client) =>
      answeredInTime(client.subscriptions.create({
        url: Redacted.make(flags.endpoint),
        from: flags.from,
        ...given("name", flags.name),
        ...(flags.kind.length === 0 ? {} : { kinds: flags.kind }),
        ...(flags.device.length === 0 ? {} : { devices: flags.device }),
        ...(headers === null ? {} : { headers }),
        ...given("rateLimit", flags.rate),
        ...given("secret", flags.secret)
      })))
    if (flags.json) {
      return yield* printJson({ ...Schema.encodeSync(Subscription)(made), secret: Redacted.value(secret) })
    }
    yield* print(
      styled`added ${bold(made.id)}; give its receiver this secret, which is shown only now:`,
      styled`  ${cyan(Redacted.value(secret))}`,
      dim(`try it: columba subscriptions test ${made.id}`)
    )
  })).pipe(
    Command.withDescription("Adds a subscription: events are posted to a URL from now on, or from the beginning"),
    Command.withExamples([
      {
        command: "columba subscriptions add https://hooks.example.com/columba --kind message.received",
        description: "Messages that arrive"
      },
      {
        command: "columba subscriptions add https://alerts.example.com/ --kind subscription.disabled --name Alerts",
        description: "Report when another subscription is disabled"
      }
    ])
  )

const readHeaders = (
  given: ReadonlyArray<string>
): Effect.Effect<Record<string, Redacted.Redacted> | null, CommandFailed> => {
  const wrong = given.find((one) => one.indexOf("=") < 1)
  if (wrong !== undefined) {
    return Effect.fail(CommandFailed.of("--header is written name=value", null, exitCode.misused))
  }
  const entries = given.map((one) =>
    [one.slice(0, one.indexOf("=")), Redacted.make(one.slice(one.indexOf("=") + 1))] as const
  )
  return Effect.succeed(entries.length === 0 ? null : Object.fromEntries(entries))
}

const show = Command.make(
  "show",
  { ...remoteFlags, json, id: idArgument },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.subscriptions.get({ id: flags.id }))).pipe(
      Effect.flatMap((found) => flags.json ? printSubscription(found) : print(...describe(found)))
    )
).pipe(
  Command.withDescription("Shows a subscription: its position, the health of its endpoint, and what waits"),
  Command.withExamples([{ command: "columba subscriptions show sub_01K5ZR…", description: "Ids are in 'list'" }])
)

/** Commands that change one subscription and report it in a line. */
const pause = Command.make(
  "pause",
  { ...remoteFlags, id: idArgument },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.subscriptions.edit({ id: flags.id, paused: true }))).pipe(
      Effect.flatMap(({ id }) => print(`paused ${id}; it keeps its place: columba subscriptions resume ${id}`))
    )
).pipe(
  Command.withDescription("Stops deliveries; the subscription keeps its position"),
  Command.withExamples([{
    command: "columba subscriptions pause sub_01K5ZR…",
    description: "Events that arrive meanwhile are delivered after resume"
  }])
)

const resume = Command.make(
  "resume",
  { ...remoteFlags, id: idArgument },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.subscriptions.edit({ id: flags.id, paused: false }))).pipe(
      Effect.flatMap((found) => print(...describe(found)))
    )
).pipe(
  Command.withDescription("Continues after a pause, from where it stopped"),
  Command.withExamples([{
    command: "columba subscriptions resume sub_01K5ZR…",
    description: "Deliver the events of the pause"
  }])
)

const remove = Command.make(
  "remove",
  { ...remoteFlags, id: idArgument },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.subscriptions.remove({ id: flags.id }))).pipe(
      Effect.andThen(print(`removed ${flags.id}`))
    )
).pipe(
  Command.withAlias("rm"),
  Command.withDescription("Removes a subscription with its position and its delivery log"),
  Command.withExamples([{ command: "columba subscriptions remove sub_01K5ZR…", description: "No more deliveries" }])
)

const enable = Command.make(
  "enable",
  { ...remoteFlags, id: idArgument },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.subscriptions.enable({ id: flags.id }))).pipe(
      Effect.flatMap((found) => print(...describe(found)))
    )
).pipe(
  Command.withDescription("Activates a subscription that Columba has disabled; tries a failing one at once"),
  Command.withExamples([{ command: "columba subscriptions enable sub_01K5ZR…", description: "The endpoint is back" }])
)

const replay = Command.make("replay", {
  ...remoteFlags,
  id: idArgument,
  after: Flag.String("after").pipe(
    Flag.withDescription("the position to deliver from, exclusive; 0 is the oldest event that is kept (default 0)"),
    Flag.withSchema(Position),
    Flag.withDefault(beginning)
  )
}, (flags) =>
  withClient(
    flags,
    (client) => answeredInTime(client.subscriptions.replay({ id: flags.id, after: flags.after }))
  ).pipe(
    Effect.flatMap(({ behind, position }) => print(`delivers again after ${position}: ${behind} numbers of the log`))
  )).pipe(
    Command.withDescription("Delivers everything after a position of the log again"),
    Command.withExamples([
      { command: "columba subscriptions replay sub_01K5ZR… --after 1042", description: "Everything after event 1042" }
    ])
  )

const deliveries = Command.make("deliveries", {
  ...remoteFlags,
  json,
  id: idArgument,
  outcome: Flag.Literals("outcome", DeliveryOutcome.literals).pipe(
    Flag.withDescription("only attempts with this outcome"),
    Flag.optional
  ),
  limit: limitFlag(20)
}, (flags) =>
  withClient(flags, (client) =>
    answeredInTime(
      client.subscriptions.deliveries({ id: flags.id, limit: flags.limit, ...given("outcome", flags.outcome) })
    )).pipe(
      Effect.flatMap(({ items }) => {
        if (flags.json) return Effect.forEach(items, printJson, { discard: true })
        return items.length > 0 ? print(...items.map(deliveryLine)) : print("no attempts yet")
      })
    )).pipe(
    Command.withDescription("Shows the latest attempts, newest first"),
    Command.withExamples([
      { command: "columba subscriptions deliveries sub_01K5ZR… --outcome failed", description: "Failed attempts" }
    ])
  )

const test = Command.make("test", { ...remoteFlags, json, id: idArgument }, (flags) =>
  withClient(
    flags,
    (client) =>
      Effect.timeoutOrElse(client.subscriptions.test({ id: flags.id }), {
        duration: testTimeout,
        orElse: () => Effect.fail(CommandFailed.of(`no answer within ${testTimeout}`, null, exitCode.unavailable))
      })
  ).pipe(
    Effect.flatMap((result) => {
      if (flags.json) return printJson(result)
      const line = `${result.outcome}${result.status === null ? "" : `, status ${result.status}`}, ${result.millis} ms`
      return result.outcome === "delivered"
        ? print(green(line))
        : Effect.fail(CommandFailed.of(`the test event was not taken: ${line}`, result.detail))
    })
  )).pipe(
    Command.withDescription("Sends a signed test event and shows the result"),
    Command.withExamples([{
      command: "columba subscriptions test sub_01K5ZR…",
      description: "Checks whether the endpoint answers and accepts the signature"
    }])
  )

/** The endpoint has 15 s, and the server runs some tests at a time. */
const testTimeout = "30 seconds"

const rotate = Command.make("rotate", {
  ...remoteFlags,
  json,
  id: idArgument,
  keep: Flag.Int("keep-seconds").pipe(
    Flag.withDescription("how long the old secret also signs (default a day, 0: not at all)"),
    Flag.optional
  )
}, (flags) =>
  withClient(
    flags,
    (client) => answeredInTime(client.subscriptions.rotate({ id: flags.id, ...given("keepSeconds", flags.keep) }))
  ).pipe(
    Effect.flatMap(({ previousSecretUntil, secret, ...found }) =>
      flags.json
        ? printJson({
          ...Schema.encodeSync(Subscription)({ ...found, previousSecretUntil }),
          secret: Redacted.value(secret)
        })
        : print(
          styled`the new secret, which is shown only now: ${cyan(Redacted.value(secret))}`,
          dim(`the one before it signs as well until ${previousSecretUntil ?? "now"}`)
        )
    )
  )).pipe(
    Command.withDescription("Replaces the secret; both sign for a while, so that the receiver can switch"),
    Command.withExamples([{
      command: "columba subscriptions rotate sub_01K5ZR…",
      description: "Both secrets sign for a day"
    }])
  )

export const subscriptions = Command.make("subscriptions").pipe(
  Command.withDescription("Manage subscriptions: servers that get events by HTTP"),
  Command.withSubcommands([list, add, show, pause, resume, remove, enable, replay, deliveries, test, rotate])
)

const urlWidthMax = 48

const paintState = (subscription: Subscription): Part => {
  if (subscription.state === "disabled") return red("disabled")
  if (subscription.state === "paused") return dim("paused")
  return subscription.health.failing === null ? green("active") : yellow("failing")
}

const table = (items: ReadonlyArray<Subscription>): ReadonlyArray<Part> => {
  const rows = items.map((item) => ({ item, url: fit(item.name ?? item.url, urlWidthMax) }))
  const urlWidth = Math.max("name or url".length, ...rows.map(({ url }) => countColumns(url)))
  return [
    dim(`${"id".padEnd(rows[0]!.item.id.length)}  ${"name or url".padEnd(urlWidth)}  state     behind`),
    ...rows.map(({ item, url }) =>
      styled`${item.id}  ${padEnd(url, urlWidth)}  ${padEnd(paintState(item), "disabled".length)}  ${item.behind}`
    )
  ]
}

const describe = (item: Subscription): ReadonlyArray<Part> => {
  const { abandoned, expired, failing, held, lastDeliveredAt } = item.health
  return [
    styled`${bold(item.id)} is ${paintState(item)}`,
    styled`url    ${plain(item.url)}`,
    ...(item.name === null ? [] : [styled`name   ${plain(item.name)}`]),
    styled`gets   ${item.kinds?.join(", ") ?? "all kinds"} of ${
      item.devices === null ? "all devices" : `${item.devices.length} devices`
    }`,
    styled`at     ${item.position}, ${item.behind} behind; last delivery ${lastDeliveredAt ?? "none yet"}`,
    ...(item.disabled === null
      ? []
      : [styled`fix    ${cyan(`columba subscriptions enable ${item.id}`)}${dim(` (${item.disabled.reason})`)}`]),
    ...(failing === null ? [] : [
      styled`fails  since ${failing.since}: ${failing.outcome}${
        failing.status === null ? "" : `, status ${failing.status}`
      }; attempt ${failing.attempts} of ${failing.attemptsMax}${
        dim(failing.detail === null ? "" : ` (${failing.detail})`)
      }`
    ]),
    ...held.map(({ attempts, deviceId, outcome, seq, since, status }) =>
      styled`waits  ${deviceId} at event ${seq} since ${since}: ${outcome}${
        status === null ? "" : `, status ${status}`
      }, ${attempts} attempts`
    ),
    ...(abandoned === 0 ? [] : [styled`lost   ${yellow(`${abandoned} events were given up after three days each`)}`]),
    ...(expired === 0 ? [] : [styled`lost   ${yellow(`${expired} numbers of the log were deleted before their turn`)}`])
  ]
}

const deliveryLine = (item: Delivery): Part => {
  const outcome = item.outcome === "delivered" ? green(item.outcome) : yellow(item.outcome)
  const more = item.detail ?? (item.abandoned ? "given up" : "")
  return styled`${item.at}  ${padEnd(String(item.seq), 10)}  ${padEnd(item.kind, 18)}  ${padEnd(outcome, 10)}  ${
    padEnd(String(item.status ?? "-"), 3)
  }  ${padEnd(`${item.millis} ms`, 8)}  attempt ${item.attempt}  ${dim(more)}`
}
