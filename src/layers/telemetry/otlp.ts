/**
 * Traces, metrics and logs for an OTLP collector, over gRPC or HTTP: the OpenTelemetry SDK, which `@effect/opentelemetry`
 * feeds with Effect's spans, metrics and log lines, configured by the standard `OTEL_*` variables. An absent collector
 * costs only telemetry: the SDK's queues are bounded (2,048 records unless set) and drop, and the log reports it.
 */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { diag, DiagLogLevel } from "@opentelemetry/api"
import { globalErrorHandler, setGlobalErrorHandler } from "@opentelemetry/core"
import { OTLPLogExporter as GrpcLogExporter } from "@opentelemetry/exporter-logs-otlp-grpc"
import { OTLPLogExporter as HttpLogExporter } from "@opentelemetry/exporter-logs-otlp-proto"
import { OTLPMetricExporter as GrpcMetricExporter } from "@opentelemetry/exporter-metrics-otlp-grpc"
import { OTLPMetricExporter as HttpMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto"
import { OTLPTraceExporter as GrpcTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc"
import { OTLPTraceExporter as HttpTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto"
import { BatchLogRecordProcessor } from "@opentelemetry/sdk-logs"
import { PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics"
import type { PushMetricExporter, ResourceMetrics } from "@opentelemetry/sdk-metrics"
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Effect, Layer } from "effect"
import { RepeatedWarnings } from "../../services/RepeatedWarnings.ts"
import { read, writeToEnvironment } from "./otelVariables.ts"
import * as eventTraces from "./eventTraces.ts"
import * as sampling from "./sampling.ts"

export type OtlpProtocol = "grpc" | "http/protobuf"

/** Settings that the SDK does not read itself. */
export interface OtlpSettings {
  /** Null: derived from the port. */
  readonly otlpProtocol: OtlpProtocol | null
  readonly traceSampler: sampling.SamplerName | null
  readonly traceShare: number | null
}

type Signal = "TRACES" | "METRICS" | "LOGS"

/** The conventional port of OTLP over gRPC; over HTTP it is 4318. */
const grpcPort = "4317"

/** The defaults of the specification, in milliseconds. */
const metricInterval = 60_000
const metricTimeout = 30_000

/** A stopping process does not wait longer for a collector. Its part in the budget of `shutdownBudget.ts` is small. */
const shutdownTimeout = "2 seconds"

/** Null where the signal is switched off. */
const chooseProtocol = Effect.fnUntraced(function*(signal: Signal, setting: OtlpProtocol | null) {
  if ((yield* read("OTEL_SDK_DISABLED")) === "true") return null
  const exporters = (yield* read(`OTEL_${signal}_EXPORTER`)) ?? "otlp"
  if (!exporters.split(",").some((name) => name.trim() === "otlp")) return null
  const own = yield* read(`OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`)
  if (own !== null) return own === "grpc" ? "grpc" : "http/protobuf"
  const endpoint = (yield* read(`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`)) ??
    (yield* read("OTEL_EXPORTER_OTLP_ENDPOINT"))
  return setting ?? (URL.parse(endpoint ?? "")?.port === grpcPort ? "grpc" : "http/protobuf")
})

interface Flushing {
  forceFlush: () => Promise<void>
  shutdown: () => Promise<void>
}

/** Records that a collector does not accept at the end are lost; the program does not end with an error for that. */
const neverFails = <Part extends Flushing>(part: Part): Part => {
  const [forceFlush, shutdown] = [part.forceFlush.bind(part), part.shutdown.bind(part)]
  part.forceFlush = () => forceFlush().catch(globalErrorHandler)
  part.shutdown = () => shutdown().catch(globalErrorHandler)
  return part
}

/** In UCUM; empty for a plain number. */
const readUnit = (name: string): string =>
  /_seconds(_total)?$/.test(name) ? "s" : /_bytes(_total)?$/.test(name) ? "By" : ""

/**
 * Sets each metric's unit from its name. Effect marks every metric as a ratio, and backends that put units into names
 * would show `columba_devices_ratio`.
 */
const withUnits = <Exporter extends PushMetricExporter>(exporter: Exporter): Exporter => {
  const exportMetrics = exporter.export.bind(exporter)
  exporter.export = (metrics: ResourceMetrics, done) =>
    exportMetrics({
      ...metrics,
      scopeMetrics: metrics.scopeMetrics.map((scope) => ({
        ...scope,
        metrics: scope.metrics.map((metric) => ({
          ...metric,
          descriptor: { ...metric.descriptor, unit: readUnit(metric.descriptor.name) }
        }))
      }))
    }, done)
  return exporter
}

/** The SDK's errors, at a bounded rate and without their details: those hold the collector's address and its credentials. */
const reportFailures = Effect.gen(function*() {
  const warnings = new RepeatedWarnings()
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const report = (reason: string) =>
    void run(
      warnings.warn("otlp", "The OTLP collector does not take telemetry; what does not fit is dropped", { reason })
    )
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      setGlobalErrorHandler((error) => report(describe(error)))
      const ignore = () => {}
      const log = (message: string) => {
        if (!message.startsWith(withoutClientCertificate)) {
          report(message.slice(0, reasonMax).split(/[:\n]/, 1)[0] ?? "")
        }
      }
      diag.setLogger({ error: log, warn: log, info: ignore, debug: ignore, verbose: ignore }, {
        logLevel: DiagLogLevel.WARN,
        suppressOverrideMessage: true
      })
    }),
    () =>
      Effect.sync(() => {
        diag.disable()
        setGlobalErrorHandler(() => {})
      })
  )
})

