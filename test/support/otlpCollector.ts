/**
 * An OTLP receiver, over gRPC and over HTTP: it decodes requests by the field numbers of opentelemetry-proto, with a
 * protobuf library that the program does not use, and keeps the raw bytes too. It can be silent, or refuse.
 */
import { createServer } from "node:http"
import type { IncomingMessage, ServerResponse } from "node:http"
import { createServer as createSecureServer } from "node:https"
import type { AddressInfo } from "node:net"
import { gunzipSync } from "node:zlib"
import * as grpc from "@grpc/grpc-js"
import { Effect } from "effect"
import protobuf from "protobufjs"
import { localhost } from "./certificate.ts"
import { until } from "./until.ts"

const { root } = protobuf.parse(
  `
  syntax = "proto3";
  message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message Span {
    bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
    fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9;
  }
  message ScopeSpans { repeated Span spans = 2; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message Traces { repeated ResourceSpans resource = 1; }
  message Metric { string name = 1; string unit = 3; }
  message ScopeMetrics { repeated Metric metrics = 2; }
  message ResourceMetrics { Resource resource = 1; repeated ScopeMetrics scope_metrics = 2; }
  message Metrics { repeated ResourceMetrics resource = 1; }
  message LogRecord { fixed64 time_unix_nano = 1; string severity_text = 3; AnyValue body = 5; bytes trace_id = 9; }
  message ScopeLogs { repeated LogRecord log_records = 2; }
  message ResourceLogs { Resource resource = 1; repeated ScopeLogs scope_logs = 2; }
  message Logs { repeated ResourceLogs resource = 1; }
`,
  { keepCase: false }
)

export interface ReceivedSpan {
  readonly service: string
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  /** Empty for a root. */
  readonly parentSpanId: string
  readonly startNanos: bigint
  readonly endNanos: bigint
  readonly attributes: Readonly<Record<string, string>>
}

interface Attribute {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}
type Decoded<Key extends string, A> = {
  readonly resource: ReadonlyArray<
    { readonly resource: { readonly attributes: ReadonlyArray<Attribute> } } & { readonly [K in Key]: ReadonlyArray<A> }
  >
}
interface DecodedSpan {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: ReadonlyArray<Attribute>
}

const hex = (base64: string): string => Buffer.from(base64, "base64").toString("hex")

const toRecord = (attributes: ReadonlyArray<Attribute>): Record<string, string> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, String(Object.values(value)[0] ?? "")]))

const decode = (type: string, body: Uint8Array): unknown =>
  root.lookupType(type).toObject(root.lookupType(type).decode(body), {
    bytes: String,
    longs: String,
    arrays: true,
    defaults: true
  })

export class OtlpCollector {
  readonly spans: Array<ReceivedSpan> = []
  /** Units by name. */
  readonly metrics = new Map<string, string>()
  readonly logs: Array<string> = []
  /** Every request as it came, decompressed. */
  readonly bodies: Array<Buffer> = []
  /** The protocol and signal of each request: `grpc traces`, `http logs` … */
  readonly calls: Array<string> = []
  readonly headers: Array<Readonly<Record<string, string>>> = []
  /** Requests get no answer. */
  silent = false

