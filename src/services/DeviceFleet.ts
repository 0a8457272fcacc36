/**
 * All actors. Reaches the state that exists only where a device's actor lives: its live connection, attempts and
 * evidence. Commands do not go through here: they are desired state in the `devices` table, which any process can
 * write.
 */
import { Context, Effect, Layer } from "effect"
import type { UpstreamStatus } from "../domain/Device.ts"
import type { DeviceUnreachable } from "../domain/DeviceErrors.ts"
import type { DeviceId, GatewayName } from "../domain/Ids.ts"
import type { DeviceState, DeviceStateTag, Failure } from "../domain/DeviceState.ts"
import type { WebhookState } from "../domain/WebhookState.ts"
import type { EventDraft } from "../domain/Event.ts"
import { noLogins } from "./FleetLogins.ts"
import type { FleetLogins } from "./FleetLogins.ts"
import type { SessionEvent } from "./GatewayParts.ts"

/** The actor's own view of its connection, read without disturbing the actor. */
export interface ActorView {
  /** Where the actor lives. */
  readonly node: string
  /** Set if the gateway is down according to the actor's process. */
  readonly incident: IncidentView | null
  readonly state: DeviceState
  readonly attempts: number
  readonly lastFrameAt: string | null
  /** When a webhook last brought something new of the device. */
  readonly lastWebhookAt: string | null
  readonly lastFailure: Failure | null
  /** The state of the webhook at the gateway; null if the gateway cannot be configured. */
  readonly webhook: WebhookState | null
  readonly framesReceived: number
  readonly restarts: number
  readonly paused: boolean
}

/** A gateway that is down: one incident for all its devices. */
export interface IncidentView {
  readonly gateway: GatewayName
  readonly since: string
  readonly reason: string
  readonly nextProbeAt: string
  readonly waiting: number
}

/** The progress of reading the histories of a gateway's devices. Counts are since its first device came. */
export interface BackfillView {
  readonly gateway: GatewayName
  /** Devices whose history waits to be read, or is being read. */
  readonly devicesToGo: number
  readonly reading: number
  /** Rows that were new to the log, and pages read. */
  readonly rows: number
  readonly pages: number
  /** Over the last ten seconds. */
  readonly rowsPerSecond: number
  readonly pagesPerSecond: number
}

/** A count of devices by state, before any is counted. */
export const noDevices: Readonly<Record<DeviceStateTag, number>> = {
  Inactive: 0,
  Connecting: 0,
  AwaitingLogin: 0,
  Online: 0,
  Backoff: 0,
  LoggedOut: 0,
  Deaf: 0,
  Quarantined: 0
}

export class DeviceFleet extends Context.Service<DeviceFleet, {
  /** Null if no actor of that device can be reached: outside of a cluster, if this process hosts none. */
  readonly view: (id: DeviceId) => Effect.Effect<ActorView | null, DeviceUnreachable>
  /**
   * Passes the gateway's answer about a slot to the device's actor, and returns once the actor has acted on it. False
   * if no actor with an open session can be reached: then nothing is recorded.
   */
  readonly reportStatus: (id: DeviceId, status: UpstreamStatus) => Effect.Effect<boolean, DeviceUnreachable>
  /**
   * Events of the device that arrived by a webhook and are in the log by now. They show its actor that the device is
   * receiving. Hints among them only make it ask the gateway: webhooks arrive late, twice and in any order. `repeats`
   * were in the log before: they prove nothing about now, since everyone who saw a webhook in transit can send it
   * again, but they were delivered.
   */
  readonly receiveWebhook: (
    id: DeviceId,
    events: ReadonlyArray<SessionEvent>,
    repeats?: ReadonlyArray<EventDraft>
  ) => Effect.Effect<void>
  /** A webhook that was signed for the device was refused just now. False if no actor lives here to record it. */
  readonly refused: (id: DeviceId) => Effect.Effect<boolean>
  /**
   * The gateway did not answer for the device's slot. If its process does not answer either, its devices here wait for
   * it, and that is recorded. A single failed answer is no evidence against a device that receives events.
   */
  readonly reportSilence: (id: DeviceId, detail: string) => Effect.Effect<void, DeviceUnreachable>
  /** The device's account was logged out at its gateway, by an operator. Returns once the actor has acted on it. */
  readonly loggedOut: (id: DeviceId) => Effect.Effect<void, DeviceUnreachable>
  readonly incidents: Effect.Effect<ReadonlyArray<IncidentView>>
  readonly backfills: Effect.Effect<ReadonlyArray<BackfillView>>
  readonly counts: Effect.Effect<Readonly<Record<DeviceStateTag, number>>>
  /** Compares desired state with actors now, and returns when the starts and stops were issued. */
  readonly reconcile: Effect.Effect<void>
  readonly logins: FleetLogins
}>()("columba/services/DeviceFleet") {
  /** For a process that hosts no actors: they live elsewhere, or nowhere. */
  static readonly layerNoop = Layer.sync(DeviceFleet, () => noFleet)
}

/** No actors. */
export const noFleet: DeviceFleet["Service"] = {
  view: () => Effect.succeed(null),
  reportStatus: () => Effect.succeed(false),
  receiveWebhook: () => Effect.void,
  refused: () => Effect.succeed(false),
  reportSilence: () => Effect.void,
  loggedOut: () => Effect.void,
  incidents: Effect.succeed([]),
  backfills: Effect.succeed([]),
  counts: Effect.succeed(noDevices),
  reconcile: Effect.void,
  logins: noLogins
}
