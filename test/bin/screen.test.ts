import { assert, describe, it } from "@effect/vitest"
import { Duration, Redacted } from "effect"
import { listNotes, listParts } from "../../src/bin/parts.ts"
import { Screen, statLines } from "../../src/bin/screen.ts"
import type { Reading } from "../../src/bin/screen.ts"
import { fit, green, red, render, styled } from "../../src/bin/styledText.ts"
import { GatewayName } from "../../src/domain/Ids.ts"
import type { App } from "../../src/layers/App.ts"
import type { Settings } from "../../src/layers/Settings.ts"

const settings: Settings = {
  database: { _tag: "Postgres", url: Redacted.make("postgres://columba:hunter2@db:5432/columba") },
  rabbitUrl: Redacted.make("amqp://columba:hunter2@broker:5672/events"),
  gateway: {
    _tag: "Configured",
    dialect: "bridge",
    apiKey: null,
    webhookSecret: null,
    url: new URL("http://admin:hunter2@gateway:3000/"),
    user: "admin",
    password: Redacted.make("hunter2")
  },
  publicUrl: null,
  host: "127.0.0.1",
  port: 8080,
  corsOrigins: [],
  streams: 1000,
  apiKeys: [],
  cluster: null,
  roles: new Set(["api", "devices", "consumer", "scheduler"]),
  retention: null,
  handlers: [],
  handlerTimeout: Duration.minutes(2),
  openAi: null,
  media: null,
  pacing: {},
  redisUrl: null,
  otlpEndpoint: "http://user:hunter2@collector:4318",
  otlpProtocol: null,
  traceSampler: null,
  traceShare: null,
  log: "auto",
  debug: false,
  secretKeys: [],
  outboundAllowPrivate: false,
  outbox: "data/outbox",
  notes: []
}

const app = (changes: Partial<Settings>, more: Partial<App> = {}): App =>
  ({
    settings: { ...settings, ...changes },
    url: "http://127.0.0.1:8080",
    simulatorUrl: null,
    demoDevices: 0,
    retiredDevices: 0,
    handlers: [],
    gateways: [],
    ...more
  }) as App

const reading = (at: number, changes: Partial<Reading["stats"]> = {}, received = 0): Reading => ({
  at,
  received,
  stats: { online: 25, devices: 25, committed: 1000, sinks: [], incidents: [], broker: null, ...changes }
})

const sink = (confirmed: number, lag: number): Reading["stats"]["sinks"][number] => ({
  sink: "rabbitmq",
  state: "running",
  confirmed,
  lag,
  expired: 0,
  failure: null
})

const renderLines = (now: Reading, before: Reading): string => statLines(now, before).join("\n")

describe("the start screen", () => {
  it("shows all addresses, without a secret in them", () => {
    const parts = listParts(app({})).map(({ description, name }) => `${name}: ${description}`)
    assert.deepStrictEqual(parts, [
      "database: Postgres at db:5432/columba",
      "broker: RabbitMQ at broker:5672/events",
      "gateway: bridge at http://gateway:3000",
      "roles: api, devices, consumer, scheduler",
      "consumer: consumes nothing: no handler is configured (COLUMBA_HANDLERS, OPENAI_API_KEY)",
      "telemetry: OTLP to collector:4318",
      "dashboard: http://127.0.0.1:8080/",
      "api: http://127.0.0.1:8080/api/v1",
      "docs: http://127.0.0.1:8080/docs"
    ])
  })

  it("shows where gateways post, if that is known", () => {
    const parts = listParts(app({ publicUrl: "https://columba.example" }))
    assert.deepInclude(parts, { name: "webhooks", description: "https://columba.example/webhooks/<gateway>" })
  })

  it("states plainly that the simulator is used, and that demo devices were added", () => {
    const running = app({ gateway: { _tag: "Simulator", demoDevices: 25 } }, {
      simulatorUrl: "http://127.0.0.1:4000",
      demoDevices: 25
    })
    assert.deepInclude(listParts(running), {
      name: "gateway",
      description: "built-in simulator at http://127.0.0.1:4000 (set WHATSAPP_API_URL for a real one)"
    })
    assert.include(listNotes(running).join(), "25 demo devices were added, with simulated traffic")
  })

  it("states plainly that a real database without a gateway connects no device, and what to set", () => {
    const running = app({ gateway: { _tag: "None" } })
    assert.deepInclude(listParts(running), {
      name: "gateway",
      description: "none (set WHATSAPP_API_URL, or: columba gateways add)"
    })
    assert.include(listNotes(running).join(), "no gateway is configured")

    const name = GatewayName.make("shop")
    const added = { name, dialect: "bridge", url: "http://shop:3000", active: true, source: "api" } as const
    const later = app({ gateway: { _tag: "None" } }, { gateways: [added, { ...added, active: false }] })
    assert.deepInclude(listParts(later), { name: "gateway", description: "shop (bridge at http://shop:3000)" })
    assert.deepStrictEqual(listNotes(later), [])
  })

  it("reports that simulated devices are in the database and are not started", () => {
    assert.include(listNotes(app({}, { retiredDevices: 25 })).join(), "25 devices of the built-in simulator")
  })

  it("states plainly whether it consumes the guaranteed queue, which other services may read too", () => {
    const consumer = (settings: Partial<Settings>, handlers: ReadonlyArray<string>) =>
      listParts(app(settings, { handlers })).find(({ name }) => name === "consumer")?.description
    assert.include(consumer({}, []), "consumes nothing")
    assert.include(consumer({}, ["orders"]), "orders, fed from the queue columba.messages.incoming")
    assert.strictEqual(consumer({ rabbitUrl: null }, ["orders"]), "orders, fed from the log")
    assert.isUndefined(consumer({ roles: new Set(["api"]) }, []))
    const unused = app({ roles: new Set(["api"]), handlers: ["./orders.ts"] })
    assert.include(listNotes(unused).join(), "COLUMBA_HANDLERS is set and unused")
    assert.deepStrictEqual(listNotes(app({})), [])
  })
})

