/** The parts that run in this process, for people: the head of the start screen and the first log lines. */
import { Duration } from "effect"
import type { App } from "../layers/App.ts"
import { describeDatabase, redactedAddress } from "../layers/app/addresses.ts"
import type { Settings } from "../layers/Settings.ts"

export interface Part {
  readonly name:
    | "database"
    | "broker"
    | "gateway"
    | "roles"
    | "cluster"
    | "consumer"
    | "telemetry"
    | "dashboard"
    | "api"
    | "docs"
    | "webhooks"
    | "health"
  readonly description: string
}

export const listParts = ({ gateways, handlers, settings, simulatorUrl, url }: App): ReadonlyArray<Part> => [
  { name: "database", description: describeDatabase(settings.database) },
  { name: "broker", description: describeBroker(settings) },
  { name: "gateway", description: describeGateways(settings, simulatorUrl, gateways) },
  { name: "roles", description: [...settings.roles].join(", ") },
  ...(settings.cluster === null
    ? []
    : [{ name: "cluster", description: describeNode(settings.cluster, settings.roles) } as const]),
  ...(settings.roles.has("consumer")
    ? [{ name: "consumer", description: describeConsumer(settings, handlers) } as const]
    : []),
  ...(settings.otlpEndpoint === null
    ? []
    : [{ name: "telemetry", description: `OTLP to ${new URL(settings.otlpEndpoint).host}` } as const]),
  ...(settings.roles.has("api")
    ? [
      { name: "dashboard", description: `${url}/` },
      { name: "api", description: `${url}/api/v1` },
      { name: "docs", description: `${url}/docs` },
      ...(settings.publicUrl === null
        ? []
        : [{ name: "webhooks", description: `${settings.publicUrl}/webhooks/<gateway>` } as const])
    ] as const
    : [{ name: "health", description: `${url}/readyz` } as const])
]

const describeNode = (
  { host, lease, port }: NonNullable<Settings["cluster"]>,
  roles: Settings["roles"]
): string =>
  roles.has("devices")
    ? `node ${host}:${port}; its devices stay with it for ${Duration.format(lease)} when it is killed`
    : "asks the nodes that run devices"

/** Notes for an operator. */
export const listNotes = ({ demoDevices, gateways, retiredDevices, settings }: App): ReadonlyArray<string> => [
  ...settings.notes,
  ...(demoDevices > 0
    ? [`${demoDevices} demo devices were added, with simulated traffic (COLUMBA_DEMO_DEVICES=0: none)`]
    : []),
  ...(retiredDevices > 0
    ? [
      `this database holds ${retiredDevices} devices of the built-in simulator. They are not started, and no gateway ` +
      "and no broker sees them, but their made-up events stay in the log; an empty database begins without them"
    ]
    : []),
  ...(settings.gateway._tag === "None" && settings.roles.has("devices") && listAdded(gateways).length === 0
    ? ["no gateway is configured, so no device can connect; set WHATSAPP_API_URL, or: columba gateways add --help"]
    : []),
  ...(settings.roles.has("consumer") ? [] : [
    ...(settings.handlers.length > 0 ? ["COLUMBA_HANDLERS"] : []),
    ...(settings.openAi === null ? [] : ["OPENAI_API_KEY"])
  ].map((name) => `${name} is set and unused: this process does not have the role consumer`))
]

const describeBroker = (settings: Settings): string => {
  if (settings.rabbitUrl === null) return "none (set RABBITMQ_URL); events are read from the API"
  const where = `RabbitMQ at ${redactedAddress(settings.rabbitUrl)}`
  return settings.roles.has("devices") ? where : `${where}, delivered to by the role devices`
}

/** Other services may read the guaranteed queue too, so it is stated plainly whether this process does. */
const describeConsumer = (settings: Settings, handlers: App["handlers"]): string => {
  if (handlers.length === 0) return "consumes nothing: no handler is configured (COLUMBA_HANDLERS, OPENAI_API_KEY)"
  const names = handlers.join(", ")
  return settings.rabbitUrl === null
    ? `${names}, fed from the log`
    : `${names}, fed from the queue columba.messages.incoming, which this process consumes`
}

/** The gateways that people added; the others come from the settings. */
const listAdded = (gateways: App["gateways"]): App["gateways"] =>
  gateways.filter(({ active, source }) => active && source === "api")

const describeGateways = (settings: Settings, simulatorUrl: string | null, gateways: App["gateways"]): string => {
  const own = describeOwnGateway(settings, simulatorUrl)
  const added = listAdded(gateways).map(({ dialect, name, url }) => `${name} (${dialect} at ${url})`)
  const all = [...(own === null ? [] : [own]), ...added]
  if (all.length > 0) return all.join(", ")
  return settings.roles.has("devices") || settings.roles.has("api")
    ? "none (set WHATSAPP_API_URL, or: columba gateways add)"
    : "none needed by these roles"
}

const describeOwnGateway = ({ gateway }: Settings, simulatorUrl: string | null): string | null => {
  if (gateway._tag === "Configured") {
    const { host, pathname, protocol } = gateway.url
    return `${gateway.dialect} at ${protocol}//${host}${pathname === "/" ? "" : pathname}`
  }
  return simulatorUrl === null ? null : `built-in simulator at ${simulatorUrl} (set WHATSAPP_API_URL for a real one)`
}
