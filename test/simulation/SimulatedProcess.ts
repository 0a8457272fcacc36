/**
 * One life of the program in a simulated world: the fleet with its actors, the log, the relay to the broker, the receiver of
 * webhooks and a reader of the event stream, as the composition root connects them, over the ports that fail.
 */
import { Context, Deferred, Duration, Effect, Exit, Layer, Redacted, Scope, Stream } from "effect"
import * as LeasedFleet from "../../src/actors/fleet/LeasedFleet.ts"
import * as LocalFleet from "../../src/actors/fleet/LocalFleet.ts"
import type { HostedFleet } from "../../src/actors/fleet/LocalFleet.ts"
import { Placement } from "../../src/actors/fleet/Placement.ts"
import * as UnansweredWebhooks from "../../src/actors/gateway/UnansweredWebhooks.ts"
import * as Retention from "../../src/actors/delivery/Retention.ts"
import * as SinkRelay from "../../src/actors/delivery/SinkRelay.ts"
import * as WebhookDispatcher from "../../src/actors/delivery/webhooks/WebhookDispatcher.ts"
import type { EventDraft } from "../../src/domain/Event.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import * as AesSecretSeal from "../../src/layers/secrets/AesSecretSeal.ts"
import * as RabbitSink from "../../src/layers/rabbitmq/RabbitSink.ts"
import * as GroupCommit from "../../src/log/GroupCommit.ts"
import { DeviceFleet, noFleet } from "../../src/services/DeviceFleet.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { LeaseTaken } from "../../src/services/FleetLease.ts"
import { FleetSettings } from "../../src/services/FleetSettings.ts"
import { GatewayDirectory } from "../../src/services/GatewayDirectory.ts"
import type { SessionEvent } from "../../src/services/GatewayParts.ts"
import { monotonicMillis } from "../../src/services/monotonic.ts"
import { PublicAddress } from "../../src/services/PublicAddress.ts"
import { SendRepository } from "../../src/services/SendRepository.ts"
import { ServerIdentity } from "../../src/services/ServerIdentity.ts"
import { SlotLookup } from "../../src/services/SlotLookup.ts"
import { WebhookIngest } from "../../src/services/WebhookIngest.ts"
import { WebhookSecrets } from "../../src/services/WebhookSecrets.ts"
import type { SimulatedBroker } from "./SimulatedBroker.ts"
import { connect } from "./databaseClients.ts"
import type { SimulatedDatabase } from "./SimulatedDatabase.ts"
import { reach } from "./SimulatedEndpoint.ts"
import type { SimulatedEndpoint } from "./SimulatedEndpoint.ts"
import { openGateway } from "./gatewayPort.ts"
import type { SimulatedGateway } from "./SimulatedGateway.ts"
import type { Front } from "./SimulatedWebhooks.ts"
import { lockExpiration, partsShard } from "./SimulatedShards.ts"
import type { ShardHolder, SimulatedShards } from "./SimulatedShards.ts"
import type { Streamed } from "../support/Ledger.ts"
import type { Machine } from "./VirtualTime.ts"

export interface World {
  readonly database: SimulatedDatabase
  readonly broker: SimulatedBroker
  readonly gateways: ReadonlyArray<SimulatedGateway>
  readonly endpoints: ReadonlyArray<SimulatedEndpoint>
  readonly settings: FleetSettings
  /** How long events are kept, in milliseconds; null: for ever. */
  readonly retention: number | null
  /** The state of the reader of the stream, who continues where he was, and the number from which on he has all events. */
  readonly reading: { readonly streamed: Array<Streamed>; from: number }
  /** Whether he is connected to this process. */
  readonly isRead: (process: SimulatedProcess) => boolean
}

/** One key of the installation: 32 bytes. */
export const secretKey = Redacted.make(new Uint8Array(32).fill(7))

/** After this time the supervisor kills a process that is stopped in order. */
export const stopMax = 30_000

export class SimulatedProcess implements Front, ShardHolder {
  readonly machine: Machine
  readonly number: number
  readonly owned = new Set<string>()
  readonly #held = new Set<DeviceId>()
  readonly #world: World
  readonly #shards: SimulatedShards | null
  /** Set once it has started: how it handles its inputs from a cluster. */
  #hosted: HostedFleet | null = null
  #parts: { readonly run: Effect.Effect<void>; scope: Scope.Closeable | null } | null = null
  #take: WebhookIngest["Service"]["take"] | null = null
  readonly #scope = Scope.makeUnsafe()
  readonly #leaseTaken = Deferred.makeUnsafe<never, LeaseTaken>()

