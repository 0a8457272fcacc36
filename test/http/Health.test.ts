/** Answers for orchestrators, monitoring and readers of the documents. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { Api } from "../../src/contracts/Api.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import * as Metrics from "../../src/services/Metrics.ts"
import { Readiness } from "../../src/services/Readiness.ts"
import { Metric } from "effect"
import type { Json } from "../support/surface.ts"
import { ask, startServer } from "../support/surface.ts"

describe("health, metrics and documents", () => {
  it.live("names in readiness what is missing, and does not fail liveness for it", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer()
      const { contribute } = Context.get(services, Readiness)
      yield* contribute("database", Effect.succeed("answers in 1 ms"))
      assert.strictEqual((yield* ask(`${url}/readyz`)).status, 200)
      yield* contribute("broker", Effect.fail("disconnected for 5 s"))
      yield* contribute("fleet", Effect.die(new Error("password=secret")))
      yield* contribute("gateway", Effect.never)
      const { body, status } = yield* ask(`${url}/readyz`)
      assert.strictEqual(status, 503)
      assert.strictEqual(body._tag, "NotReady")
      assert.include(body.message, "broker (disconnected for 5 s)")
      assert.deepStrictEqual(
        body.checks.map(({ name, ready }: Json) => [name, ready]),
        [["database", true], ["broker", false], ["fleet", false], ["gateway", false]]
      )
      assert.notInclude(JSON.stringify(body), "secret")
      assert.strictEqual((yield* ask(`${url}/healthz`)).status, 200)
    }))

  it.live("shows in readiness only what is missing to callers without a key for the whole fleet", () =>
    Effect.gen(function*() {
      const device = `dev_${"0".repeat(26)}` as DeviceId
      const { services, url } = yield* startServer({
        keys: [["all", ["read"], "all-devices"], ["limited", ["read"], "one-device", [device]]]
      })
      const { contribute } = Context.get(services, Readiness)
      yield* contribute("fleet", Effect.succeed("4711 of 4711 devices online"))
      yield* contribute("broker", Effect.fail("disconnected for 5 s"))
      const read = (key?: string) => ask(`${url}/readyz`, { headers: key === undefined ? {} : { "x-api-key": key } })
      for (const key of [undefined, "wrong", "one-device"]) {
        assert.deepStrictEqual((yield* read(key)).body.checks, [
          { name: "fleet", ready: true, detail: "" },
          { name: "broker", ready: false, detail: "disconnected for 5 s" }
        ])
      }
      assert.deepInclude((yield* read("all-devices")).body.checks[0], { detail: "4711 of 4711 devices online" })
    }))

  it.live("returns metrics that parse as Prometheus text, each sample with its type", () =>
    Effect.gen(function*() {
      yield* Metric.update(Metric.withAttributes(Metrics.eventsCommitted, { kind: "message.\"re\\ceived\"\n" }), 3)
      yield* Metric.update(Metrics.appendLatency, 0.004)
      yield* Metric.update(Metrics.logHead, 42)
      const { url } = yield* startServer()
      const { body, headers, status } = yield* ask(`${url}/metrics`)
      assert.strictEqual(status, 200)
      assert.match(headers.get("content-type")!, /^text\/plain; version=0\.0\.4/)
      const types = new Map<string, string>()
      for (const line of (body as string).trimEnd().split("\n")) {
        const type = /^# TYPE (\S+) (counter|gauge|histogram|summary)$/.exec(line)
        if (type !== null) types.set(type[1]!, type[2]!)
        if (line.startsWith("#")) continue
        const sample = /^([a-zA-Z_:][\w:]*)(\{([a-zA-Z_]\w*="(\\.|[^"\\])*",?)*\})? (-?[\d.e+-]+|NaN|[+-]Inf)( \d+)?$/
          .exec(line)
        assert.isNotNull(sample, line)
        const family = sample![1]!
        assert.isTrue(types.has(family) || types.has(family.replace(/_(bucket|sum|count|min|max)$/, "")), line)
      }
      assert.strictEqual(types.get("columba_log_head"), "gauge")
      assert.strictEqual(types.get("columba_append_seconds"), "histogram")
      assert.strictEqual(types.get("columba_events_committed_total"), "counter")
    }))

  it.live("has an OpenAPI 3.1 document that lists every route with its errors, without broken references", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      const { body: document } = yield* ask(`${url}/openapi.json`)
      assert.match(document.openapi, /^3\.1\.\d$/)
      assert.isAbove(document.info.title.length, 0)
      for (const group of Object.values(Api.groups)) {
        for (const endpoint of Object.values(group.endpoints)) {
          const path = endpoint.path.replace(/:(\w+)/g, "{$1}")
          const operation = document.paths[path]?.[endpoint.method.toLowerCase()]
          assert.isDefined(operation, `${endpoint.method} ${path}`)
          assert.isDefined(operation.responses["401"], path)
          assert.isAbove(operation.security.length, 0)
        }
      }
      assert.hasAllKeys(document.paths["/api/v1/events"].get.responses["200"].content, [
        "application/json",
        "text/event-stream"
      ])
      const references = JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)
      for (const [, reference] of references) {
        const found = reference!.split("/").reduce(
          (node, key) => node?.[key.replace(/~1/g, "/").replace(/~0/g, "~")],
          document
        )
        assert.isDefined(found, reference)
      }
    }))

  it.live("serves documents that load nothing from other servers", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      const { body, status } = yield* ask(`${url}/docs`)
      assert.strictEqual(status, 200)
      assert.notMatch(body, /<(script|link|img)[^>]+(src|href)=["']https?:/)
      assert.include((yield* ask(url)).body, "/docs")
    }))
})
