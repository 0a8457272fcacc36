/**
 * The operator's settings: the variables of `settingsVariables.ts`, read and checked. Flags override the environment,
 * and the environment overrides a `.env` file. All problems are found at once, and each names the variable, the given value
 * and the expected one; a value that may be a secret is never shown.
 */
import { join } from "node:path"
import { Config, ConfigProvider, Duration, Effect, FileSystem, Option, Redacted, Schema } from "effect"
import { unusedSecrets } from "../domain/Gateway.ts"
import type { GatewayDialect, GatewaySecretName } from "../domain/Gateway.ts"
import type { Pacing } from "../domain/Pacing.ts"
import { isLoopback } from "../services/ApiKeys.ts"
import type { ApiKey } from "../services/ApiKeys.ts"
import { isGuessable } from "../services/guessableSecret.ts"
import type { SecretKey } from "../services/SecretSeal.ts"
import { allRoles } from "./settingsValues.ts"
import type { OtlpProtocol, Role, TraceSampler } from "./settingsValues.ts"
import { variables } from "./settingsVariables.ts"
import type { Variable } from "./settingsVariables.ts"

export interface Settings {
  readonly database:
    | { readonly _tag: "Embedded"; readonly dataDir: string }
    | { readonly _tag: "Postgres"; readonly url: Redacted.Redacted<string> }
  readonly rabbitUrl: Redacted.Redacted<string> | null
  readonly redisUrl: Redacted.Redacted<string> | null
  /** Without this setting, the embedded database uses the built-in simulator and Postgres has no gateway. */
  readonly gateway:
    | { readonly _tag: "Simulator"; readonly demoDevices: number }
    | { readonly _tag: "None" }
    | {
      readonly _tag: "Configured"
      readonly dialect: GatewayDialect
      readonly url: URL
      readonly user: string
      readonly password: Redacted.Redacted<string>
      readonly apiKey: Redacted.Redacted<string> | null
      /** The secret that signs the gateway's webhooks. */
      readonly webhookSecret: Redacted.Redacted<string> | null
    }
  /** Where gateways reach this server. */
  readonly publicUrl: string | null
  readonly host: string
  readonly port: number
  readonly apiKeys: ReadonlyArray<ApiKey>
  /** Origins whose web pages may call the API. */
  readonly corsOrigins: ReadonlyArray<string>
  /** Maximum number of concurrent event streams. */
  readonly streams: number
  /** Keys that encrypt the secrets in the database; the first encrypts, all decrypt. */
  readonly secretKeys: ReadonlyArray<SecretKey>
  /** Whether addresses that callers name may be on a private network. */
  readonly outboundAllowPrivate: boolean
  readonly roles: ReadonlySet<Role>
  /** The node's place among the processes that share the fleet; null: alone. */
  readonly cluster:
    | {
      readonly host: string
      readonly port: number
      readonly lease: Duration.Duration
      readonly weight: number
      /** The keys that the nodes authenticate each other with. */
      readonly keys: ReadonlyArray<SecretKey>
    }
    | null
  /** Paths of modules with handlers of incoming messages. */
  readonly handlers: ReadonlyArray<string>
  /** Time limit of a handler for one message. */
  readonly handlerTimeout: Duration.Duration
  /** The language model that answers messages; null: none. */
  readonly openAi:
    | { readonly apiKey: Redacted.Redacted<string>; readonly baseUrl: string; readonly model: string }
    | null
  /** How long events stay in the log; null keeps them forever. */
  readonly retention: Duration.Duration | null
  /** The sending rate of devices without a pacing of their own. */
  readonly pacing: Pacing
  /** Where files of messages are kept, for how long, and up to how many bytes; null: they are not kept. */
  readonly media: { readonly directory: string; readonly keep: Duration.Duration; readonly quotaBytes: number } | null
  /** Where files to send are stored until they are sent. */
  readonly outbox: string
  /** Base URL of the OTLP collector, or null: no telemetry is exported. */
  readonly otlpEndpoint: string | null
  readonly otlpProtocol: (typeof OtlpProtocol)["Type"] | null
  readonly traceSampler: (typeof TraceSampler)["Type"] | null
  readonly traceShare: number | null
  readonly log: "auto" | "pretty" | "logfmt" | "json"
  readonly debug: boolean
  /** Settings that have no effect in this version, as sentences for the start screen. */
  readonly notes: ReadonlyArray<string>
}

