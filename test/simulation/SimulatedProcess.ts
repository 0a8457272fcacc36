/**
 * One life of the program in a simulated world: the fleet with its actors, the log, the relay to the broker, the intake of
 * webhooks and a reader of the event stream, as the composition root puts them together, over the ports that fail.
 */
import { Context, Effect, Exit, Layer, Redacted, Scope, Stream } from "effect"
import * as LocalFleet from "../../src/actors/fleet/LocalFleet.ts"
import * as SinkRelay from "../../src/actors/delivery/SinkRelay.ts"
import type { DeviceStateTag } from "../../src/domain/DeviceState.ts"
import * as RabbitSink from "../../src/layers/rabbitmq/RabbitSink.ts"
import * as GroupCommit from "../../src/log/GroupCommit.ts"
import { DeviceFleet } from "../../src/services/DeviceFleet.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { FleetSettings } from "../../src/services/FleetSettings.ts"
import { GatewayDirectory } from "../../src/services/GatewayDirectory.ts"
import { monotonicMillis } from "../../src/services/monotonic.ts"
import { PublicAddress } from "../../src/services/PublicAddress.ts"
import { ServerIdentity } from "../../src/services/ServerIdentity.ts"
import { SlotLookup } from "../../src/services/SlotLookup.ts"
import { WebhookIngest } from "../../src/services/WebhookIngest.ts"
import { WebhookSecrets } from "../../src/services/WebhookSecrets.ts"
import type { SimulatedBroker } from "./SimulatedBroker.ts"
import type { SimulatedDatabase } from "./SimulatedDatabase.ts"
import type { Front, SimulatedGateway } from "./SimulatedGateway.ts"
import type { Streamed } from "../support/Ledger.ts"
import type { Machine } from "./VirtualTime.ts"

export interface World {
  readonly database: SimulatedDatabase
  readonly broker: SimulatedBroker
  readonly gateways: ReadonlyArray<SimulatedGateway>
  readonly settings: FleetSettings
  /** What the reader of the stream has, who goes on where he was. */
  readonly streamed: Array<Streamed>
}

/** One key of the installation: 32 bytes. */
const secretKey = Redacted.make(new Uint8Array(32).fill(7))

/** After this the supervisor of a process that is stopped in order kills it. */
export const stopMax = 30_000

export class SimulatedProcess implements Front {
  readonly machine: Machine
  #counts: (() => Readonly<Record<DeviceStateTag, number>>) | null = null
  #take: WebhookIngest["Service"]["take"] | null = null
  readonly #scope = Scope.makeUnsafe()

  constructor(world: World, machine: Machine, number: number) {
    this.machine = machine
    machine.run(Effect.orDie(this.#start(world, number)))
  }

  /** How many of its devices are online; it may not have begun yet. */
  get online(): number {
    return this.#counts?.().Online ?? 0
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

  /** Stops in order, as far as the process gets in the time that it is given. */
  stop(stopped: () => void): void {
    this.machine.run(Effect.andThen(Scope.close(this.#scope, Exit.void), Effect.sync(stopped)))
  }

  readonly #start = Effect.fnUntraced({ self: this }, function*(
    this: SimulatedProcess,
    world: World,
    number: number
  ) {
    const { machine } = this
    const scope = this.#scope
    const stores = yield* world.database.connect(machine)
    const build = <A, E, R>(layer: Layer.Layer<A, E, R>) => Layer.buildWithScope(Layer.fresh(layer), scope)
    const log = yield* Effect.provideContext(build(GroupCommit.layer), stores)
    const ground = Context.mergeAll(
      stores,
      log,
      Context.make(ServerIdentity, {
        version: "simulated",
        node: "simulated",
        startedAt: `life ${number}`,
        roles: ["api", "devices"],
        database: "simulated",
        broker: "simulated"
      }),
      yield* build(
        Layer.mergeAll(
          GatewayDirectory.layerFixed(world.gateways.map((gateway) => gateway.open(machine))),
          WebhookSecrets.layer([secretKey])
        )
      )
    )
    const surroundings = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.provideContext(effect, ground).pipe(
        Effect.provideService(FleetSettings, world.settings),
        Effect.provideService(PublicAddress, "http://columba.test")
      )
    yield* Effect.forkIn(follow(Context.get(log, EventLog), world.streamed), scope)
    const sink = yield* Effect.provideContext(Scope.provide(RabbitSink.make, scope), world.broker.connect(machine))
    yield* Scope.provide(surroundings(SinkRelay.make(sink)), scope)
    const fleet = yield* surroundings(build(LocalFleet.layer))
    const counts = Context.get(fleet, DeviceFleet).counts
    this.#counts = () => Effect.runSync(counts)
    const intake = yield* Effect.provideContext(
      build(Layer.provide(WebhookIngest.layer, SlotLookup.layer)),
      Context.merge(ground, fleet)
    )
    this.#take = Context.get(intake, WebhookIngest).take
  })
}

/** A reader of the event stream who goes on after the last event that he has, and may be cut off at any event. */
const follow = (log: EventLog["Service"], streamed: Array<Streamed>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const last = streamed.at(-1)
    return Stream.runForEach(
      log.follow({ after: last?.seq ?? 0, mark: last?.id }),
      ({ events }) => Effect.sync(() => streamed.push(...events.map(({ id, seq }) => ({ id, seq }))))
    )
  }).pipe(Effect.ignoreCause, Effect.andThen(Effect.sleep("1 second")), Effect.forever)
