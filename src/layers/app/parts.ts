/** The parts of a process besides its devices and its API. In a cluster each part runs on one node at a time. */
import { Context, Effect, Layer } from "effect"
import * as IdentityMerges from "../../actors/delivery/IdentityMerges.ts"
import * as Retention from "../../actors/delivery/Retention.ts"
import * as WebhookDispatcher from "../../actors/delivery/webhooks/WebhookDispatcher.ts"
import type { Part } from "../../actors/fleet/singletons.ts"
import * as SendScheduler from "../../actors/sending/SendScheduler.ts"
import type { DeviceRepository } from "../../services/DeviceRepository.ts"
import { EventLog } from "../../services/EventLog.ts"
import type { GapRepository } from "../../services/GapRepository.ts"
import type { MessageMedia } from "../../services/MessageMedia.ts"
import type { OutboundHttp } from "../../services/OutboundHttp.ts"
import type { Readiness } from "../../services/Readiness.ts"
import type { ScheduleRepository } from "../../services/ScheduleRepository.ts"
import type { SecretSeal } from "../../services/SecretSeal.ts"
import type { SendRepository } from "../../services/SendRepository.ts"
import { nodeDeliverMax } from "../../services/shutdownBudget.ts"
import { SinkRelays } from "../../services/SinkRelays.ts"
import type { makeLateRelays } from "../../services/SinkRelays.ts"
import type { SubscriptionRepository } from "../../services/SubscriptionRepository.ts"
import type { Settings } from "../Settings.ts"
import type { Broker } from "./broker.ts"
import { keepMedia } from "./media.ts"
import { relays } from "./sinks.ts"
import { awaitDelivered } from "./stages.ts"
import type { StartFailed } from "./StartFailed.ts"

export type PartNeeds =
  | DeviceRepository
  | EventLog
  | GapRepository
  | MessageMedia
  | OutboundHttp
  | Readiness
  | ScheduleRepository
  | SecretSeal
  | SendRepository
  | SubscriptionRepository

type Parts = ReadonlyArray<Part<PartNeeds, StartFailed>>

/** The parts that deliver the log to its readers. */
export const listDeliveries = (
  settings: Settings,
  broker: Broker | null,
  late: ReturnType<typeof makeLateRelays>
): Parts => {
  const relay = Effect.gen(function*() {
    const log = yield* EventLog
    const sinks = Context.get(yield* Layer.build(relays(settings, broker)), SinkRelays)
    late.follow(sinks)
    yield* Effect.addFinalizer(() => Effect.sync(() => late.follow(null)))
    // The last node of a cluster delivers its devices' last events. Added last, so it runs first.
    if (settings.cluster !== null) {
      yield* Effect.addFinalizer(() => Effect.timeoutOption(awaitDelivered(log, sinks), nodeDeliverMax))
    }
  })
  return !settings.roles.has("devices") ? [] : [
    { name: "columba/relays", run: relay },
    { name: "columba/subscriptions", run: Effect.asVoid(Layer.build(WebhookDispatcher.layer)) },
    { name: "columba/media", run: keepMedia }
  ]
}

/** The parts that maintain the database. */
export const listChores = ({ retention, roles }: Settings): Parts =>
  !roles.has("scheduler") ? [] : [
    { name: "columba/schedules", run: SendScheduler.make },
    { name: "columba/identities", run: IdentityMerges.make },
    ...retention === null ? [] : [{ name: "columba/retention", run: Retention.make(retention) }]
  ]
