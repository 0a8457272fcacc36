/**
 * Spans of events, under ids derived from the events. The SDK makes ids at random; `PinnedIds` makes it use the given
 * ones for one span.
 */
import type { Sampler } from "@opentelemetry/sdk-trace-base"
import { RandomIdGenerator, SamplingDecision } from "@opentelemetry/sdk-trace-base"
import type { IdGenerator } from "@opentelemetry/sdk-trace-base"
import { ROOT_CONTEXT, SpanKind } from "@opentelemetry/api"
import { Context, Effect, Exit, Layer, Option, Tracer } from "effect"
import type { LoggedEvent } from "../../domain/Event.ts"
import { deriveCommitSpanId, EventTraces, derivePublishSpanId, deriveTraceId } from "../../services/EventTraces.ts"
import type { Interval } from "../../services/EventTraces.ts"

export class PinnedIds implements IdGenerator {
  readonly #random = new RandomIdGenerator()
  #pinned: { readonly traceId: string; readonly spanId: string } | null = null

  generateTraceId(): string {
    return this.#pinned?.traceId ?? this.#random.generateTraceId()
  }

  generateSpanId(): string {
    return this.#pinned?.spanId ?? this.#random.generateSpanId()
  }

  /** `make` starts one span and returns. */
  with<A>(traceId: string, spanId: string, make: () => A): A {
    this.#pinned = { traceId, spanId }
    try {
      return make()
    } finally {
      this.#pinned = null
    }
  }
}

const describe = (event: LoggedEvent): ReadonlyArray<readonly [string, string]> => [
  ["columba.event.kind", event.kind],
  ["columba.event.seq", String(event.seq)],
  ["columba.event.via", event.via],
  ["columba.device.id", event.deviceId]
]

const make = (tracer: Tracer.Tracer, ids: PinnedIds, sampler: Sampler): EventTraces => {
  const record = (
    event: LoggedEvent,
    span: {
      readonly name: string
      readonly kind: Tracer.SpanKind
      readonly id: string
      readonly parent: string | null
    },
    { from, to }: Interval
  ) => {
    const traceId = deriveTraceId(event.id)
    const parent = span.parent === null
      ? Option.none()
      : Option.some(Tracer.externalSpan({ traceId, spanId: span.parent, sampled: true }))
    const started = ids.with(traceId, span.id, () =>
      tracer.span({
        name: span.name,
        parent,
        annotations: Context.empty(),
        links: [],
        startTime: from,
        kind: span.kind,
        root: span.parent === null,
        sampled: true
      }))
    for (const [name, value] of describe(event)) started.attribute(name, value)
    started.end(to, Exit.void)
  }
  return {
    sampled: (id) =>
      sampler.shouldSample(ROOT_CONTEXT, deriveTraceId(id), "columba.event", SpanKind.CONSUMER, {}, []).decision ===
        SamplingDecision.RECORD_AND_SAMPLED,
    committed: (event, interval) =>
      record(
        event,
        { name: "columba.event", kind: "consumer", id: deriveCommitSpanId(event.id), parent: null },
        interval
      ),
    published: (event, sink, interval) =>
      record(
        event,
        {
          name: `publish ${sink}`,
          kind: "producer",
          id: derivePublishSpanId(event.id),
          parent: deriveCommitSpanId(event.id)
        },
        interval
      )
  }
}

/** Needs the tracer of the SDK that has `ids` and `sampler`. */
export const layer = (ids: PinnedIds, sampler: Sampler): Layer.Layer<never> =>
  Layer.effect(EventTraces, Effect.map(Tracer.Tracer, (tracer) => make(tracer, ids, sampler)))
