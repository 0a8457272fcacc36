/**
 * A fleet that several processes share. Every device belongs to a shard, and every shard to one node at a time. A node runs
 * the same `LocalFleet` as a single process, for the devices of its shards. A device's entity encloses its actor: the actor
 * runs here from the entity's activation until it closes, and a shard is released only after all its entities have closed.
 *
 * Which devices should run is in the `devices` table alone. A node reads it when its shards change, on notices and
 * periodically, and activates the entities of the devices it finds, so no device depends on the arrival of a message. Calls
 * about a device of another node go to its entity there.
 */
import { Duration, Effect, Layer, Schedule, Stream } from "effect"
import type { Scope } from "effect"
import { ClusterError, Entity, EntityId, Sharding, ShardId, ShardingConfig } from "effect/cluster"
import { DeviceUnreachable } from "../../domain/DeviceErrors.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { DeviceFleet, noFleet } from "../../services/DeviceFleet.ts"
import { EventLog } from "../../services/EventLog.ts"
import { isNoActor } from "../../services/FleetLogins.ts"
import type { NoActor } from "../../services/FleetLogins.ts"
import { NodeLease } from "../../services/NodeLease.ts"
import { DeviceEntity } from "./DeviceProtocol.ts"
import type { WebhookEvents } from "./DeviceProtocol.ts"
import * as LocalFleet from "./LocalFleet.ts"
import { Placement } from "./Placement.ts"

/** The only group of shards. Singletons are in it too. */
const group = "default"

/** How soon a node notices that its shards have changed. A check costs some microseconds per shard. */
const shardsLookedAt = Duration.millis(250)

/**
 * Maximum number of concurrent activations, each of which is immediate, although one may wait for a shard that is moving
 * away.
 */
const entersAtOnce = 64
const enterMax = Duration.seconds(2)

/** The holder acts at once and then waits for the log, for this time at most. */
const flushMax = Duration.seconds(5)

/** How long an answer may take: the flush, and one or two retries if a node has just ended. */
const answerMax = Duration.seconds(8)

/** The first step of a login takes as long as the gateway's answer; see `LoginFlows`. */
const beginMax = Duration.seconds(25)

/** A login shows its next code within a minute. A node that has ended sends no further steps. */
const stepMax = Duration.minutes(5)

/**
 * Maximum number of webhook notifications on their way to other nodes. Further ones are dropped: their events are in the
 * log already.
 */
const notifyInFlightMax = 1000

type Ask = Effect.Success<typeof DeviceEntity.client>

/** The entity of a device, on the node that runs it. */
const host = (held: Map<DeviceId, object>, { entered, fleet, leave }: LocalFleet.HostedFleet) =>
  DeviceEntity.toLayer(
    Effect.gen(function*() {
      const log = yield* EventLog
      const id = (yield* Entity.CurrentAddress).entityId as string as DeviceId
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          const activation = {}
          held.set(id, activation)
          entered(id)
          return activation
        }),
        (activation) =>
          Effect.suspend(() => {
            if (held.get(id) !== activation) return Effect.void
            held.delete(id)
            return leave(id)
          })
      )
      const { logins } = fleet
      /** After the call, the caller reads the record from its own node. */
      const recorded = <A, E>(act: Effect.Effect<A, E>) =>
        Effect.tap(act, () =>
          Effect.timeoutOrElse(log.flush, {
            duration: flushMax,
            orElse: () => Effect.fail(DeviceUnreachable.of(id))
          }))
      /** A device that was added or moved here a moment ago has no actor yet. */
      const awaitActor = Effect.flatMap(fleet.view(id), (view) => view === null ? fleet.reconcile : Effect.void)
      return DeviceEntity.of({
        Hold: () => Effect.void,
        View: () => Effect.orDie(fleet.view(id)),
        ReportStatus: ({ payload: { status } }) => recorded(fleet.reportStatus(id, status)),
        ReportSilence: ({ payload: { detail } }) => recorded(fleet.reportSilence(id, detail)),
        LoggedOut: () => recorded(fleet.loggedOut(id)),
        ReceiveWebhook: ({ payload: { json } }) => {
          const { events, repeats } = JSON.parse(json) as WebhookEvents
          return fleet.receiveWebhook(id, events, repeats)
        },
        FollowLogin: ({ payload: { request } }) => Stream.unwrap(Effect.as(awaitActor, logins.follow(id, request))),
        BeginLogin: ({ payload: { request } }) => Effect.andThen(awaitActor, logins.begin(id, request)),
        CurrentLogin: () => logins.current(id),
        CancelLogin: () => logins.cancel(id),
        AnswerPasskey: ({ payload: { assertion } }) => logins.answerPasskey(id, assertion)
      })
    }),
    // A defect of one call must not stop the device; it stops only when the shard moves.
    { concurrency: "unbounded", maxIdleTime: Duration.infinity, disableFatalDefects: true }
  )

