/**
 * The telemetry of the built program with everything turned on: debug logs, every trace, metrics. It may contain neither
 * secrets nor phone numbers nor texts of messages.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { start as startSimulator } from "../../src/simulator/SimulatedGateway.ts"
import { freshVhost } from "../support/broker.ts"
import { freshDatabase } from "../support/database.ts"
import * as OtlpCollector from "../support/otlpCollector.ts"
import { until } from "../support/until.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"

const secrets = {
  gatewayPassword: "canary-gateway-password",
  apiKey: "canary-api-key-0123456789",
  signature: "whsec_Y2FuYXJ5LXNlY3JldC1vZi1hLXN1YnNjcmlwdGlvbg==",
  otherGateway: "canary-other-gateway-password",
  header: "canary-header-of-a-collector"
}

interface Events {
  readonly items: ReadonlyArray<{ readonly id: string; readonly data: Readonly<Record<string, unknown>> }>
  readonly next: string | null
}

/** Shorter words occur in any text. */
const bodyMin = 12
const phoneDigitsMin = 9

const scratch = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "columba-telemetry-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** Each event has one trace, under its own id, from its arrival over its commit to the broker's confirm. */
const assertTraced = (events: Events["items"], spans: ReadonlyArray<OtlpCollector.ReceivedSpan>) => {
  const byName = (name: string) =>
    new Map(spans.filter((span) => span.name === name).map((span) => [span.traceId, span]))
  const [commits, publishes] = [byName("columba.event"), byName("publish rabbitmq")]
  for (const { id } of events) {
    const trace = id.replaceAll("-", "")
    const [commit, publish] = [commits.get(trace), publishes.get(trace)]
    assert.isDefined(commit, `event ${id} has a span of its commit`)
    assert.isDefined(publish, `event ${id} has a span of its publish`)
    assert.strictEqual(commit.parentSpanId, "")
    assert.strictEqual(publish.parentSpanId, commit.spanId)
    assert.isTrue(commit.startNanos <= commit.endNanos && publish.startNanos <= publish.endNanos)
    assert.isTrue(commit.startNanos <= publish.startNanos, "it arrived before it was published")
  }
}

describe("telemetry of the built program", () => {
  it.live("traces every event from its arrival to the confirm, and contains no secret, phone number or text of a message", () =>
    Effect.gen(function*() {
      const directory = yield* scratch
      const { collector, grpcUrl } = yield* OtlpCollector.make
      const auth = { user: "columba", password: secrets.gatewayPassword }
      const gateway = yield* Effect.orDie(startSimulator({ seed: "telemetry", auth }))
      const columba = yield* ColumbaProcess.make({
        directory,
        env: {
          DATABASE_URL: yield* freshDatabase,
          RABBITMQ_URL: yield* freshVhost,
          WHATSAPP_API_URL: gateway.url,
          WHATSAPP_API_USER: auth.user,
          WHATSAPP_API_PASSWORD: auth.password,
          COLUMBA_API_KEYS: `test:read+send+manage:${secrets.apiKey}`,
          COLUMBA_SECRET_KEY: Buffer.alloc(32, 7).toString("base64"),
          COLUMBA_WEBHOOK_ALLOW_PRIVATE: "true",
          DEBUG: "true",
          OTEL_EXPORTER_OTLP_ENDPOINT: grpcUrl,
          OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
          OTEL_EXPORTER_OTLP_HEADERS: `authorization=${secrets.header}`,
          OTEL_TRACES_SAMPLER: "always_on",
          OTEL_BSP_SCHEDULE_DELAY: "100",
          OTEL_BSP_MAX_QUEUE_SIZE: "100000",
          OTEL_METRIC_EXPORT_INTERVAL: "500"
        }
      })
      yield* columba.start
      const call = (method: string, path: string, body?: object) =>
        Effect.promise(async () => {
          const response = await fetch(`${columba.url}${path}`, {
            method,
            headers: { authorization: `Bearer ${secrets.apiKey}`, "content-type": "application/json" },
            ...(body === undefined ? {} : { body: JSON.stringify(body) })
          })
          return await response.json() as Record<string, unknown>
        })
      const device = yield* call("POST", "/api/v1/devices", { name: "Canary", upstreamId: "canary" })
      yield* call("POST", "/api/v1/gateways", {
        name: "other",
        url: "http://127.0.0.1:9",
        dialect: "gowa",
        user: "columba",
        password: secrets.otherGateway
      })
      yield* call("POST", "/api/v1/subscriptions", { url: "http://127.0.0.1:9/hook", secret: secrets.signature })
      yield* until("the device is online", Effect.sync(() => gateway.core.stats().sockets === 1))
      gateway.core.emit({ count: 300, rate: 500 })

      const events: Array<Events["items"][number]> = []
      let after = "0"
      yield* until(
        "the events are in the log",
        Effect.gen(function*() {
          const page = (yield* call("GET", `/api/v1/events?after=${after}&limit=500`)) as unknown as Events
          events.push(...page.items)
          after = page.next ?? after
          return events.length > 250
        })
      )
      const told = JSON.stringify(events)
      const bodies = new Set(
        events.flatMap(({ data }) =>
          typeof data["body"] === "string" && data["body"].length >= bodyMin ? [data["body"]] : []
        )
      )
      const phones = new Set(
        [...told.matchAll(/(\d+)(?::\d+)?@(?:s\.whatsapp\.net|lid|c\.us)/g)].map(([, digits]) => digits ?? "")
          .filter((digits) => digits.length >= phoneDigitsMin)
      )
      assert.isAbove(bodies.size, 20, "the test would see texts")
      assert.isAbove(phones.size, 3, "the test would see phone numbers")

      // Addresses of chats in paths and queries of requests, some of which fail.
      const [phone = ""] = phones
      yield* call("GET", `/api/v1/messages?chat=${phone}@s.whatsapp.net`)
      yield* call("DELETE", `/api/v1/devices/${String(device["id"])}/chats/${phone}@s.whatsapp.net`)
      yield* call("GET", `/api/v1/devices/${phone}@s.whatsapp.net`)
      yield* Effect.promise(() => fetch(`${columba.url}/api/v1/devices?key=${secrets.apiKey}`))
      yield* columba.terminate

      const log = readFileSync(join(directory, "columba.log"), "utf8")
      const sent = Buffer.concat(collector.bodies).toString("latin1")
      const metrics = [...collector.metrics.keys()].join()
      assert.include(metrics, "columba_events_committed_total")
      assertTraced(events, collector.spans)
      assert.isAbove(collector.logs.length, 0)
      assert.isTrue(collector.headers.every(({ authorization }) => authorization === secrets.header))
      const canaries = [...Object.values(secrets), ...bodies, ...phones]
      const utf8AsLatin1 = (text: string) => Buffer.from(text, "utf8").toString("latin1")
      assert.deepStrictEqual(canaries.filter((canary) => log.includes(canary)), [], "in the log")
      assert.deepStrictEqual(
        canaries.filter((canary) => sent.includes(utf8AsLatin1(canary))),
        [],
        "sent to the collector"
      )
    }))
})
