/**
 * The state of a device. One tagged union, with the same names in the log, the API, the metrics and the diagram. The
 * transitions between these states are in `actors/device/DeviceBehaviour.ts`.
 */
import { Schema } from "effect"
import { Timestamp } from "./Ids.ts"

/**
 * Why a connection ended or could not begin. The class decides the reaction: `transport` backs off; `auth` retries
 * slowly; `conflict` (another client took the session) waits and does not take it back at once; `upstreamDown` joins
 * the gateway's one incident and uses no budget; `ours` is a defect in this program, which restarts the actor within a
 * budget.
 */
export const FailureClass = Schema.Literals(["transport", "auth", "conflict", "upstreamDown", "ours"])
export type FailureClass = typeof FailureClass.Type

/** One failure: the facts that an operator needs, without secrets. */
export const Failure = Schema.Struct({
  class: FailureClass.annotate({ description: "The class, which decides the reaction" }),
  code: Schema.String.annotate({
    description: "A stable word: `socket-closed`, `ping-timeout`, `handshake-refused`, `frame-too-large` …"
  }),
  detail: Schema.String.annotate({ description: "One sentence for people" })
}).annotate({ identifier: "Failure", description: "One failure of a connection" })
export type Failure = typeof Failure.Type

/** How the account of a slot can be linked; `unknown` where the gateway does not report which method it waits for. */
export const LoginMethod = Schema.Literals(["qr", "code", "passkey", "unknown"])
export type LoginMethod = typeof LoginMethod.Type

export const Inactive = Schema.TaggedStruct("Inactive", {})
export const Connecting = Schema.TaggedStruct("Connecting", {
  attempt: Schema.Int.annotate({ description: "Which attempt since the last stable connection" }),
  sessionOpen: Schema.Boolean.annotate({
    description: "Whether the session is open. If so, it is not proven yet that the account behind it is connected"
  })
})
export const AwaitingLogin = Schema.TaggedStruct("AwaitingLogin", {
  method: LoginMethod,
  expiresAt: Schema.NullOr(Timestamp)
})
export const Online = Schema.TaggedStruct("Online", { jid: Schema.NullOr(Schema.String), since: Timestamp })
export const Backoff = Schema.TaggedStruct("Backoff", {
  attempt: Schema.Int,
  retryAt: Timestamp,
  reason: Failure
})
export const LoggedOut = Schema.TaggedStruct("LoggedOut", { reason: Schema.String })
export const Deaf = Schema.TaggedStruct("Deaf", { evidence: Schema.String })
export const Quarantined = Schema.TaggedStruct("Quarantined", {
  reason: Failure,
  evidence: Schema.Array(Schema.String),
  until: Timestamp
})

export const DeviceState = Schema.Union([
  Inactive,
  Connecting,
  AwaitingLogin,
  Online,
  Backoff,
  LoggedOut,
  Deaf,
  Quarantined
]).annotate({ identifier: "DeviceState", description: "The state of a device" })
export type DeviceState = typeof DeviceState.Type

export const DeviceStateTag = Schema.Literals([
  "Inactive",
  "Connecting",
  "AwaitingLogin",
  "Online",
  "Backoff",
  "LoggedOut",
  "Deaf",
  "Quarantined"
])
export type DeviceStateTag = typeof DeviceStateTag.Type

/**
 * The part of an actor's memory that outlives its process. It is recorded with every transition, and the next actor of
 * the device continues from it.
 */
export const DeviceMemory = Schema.Struct({
  failures: Schema.Array(Schema.Struct({
    ...Failure.fields,
    at: Timestamp.annotate({ description: "When it happened" })
  })).annotate({
    description: "Failures that count against the restart budgets, oldest first. Bounded by the budgets"
  }),
  releaseRequests: Schema.Int.annotate({
    description: "The requested releases from quarantine that the actor has seen so far"
  }),
  receivedThrough: Schema.optionalKey(Timestamp.annotate({
    description:
      "Of a device that moves to another node while its connection stays open, until the new one is confirmed: " +
      "through when reception was proven"
  }))
})
export type DeviceMemory = typeof DeviceMemory.Type
