/**
 * What the operator decides: every environment variable, with its default, its check and its line of help, in one
 * table. The flags of the command line, their help and the table in docs/operating.md come from it. Flags win over the
 * environment, and that over a `.env` file. All problems are found at once, and each names the variable, what was given
 * and what is expected; what may be a secret is never shown.
 */
import { Config, ConfigProvider, Duration, Effect, FileSystem, Option, Redacted, Schema } from "effect"
import { Scope } from "../contracts/Authorization.ts"
import { DeviceId } from "../domain/Ids.ts"
import { isLoopback } from "../services/ApiKeys.ts"
import type { ApiKey } from "../services/ApiKeys.ts"
import { parseSecretKeys } from "../services/SecretSeal.ts"
import type { SecretKey } from "../services/SecretSeal.ts"

export const Role = Schema.Literals(["api", "devices", "consumer", "scheduler"])
export type Role = typeof Role.Type

export interface Settings {
  readonly database:
    | { readonly _tag: "Embedded"; readonly dataDir: string }
    | { readonly _tag: "Postgres"; readonly url: Redacted.Redacted<string> }
  readonly rabbitUrl: Redacted.Redacted<string> | null
  /** Without one, the embedded database gets the built-in simulator and Postgres gets none. */
  readonly gateway:
    | { readonly _tag: "Simulator"; readonly demoDevices: number }
    | { readonly _tag: "None" }
    | {
      readonly _tag: "Bridge"
      readonly url: URL
      readonly user: string
      readonly password: Redacted.Redacted<string>
    }
  readonly host: string
  readonly port: number
  readonly apiKeys: ReadonlyArray<ApiKey>
  /** Origins whose web pages may call the API. */
  readonly corsOrigins: ReadonlyArray<string>
  /** Keys that seal what is secret in the database; the first seals, all open. */
  readonly secretKeys: ReadonlyArray<SecretKey>
  readonly roles: ReadonlySet<Role>
  /** How long events stay in the log; null keeps them for ever. */
  readonly retention: Duration.Duration | null
  /** Base URL of the OTLP collector, or null: no telemetry is exported. */
  readonly otlpEndpoint: string | null
  readonly log: "auto" | "pretty" | "logfmt" | "json"
  readonly debug: boolean
  /** What was set but changes nothing in this version, as sentences for the start screen. */
  readonly notes: ReadonlyArray<string>
}

/** The settings do not make sense; every reason is in `problems`. */
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

/** One environment variable and its command line flag. */
export interface Variable<out A> {
  readonly name: string
  readonly flag: string
  /** Completes "expected …". */
  readonly expected: string
  /** What it is, in one line. */
  readonly about: string
  /** The default as one would write it; null where there is none. */
  readonly fallback: string | null
  /** What happens without a value; null where there is a default. */
  readonly unset: string | null
  readonly secret: boolean
  /** A flag without a value. */
  readonly toggle: boolean
  readonly config: Config.Config<A>
  readonly absent: A
}

const variable = <A, const Absent>(
  name: string,
  config: (name: string) => Config.Config<A>,
  absent: Absent,
  options: {
    readonly expected: string
    readonly about: string
    /** Instead of a default. */
    readonly unset?: string
    /** Where the default is not written as it prints. */
    readonly fallback?: string
    readonly secret?: boolean
    readonly toggle?: boolean
  }
): Variable<A | Absent> => ({
  name,
  flag: name.replace(/^COLUMBA_/, "").toLowerCase().replaceAll("_", "-"),
  config: config(name),
  absent,
  secret: options.secret ?? false,
  toggle: options.toggle ?? false,
  expected: options.expected,
  about: options.about,
  unset: options.unset ?? null,
  fallback: options.unset === undefined ? options.fallback ?? String(absent) : null
})

/** Reads text and parses it; null from `parse` means not acceptable. */
const parsed = <A>(parse: (text: string) => A | null) => (name: string): Config.Config<A> =>
  Config.flatMap(Config.String(name), (text) => {
    const value = parse(text.trim())
    return value === null ? Config.fail(new ConfigProvider.SourceError({ message: name })) : Config.succeed(value)
  })

const text = (name: string) => Config.String(name)
const secretText = (name: string) => Config.Redacted(name)

const urlWith = (protocols: ReadonlyArray<string>) => (given: string): URL | null => {
  const url = URL.parse(given)
  return url !== null && protocols.includes(url.protocol) && url.hostname !== "" ? url : null
}

/** `postgresql+asyncpg://` is how the former system wrote it, and `ssl` its word for `sslmode`. */
export const postgresUrl = (given: string): Redacted.Redacted<string> | null => {
  const url = urlWith(["postgres:", "postgresql:"])(given.replace(/^postgres(?:ql)?\+[a-z0-9]+:/, "postgresql:"))
  if (url === null) return null
  const ssl = url.searchParams.get("ssl")
  if (ssl !== null) {
    url.searchParams.delete("ssl")
    url.searchParams.set("sslmode", ssl === "true" ? "require" : ssl === "false" ? "disable" : ssl)
  }
  return Redacted.make(url.href)
}

