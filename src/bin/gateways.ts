/** `columba gateways …`: the gateways of a running Columba, over the typed client. */
import { Config, Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { Gateway } from "../domain/Gateway.ts"
import { GatewayDialect } from "../domain/Gateway.ts"
import { GatewayName } from "../domain/Ids.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, json, remoteFlags, withClient } from "./remote.ts"
import { given } from "./settingsFlags.ts"
import { dim, green, padEnd, plain, styled, countColumns, yellow } from "./styledText.ts"
import type { Part } from "./styledText.ts"

const nameArgument = Argument.String("name").pipe(
  Argument.withDescription("the gateway's name"),
  Argument.withSchema(GatewayName)
)

/** A flag is visible to everyone who lists the processes of the machine, so a variable can hold the secret instead. */
const secretFlag = (name: string, variable: string, what: string) =>
  Flag.Redacted(name).pipe(
    Flag.withDescription(`${what} [${variable}]`),
    Flag.withMetavar("secret"),
    Flag.withFallbackConfig(Config.Redacted(variable)),
    Flag.optional
  )

const list = Command.make(
  "list",
  { ...remoteFlags, json },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.gateways.list({}))).pipe(
      Effect.flatMap(({ items }) => {
        if (flags.json) return Effect.forEach(items, printJson, { discard: true })
        return items.length > 0
          ? print(...gatewayTable(items))
          : print("no gateways; add one with: columba gateways add main --gateway-url https://gateway:3000")
      })
    )
).pipe(
  Command.withAlias("ls"),
  Command.withDescription("Shows the gateways, their URLs and which of their secrets are set"),
  Command.withExamples([{ command: "columba gateways list", description: "All gateways" }])
)

const add = Command.make("add", {
  ...remoteFlags,
  json,
  name: nameArgument,
  dialect: Flag.Literals("dialect", GatewayDialect.literals).pipe(
    Flag.withDescription("the protocol of the gateway (default bridge)"),
    Flag.withDefault("bridge" as const)
  ),
  gatewayUrl: Flag.Redacted("gateway-url").pipe(
    Flag.withDescription("the URL of the gateway, with its base path; user:password@ in it are removed and sealed"),
    Flag.withMetavar("url")
  ),
  user: Flag.String("user").pipe(Flag.withDescription("user of HTTP Basic"), Flag.optional),
  password: secretFlag("password", "COLUMBA_GATEWAY_PASSWORD", "password of HTTP Basic"),
  gatewayKey: secretFlag("gateway-api-key", "COLUMBA_GATEWAY_API_KEY", "API key, for dialects that use one"),
  webhookSecret: secretFlag(
    "webhook-secret",
    "COLUMBA_GATEWAY_WEBHOOK_SECRET",
    "HMAC secret of the webhooks that the gateway posts"
  )
}, (flags) =>
  withClient(flags, (client) =>
    answeredInTime(client.gateways.create({
      name: flags.name,
      dialect: flags.dialect,
      url: flags.gatewayUrl,
      ...given("user", flags.user),
      ...given("password", flags.password),
      ...given("apiKey", flags.gatewayKey),
      ...given("webhookSecret", flags.webhookSecret)
    }))).pipe(
      Effect.flatMap((gateway) =>
        flags.json
          ? printJson(gateway)
          : print(
            `added ${gateway.name}; give it devices: columba devices add --name 'Sales' --gateway ${gateway.name}`
          )
      )
    )).pipe(
    Command.withDescription("Adds a gateway; devices can use it at once"),
    Command.withExamples([
      {
        command: "COLUMBA_GATEWAY_PASSWORD=… columba gateways add east --gateway-url https://east:3000 --user columba",
        description: "With credentials; the password is stored sealed"
      }
    ])
  )

const remove = Command.make(
  "remove",
  { ...remoteFlags, name: nameArgument },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.gateways.remove({ name: flags.name }))).pipe(
      Effect.andThen(print(`removed ${flags.name}`))
    )
).pipe(
  Command.withAlias("rm"),
  Command.withDescription("Removes a gateway that no active device uses"),
  Command.withExamples([{ command: "columba gateways remove east", description: "Refused while devices use it" }])
)

export const gateways = Command.make("gateways").pipe(
  Command.withDescription("Manage WhatsApp gateways"),
  Command.withSubcommands([list, add, remove])
)

/** Columns as wide as their widest cell. */
const gatewayTable = (gateways: ReadonlyArray<Gateway>): ReadonlyArray<Part> => {
  const rows = gateways.map((gateway) => ({ ...gateway, address: plain(gateway.url) }))
  const width = (name: string, cells: ReadonlyArray<Part>) => Math.max(name.length, ...cells.map(countColumns))
  const nameWidth = width("name", rows.map(({ name }) => name))
  const addressWidth = width("url", rows.map(({ address }) => address))
  const dialectWidth = width("dialect", rows.map(({ dialect }) => dialect))
  const sourceWidth = width("from", rows.map(({ source }) => source))
  const header = ["name".padEnd(nameWidth), "dialect".padEnd(dialectWidth), "url".padEnd(addressWidth)]
  return [
    dim(`${[...header, "from".padEnd(sourceWidth), "state   ", "secrets set"].join("  ")}`),
    ...rows.map(({ active, address, dialect, name, secrets, source }) => {
      const state = padEnd(active ? green("active") : yellow("inactive"), "inactive".length)
      const where = styled`${padEnd(name, nameWidth)}  ${padEnd(dialect, dialectWidth)}  ${
        padEnd(address, addressWidth)
      }`
      return styled`${where}  ${padEnd(source, sourceWidth)}  ${state}  ${dim(secrets.join(", ") || "-")}`
    })
  ]
}
