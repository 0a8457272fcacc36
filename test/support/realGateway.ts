/**
 * The whole server with its fleet and the real adapters, over a gateway that the caller passes: the log receives events by
 * sockets and webhooks. The caller may pass storage that outlives a server.
 */
import { Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import * as LocalFleet from "../../src/actors/fleet/LocalFleet.ts"
import type { DeviceStateTag } from "../../src/domain/DeviceState.ts"
import type { DeviceId, GatewayName, UpstreamId } from "../../src/domain/Ids.ts"
import { HttpServerLayer } from "../../src/http/Routes.ts"
import * as adapters from "../../src/layers/gateways/adapters.ts"
import * as FileOutbox from "../../src/layers/files/FileOutbox.ts"
import * as Outbound from "../../src/layers/outbound/Outbound.ts"
import * as AesSecretSeal from "../../src/layers/secrets/AesSecretSeal.ts"
import { ApiKeys } from "../../src/services/ApiKeys.ts"
import { DeadLetters } from "../../src/services/DeadLetters.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import type { OwnGateway } from "../../src/services/GatewayDirectory.ts"
import { GatewayDirectory } from "../../src/services/GatewayDirectory.ts"
import { GatewayManager } from "../../src/services/GatewayManager.ts"
import { KeyDirectory } from "../../src/services/KeyDirectory.ts"
import { KeyManager } from "../../src/services/KeyManager.ts"
import { MessageActions } from "../../src/services/MessageActions.ts"
import { MessageSender } from "../../src/services/MessageSender.ts"
import { ScheduleManager } from "../../src/services/ScheduleManager.ts"
import { MessageMedia } from "../../src/services/MessageMedia.ts"
import { PublicAddress } from "../../src/services/PublicAddress.ts"
import { Readiness } from "../../src/services/Readiness.ts"
import { ServerIdentity } from "../../src/services/ServerIdentity.ts"
import { SubscriptionManager } from "../../src/services/SubscriptionManager.ts"
import { makeLateRelays, SinkRelays } from "../../src/services/SinkRelays.ts"
import { SlotLookup } from "../../src/services/SlotLookup.ts"
import { WebhookIngest } from "../../src/services/WebhookIngest.ts"
import { WebhookSecrets } from "../../src/services/WebhookSecrets.ts"
import { makeStorage } from "./surface.ts"
import type { Storage } from "./surface.ts"
import { until } from "./until.ts"

export type GivenGateway = Omit<OwnGateway, "name" | "source">

const secretKeys = [Redacted.make<Uint8Array>(new Uint8Array(32))]

interface Options {
  readonly port: number
  readonly storage?: Storage
  readonly keys?: ApiKeys["Service"]["keys"]
  /** Where files to send are kept; without it the server accepts none. */
  readonly outbox?: FileOutbox.FileOutboxOptions
  /** Private addresses are allowed unless a test says otherwise. */
  readonly outbound?: Partial<Outbound.OutboundOptions>
}

const services = (
  gateway: GivenGateway,
  storage: Storage,
  url: string,
  { keys = [], outbound, outbox }: Pick<Options, "keys" | "outbound" | "outbox">
) => {
  const own: OwnGateway = { ...gateway, name: "default" as GatewayName, source: "environment" }
  const base = Layer.mergeAll(
    storage,
    Layer.succeed(
      ServerIdentity,
      ServerIdentity.of({
        version: "0.0.0-test",
        node: "test-node",
        startedAt: "2026-01-01T00:00:00.000Z",
        roles: ["api", "devices"],
        database: "memory",
        broker: null
      })
    ),
    Layer.succeed(ApiKeys, ApiKeys.of({ keys })),
    Layer.succeed(PublicAddress, url),
    Readiness.layer,
    Layer.succeed(SinkRelays, makeLateRelays().relays)
  )
  const gateways = GatewayManager.layer.pipe(
    Layer.provideMerge(GatewayDirectory.layer([own])),
    Layer.provideMerge(adapters.layer),
    Layer.provideMerge(Layer.merge(AesSecretSeal.layer(secretKeys), WebhookSecrets.layer(secretKeys))),
    Layer.orDie
  )
  return Layer.mergeAll(
    DeadLetters.layerInbox,
    DeviceManager.layer,
    MessageMedia.layer,
    MessageActions.layer,
    Layer.provideMerge(ScheduleManager.layer, MessageSender.layer),
    Layer.provide(WebhookIngest.layer, SlotLookup.layer),
    SubscriptionManager.layer,
    Layer.orDie(Layer.provideMerge(KeyManager.layer, KeyDirectory.layer))
  ).pipe(
    Layer.provideMerge(LocalFleet.layer),
    Layer.provideMerge(gateways),
    Layer.provideMerge(base),
    Layer.provideMerge(Outbound.layer({ allowPrivate: true, ...outbound })),
    Layer.provideMerge(outbox === undefined ? Layer.empty : FileOutbox.layer(outbox))
  )
}

/** The fields of an event that most tests look at. */
export interface Logged {
  readonly kind: string
  readonly via: string
  readonly deviceId: DeviceId
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly data: any
}

export interface RunningServer {
  readonly url: string
  readonly register: (slot: string) => Effect.Effect<DeviceId>
  readonly state: (id: DeviceId) => Effect.Effect<DeviceStateTag>
  readonly become: (id: DeviceId, state: DeviceStateTag) => Effect.Effect<void>
  readonly logged: Effect.Effect<ReadonlyArray<Logged>>
  /** Stops the server as a signal would. */
  readonly stop: Effect.Effect<void>
}

export const start = Effect.fnUntraced(function*(
  gateway: GivenGateway,
  options: Options
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const storage = options.storage ?? (yield* makeStorage)
  const url = `http://127.0.0.1:${options.port}`
  const layer = HttpServerLayer({ host: "127.0.0.1", port: options.port, corsOrigins: [] }).pipe(
    Layer.provideMerge(services(gateway, storage, url, options))
  )
  const context = yield* Layer.buildWithScope(Layer.fresh(layer), scope)
  const manager = Context.get(context, DeviceManager)
  const log = Context.get(context, EventLog)
  const state = (id: DeviceId) => Effect.orDie(Effect.map(manager.get(id), (device) => device.state._tag))
  const running: RunningServer = {
    url,
    register: (slot) =>
      Effect.orDie(Effect.map(manager.register({ name: slot, upstreamId: slot as UpstreamId }), ({ id }) => id)),
    state,
    become: (id, wanted) => until(`the device is ${wanted}`, Effect.map(state(id), (is) => is === wanted)),
    logged: Effect.orDie(
      Effect.map(
        log.read({ after: 0, limit: 10_000 }),
        ({ events }) => events.map(({ data, deviceId, kind, via }) => ({ kind, via, deviceId, data: JSON.parse(data) }))
      )
    ),
    stop: Scope.close(scope, Exit.void)
  }
  return running
}, Effect.orDie)
