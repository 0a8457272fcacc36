/**
 * What an actor needs around it, and what all actors of one gateway share. Made per gateway by `fleet/ActorHosts.ts`; the
 * actor is independent of whether a local fleet or a cluster runs it.
 */
import type { Clock, Effect } from "effect"
import type { EventLog } from "../../services/EventLog.ts"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import type { GatewayRef } from "../../services/GatewayDirectory.ts"
import type { OpenSession } from "../../services/GatewayParts.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import type { FleetMeter } from "../fleet/FleetMeter.ts"
import type { DatabaseTime } from "../fleet/DatabaseTime.ts"
import type { HandOvers } from "../fleet/HandOvers.ts"
import type { RunningTime } from "../fleet/RunningTime.ts"
import type { Backfill } from "../gateway/Backfill.ts"
import type { ConnectGate } from "../gateway/ConnectGate.ts"
import type { DueSet } from "../gateway/DueSet.ts"
import type { GatewayIncidents } from "../gateway/GatewayIncidents.ts"
import type { SlotStarter } from "../gateway/SlotStarter.ts"
import type { StatusSync } from "../gateway/StatusSync.ts"
import type { WebhookSetup } from "../gateway/WebhookSetup.ts"
import type { DeviceCell } from "./DeviceCell.ts"

export interface ActorHost {
  readonly log: EventLog["Service"]
  readonly gateway: WhatsAppGateway
  /** The version of the gateway's row that the host was made from. */
  readonly ref: GatewayRef
  readonly openSession: OpenSession
  readonly gate: ConnectGate
  readonly incidents: GatewayIncidents
  readonly status: StatusSync
  readonly starter: SlotStarter
  readonly webhooks: WebhookSetup
  readonly backfill: Backfill
  /** Every request for a page of history waits for its turn: the gateway has one rate limit for all of them. */
  readonly historyPace: Effect.Effect<void>
  /** When devices continue by themselves: at the end of a back-off or of a quarantine. */
  readonly alarms: DueSet<DeviceCell>
  /** When held-back transitions are recorded without waiting for a further event. */
  readonly holds: DueSet<DeviceCell>
  readonly time: DatabaseTime["Service"]
  readonly running: RunningTime
  readonly handOvers: Pick<HandOvers["Service"], "expect">
  readonly settings: FleetSettings
  readonly meter: FleetMeter
  readonly clock: Clock.Clock
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number
}
