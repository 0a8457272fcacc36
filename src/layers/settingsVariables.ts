/**
 * Every environment variable, with its default, its check and its line of help, in one table. The command line flags,
 * their help and the table in docs/operating.md are generated from it.
 */
import { Config, ConfigProvider, Duration } from "effect"
import { GatewayDialect } from "../domain/Gateway.ts"
import { pacingExpected, pacingOff, parsePacing } from "../domain/Pacing.ts"
import { parseSecretKeys } from "../services/SecretSeal.ts"
import {
  allRoles,
  amqpUrl,
  apiKeyLengthMin,
  apiKeys,
  byteSize,
  clusterLease,
  handlerTimeout,
  corsOrigins,
  count,
  demoDevicesMax,
  httpUrl,
  nodeHost,
  nodePort,
  nodeWeight,
  OtlpProtocol,
  paths,
  postgresUrl,
  publicUrl,
  redisUrl,
  retention,
  roles,
  share,
  streams,
  TraceSampler
} from "./settingsValues.ts"

/** One environment variable and its command line flag. */
export interface Variable<out A> {
  readonly name: string
  readonly flag: string
  /** Completes "expected …". */
  readonly expected: string
  /** A description in one line. */
  readonly about: string
  /** The default in its written form; null where there is none. */
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
    /** Where the default is written differently from how it prints. */
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

export const variables = {
  databaseUrl: variable("DATABASE_URL", parsed(postgresUrl), null, {
    expected: "a URL like postgres://user:password@host:5432/name",
    about: "the Postgres database",
    unset: "an embedded database in the data directory",
    secret: true
  }),
  dataDir: variable("COLUMBA_DATA_DIR", text, "./data", {
    expected: "a directory",
    about: "directory of the embedded database and kept files"
  }),
  rabbitUrl: variable("RABBITMQ_URL", parsed(amqpUrl), null, {
    expected: "a URL like amqp://user:password@host:5672/vhost",
    about: "RabbitMQ to deliver events to",
    unset: "no broker; readers use the streams of the API",
    secret: true
  }),
  redisUrl: variable("REDIS_URL", parsed(redisUrl), null, {
    expected: "a URL like redis://host:6379",
    about: "Redis to share the send rates of accounts with installations that use another database",
    unset: "each installation applies only its own pacing",
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
    about: "user for HTTP Basic at the gateway",
    unset: "no authentication"
  }),
  gatewayPassword: variable("WHATSAPP_API_PASSWORD", secretText, null, {
    expected: "a password",
    about: "password for HTTP Basic at the gateway",
    unset: "an empty one",
    secret: true
  }),
  gatewayKey: variable("WHATSAPP_API_KEY", secretText, null, {
    expected: "a key",
    about: "the gateway's API key, for the dialect waha",
    unset: "no API key",
    secret: true
  }),
  gatewayDialect: variable("WHATSAPP_API_DIALECT", (name) => Config.Literals(GatewayDialect.literals, name), "bridge", {
    expected: GatewayDialect.literals.join(", "),
    about: `the protocol of the gateway: ${GatewayDialect.literals.join(", ")}`
  }),
  secretKeys: variable("COLUMBA_SECRET_KEY", parsed(parseSecretKeys), null, {
    expected: "a comma list of 32-byte keys in base64 (openssl rand -base64 32)",
    about:
      "keys that seal the secrets of gateways and subscriptions in the database: the first seals, all open; the nodes of a " +
      "cluster authenticate with them",
    unset:
      "embedded: a key is created in the data directory; Postgres: secrets cannot be stored, and a cluster cannot start",
    secret: true
  }),
  publicUrl: variable("COLUMBA_PUBLIC_URL", parsed(publicUrl), null, {
    expected: "a URL like https://columba.example, with http or https and without user, query and fragment",
    about: "the URL at which gateways reach this server; Columba sets their webhooks to it",
    unset: "webhooks must be set at the gateways by hand; columba doctor says how"
  }),
  webhookAllowPrivate: variable("COLUMBA_WEBHOOK_ALLOW_PRIVATE", (name) => Config.Boolean(name), false, {
    expected: "true or false",
    about: "allow subscriptions to use http, any port and hosts on private networks",
    toggle: true
  }),
  webhookSecret: variable("WHATSAPP_WEBHOOK_SECRET", secretText, null, {
    expected: "a secret",
    about: "the secret for webhooks that were set at the gateway by hand",
    unset: "only webhooks that Columba has set are accepted",
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
      `manage, admin, devices by id, each key another one, without ':' and of ${apiKeyLengthMin} characters or more`,
    about:
      "who may call, as name:scope+scope:key or name:scope+scope:device+device:key, …; a key with the scope admin " +
      "can create others at run time",
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
    about: "the roles of this process",
    fallback: [...allRoles].join(",")
  }),
  handlers: variable("COLUMBA_HANDLERS", parsed(paths), [], {
    expected: "a comma list of paths of modules, like ./handlers/orders.ts",
    about: "modules with handlers of incoming messages, for the role consumer",
    unset: "none"
  }),
  handlerTimeout: variable("COLUMBA_HANDLER_TIMEOUT", parsed(handlerTimeout), Duration.minutes(2), {
    expected: "a time from '1 second' to '15 minutes'",
    about: "the time limit of a handler for a message; ten failures make a dead letter",
    fallback: "2 minutes"
  }),
  openaiKey: variable("OPENAI_API_KEY", secretText, null, {
    expected: "a key",
    about:
      "key of the language model that answers messages, for devices where that is switched on; needs the role consumer",
    unset: "no message is answered",
    secret: true
  }),
  openaiUrl: variable("OPENAI_BASE_URL", parsed(publicUrl), "https://api.openai.com/v1", {
    expected: "a URL like https://api.openai.com/v1, without user, query and fragment",
    about: "server of the language model: OpenAI's, or another one with the same chat completions API"
  }),
  openaiModel: variable("OPENAI_MODEL", text, "gpt-4o-mini", {
    expected: "the name of a model",
    about: "the language model"
  }),
  cluster: variable("COLUMBA_CLUSTER", (name) => Config.Literals(["off", "on"], name), "off", {
    expected: "off or on",
    about: "on: several processes share the devices of one Postgres and take over from each other"
  }),
  nodeHost: variable("COLUMBA_NODE_HOST", parsed(nodeHost), "127.0.0.1", {
    expected: "a host name or an address, without a port",
    about: "of a cluster: the host at which other nodes reach this one"
  }),
  nodePort: variable("COLUMBA_NODE_PORT", parsed(nodePort), 7800, {
    expected: "a port from 1 to 32767 (the system gives higher ones to connections)",
    about: "of a cluster: this node's port for the other nodes"
  }),
  streams: variable("COLUMBA_STREAMS", parsed(streams), 1000, {
    expected: "a number from 10 to 20000",
    about: "maximum number of event streams of this process, a fifth of them for one key; a thousand take about 50 MB"
  }),
  nodeWeight: variable("COLUMBA_NODE_WEIGHT", parsed(nodeWeight), 1, {
    expected: "a number from 0.1 to 10",
    about: "of a cluster: this node's share of the devices, relative to the weights of the others"
  }),
  clusterLease: variable("COLUMBA_CLUSTER_LEASE", parsed(clusterLease), Duration.seconds(20), {
    expected: "a time from '6 seconds' to '5 minutes'",
    about:
      "of a cluster: how long the devices of a killed node stay assigned to it, the same on all nodes; for a third of it " +
      "the database may be down without any device losing its connection",
    fallback: "20 seconds"
  }),
  retention: variable("COLUMBA_RETENTION", parsed(retention), Duration.days(90), {
    expected: "a time like '90 days', or off",
    about: "how long delivered events, their messages and identities are kept; off: forever",
    fallback: "90 days"
  }),
  media: variable("COLUMBA_MEDIA", (name) => Config.Literals(["off", "keep"], name), "off", {
    expected: "off or keep",
    about: "keep: files of messages are stored in the data directory before gateways delete them"
  }),
  mediaRetention: variable("COLUMBA_MEDIA_RETENTION", parsed(retention), Duration.days(30), {
    expected: "a time like '30 days', or off",
    about: "how long kept files stay; off: as long as their messages and the quota allow",
    fallback: "30 days"
  }),
  mediaQuota: variable("COLUMBA_MEDIA_QUOTA", parsed(byteSize), 10 * 1024 ** 3, {
    expected: "a size like '10 GiB'",
    about: "maximum size of all kept files; the oldest are deleted first",
    fallback: "10 GiB"
  }),
  pacing: variable("COLUMBA_PACING", parsed(parsePacing), pacingOff, {
    expected: pacingExpected,
    about: "default limits for sending per device: off, or for example 20/min, 500/day",
    fallback: "off"
  }),
  demoDevices: variable("COLUMBA_DEMO_DEVICES", parsed(count(demoDevicesMax)), 25, {
    expected: `a number from 0 to ${demoDevicesMax}`,
    about: "devices to add to an empty embedded database for the built-in simulator; 0: none, and no simulated traffic"
  }),
  otlpEndpoint: variable("OTEL_EXPORTER_OTLP_ENDPOINT", parsed(httpUrl), null, {
    expected: "a URL like http://collector:4317 or http://collector:4318",
    about: "OTLP collector for traces, metrics and logs; the other OTEL_* variables are read too",
    unset: "nothing is exported"
  }),
  otlpProtocol: variable("OTEL_EXPORTER_OTLP_PROTOCOL", (name) => Config.Literals(OtlpProtocol.literals, name), null, {
    expected: OtlpProtocol.literals.join(", "),
    about: `protocol of the collector: ${OtlpProtocol.literals.join(", ")}`,
    unset: "grpc if the endpoint's port is 4317, otherwise http/protobuf"
  }),
  traceSampler: variable("OTEL_TRACES_SAMPLER", (name) => Config.Literals(TraceSampler.literals, name), null, {
    expected: TraceSampler.literals.join(", "),
    about: "which traces are exported",
    unset: "every request of a caller, and one in a hundred of all others"
  }),
  traceShare: variable("OTEL_TRACES_SAMPLER_ARG", parsed(share), null, {
    expected: "a number from 0 to 1",
    about: "the share of traces for the samplers with 'ratio' in their names",
    unset: "all, or one in a hundred without a sampler"
  }),
  log: variable("COLUMBA_LOG", (name) => Config.Literals(["auto", "pretty", "logfmt", "json"], name), "auto", {
    expected: "auto, pretty, logfmt or json",
    about: "format of log lines; auto: pretty on a terminal, logfmt elsewhere"
  }),
  debug: variable("DEBUG", (name) => Config.Boolean(name), false, {
    expected: "true or false",
    about: "debug logs",
    toggle: true
  })
} as const
