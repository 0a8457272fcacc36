/** The progress of every sink, for readiness, metrics and people. Each relay has its own view; this collects them. */
import { Context, Effect } from "effect"
import type { SinkUnavailable } from "./EventSink.ts"

export interface SinkView {
  readonly sink: string
  /**
   * `starting`: its cursor is not claimed yet · `running` · `waiting`: the last attempt failed, the next one follows
   * after a delay · `stopped`: shut down, or standing by because another process reads for this sink now.
   */
  readonly state: "starting" | "running" | "waiting" | "stopped"
  /** The number up to which the other side has confirmed every event. */
  readonly confirmed: number
  /** Committed events that are not confirmed, as of a few seconds ago. */
  readonly lag: number
  /** Events that retention deleted before this sink read them. Anything but zero is a fault. */
  readonly expired: number
  /** The obstacle to delivery; `since` is when it began. Null while there is none. */
  readonly failure: {
    readonly reason: SinkUnavailable["reason"] | "storage" | "cursor-lost" | "defect"
    readonly message: string
    readonly since: string
  } | null
}

export class SinkRelays extends Context.Service<SinkRelays, {
  readonly views: Effect.Effect<ReadonlyArray<SinkView>>
}>()("columba/services/SinkRelays") {}

/** For readers that start before the relays do: empty until the relays start. */
export const makeLateRelays = () => {
  const none: SinkRelays["Service"]["views"] = Effect.succeed([])
  let views = none
  return {
    relays: SinkRelays.of({ views: Effect.suspend(() => views) }),
    /** Null: they no longer run here. */
    follow: (started: SinkRelays["Service"] | null): void => {
      views = started?.views ?? none
    }
  }
}
