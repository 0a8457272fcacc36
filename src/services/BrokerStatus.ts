/**
 * Whether the broker is there and takes publishes. A broker that is away or blocked stops no ingest: the log keeps
 * what it will get later. So this is for readiness and people; nothing on the way in asks it.
 */
import { Context } from "effect"
import type { Effect, Stream } from "effect"

/** `since` is when it came to be so; attempts to reconnect in between do not reset it. */
export type BrokerState =
  | { readonly _tag: "Connected"; readonly since: string }
  | { readonly _tag: "Disconnected"; readonly since: string; readonly reason: string }
  /** Connected, but the broker reads nothing from publishers: a memory or disk alarm. */
  | { readonly _tag: "Blocked"; readonly since: string; readonly reason: string }

export class BrokerStatus extends Context.Service<BrokerStatus, {
  readonly current: Effect.Effect<BrokerState>
  /** The current state first, then every change. */
  readonly changes: Stream.Stream<BrokerState>
}>()("columba/services/BrokerStatus") {}