/** The settings are invalid; every reason is in `problems`. */
export class SettingsInvalid extends Schema.TaggedError<SettingsInvalid>()("SettingsInvalid", {
  message: Schema.String,
  problems: Schema.Array(Schema.String)
}) {
  /** The first line of `message`; the problems follow it, one per line. */
  get heading(): string {
    return headingFor(this.problems)
  }

  static of(problems: ReadonlyArray<string>): SettingsInvalid {
    const message = [headingFor(problems), ...problems.map((problem) => `  - ${problem}`)].join("\n")
    return new SettingsInvalid({ problems, message })
  }
}

const headingFor = (problems: ReadonlyArray<string>): string =>
  `${problems.length === 1 ? "One setting needs" : `${problems.length} settings need`} your attention:`

type Values = { readonly [K in keyof typeof variables]: (typeof variables)[K] extends Variable<infer A> ? A : never }

/** Reads one variable. If it is not acceptable, the reason goes to `problems` and the default is used. */
const read = Effect.fnUntraced(function*<A>(from: Variable<A>, problems: Array<string>) {
  const given = yield* Config.option(Config.String(from.name)).pipe(Effect.orElseSucceed(Option.none))
  if (Option.isNone(given) || given.value.trim() === "") return from.absent
  return yield* from.config.pipe(Effect.catch(() =>
    Effect.sync(() => {
      const shown = from.secret ? `a value of ${given.value.length} characters` : `'${given.value.slice(0, 60)}'`
      problems.push(`${from.name} is ${shown}; expected ${from.expected}`)
      return from.absent
    })
  ))
})

const readAll = Effect.fnUntraced(function*(problems: Array<string>) {
  const entries: Array<readonly [string, unknown]> = []
  for (const [key, from] of Object.entries<Variable<unknown>>(variables)) {
    entries.push([key, yield* read(from, problems)])
  }
  return Object.fromEntries(entries) as Values
})

/** Contradictions between several variables. */
const contradictions = (values: Values): ReadonlyArray<string> => {
  const problems: Array<string> = []
  if (!isLoopback(values.host) && values.apiKeys === null) {
    problems.push(
      `HOST is '${values.host}', which other machines can reach; set COLUMBA_API_KEYS ` +
        "(openssl rand -hex 24 makes a key) or leave HOST at 127.0.0.1"
    )
  }
  if (!isLoopback(values.host)) {
    for (const name of listGuessable(values)) {
      problems.push(
        `${name} is a value that is tried first, and HOST is '${values.host}', which other machines can reach; ` +
          "set another (openssl rand -hex 24 makes one)"
      )
    }
  }
  if (values.gatewayUrl === null && values.gatewayUser !== "") {
    problems.push("WHATSAPP_API_USER is set but WHATSAPP_API_URL is not; set both, or neither")
  }
  if (values.cluster === "on" && values.databaseUrl === null) {
    problems.push(
      "COLUMBA_CLUSTER is on, so DATABASE_URL must name the Postgres that its nodes share; the embedded database serves " +
        "one process alone"
    )
  }
  if (values.cluster === "on" && values.secretKeys === null) {
    problems.push(
      "COLUMBA_CLUSTER is on, so COLUMBA_SECRET_KEY must be set, the same on all nodes: they know each other by it " +
        "(openssl rand -base64 32 makes a key)"
    )
  }
  if (
    values.gatewayUrl === null && values.databaseUrl === null && values.roles.has("api") && !values.roles.has("devices")
  ) {
    problems.push(
      "COLUMBA_ROLES gives the API a process of its own, so WHATSAPP_API_URL must name the gateway that the role " +
        "devices uses; the built-in simulator lives in one process ('columba simulator' runs it as a server)"
    )
  }
  return problems
}

/** The credentials of callers or gateways that equal those of an example. */
const listGuessable = ({ apiKeys, webhookSecret }: Values): ReadonlyArray<string> => [
  ...(apiKeys ?? []).flatMap(({ key, name }) =>
    isGuessable(Redacted.value(key)) ? [`The key '${name}' of COLUMBA_API_KEYS`] : []
  ),
  ...(webhookSecret !== null && isGuessable(Redacted.value(webhookSecret)) ? ["WHATSAPP_WEBHOOK_SECRET"] : [])
]