/** Routes calls: to this node's fleet for the devices that it holds, and to the holder of any other device. */
const routed = Effect.fnUntraced(function*(
  local: DeviceFleet["Service"],
  holds: (id: DeviceId) => boolean
): Effect.fn.Return<DeviceFleet["Service"], never, Sharding.Sharding | Scope.Scope> {
  const ask: Ask = yield* DeviceEntity.client
  const scope = yield* Effect.scope
  let notifyInFlight = 0

  const choose = <A, E, E2>(
    id: DeviceId,
    here: Effect.Effect<A, E>,
    there: (holder: ReturnType<Ask>) => Effect.Effect<A, E2>,
    max = answerMax
  ): Effect.Effect<A, E | Exclude<E2, Unreached> | DeviceUnreachable> =>
    Effect.suspend((): Effect.Effect<A, E | Exclude<E2, Unreached> | DeviceUnreachable> =>
      holds(id) ? here : there(ask(id)).pipe(
        Effect.catchIf(isUnreached, () => Effect.fail(DeviceUnreachable.of(id))),
        Effect.timeoutOrElse({ duration: max, orElse: () => Effect.fail(DeviceUnreachable.of(id)) })
      ) as Effect.Effect<A, Exclude<E2, Unreached> | DeviceUnreachable>
    )

  const notifyHolder = (id: DeviceId, received: WebhookEvents) =>
    Effect.suspend(() => {
      if (notifyInFlight >= notifyInFlightMax) return Effect.void
      notifyInFlight++
      return ask(id).ReceiveWebhook({ json: JSON.stringify(received) }).pipe(
        Effect.timeoutOption(answerMax),
        Effect.ignore,
        Effect.ensuring(Effect.sync(() => notifyInFlight--)),
        Effect.forkIn(scope),
        Effect.asVoid
      )
    })

  const { logins } = local
  /** A caller cannot choose another process, as it can without a cluster: any node asks the holder. */
  const chooseActor = <A, E, E2>(
    id: DeviceId,
    here: Effect.Effect<A, E>,
    there: (holder: ReturnType<Ask>) => Effect.Effect<A, E2>,
    max = answerMax
  ) =>
    Effect.catchIf(
      choose(id, here, there, max),
      (error): error is Extract<typeof error, NoActor> => isNoActor(error),
      () => Effect.fail(DeviceUnreachable.ofNoActor(id))
    )
  return DeviceFleet.of({
    ...local,
    view: (id) => choose(id, local.view(id), (holder) => holder.View()),
    reportStatus: (id, status) =>
      choose(id, local.reportStatus(id, status), (holder) => holder.ReportStatus({ status })),
    reportSilence: (id, detail) =>
      choose(id, local.reportSilence(id, detail), (holder) => holder.ReportSilence({ detail })),
    loggedOut: (id) => choose(id, local.loggedOut(id), (holder) => holder.LoggedOut()),
    receiveWebhook: (id, events, repeats = []) =>
      holds(id) ? local.receiveWebhook(id, events, repeats) : notifyHolder(id, { events, repeats }),
    logins: {
      follow: (id, request) =>
        Stream.suspend(() =>
          holds(id) ? logins.follow(id, request) : ask(id).FollowLogin({ request }).pipe(
            Stream.catchIf(isUnreached, () => Stream.fail(DeviceUnreachable.of(id))),
            Stream.timeoutOrElse({ duration: stepMax, orElse: () => Stream.fail(DeviceUnreachable.of(id)) })
          )
        ).pipe(Stream.catchIf(isNoActor, () => Stream.fail(DeviceUnreachable.ofNoActor(id)))),
      begin: (id, request) =>
        chooseActor(id, logins.begin(id, request), (holder) => holder.BeginLogin({ request }), beginMax),
      current: (id) => chooseActor(id, logins.current(id), (holder) => holder.CurrentLogin()),
      cancel: (id) => chooseActor(id, logins.cancel(id), (holder) => holder.CancelLogin()),
      answerPasskey: (id, assertion) =>
        chooseActor(id, logins.answerPasskey(id, assertion), (holder) => holder.AnswerPasskey({ assertion }), beginMax)
    }
  })
})

