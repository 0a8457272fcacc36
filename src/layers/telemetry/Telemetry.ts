/**
 * The telemetry that the process exports besides its API: log lines, traces and metrics for an OTLP collector, and the
 * metrics of the process itself.
 */
import { Cause, Effect, Layer, Logger, Metric, References } from "effect"
import { monitorEventLoopDelay } from "node:perf_hooks"
import * as Metrics from "../../services/Metrics.ts"
import { toPrintableJson } from "../../services/printableText.ts"
import type { OtlpSettings } from "./otlp.ts"

/** Fine enough to show a significant lag; the timer behind it costs nothing at this rate. */
const lagResolutionMillis = 10
const processInterval = "5 seconds"

const nanosPerSecond = 1e9
const microsPerSecond = 1e6

/**
 * Memory and CPU time of the process, and the 99th percentile of the callbacks' delay since the last reading, less the
 * resolution of the measurement.
 */
const processMetrics = Layer.effectDiscard(Effect.gen(function*() {
  const histogram = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const monitor = monitorEventLoopDelay({ resolution: lagResolutionMillis })
      monitor.enable()
      return monitor
    }),
    (monitor) => Effect.sync(() => monitor.disable())
  )
  let counted = 0
  const read = Effect.suspend(() => {
    const lag = Math.max(0, histogram.percentile(99) / nanosPerSecond - lagResolutionMillis / 1000)
    histogram.reset()
    const used = process.cpuUsage()
    const cpu = (used.user + used.system) / microsPerSecond
    const more = cpu - counted
    counted = cpu
    return Effect.all([
      Metric.update(Metrics.eventLoopLag, lag),
      Metric.update(Metrics.residentMemory, process.memoryUsage.rss()),
      Metric.update(Metrics.processCpu, more)
    ], { discard: true })
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(processInterval), read)))
}))

/** Loaded only where an endpoint is set. */
const otlp = (settings: OtlpSettings) =>
  Layer.unwrap(Effect.map(Effect.promise(() => import("./otlp.ts")), ({ layer }) => layer(settings)))

/** One flat record per line: objects passed to a log call become fields next to the annotations. */
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

/** The part of the settings that concerns telemetry. */
export interface TelemetrySettings extends OtlpSettings {
  /** Base URL of the OTLP collector, or null: no telemetry is exported. */
  readonly otlpEndpoint: string | null
  readonly log: "auto" | "pretty" | "logfmt" | "json"
  readonly debug: boolean
}

const logger = (settings: TelemetrySettings, pretty: Logger.Logger<unknown, void> | null) =>
  Layer.merge(
    Logger.layer([pretty ?? formats[settings.log === "json" ? "json" : "logfmt"]]),
    Layer.succeed(References.MinimumLogLevel, settings.debug ? "Debug" : "Info")
  )

/** `pretty` writes log lines for a person, where the caller asks for it; else they go to stdout as logfmt or JSON. */
export const layer = (
  settings: TelemetrySettings,
  pretty: Logger.Logger<unknown, void> | null
): Layer.Layer<never> => {
  const base = Layer.provideMerge(processMetrics, logger(settings, pretty))
  return settings.otlpEndpoint === null ? base : Layer.provideMerge(otlp(settings), base)
}