  /** `shards`: those of the cluster whose node it is. */
  constructor(world: World, machine: Machine, number: number, shards: SimulatedShards | null) {
    this.machine = machine
    this.number = number
    this.#world = world
    this.#shards = shards
    machine.run(Effect.orDie(this.#start()))
  }

  /** It notices that another process runs its devices. */
  loseLease(): void {
    this.machine.run(Effect.asVoid(Deferred.fail(this.#leaseTaken, LeaseTaken.of("simulated"))))
  }

  readonly take: Front["take"] = (webhook, answered) => {
    const { machine } = this
    machine.post(() => {
      const take = this.#take
      if (take === null) return answered("gateway-unusable")
      Effect.runForkWith(machine.context)(
        Effect.map(
          take({ ...webhook, startedAt: monotonicMillis(machine.clock) }),
          (outcome) => {
            if (machine.alive) answered(outcome)
          }
        )
      )
    })
  }

  /** Stops in order, as far as the process gets within its time. */
  stop(stopped: () => void): void {
    this.machine.run(Effect.andThen(Scope.close(this.#scope, Exit.void), Effect.sync(stopped)))
  }

  // A node of a cluster

  gain(shard: string): void {
    this.machine.post(() => {
      this.owned.add(shard)
      if (shard === partsShard) this.machine.run(this.#beginParts)
      else this.#hosted?.look(null)
    })
  }

  lose(shard: string, done: () => void): void {
    this.machine.post(() => {
      const { machine } = this
      this.owned.delete(shard)
      if (shard === partsShard) return machine.run(Effect.andThen(this.#endParts, Effect.sync(done)))
      const id = shard as DeviceId
      const leave = this.#held.delete(id) && this.#hosted !== null ? this.#hosted.leave(id) : Effect.void
      machine.run(Effect.andThen(leave, Effect.sync(done)))
    })
  }

  readonly #beginParts = Effect.suspend(() => {
    const parts = this.#parts
    if (parts === null || parts.scope !== null || !this.owned.has(partsShard)) return Effect.void
    parts.scope = Scope.forkUnsafe(this.#scope)
    return parts.run
  })

  readonly #endParts = Effect.suspend(() => {
    const parts = this.#parts
    if (parts === null || parts.scope === null) return Effect.void
    const { scope } = parts
    parts.scope = null
    return Scope.close(scope, Exit.void)
  })

  /** Webhooks that another node has received for a device that runs here. */
  hear(id: DeviceId, events: ReadonlyArray<SessionEvent>, repeats: ReadonlyArray<EventDraft>): void {
    const { machine } = this
    machine.postAfter(1, () => {
      if (this.#hosted !== null) machine.run(this.#hosted.fleet.receiveWebhook(id, events, repeats))
    })
  }

  readonly #placement: Placement = {
    owns: (id) => this.owned.has(id),
    holds: (id) => this.#held.has(id),
    enter: (ids) =>
      Effect.sync(() => {
        for (const id of ids) {
          if (!this.owned.has(id) || this.#held.has(id)) continue
          this.#held.add(id)
          this.#hosted?.entered(id)
        }
      }),
    reclaimAfter: Duration.millis(lockExpiration),
    isShared: true,
    passesOn: () => true
  }

  readonly #start = Effect.fnUntraced({ self: this }, function*(this: SimulatedProcess) {
    const { machine } = this
    const world = this.#world
    const scope = this.#scope
    const stores = yield* connect(world.database, machine)
    const build = <A, E, R>(layer: Layer.Layer<A, E, R>) => Layer.buildWithScope(Layer.fresh(layer), scope)
    const log = yield* Effect.provideContext(build(GroupCommit.layer), stores)
    const ground = Context.mergeAll(
      Context.omit(SendRepository)(stores),
      log,
      reach(world.endpoints, machine),
      Context.make(ServerIdentity, {
        version: "simulated",
        node: "simulated",
        startedAt: `life ${this.number}`,
        roles: ["api", "devices"],
        database: "simulated",
        broker: "simulated"
      }),
      yield* build(
        Layer.mergeAll(
          GatewayDirectory.layerFixed(world.gateways.map((gateway) => openGateway(gateway, machine))),
          WebhookSecrets.layer([secretKey]),
          AesSecretSeal.layer([secretKey])
        )
      )
    )
    const surroundings = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.provideContext(effect, ground).pipe(
        Effect.provideService(FleetSettings, world.settings),
        Effect.provideService(PublicAddress, "http://columba.test")
      )
    yield* Effect.forkIn(follow(Context.get(log, EventLog), world.reading, () => world.isRead(this)), scope)
    const broker = world.broker.connect(machine)
    const runParts = Effect.fnUntraced(function*(within: Scope.Scope) {
      const sink = yield* Effect.provideContext(Scope.provide(RabbitSink.make, within), broker)
      yield* Scope.provide(surroundings(SinkRelay.make(sink)), within)
      if (world.endpoints.length > 0) {
        yield* Effect.asVoid(Scope.provide(surroundings(WebhookDispatcher.make()), within))
      }
      if (world.retention !== null) {
        yield* Scope.provide(Retention.make(Duration.millis(world.retention)), within).pipe(
          Effect.provideContext(Context.merge(ground, stores))
        )
      }
    })
    const { fleet, run } = this.#shards === null ? this.#alone() : this.#asNode(this.#shards, runParts)
    const intake = yield* Effect.provideContext(
      build(Layer.provide(WebhookIngest.layer, SlotLookup.layer)),
      Context.add(ground, DeviceFleet, fleet)
    )
    this.#take = Context.get(intake, WebhookIngest).take
    yield* Effect.provideContext(build(UnansweredWebhooks.layer), ground)
    if (this.#shards === null) yield* runParts(scope)
    yield* Scope.provide(surroundings(run), scope)
  })

  /** It has all devices, as long as it has the lease. */
  #alone() {
    const leased = LeasedFleet.make()
    const run = leased.start({ lost: Deferred.await(this.#leaseTaken) }, LocalFleet.layer)
    return { fleet: leased.fleet, run }
  }

  /** As `ClusterFleet` hosts it: the devices of this node; webhooks for others are passed to their nodes. */
  #asNode(shards: SimulatedShards, runParts: (within: Scope.Scope) => Effect.Effect<void, unknown>) {
    const local = () => this.#hosted?.fleet ?? noFleet
    const fleet = DeviceFleet.of({
      ...noFleet,
      receiveWebhook: (id, events, repeats = []) =>
        Effect.suspend(() => {
          if (this.#held.has(id)) return local().receiveWebhook(id, events, repeats)
          const owner = shards.ownerOf(id)
          if (owner instanceof SimulatedProcess) owner.hear(id, events, repeats)
          return Effect.void
        }),
      refused: (id) => Effect.suspend(() => local().refused(id))
    })
    const run = Effect.gen({ self: this }, function*() {
      const hosts = yield* Layer.build(Layer.fresh(LocalFleet.layerHosts))
      const hosted = yield* LocalFleet.make.pipe(
        Effect.provideService(Placement, this.#placement),
        Effect.provideContext(hosts)
      )
      this.#hosted = hosted
      yield* Effect.addFinalizer(() => hosted.close)
      this.#parts = {
        run: Effect.suspend(() => this.#parts?.scope ? Effect.orDie(runParts(this.#parts.scope)) : Effect.void),
        scope: null
      }
      hosted.look(null)
      yield* this.#beginParts
    })
    return { fleet, run }
  }
}

/**
 * A reader of the event stream who continues after the last event that he has, and may be cut off at any event. When the log
 * was reset, or is a copy that has deleted the next events, he reads again all that it keeps, in place of what he had.
 */
const follow = (log: EventLog["Service"], reading: World["reading"], isRead: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (!isRead()) return Effect.sleep("20 seconds")
    const last = reading.streamed.at(-1)
    return Stream.runForEach(
      log.follow({ after: last?.seq ?? reading.from - 1, mark: last?.id }),
      ({ events }) =>
        Effect.suspend(() => {
          // He has switched to another process.
          if (!isRead()) return Effect.fail("gone")
          reading.streamed.push(...events.map(({ id, seq }) => ({ id, seq })))
          return Effect.void
        })
    )
  }).pipe(
    Effect.catchTag(["LogReset", "EventsExpired"], ({ oldest }) =>
      Effect.sync(() => {
        if (!isRead()) return
        reading.from = Number(oldest)
        reading.streamed.length = 0
      })),
    Effect.ignoreCause,
    Effect.andThen(Effect.sleep("1 second")),
    Effect.forever
  )