const make = Effect.gen(function*() {
  const sharding = yield* Sharding.Sharding
  const { shardLockExpiration, shardsPerGroup } = yield* ShardingConfig.ShardingConfig
  const lease = yield* NodeLease
  const held = new Map<DeviceId, object>()
  const shards = Array.from({ length: shardsPerGroup }, (_, index) => ShardId.make(group, index + 1))
  const ask: Ask = yield* DeviceEntity.client
  const enter = (id: DeviceId) => Effect.ignore(Effect.timeoutOption(ask(id).Hold(), enterMax))
  const placement: Placement = {
    owns: (id) => sharding.hasShardId(sharding.getShardId(EntityId.make(id), group)),
    holds: (id) => held.has(id),
    enter: (ids) =>
      Effect.forEach(ids.filter((id) => !held.has(id)), enter, { concurrency: entersAtOnce, discard: true }),
    // An earlier owner has noticed by then that it is no longer the owner.
    reclaimAfter: Duration.fromInputUnsafe(shardLockExpiration),
    isShared: true,
    // Without a database, devices cannot be handed over: their sockets are closed before other nodes connect.
    passesOn: lease.fresh
  }
  const local = yield* Effect.provideService(LocalFleet.make, Placement, placement)
  yield* Layer.build(host(held, local))

  let seen = ""
  yield* Effect.forkScoped(Effect.repeat(
    Effect.sync(() => {
      const now = shards.flatMap((shard) => sharding.hasShardId(shard) ? [shard.id] : []).join()
      if (now === seen) return
      seen = now
      local.look(null)
    }),
    Schedule.spaced(shardsLookedAt)
  ))
  // Added last, so it runs first: all devices are handed over with one flush instead of one flush each.
  yield* Effect.addFinalizer(() => local.close)
  return yield* routed(local.fleet, placement.holds)
})

/**
 * For a node that runs devices, over `layerHosts`. `layerHosts` must be built before the sharding, so that it ends after
 * it: passed sessions stay open until other nodes have the shards.
 */
export const layer = Layer.effect(DeviceFleet, make)

export { layerHosts } from "./LocalFleet.ts"

/** For a node that runs no devices, and asks those that do. */
export const layerClient = Layer.effect(DeviceFleet, routed(noFleet, () => false))

const unreachedBy = [
  ClusterError.AlreadyProcessingMessage,
  ClusterError.EntityNotAssignedToRunner,
  ClusterError.MailboxFull,
  ClusterError.PersistenceError
] as const
type Unreached = InstanceType<(typeof unreachedBy)[number]>

/** Whether the call did not reach the device's entity. */
const isUnreached = (error: unknown): error is Unreached => unreachedBy.some((reason) => error instanceof reason)
