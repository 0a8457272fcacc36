/**
 * Which traces are exported, by `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`. By default every request of a caller is
 * traced, and one percent of background work, including events: a trace of each event would cost more than the
 * event.
 */
import { SpanKind } from "@opentelemetry/api"
import type { Attributes, Context, Link } from "@opentelemetry/api"
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  TraceIdRatioBasedSampler
} from "@opentelemetry/sdk-trace-base"
import type { Sampler, SamplingResult } from "@opentelemetry/sdk-trace-base"

export type SamplerName =
  | "always_on"
  | "always_off"
  | "traceidratio"
  | "parentbased_always_on"
  | "parentbased_always_off"
  | "parentbased_traceidratio"

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
    return kind === SpanKind.SERVER
      ? this.#all.shouldSample()
      : this.#some.shouldSample(context, traceId, name, kind, attributes, links)
  }

  toString(): string {
    return `requests, and ${this.#some.toString()}`
  }
}

const chooseRoot = (name: SamplerName, share: number | null): Sampler =>
  name.endsWith("always_on")
    ? new AlwaysOnSampler()
    : name.endsWith("always_off")
    ? new AlwaysOffSampler()
    : new TraceIdRatioBasedSampler(share ?? 1)

/** `share`: from 0 to 1; null where it is not set. */
export const choose = (name: SamplerName | null, share: number | null): Sampler => {
  if (name === null) return new ParentBasedSampler({ root: new RequestsAndSome(share ?? backgroundShare) })
  const root = chooseRoot(name, share)
  return name.startsWith("parentbased") ? new ParentBasedSampler({ root }) : root
}
