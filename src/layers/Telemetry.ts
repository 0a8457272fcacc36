/**
 * What the process exports of itself besides its API: log lines, traces and metrics for an OTLP collector, and the lag
 * of its event loop.
 */
import { Cause, Config, ConfigProvider, Effect, Layer, Logger, Metric, References } from "effect"
import { monitorEventLoopDelay } from "node:perf_hooks"
import * as Metrics from "../services/Metrics.ts"
import { toPrintableJson } from "../services/printableText.ts"
import type { Settings } from "./Settings.ts"

/** Fine enough for a lag that matters; the timer behind it costs nothing at this rate. */
const lagResolutionMillis = 10
const lagInterval = "5 seconds"

const nanosPerSecond = 1e9

/** The 99th percentile of how long callbacks waited since the last reading, less the resolution of the measurement. */
const eventLoopLag = Layer.effectDiscard(Effect.gen(function*() {
  const histogram = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const monitor = monitorEventLoopDelay({ resolution: lagResolutionMillis })
      monitor.enable()
      return monitor
    }),
    (monitor) => Effect.sync(() => monitor.disable())
  )
  const read = Effect.suspend(() => {
    const lag = Math.max(0, histogram.percentile(99) / nanosPerSecond - lagResolutionMillis / 1000)
    histogram.reset()
    return Metric.update(Metrics.eventLoopLag, lag)
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(lagInterval), read)))
}))

/** An endpoint means that all three are wanted, as the specification has it; each can still be set to `none`. */
const exporters = ConfigProvider.fromEnvRecord({
  OTEL_TRACES_EXPORTER: "otlp",
  OTEL_METRICS_EXPORTER: "otlp",
  OTEL_LOGS_EXPORTER: "otlp"
})

/** Loaded only where an endpoint is set. Reads the `OTEL_*` variables of the settings' provider. */
const otlp = Layer.unwrap(Effect.gen(function*() {
  const [{ Otlp, OtlpSerialization }, { FetchHttpClient }] = yield* Effect.promise(() =>
    Promise.all([import("effect/observability"), import("effect/http")])
  )
  const serviceName = yield* Config.String("OTEL_SERVICE_NAME").pipe(
    Config.withDefault("columba"),
    Effect.orElseSucceed(() => "columba")
  )
  return Otlp.layerFromConfig({ resource: { serviceName }, loggerMergeWithExisting: true }).pipe(
    Layer.provide([FetchHttpClient.layer, OtlpSerialization.layerProtobuf]),
    Layer.provide(ConfigProvider.layer(ConfigProvider.orElse(yield* ConfigProvider.ConfigProvider, exporters)))
  )
}))

/** One flat record per line: objects given to a log call become fields beside the annotations. */
const record = ({ cause, date, fiber, logLevel, message }: Logger.Options<unknown>): Record<string, unknown> => {
  const words: Array<string> = []
  const fields: Record<string, unknown> = {}
  for (const part of Array.isArray(message) ? message : [message]) {
    if (part instanceof Error) fields["error"] = part.message
    else if (typeof part === "object" && part !== null) Object.assign(fields, part)
    else words.push(String(part))
  }
  const annotations = fiber.getRef(References.CurrentLogAnnotations)
  const reason = cause.reasons.length === 0 ? {} : { cause: Cause.pretty(cause) }
  return {
    time: date.toISOString(),
    level: logLevel.toLowerCase(),
    message: words.join(" "),
    ...annotations,
    ...fields,
    ...reason
  }
}

const text = (value: unknown): string => {
  const shown = typeof value === "string" ? value : JSON.stringify(value) ?? String(value)
  return /^[\w.:/@+-]+$/.test(shown) ? shown : toPrintableJson(shown)
}

/** One line each, safe to show in a terminal: `docker logs` and `journalctl` print them as they are. */
const formats = {
  logfmt: Logger.make((options) => {
    const line = Object.entries(record(options)).map(([key, value]) => `${key}=${text(value)}`).join(" ")
    process.stdout.write(`${line}\n`)
  }),
  json: Logger.make((options) => {
    process.stdout.write(`${toPrintableJson(record(options))}\n`)
  })
} as const

const logger = (settings: Settings, pretty: Logger.Logger<unknown, void> | null) =>
  Layer.merge(
    Logger.layer([pretty ?? formats[settings.log === "json" ? "json" : "logfmt"]]),
    Layer.succeed(References.MinimumLogLevel, settings.debug ? "Debug" : "Info")
  )

/** `pretty` writes log lines for a person, where the caller wants that; else they go to stdout as logfmt or JSON. */
export const layer = (settings: Settings, pretty: Logger.Logger<unknown, void> | null): Layer.Layer<never> => {
  const base = Layer.provideMerge(eventLoopLag, logger(settings, pretty))
  return settings.otlpEndpoint === null ? base : Layer.provideMerge(otlp, base)
}
