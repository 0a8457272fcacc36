/** The log's metrics: counters once per batch and never once per event, gauges when they are read. */
import { Metric } from "effect"
import type { Context } from "effect"
import type { LoggedEvent } from "../domain/Event.ts"
import type { GapCause, GapClosedData, GapOpenedData } from "../domain/Gap.ts"
import type { LogView } from "../services/LogStatus.ts"
import * as Metrics from "../services/Metrics.ts"
import type { Entry } from "./AppendQueue.ts"

export interface LogRecorder {
  readonly batch: (
    entries: ReadonlyArray<Entry>,
    fresh: ReadonlyArray<LoggedEvent>,
    counts: { readonly duplicates: number; readonly conflicts: number },
    now: bigint
  ) => void
  readonly retry: () => void
  readonly reset: () => void
  /** The gauges show the current values of these functions until the returned function is called. */
  readonly observe: (view: () => LogView, head: () => number) => () => void
}

/** A gateway's own events share one label: the number of their names is not bounded by us. */
const chooseLabel = (kind: string): string => kind.startsWith("gateway.") ? "gateway.*" : kind

/** A metric with attributes computes its key when it is first used: each set of attributes is kept. */
const makeGapCounters = (context: Context.Context<never>) => {
  const kept = new Map<string, Metric.Counter<number>>()
  const count = (metric: Metric.Counter<number>, attributes: Readonly<Record<string, string>>, by: number): void => {
    const key = [metric.id, ...Object.values(attributes)].join(" ")
    let counter = kept.get(key)
    if (counter === undefined) {
      counter = Metric.withAttributes(metric, attributes) as Metric.Counter<number>
      kept.set(key, counter)
    }
    counter.updateUnsafe(by, context)
  }
  return (fresh: ReadonlyArray<LoggedEvent>): void => {
    const opened = new Map<GapCause, number>()
    for (const { data, kind } of fresh) {
      if (kind === "gap.opened") {
        const { cause } = JSON.parse(data) as GapOpenedData
        opened.set(cause, (opened.get(cause) ?? 0) + 1)
      } else if (kind === "gap.closed") {
        const { cause, proven, recovered, status } = JSON.parse(data) as GapClosedData
        const messages = proven.includes("messages") ? "proven" : "unproven"
        count(Metrics.gapsClosed, { cause, status, messages }, 1)
        count(Metrics.gapEventsRecovered, { cause }, recovered)
      }
    }
    for (const [cause, gaps] of opened) count(Metrics.gapsOpened, { cause }, gaps)
  }
}

export const makeRecorder = (context: Context.Context<never>): LogRecorder => {
  const countGaps = makeGapCounters(context)
  const byKind = new Map<string, Metric.Counter<number>>()
  const findCounter = (label: string): Metric.Counter<number> => {
    const known = byKind.get(label)
    if (known !== undefined) return known
    const counter = Metric.withAttributes(Metrics.eventsCommitted, { kind: label }) as Metric.Counter<number>
    byKind.set(label, counter)
    return counter
  }
  return {
    batch: (entries, fresh, counts, now) => {
      const kinds = new Map<string, number>()
      for (const event of fresh) kinds.set(chooseLabel(event.kind), (kinds.get(chooseLabel(event.kind)) ?? 0) + 1)
      for (const [label, count] of kinds) findCounter(label).updateUnsafe(count, context)
      if (kinds.has("gap.opened") || kinds.has("gap.closed")) countGaps(fresh)
      if (counts.duplicates > 0) Metrics.duplicatesCollapsed.updateUnsafe(counts.duplicates, context)
      if (counts.conflicts > 0) Metrics.contentConflicts.updateUnsafe(counts.conflicts, context)
      const oldest = entries[0]
      if (oldest === undefined) return
      Metrics.appendBatch.updateUnsafe(entries.length, context)
      Metrics.appendLatency.updateUnsafe(Number(now - oldest.arrivedAt) / 1e9, context)
    },
    retry: () => Metrics.appendRetries.updateUnsafe(1, context),
    reset: () => Metrics.logResets.updateUnsafe(1, context),
    observe: (view, head) => {
      const registrations = [
        observeGauge(Metrics.logQueueEvents, () => view().waiting.events, context),
        observeGauge(Metrics.logQueueBytes, () => view().waiting.bytes, context),
        observeGauge(Metrics.logOldestWaiting, () => view().waiting.oldestMillis / 1000, context),
        observeGauge(Metrics.logWritesFailing, () => (view().failing?.forMillis ?? 0) / 1000, context),
        observeGauge(Metrics.logHead, head, context)
      ]
      return () => registrations.forEach((registration) => registration.remove())
    }
  }
}

const observeGauge = (
  gauge: Metric.Gauge<number>,
  read: () => number,
  context: Context.Context<never>
): Metric.Registration =>
  Metric.registerUnsafe(gauge, context, { get: () => ({ value: read() }), update: () => {}, modify: () => {} })