const amqpUrl = (given: string): Redacted.Redacted<string> | null =>
  urlWith(["amqp:", "amqps:"])(given) === null ? null : Redacted.make(given)

const isRole = Schema.is(Role)
const isScope = Schema.is(Scope)
const isDeviceId = Schema.is(DeviceId)

const roles = (given: string): ReadonlySet<Role> | null => {
  const words = given.split(",").map((word) => word.trim()).filter((word) => word !== "")
  return words.length > 0 && words.every(isRole) ? new Set(words) : null
}
const allRoles: ReadonlySet<Role> = new Set(Role.literals)

const httpUrl = urlWith(["http:", "https:"])

/** Shorter keys can be guessed over a network. */
const apiKeyLengthMin = 16

const apiKeys = (given: string): ReadonlyArray<ApiKey> | null => {
  const entries = given.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "")
  const keys = entries.flatMap((entry): ReadonlyArray<ApiKey> => {
    const [, name, scopeList, deviceList, key] = /^([\w.-]+):([a-z+]+):(?:([^:]*):)?([^\s:]+)$/.exec(entry) ?? []
    const scopes = scopeList?.split("+") ?? []
    const devices = deviceList?.split("+")
    return name !== undefined && key !== undefined && key.length >= apiKeyLengthMin && scopes.every(isScope) &&
        (devices === undefined || devices.every(isDeviceId))
      ? [{ name, scopes, devices, key: Redacted.make(key) }]
      : []
  })
  const unique = new Set(keys.map(({ key }) => Redacted.value(key))).size === keys.length
  return keys.length === entries.length && keys.length > 0 && unique ? keys : null
}

/** Origins exactly as browsers send them. `*` is no origin: who may call with a key is named. */
const corsOrigins = (given: string): ReadonlyArray<string> | null => {
  const origins = given.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "")
  return origins.length > 0 && origins.every((entry) => httpUrl(entry)?.origin === entry) ? origins : null
}

/** `off` keeps events for ever. */
const retention = (given: string): Duration.Duration | null =>
  /^(off|never|forever)$/i.test(given)
    ? Duration.infinity
    : Option.getOrNull(Option.filter(Duration.fromInput(given as Duration.Input), Duration.isPositive))

const count = (max: number) => (given: string): number | null =>
  /^\d{1,6}$/.test(given) && Number(given) <= max ? Number(given) : null

/** The demo is to be watched; a load test brings its own devices. */
const demoDevicesMax = 10_000

