/**
 * Whether the broker accepts events, and if not, why. A broker that is unavailable or blocked does not stop ingest:
 * the events wait in the log. This state is shown in readiness, metrics and the command line; the ingest path does not
 * read it.
 */
import { Context, Effect, Layer } from "effect"
import type { Stream } from "effect"
import { Readiness } from "./Readiness.ts"

/**
 * Why there is no connection. `starting`: the first attempt has no result yet · `credentials`: the broker refuses the
 * user or the password · `vhost`: the login succeeded, but the virtual host does not exist or the user may not use it ·
 * `unreachable`: no connection to the address, or no answer · `lost`: a connection ended and a new one is being opened.
 */
export type DisconnectCause = "starting" | "credentials" | "vhost" | "unreachable" | "lost"

/** `since` is when this state began. Further attempts that fail in the same way do not change it. */
export type BrokerState =
  | { readonly _tag: "Connected"; readonly since: string }
  | {
    readonly _tag: "Disconnected"
    readonly since: string
    readonly cause: DisconnectCause
    readonly reason: string
    /** Whether this process has been connected before. A refusal at the first attempt is a wrong setting. */
    readonly connectedBefore: boolean
  }
  /** Connected, but the broker does not read from publishers, because of a memory or disk alarm. */
  | { readonly _tag: "Blocked"; readonly since: string; readonly reason: string }

/** The result of the last check of the exchanges and queues. */
export interface BrokerTopology {
  /** Exchanges and queues that were missing. They have been declared again unless `problem` says otherwise. */
  readonly missing: ReadonlyArray<string>
  /** Why the exchanges and queues are not as they must be. Null while all is well. */
  readonly problem: string | null
  readonly queues: ReadonlyArray<QueueDepth>
}

export interface QueueDepth {
  readonly queue: string
  /** Messages ready for a consumer; those delivered and not yet acknowledged do not count. */
  readonly messages: number
  readonly consumers: number
}

export class BrokerStatus extends Context.Service<BrokerStatus, {
  readonly current: Effect.Effect<BrokerState>
  /** The current state first, then every change. */
  readonly changes: Stream.Stream<BrokerState>
  readonly topology: Effect.Effect<BrokerTopology>
}>()("columba/services/BrokerStatus") {
  /**
   * The check `broker`. Because events wait in the log, an outage does not make the process unready, with one
   * exception: the broker has refused every attempt since the start. That is a wrong setting, which waiting does not
   * correct and which a rollout should stop at.
   */
  static readonly readiness: Layer.Layer<never, never, BrokerStatus | Readiness> = Readiness.check(
    "broker",
    Effect.gen(function*() {
      const status = yield* BrokerStatus
      const state = yield* status.current
      const words = describeBroker(state, yield* status.topology)
      return isWrongSetting(state) ? yield* Effect.fail(words) : words
    })
  )
}

/** The broker has answered and refused, and has never accepted a connection of this process. */
const isWrongSetting = (state: BrokerState): boolean =>
  state._tag === "Disconnected" && !state.connectedBefore && (state.cause === "credentials" || state.cause === "vhost")

/** One line for people. Contains no secrets. */
export const describeState = (state: BrokerState): string => {
  switch (state._tag) {
    case "Connected":
      return `connected since ${state.since}`
    case "Blocked":
      return `blocked since ${state.since} by an alarm at the broker (${state.reason}); events wait in the log`
    case "Disconnected":
      return `${causes[state.cause]} since ${state.since} (${state.reason}); events wait in the log`
  }
}

/** The state, and the result of the last check of exchanges and queues. */
export const describeBroker = (state: BrokerState, topology: BrokerTopology): string =>
  [describeState(state), ...(state._tag === "Connected" ? describeTopology(topology) : [])].join("; ")

const causes: Readonly<Record<DisconnectCause, string>> = {
  starting: "connecting",
  credentials: "the broker refuses the user or password of RABBITMQ_URL",
  vhost: "the virtual host of RABBITMQ_URL is missing or not open to this user",
  unreachable: "unreachable",
  lost: "disconnected"
}

const describeTopology = ({ missing, problem, queues }: BrokerTopology): ReadonlyArray<string> => [
  ...(problem === null ? [] : [problem]),
  ...(missing.length === 0
    ? []
    : [`missing at the last check: ${missing.join(", ")}${problem === null ? " (declared again)" : ""}`]),
  ...queues.map(({ consumers, messages, queue }) => `${queue} holds ${messages}, ${consumers} consumers`)
]
