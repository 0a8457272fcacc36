/** Couriers over storage of the test's choice, real HTTP receivers, and the manager that creates subscriptions. */
import { Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import * as WebhookDispatcher from "../../../../src/actors/delivery/webhooks/WebhookDispatcher.ts"
import type { DeviceId } from "../../../../src/domain/Ids.ts"
import type { Subscription, SubscriptionId } from "../../../../src/domain/Subscription.ts"
import * as MemoryStorage from "../../../../src/layers/memory/MemoryStorage.ts"
import * as Outbound from "../../../../src/layers/outbound/Outbound.ts"
import * as AesSecretSeal from "../../../../src/layers/secrets/AesSecretSeal.ts"
import { EventLog } from "../../../../src/services/EventLog.ts"
import { SubscriptionManager } from "../../../../src/services/SubscriptionManager.ts"
import type { NewSubscription, WithSecret } from "../../../../src/services/SubscriptionManager.ts"
import type { OutboundHttp } from "../../../../src/services/OutboundHttp.ts"
import type { SecretSeal } from "../../../../src/services/SecretSeal.ts"
import { SubscriptionRepository } from "../../../../src/services/SubscriptionRepository.ts"
import { freshDevice, messageDraft } from "../../../support/drafts.ts"

type Storage = EventLog | SubscriptionRepository

export interface Rig {
  readonly log: EventLog["Service"]
  readonly repository: SubscriptionRepository["Service"]
  readonly manager: SubscriptionManager["Service"]
  /** Appends messages, of the given devices in turn. */
  readonly emit: (count: number, devices?: ReadonlyArray<DeviceId>) => Effect.Effect<ReadonlyArray<number>>
  readonly subscribe: (url: string, wanted?: Partial<NewSubscription>) => Effect.Effect<WithSecret>
  readonly get: (id: SubscriptionId) => Effect.Effect<Subscription>
  /** Returns once the row of the subscription satisfies the condition. */
  readonly untilRow: (id: SubscriptionId, ready: (row: Subscription) => boolean) => Effect.Effect<Subscription>
  /** Starts a dispatcher, and returns a function that stops it in order. */
  readonly dispatch: Effect.Effect<{ readonly stop: Effect.Effect<void> }, never, Scope.Scope>
}

export const make = Effect.fnUntraced(function*(options: {
  readonly storage?: Layer.Layer<Storage>
  readonly outbound?: Layer.Layer<OutboundHttp>
  readonly intervals?: WebhookDispatcher.DispatcherIntervals
  readonly secretKey?: number
} = {}): Effect.fn.Return<Rig, never, Scope.Scope> {
  const ground = Layer.mergeAll(
    options.storage ?? MemoryStorage.layerMemory,
    options.outbound ?? Outbound.layer({ allowPrivate: true }),
    AesSecretSeal.layer([Redacted.make(new Uint8Array(32).fill(options.secretKey ?? 0))])
  )
  const context: Context.Context<Storage | OutboundHttp | SecretSeal | SubscriptionManager> = yield* Layer.build(
    Layer.provideMerge(SubscriptionManager.layer, ground)
  )
  const log = Context.get(context, EventLog)
  const repository = Context.get(context, SubscriptionRepository)
  const manager = Context.get(context, SubscriptionManager)
  const get = (id: SubscriptionId) => Effect.orDie(manager.get(id, undefined))
  return {
    log,
    repository,
    manager,
    get,
    emit: (count, devices = [freshDevice()]) =>
      log.append(
        Array.from({ length: count }, (_, index) => messageDraft({ device: devices[index % devices.length]! }))
      ).pipe(
        Effect.map((appended) => appended.flatMap((one) => one._tag === "Committed" ? [one.seq] : [])),
        Effect.orDie
      ),
    subscribe: (url, wanted = {}) => Effect.orDie(manager.create({ ...wanted, url: Redacted.make(url) }, undefined)),
    untilRow: (id, ready) =>
      Effect.flatMap(get(id), (row) => ready(row) ? Effect.succeed(row) : Effect.fail("not yet" as const)).pipe(
        Effect.delay("20 millis"),
        Effect.eventually
      ),
    dispatch: Effect.gen(function*() {
      const scope = yield* Scope.fork(yield* Effect.scope, "sequential")
      yield* Effect.asVoid(WebhookDispatcher.make(options.intervals)).pipe(
        Effect.provideContext(context),
        Scope.provide(scope)
      )
      return { stop: Scope.close(scope, Exit.void) }
    })
  }
})