const listUnusedSecrets = (values: Values): ReadonlyArray<readonly [string, unknown, string]> => {
  const given: Readonly<Record<GatewaySecretName, readonly [string, unknown]>> = {
    password: ["WHATSAPP_API_PASSWORD", values.gatewayPassword],
    apiKey: ["WHATSAPP_API_KEY", values.gatewayKey],
    webhookSecret: ["WHATSAPP_WEBHOOK_SECRET", values.webhookSecret]
  }
  const unused = Object.entries(unusedSecrets[values.gatewayDialect]) as Array<[GatewaySecretName, string]>
  return unused.map(([name, why]) => [...given[name], why] as const)
}

const listNotes = (values: Values): ReadonlyArray<string> => {
  const unused = [
    ...(values.gatewayUrl === null ? [] : listUnusedSecrets(values))
  ] as const
  const notes = unused.flatMap(([name, value, why]) => value === null ? [] : [`${name} is set and unused: ${why}`])
  return values.databaseUrl === null && values.roles.size < allRoles.size
    ? [...notes, "roles are shared out over processes by DATABASE_URL; the embedded database serves this process alone"]
    : notes
}

/** Made-up devices and messages must not reach a real database, so the simulator belongs to the embedded one. */
const chooseGateway = (values: Values): Settings["gateway"] => {
  if (values.gatewayUrl !== null) {
    return {
      _tag: "Configured",
      dialect: values.gatewayDialect,
      url: values.gatewayUrl,
      user: values.gatewayUser,
      password: values.gatewayPassword ?? Redacted.make(""),
      apiKey: values.gatewayKey,
      webhookSecret: values.webhookSecret
    }
  }
  return values.databaseUrl === null ? { _tag: "Simulator", demoDevices: values.demoDevices } : { _tag: "None" }
}

const derive = (values: Values): Settings => ({
  database: values.databaseUrl === null
    ? { _tag: "Embedded", dataDir: values.dataDir }
    : { _tag: "Postgres", url: values.databaseUrl },
  rabbitUrl: values.rabbitUrl,
  redisUrl: values.redisUrl,
  gateway: chooseGateway(values),
  publicUrl: values.publicUrl,
  host: values.host,
  port: values.port,
  apiKeys: values.apiKeys ?? [],
  corsOrigins: values.corsOrigins,
  streams: values.streams,
  secretKeys: values.secretKeys ?? [],
  outboundAllowPrivate: values.webhookAllowPrivate,
  roles: values.roles,
  cluster: values.cluster === "off"
    ? null
    : {
      host: values.nodeHost,
      port: values.nodePort,
      lease: values.clusterLease,
      weight: values.nodeWeight,
      keys: values.secretKeys ?? []
    },
  handlers: values.handlers,
  handlerTimeout: values.handlerTimeout,
  openAi: values.openaiKey === null
    ? null
    : { apiKey: values.openaiKey, baseUrl: values.openaiUrl, model: values.openaiModel },
  retention: Duration.isFinite(values.retention) ? values.retention : null,
  pacing: values.pacing,
  media: values.media === "off" ? null : {
    directory: join(values.dataDir, "media"),
    keep: values.mediaRetention,
    quotaBytes: values.mediaQuota
  },
  outbox: join(values.dataDir, "outbox"),
  otlpEndpoint: values.otlpEndpoint?.href.replace(/\/$/, "") ?? null,
  otlpProtocol: values.otlpProtocol,
  traceSampler: values.traceSampler,
  traceShare: values.traceShare,
  log: values.log,
  debug: values.debug,
  notes: listNotes(values)
})

/** Reads and checks all variables of one provider. */
export const parse: Effect.Effect<Settings, SettingsInvalid> = Effect.gen(function*() {
  const problems: Array<string> = []
  const values = yield* readAll(problems)
  problems.push(...contradictions(values))
  return problems.length > 0 ? yield* SettingsInvalid.of(problems) : derive(values)
})

/** Flags over the environment over `.env` in the current directory. */
export const provider = Effect.fnUntraced(function*(flags: Readonly<Record<string, string>>) {
  const fs = yield* FileSystem.FileSystem
  const file = yield* fs.readFileString(".env").pipe(Effect.orElseSucceed(() => ""))
  return ConfigProvider.fromEnvRecord(flags).pipe(
    ConfigProvider.orElse(ConfigProvider.fromEnv()),
    ConfigProvider.orElse(ConfigProvider.fromDotEnvContents(file))
  )
})

/** The settings of this process. `flags` are keyed by variable name. */
export const load = Effect.fn("Settings.load")(function*(flags: Readonly<Record<string, string>>) {
  return yield* parse.pipe(Effect.provideService(ConfigProvider.ConfigProvider, yield* provider(flags)))
})
