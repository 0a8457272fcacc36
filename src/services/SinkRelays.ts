/**
 * How far every sink has come, for readiness, metrics and people. Each relay keeps its own view; this only gathers them.
 */
import { Context } from "effect"
import type { Effect } from "effect"
import type { SinkUnavailable } from "./EventSink.ts"

export interface SinkView {
  readonly sink: string
  /**
   * `starting`: its cursor is not claimed yet · `running` · `waiting`: what came last failed and is offered again after
   * a pause · `stopped`: shut down, or standing by because another process reads for this sink now.
   */
  readonly state: "starting" | "running" | "waiting" | "stopped"
  /** The last number the other side has confirmed, with all before it. */
  readonly confirmed: number
  /** Committed events not confirmed, as of a few seconds ago. */
  readonly lag: number
  /** Events that retention had removed before this sink read them. Zero unless something is badly wrong. */
  readonly expired: number
  /** What keeps it from running; `since` is when that began. Null while all is well. */
  readonly failure: {
    readonly reason: SinkUnavailable["reason"] | "storage" | "cursor-lost" | "defect"
    readonly message: string
    readonly since: string
  } | null
}

export class SinkRelays extends Context.Service<SinkRelays, {
  readonly views: Effect.Effect<ReadonlyArray<SinkView>>
}>()("columba/services/SinkRelays") {}