  take(way: "grpc" | "http", signal: string, body: Buffer, headers: Readonly<Record<string, string>>): void {
    this.calls.push(`${way} ${signal}`)
    this.headers.push(headers)
    this.bodies.push(body)
    if (headers["content-type"]?.includes("json") === true) return
    if (signal === "traces") {
      const { resource } = decode("Traces", body) as Decoded<"scopeSpans", { spans: ReadonlyArray<DecodedSpan> }>
      for (const { resource: { attributes }, scopeSpans } of resource) {
        for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
          this.spans.push({
            service: toRecord(attributes)["service.name"] ?? "",
            name: span.name,
            traceId: hex(span.traceId),
            spanId: hex(span.spanId),
            parentSpanId: hex(span.parentSpanId),
            startNanos: BigInt(span.startTimeUnixNano),
            endNanos: BigInt(span.endTimeUnixNano),
            attributes: toRecord(span.attributes)
          })
        }
      }
    } else if (signal === "metrics") {
      const { resource } = decode("Metrics", body) as Decoded<
        "scopeMetrics",
        { metrics: ReadonlyArray<{ name: string; unit: string }> }
      >
      for (
        const { name, unit } of resource.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
      ) {
        this.metrics.set(name, unit)
      }
    } else {
      const { resource } = decode("Logs", body) as Decoded<
        "scopeLogs",
        { logRecords: ReadonlyArray<{ body: Record<string, unknown> }> }
      >
      for (const record of resource.flatMap(({ scopeLogs }) => scopeLogs.flatMap(({ logRecords }) => logRecords))) {
        this.logs.push(String(Object.values(record.body)[0] ?? ""))
      }
    }
  }

  /** Waits until each of the three signals has arrived. */
  readonly complete = until(
    "traces, metrics and logs have come",
    Effect.sync(() => ["traces", "metrics", "logs"].every((signal) => this.calls.some((call) => call.endsWith(signal))))
  )
}

const sameBytes = (bytes: Buffer): Buffer => bytes

const exportService = (path: string): grpc.ServiceDefinition => ({
  Export: {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: sameBytes,
    requestDeserialize: sameBytes,
    responseSerialize: sameBytes,
    responseDeserialize: sameBytes
  }
})

const services = {
  traces: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
  metrics: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
  logs: "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
}

interface Tls {
  readonly cert: string
  readonly key: string
  /** The certificate authority that clients' certificates must come from; null where they need none. */
  readonly clients: string | null
}

/** Listens on a separate port for each protocol, and closes with the scope. */
const makeOver = Effect.fnUntraced(function*(tls: Tls | null) {
  const collector = new OtlpCollector()
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => {
      if (collector.silent) return
      const sent = Buffer.concat(chunks)
      const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(sent) : sent
      const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
      collector.take("http", (request.url ?? "").split("/").at(-1) ?? "", body, headers)
      response.writeHead(200).end()
    })
  }
  const http = tls === null ? createServer(listener) : createSecureServer({
    cert: tls.cert,
    key: tls.key,
    ...(tls.clients === null ? {} : { ca: tls.clients, requestCert: true, rejectUnauthorized: true })
  }, listener)
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void http.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () => Effect.sync(() => http.close().closeAllConnections())
  )
  const server = new grpc.Server()
  for (const [signal, path] of Object.entries(services)) {
    server.addService(exportService(path), {
      Export: (call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) => {
        if (collector.silent) return
        const headers = Object.fromEntries(
          Object.entries(call.metadata.getMap()).map(([name, value]) => [name, String(value)])
        )
        collector.take("grpc", signal, call.request, headers)
        answer(null, Buffer.alloc(0))
      }
    })
  }
  const grpcPort = yield* Effect.acquireRelease(
    Effect.callback<number>((resume) =>
      server.bindAsync(
        "127.0.0.1:0",
        tls === null ? grpc.ServerCredentials.createInsecure() : grpc.ServerCredentials.createSsl(
          tls.clients === null ? null : Buffer.from(tls.clients),
          [{ cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) }],
          tls.clients !== null
        ),
        (_error, port) => resume(Effect.succeed(port))
      )
    ),
    () => Effect.sync(() => server.forceShutdown())
  )
  // With TLS the gRPC library connects only to names.
  const origin = tls === null ? "http://127.0.0.1" : "https://localhost"
  return {
    collector,
    httpUrl: `${origin}:${(http.address() as AddressInfo).port}`,
    grpcUrl: `${origin}:${grpcPort}`
  }
})

export const make = makeOver(null)

/** With a self-signed certificate; `clients`: only for clients that present the same one. */
export const makeSecure = ({ clients }: { readonly clients: boolean }) =>
  makeOver({ ...localhost, clients: clients ? localhost.cert : null })
