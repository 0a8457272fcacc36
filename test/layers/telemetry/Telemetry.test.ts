import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Metric } from "effect"
import * as Settings from "../../../src/layers/Settings.ts"
import * as Telemetry from "../../../src/layers/telemetry/Telemetry.ts"
import { localhost } from "../../support/certificate.ts"
import { freshDirectory } from "../../support/directory.ts"
import * as OtlpCollector from "../../support/otlpCollector.ts"

/** The output of a program to stdout while it runs. */
const written = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const original = process.stdout.write
      const lines: Array<string> = []
      process.stdout.write = ((chunk: string) => lines.push(chunk) > 0) as typeof process.stdout.write
      return { original, lines }
    }),
    ({ lines }) => Effect.as(effect, lines),
    ({ original }) =>
      Effect.sync(() => {
        process.stdout.write = original
      })
  )

const makeSettings = (env: Record<string, string>) => {
  const provider = ConfigProvider.fromEnvRecord(env)
  return Effect.map(
    Effect.provideService(Settings.parse, ConfigProvider.ConfigProvider, provider),
    (settings) => ({ settings, provider })
  )
}

describe("Telemetry", () => {
  /** Runs an effect with the exporters, which send what they hold when they are closed: nothing waits for an interval. */
  const exported = <A, E>(effect: Effect.Effect<A, E>, env: Record<string, string>) =>
    Effect.scoped(Effect.gen(function*() {
      const { provider, settings } = yield* makeSettings({ COLUMBA_LOG: "json", ...env })
      // The SDK reads the process's environment, into which the layer writes the settings.
      yield* Effect.addFinalizer(() => Effect.sync(() => Object.keys(env).forEach((name) => delete process.env[name])))
      return yield* written(
        effect.pipe(
          Effect.provide(Telemetry.layer(settings, null)),
          Effect.provideService(ConfigProvider.ConfigProvider, provider)
        )
      )
    }))

  const work = Effect.logInfo("hello").pipe(
    Effect.andThen(Metric.update(Metric.counter("columba_test_total"), 1)),
    Effect.andThen(Metric.update(Metric.gauge("columba_test_seconds"), 0.5)),
    Effect.withSpan("Telemetry.test", { kind: "server", attributes: { step: "one" } })
  )

  for (
    const [name, way, env] of [
      ["gRPC", "grpc", { OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" }],
      ["gRPC, compressed", "grpc", { OTEL_EXPORTER_OTLP_PROTOCOL: "grpc", OTEL_EXPORTER_OTLP_COMPRESSION: "gzip" }],
      ["HTTP", "http", {}],
      ["HTTP, compressed", "http", { OTEL_EXPORTER_OTLP_COMPRESSION: "gzip" }]
    ] as const
  ) {
    it.live(`sends traces, metrics and logs to the collector that the environment names, over ${name}`, () =>
      Effect.gen(function*() {
        const { collector, grpcUrl, httpUrl } = yield* OtlpCollector.make
        yield* exported(work, {
          OTEL_EXPORTER_OTLP_ENDPOINT: way === "grpc" ? grpcUrl : httpUrl,
          OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=pigeons",
          OTEL_SERVICE_NAME: "columba-test",
          ...env
        })
        yield* collector.complete
        assert.isTrue(collector.calls.every((call) => call.startsWith(way)), collector.calls.join())
        assert.isTrue(collector.headers.every((headers) => headers["x-tenant"] === "pigeons"))
        const span = collector.spans.find((received) => received.name === "Telemetry.test")
        assert.deepInclude(span, { service: "columba-test", attributes: { step: "one" } })
        assert.include(collector.logs, "hello")
        assert.strictEqual(collector.metrics.get("columba_test_total"), "")
        assert.strictEqual(collector.metrics.get("columba_test_seconds"), "s")
      }))
  }

  for (const [protocol, port] of [["grpc", "grpcUrl"], ["http/protobuf", "httpUrl"]] as const) {
    it.live(`accepts the authority and the certificate of the standard variables, over ${protocol} with TLS`, () =>
      Effect.gen(function*() {
        const directory = yield* freshDirectory
        const [cert, key] = ["cert.pem", "key.pem"].map((name) => join(directory, name)) as [string, string]
        writeFileSync(cert, localhost.cert)
        writeFileSync(key, localhost.key)
        const authority = { OTEL_EXPORTER_OTLP_CERTIFICATE: cert }
        const client = { OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: cert, OTEL_EXPORTER_OTLP_CLIENT_KEY: key }
        const send = Effect.fnUntraced(function*(clients: boolean, env: Record<string, string>) {
          const made = yield* OtlpCollector.makeSecure({ clients })
          const lines = yield* exported(work, {
            OTEL_EXPORTER_OTLP_ENDPOINT: made[port],
            OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
            OTEL_EXPORTER_OTLP_TIMEOUT: "2000",
            ...env
          })
          return { signals: new Set(made.collector.calls).size, told: lines.join("") }
        })
        for (const taken of [yield* send(false, authority), yield* send(true, { ...authority, ...client })]) {
          assert.strictEqual(taken.signals, 3)
          assert.notInclude(taken.told, "does not take telemetry")
        }
        for (const refused of [yield* send(false, {}), yield* send(true, authority)]) {
          assert.strictEqual(refused.signals, 0)
          assert.include(refused.told, "The OTLP collector does not take telemetry")
        }
      }))
  }

  it.live("sends a signal over its own protocol and to its own endpoint, and none that is switched off", () =>
    Effect.gen(function*() {
      const { collector, grpcUrl, httpUrl } = yield* OtlpCollector.make
      yield* exported(work, {
        OTEL_EXPORTER_OTLP_ENDPOINT: httpUrl,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: grpcUrl,
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "grpc",
        OTEL_METRICS_EXPORTER: "none"
      })
      assert.deepStrictEqual([...new Set(collector.calls)].sort(), ["grpc traces", "http logs"])
    }))

  it.live("ends in time, and reports what is lost, if the collector never answers", () =>
    Effect.gen(function*() {
      const { collector, grpcUrl, httpUrl } = yield* OtlpCollector.make
      collector.silent = true
      for (const [url, protocol] of [[grpcUrl, "grpc"], [httpUrl, "http/protobuf"]] as const) {
        const lines = yield* exported(work, {
          OTEL_EXPORTER_OTLP_ENDPOINT: url,
          OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
          OTEL_EXPORTER_OTLP_TIMEOUT: "200"
        })
        assert.include(lines.join(""), "The OTLP collector does not take", protocol)
        assert.notInclude(lines.join(""), new URL(url).port, "what may be secret in its address is not shown")
      }
    }))

  it.live("exports the share of traces that the sampler asks for, and decides per whole trace", () =>
    Effect.gen(function*() {
      const { collector, httpUrl } = yield* OtlpCollector.make
      const child = Effect.withSpan(Effect.void, "child")
      yield* exported(
        Effect.forEach(Array.from({ length: 400 }), () => Effect.withSpan(child, "parent")),
        {
          OTEL_EXPORTER_OTLP_ENDPOINT: httpUrl,
          OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
          OTEL_TRACES_SAMPLER_ARG: "0.5"
        }
      )
      const count = (name: string) => collector.spans.filter((span) => span.name === name).length
      assert.strictEqual(count("child"), count("parent"))
      // 400 fair throws lie outside of these bounds once in 10^9 runs.
      assert.isAbove(count("parent"), 140)
      assert.isBelow(count("parent"), 260)
    }))

  it.live("traces every request of a caller, and little of all else, unless a sampler is named", () =>
    Effect.gen(function*() {
      const { collector, httpUrl } = yield* OtlpCollector.make
      yield* exported(
        Effect.forEach(Array.from({ length: 200 }), () =>
          Effect.andThen(
            Effect.withSpan(Effect.void, "request", { kind: "server" }),
            Effect.withSpan(Effect.void, "background")
          )),
        { OTEL_EXPORTER_OTLP_ENDPOINT: httpUrl }
      )
      const count = (name: string) => collector.spans.filter((span) => span.name === name).length
      assert.strictEqual(count("request"), 200)
      // 2 are expected; more than 20 come once in 10^13 runs.
      assert.isBelow(count("background"), 20)
    }))

  it.live("writes one flat line per log call, as logfmt or as JSON", () =>
    Effect.gen(function*() {
      const log = Effect.logWarning("Not yet", { reason: "no answer" }).pipe(Effect.annotateLogs({ device: "dev_1" }))
      const lines = Effect.fnUntraced(function*(format: string) {
        const { settings } = yield* makeSettings({ COLUMBA_LOG: format })
        return yield* written(Effect.provide(log, Telemetry.layer(settings, null)))
      })
      const [logfmt = ""] = yield* lines("logfmt")
      assert.match(logfmt, /^time=\S+Z level=warn message="Not yet" device=dev_1 reason="no answer"\n$/)
      const [json = ""] = yield* lines("json")
      assert.deepInclude(JSON.parse(json), { level: "warn", message: "Not yet", device: "dev_1", reason: "no answer" })
    }))

  it.live("escapes text from others, so that a log shown in a terminal is harmless", () =>
    Effect.gen(function*() {
      const reason = "\u001b[2J\u009b31m\nlevel=info message=owned\u202e"
      for (const format of ["logfmt", "json"]) {
        const { settings } = yield* makeSettings({ COLUMBA_LOG: format })
        const log = Effect.provide(Effect.logWarning("Refused", { reason }), Telemetry.layer(settings, null))
        const [line = ""] = yield* written(log)
        assert.include(line, "\\u001b[2J\\u009b31m\\nlevel=info message=owned\\u202e", format)
        assert.lengthOf(line.split("\n"), 2, "one line")
      }
    }))
})