const reasonMax = 200

/** The SDK logs this for every custom certificate authority, also where the collector asks for no client certificate. */
const withoutClientCertificate = "Client key and certificate must both be provided"

/** Several failed exports come as a list. */
const describe = (error: unknown): string => {
  if (Array.isArray(error)) return describe(error[0])
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : null
  return typeof code === "string" || typeof code === "number" ? `status ${code}` : "no answer"
}

/** Loaded only where an endpoint is set. */
export const layer = (settings: OtlpSettings) =>
  Layer.unwrap(Effect.gen(function*() {
    yield* writeToEnvironment
    yield* reportFailures
    const [traces, metrics, logs] = yield* Effect.all([
      chooseProtocol("TRACES", settings.otlpProtocol),
      chooseProtocol("METRICS", settings.otlpProtocol),
      chooseProtocol("LOGS", settings.otlpProtocol)
    ])
    const serviceName = (yield* read("OTEL_SERVICE_NAME")) ?? "columba"
    const interval = Number((yield* read("OTEL_METRIC_EXPORT_INTERVAL")) ?? metricInterval)
    const timeout = Number((yield* read("OTEL_METRIC_EXPORT_TIMEOUT")) ?? metricTimeout)
    const sampler = sampling.choose(settings.traceSampler, settings.traceShare)
    const ids = new eventTraces.PinnedIds()
    const sdk = NodeSdk.layer(() => ({
      resource: { serviceName },
      shutdownTimeout,
      loggerMergeWithExisting: true,
      tracerConfig: { sampler, idGenerator: ids },
      ...traces === null ? {} : {
        spanProcessor: neverFails(
          new BatchSpanProcessor(traces === "grpc" ? new GrpcTraceExporter() : new HttpTraceExporter())
        )
      },
      ...metrics === null ? {} : {
        metricReader: neverFails(
          new PeriodicExportingMetricReader({
            exporter: withUnits(metrics === "grpc" ? new GrpcMetricExporter() : new HttpMetricExporter()),
            exportIntervalMillis: interval > 0 ? interval : metricInterval,
            exportTimeoutMillis: Math.min(
              timeout > 0 ? timeout : metricTimeout,
              interval > 0 ? interval : metricInterval
            )
          })
        )
      },
      ...logs === null ? {} : {
        logRecordProcessor: neverFails(
          new BatchLogRecordProcessor({ exporter: logs === "grpc" ? new GrpcLogExporter() : new HttpLogExporter() })
        )
      }
    }))
    return traces === null ? sdk : Layer.provideMerge(eventTraces.layer(ids, sampler), sdk)
  }))
