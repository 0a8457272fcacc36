import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Deferred, Effect, Metric } from "effect"
import * as Settings from "../../src/layers/Settings.ts"
import * as Telemetry from "../../src/layers/Telemetry.ts"

/** Takes what an exporter sends, and tells which of the three signals came. */
const collector = Effect.gen(function*() {
  const all = yield* Deferred.make<void>()
  const seen = new Set<string>()
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      seen.add(request.url ?? "")
      response.writeHead(200).end()
      if (seen.size === 3) Deferred.doneUnsafe(all, Effect.void)
    })
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () => Effect.sync(() => server.close().closeAllConnections())
  )
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, all }
})

/** What a program writes to stdout while it runs. */
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
  it.live("sends traces, metrics and logs to the collector that the environment names", () =>
    Effect.gen(function*() {
      const { all, seen, url } = yield* collector
      const { provider, settings } = yield* makeSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: url, COLUMBA_LOG: "json" })
      yield* written(
        Effect.logInfo("hello").pipe(
          Effect.andThen(Metric.update(Metric.counter("columba_test_total"), 1)),
          Effect.withSpan("Telemetry.test"),
          // The exporters send what they hold when they are closed, so nothing waits for an interval here.
          Effect.provide(Telemetry.layer(settings, null)),
          Effect.provideService(ConfigProvider.ConfigProvider, provider)
        )
      )
      yield* Deferred.await(all)
      assert.deepStrictEqual([...seen].sort(), ["/v1/logs", "/v1/metrics", "/v1/traces"])
    }))

  it.live("writes one flat line a log call, as logfmt or as JSON", () =>
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

  it.live("escapes what others wrote, so that a log shown in a terminal is harmless", () =>
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
