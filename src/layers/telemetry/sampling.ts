/**
 * Which traces are exported. The SDK's samplers are chosen by `OTEL_TRACES_SAMPLER`; this is what counts without it: every
 * request of a caller is traced, and one in a hundred of what runs by itself. A trace of each event would cost more than
 * the event.
 */
import { SpanKind } from "@opentelemetry/api"
import type { Attributes, Context, Link } from "@opentelemetry/api"
import { AlwaysOnSampler, ParentBasedSampler, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace-base"
import type { Sampler, SamplingResult } from "@opentelemetry/sdk-trace-base"

/** Enough to see where time goes at 10 events a second, and less than a percent of the work at 10,000. */
const backgroundShare = 0.01

class RequestsAndSome implements Sampler {
  readonly #all = new AlwaysOnSampler()
  readonly #some: Sampler

  constructor(share: number) {
    this.#some = new TraceIdRatioBasedSampler(share)
  }

  shouldSample(
    context: Context,
    traceId: string,
    name: string,
    kind: SpanKind,
    attributes: Attributes,
    links: Array<Link>
  ): SamplingResult {
    const sampler: Sampler = kind === SpanKind.SERVER ? this.#all : this.#some
    return sampler.shouldSample(context, traceId, name, kind, attributes, links)
  }

  toString(): string {
    return `requests, and ${this.#some.toString()}`
  }
}

/** `share`: of the traces that no caller began. */
export const makeDefault = (share: number | null): Sampler =>
  new ParentBasedSampler({ root: new RequestsAndSome(share ?? backgroundShare) })