export const variables = {
  databaseUrl: variable("DATABASE_URL", parsed(postgresUrl), null, {
    expected: "a URL like postgres://user:password@host:5432/name",
    about: "Postgres to keep everything in",
    unset: "an embedded database in the data directory",
    secret: true
  }),
  dataDir: variable("COLUMBA_DATA_DIR", text, "./data", {
    expected: "a directory",
    about: "where the embedded database lives"
  }),
  rabbitUrl: variable("RABBITMQ_URL", parsed(amqpUrl), null, {
    expected: "a URL like amqp://user:password@host:5672/vhost",
    about: "RabbitMQ to deliver events to",
    unset: "no broker; readers use the streams of the API",
    secret: true
  }),
  redisUrl: variable("REDIS_URL", parsed(urlWith(["redis:", "rediss:"])), null, {
    expected: "a URL like redis://host:6379",
    about: "not used in this version; meant for send limits over several processes",
    unset: "nothing",
    secret: true
  }),
  gatewayUrl: variable("WHATSAPP_API_URL", parsed(httpUrl), null, {
    expected: "a URL like http://gateway:3000",
    about: "the WhatsApp gateway",
    unset: "the built-in simulator with the embedded database, no gateway with Postgres",
    secret: true
  }),
  gatewayUser: variable("WHATSAPP_API_USER", text, "", {
    expected: "a user name",
    about: "the gateway's Basic user",
    unset: "no authentication"
  }),
  gatewayPassword: variable("WHATSAPP_API_PASSWORD", secretText, null, {
    expected: "a password",
    about: "the gateway's Basic password",
    unset: "an empty one",
    secret: true
  }),
  gatewayKey: variable("WHATSAPP_API_KEY", secretText, null, {
    expected: "a key",
    about: "not used in this version; meant for dialects with an API key",
    unset: "nothing",
    secret: true
  }),
  gatewayDialect: variable("WHATSAPP_API_DIALECT", (name) => Config.Literals(["bridge"], name), "bridge", {
    expected: "bridge (gowa and waha are not spoken by this version)",
    about: "the protocol of the gateway: bridge"
  }),
  secretKeys: variable("COLUMBA_SECRET_KEY", parsed(parseSecretKeys), null, {
    expected: "a comma list of 32-byte keys in base64 (openssl rand -base64 32)",
    about: "keys that seal the secrets of gateways in the database: the first seals, all open",
    unset: "embedded: a key made once in the data directory; Postgres: secrets of gateways cannot be stored",
    secret: true
  }),
  webhookSecret: variable("WHATSAPP_WEBHOOK_SECRET", secretText, null, {
    expected: "a secret",
    about: "not used in this version; meant for the HMAC of incoming webhooks",
    unset: "nothing",
    secret: true
  }),
  host: variable("HOST", text, "127.0.0.1", {
    expected: "an address to listen on",
    about: "address to listen on; anything but loopback needs COLUMBA_API_KEYS"
  }),
  port: variable("PORT", parsed(count(65_535)), 8080, {
    expected: "a port from 0 to 65535 (0: any free one)",
    about: "port of API, docs, streams and RPC"
  }),
  apiKeys: variable("COLUMBA_API_KEYS", parsed(apiKeys), null, {
    expected: "a comma list of name:scope+scope:key or name:scope+scope:device+device:key, scopes out of read, send, " +
      `manage, devices by id, each key another one, without ':' and of ${apiKeyLengthMin} characters or more`,
    about: "who may call, as name:scope+scope:key or name:scope+scope:device+device:key, …",
    unset: "no keys, and then only a loopback HOST is accepted",
    secret: true
  }),
  corsOrigins: variable("COLUMBA_CORS_ORIGINS", parsed(corsOrigins), [], {
    expected: "a comma list of origins like https://app.example",
    about: "origins whose web pages may call the API",
    unset: "none"
  }),
  roles: variable("COLUMBA_ROLES", parsed(roles), allRoles, {
    expected: "a comma list out of api, devices, consumer, scheduler",
    about: "what this process does; the default is everything",
    fallback: [...allRoles].join(",")
  }),
  cluster: variable("COLUMBA_CLUSTER", (name) => Config.Literals(["off"], name), "off", {
    expected: "off (several processes sharing one fleet are not part of this version)",
    about: "whether several processes share the fleet; only off in this version"
  }),
  retention: variable("COLUMBA_RETENTION", parsed(retention), Duration.days(90), {
    expected: "a time like '90 days', or off",
    about: "how long delivered events, their messages and identities are kept; off: for ever",
    fallback: "90 days"
  }),
  demoDevices: variable("COLUMBA_DEMO_DEVICES", parsed(count(demoDevicesMax)), 25, {
    expected: `a number from 0 to ${demoDevicesMax}`,
    about: "devices to add to an empty embedded database for the built-in simulator; 0: none, and no made-up traffic"
  }),
  otlpEndpoint: variable("OTEL_EXPORTER_OTLP_ENDPOINT", parsed(httpUrl), null, {
    expected: "a URL like http://collector:4318",
    about: "OTLP collector for traces, metrics and logs; the other OTEL_* variables are read too",
    unset: "nothing is exported"
  }),
  log: variable("COLUMBA_LOG", (name) => Config.Literals(["auto", "pretty", "logfmt", "json"], name), "auto", {
    expected: "auto, pretty, logfmt or json",
    about: "how log lines look; auto: pretty on a terminal, logfmt elsewhere"
  }),
  debug: variable("DEBUG", (name) => Config.Boolean(name), false, {
    expected: "true or false",
    about: "debug logs",
    toggle: true
  })
} as const

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

/** What only several variables together can get wrong. */
const contradictions = (values: Values): ReadonlyArray<string> => {
  const problems: Array<string> = []
  if (!isLoopback(values.host) && values.apiKeys === null) {
    problems.push(
      `HOST is '${values.host}', which other machines can reach; set COLUMBA_API_KEYS ` +
        "(openssl rand -hex 24 makes a key) or leave HOST at 127.0.0.1"
    )
  }
  if (values.gatewayUrl === null && values.gatewayUser !== "") {
    problems.push("WHATSAPP_API_USER is set but WHATSAPP_API_URL is not; set both, or neither")
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

const listNotes = (values: Values): ReadonlyArray<string> => {
  const unused = [
    ["REDIS_URL", values.redisUrl, "send-rate limits come with sending"],
    ["WHATSAPP_API_KEY", values.gatewayKey, "the bridge dialect uses user and password"],
    ["WHATSAPP_WEBHOOK_SECRET", values.webhookSecret, "the bridge dialect sends no webhooks"]
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
      _tag: "Bridge",
      url: values.gatewayUrl,
      user: values.gatewayUser,
      password: values.gatewayPassword ?? Redacted.make("")
    }
  }
  return values.databaseUrl === null ? { _tag: "Simulator", demoDevices: values.demoDevices } : { _tag: "None" }
}

const derive = (values: Values): Settings => ({
  database: values.databaseUrl === null
    ? { _tag: "Embedded", dataDir: values.dataDir }
    : { _tag: "Postgres", url: values.databaseUrl },
  rabbitUrl: values.rabbitUrl,
  gateway: chooseGateway(values),
  host: values.host,
  port: values.port,
  apiKeys: values.apiKeys ?? [],
  corsOrigins: values.corsOrigins,
  secretKeys: values.secretKeys ?? [],
  roles: values.roles,
  retention: Duration.isFinite(values.retention) ? values.retention : null,
  otlpEndpoint: values.otlpEndpoint?.href.replace(/\/$/, "") ?? null,
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
