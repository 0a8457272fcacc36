/**
 * The standard variables of OpenTelemetry that the SDK itself reads. It reads only the process's environment; here a
 * `.env` file and the command line count too, so their values are written there before the SDK starts.
 */
import { Config, Effect } from "effect"

const perSignal = [
  "ENDPOINT",
  "PROTOCOL",
  "HEADERS",
  "COMPRESSION",
  "TIMEOUT",
  "CERTIFICATE",
  "CLIENT_CERTIFICATE",
  "CLIENT_KEY"
]
const signals = ["TRACES", "METRICS", "LOGS"]

export const otelVariables: ReadonlyArray<string> = [
  ...perSignal.map((name) => `OTEL_EXPORTER_OTLP_${name}`),
  ...signals.flatMap((signal) => perSignal.map((name) => `OTEL_EXPORTER_OTLP_${signal}_${name}`)),
  ...signals.map((signal) => `OTEL_${signal}_EXPORTER`),
  "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
  "OTEL_SERVICE_NAME",
  "OTEL_RESOURCE_ATTRIBUTES",
  "OTEL_SDK_DISABLED",
  "OTEL_TRACES_SAMPLER",
  "OTEL_TRACES_SAMPLER_ARG",
  "OTEL_BSP_SCHEDULE_DELAY",
  "OTEL_BSP_EXPORT_TIMEOUT",
  "OTEL_BSP_MAX_QUEUE_SIZE",
  "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
  "OTEL_BLRP_SCHEDULE_DELAY",
  "OTEL_BLRP_EXPORT_TIMEOUT",
  "OTEL_BLRP_MAX_QUEUE_SIZE",
  "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
  "OTEL_METRIC_EXPORT_INTERVAL",
  "OTEL_METRIC_EXPORT_TIMEOUT"
]

/** Null where it is not set, or empty, which the specification treats the same. */
export const read = (name: string): Effect.Effect<string | null> =>
  Config.String(name).pipe(
    Effect.map((text) => text.trim() === "" ? null : text.trim()),
    Effect.orElseSucceed(() => null)
  )

export const writeToEnvironment: Effect.Effect<void> = Effect.gen(function*() {
  for (const name of otelVariables) {
    const value = yield* read(name)
    if (value !== null) process.env[name] = value
  }
})