describe("the live stats", () => {
  it("count devices, commits and what each sink confirmed, with rates between two readings", () => {
    const before = reading(0, { committed: 1000, sinks: [sink(990, 10)] })
    const now = reading(2000, { online: 24, committed: 1100, sinks: [sink(1090, 10)] })
    const lines = renderLines(now, before)
    assert.include(lines, "24 of 25 online")
    assert.include(lines, "1,100 committed  50.0/s")
    assert.include(lines, "1,090 to rabbitmq  50.0/s, 10 behind")
  })

  it("count the events printed to this terminal if there is no sink", () => {
    assert.include(
      renderLines(reading(1000, {}, 30), reading(0, {}, 10)),
      "30 to this terminal  20.0/s, live from the log"
    )
  })

  it("show that the broker refuses the login, and why", () => {
    const broker = {
      _tag: "Disconnected",
      since: "noon",
      cause: "credentials",
      reason: "ACCESS_REFUSED",
      connectedBefore: false
    } as const
    assert.include(
      renderLines(reading(1000, { broker }), reading(0)),
      "the broker refuses the user or password of RABBITMQ_URL since noon (ACCESS_REFUSED); events wait in the log"
    )
    assert.notInclude(
      renderLines(reading(1000, { broker: { _tag: "Connected", since: "noon" } }), reading(0)),
      "since noon"
    )
  })

  it("show foreign texts with visible escapes, also in a device's name, a reason and a log line", () => {
    let written = ""
    const stream = { columns: 200, rows: 10, write: (text: string) => void (written += text) }
    const screen = new Screen(stream as never, true)
    screen.lines(red("\u001b[2Jowned\n\u202e"))
    assert.strictEqual(written, "\u001b[31m\\x1b[2Jowned\\n\\u{202e}\u001b[39m\n")
  })

  it("show what is down: a database, a sink or a gateway", () => {
    const lines = renderLines(
      reading(1000, {
        committed: null,
        sinks: [{ ...sink(1, 2), failure: { reason: "disconnected", message: "no broker", since: "now" } }],
        incidents: [{ gateway: "default", since: "noon", reason: "refused", nextProbeAt: "soon", waiting: 25 } as never]
      }),
      reading(0)
    )
    for (
      const words of ["the database does not answer", "no broker", "gateway 'default' is down since noon: refused"]
    ) {
      assert.include(lines, words)
    }
  })

  it("stay in place: each drawing erases exactly the previous one, at any width", () => {
    let written = ""
    const stream = { columns: 20, rows: 10, write: (text: string) => void (written += text) }
    const screen = new Screen(stream as never, false)
    screen.footer(["a".repeat(50), "b"])
    assert.strictEqual(written, `${"a".repeat(19)}…\nb\n`)
    written = ""
    screen.lines("log")
    assert.strictEqual(written, `\u001b[2A\r\u001b[Jlog\n${"a".repeat(19)}…\nb\n`)
  })
})

describe("colours", () => {
  it("do not count as width, and are never cut in two", () => {
    const text = styled`${red("red")} and ${green("green")}`
    assert.strictEqual(render(fit(text, 13), true), "\u001b[31mred\u001b[39m and \u001b[32mgreen\u001b[39m")
    assert.strictEqual(render(fit(text, 6), true), "\u001b[31mred\u001b[39m a…")
    assert.strictEqual(render(fit(text, 6), false), "red a…")
  })
})
