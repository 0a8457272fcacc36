/**
 * The whole HTTP surface on a real port over storage in memory, with a gateway that follows the script of the test. The
 * storage is built separately, so that a test can stop the server and start another one over the same log.
 */
import { Context, Effect, Exit, Layer, Redacted, Scope as EffectScope } from "effect"
import { HttpServer } from "effect/http"
import type { Duration } from "effect"
import type { Scope } from "../../src/contracts/Authorization.ts"
import type { DeviceState } from "../../src/domain/DeviceState.ts"
import type { DeviceId, EventId, GatewayName } from "../../src/domain/Ids.ts"
import { HttpServerLayer } from "../../src/http/Routes.ts"
import { WebhookBodyTimeout } from "../../src/http/WebhooksHttp.ts"
import { ApiKeys } from "../../src/services/ApiKeys.ts"
import { DeadLetters } from "../../src/services/DeadLetters.ts"
import { DeviceFleet } from "../../src/services/DeviceFleet.ts"
import type { ActorView, IncidentView } from "../../src/services/DeviceFleet.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { makeEventId, deriveMessageId } from "../../src/services/EventIdentity.ts"
import * as MemoryStorage from "../../src/layers/memory/MemoryStorage.ts"
import { KeyDirectory } from "../../src/services/KeyDirectory.ts"
import { KeyManager } from "../../src/services/KeyManager.ts"
import { MessageActions } from "../../src/services/MessageActions.ts"
import { MessageSender } from "../../src/services/MessageSender.ts"
import { MessageMedia } from "../../src/services/MessageMedia.ts"
import { Readiness } from "../../src/services/Readiness.ts"
import { ServerIdentity } from "../../src/services/ServerIdentity.ts"
import { ScheduleManager } from "../../src/services/ScheduleManager.ts"
import { makeLateRelays, SinkRelays } from "../../src/services/SinkRelays.ts"
import { SharedPacing } from "../../src/services/SharedPacing.ts"
import { SubscriptionManager } from "../../src/services/SubscriptionManager.ts"
import * as FileOutbox from "../../src/layers/files/FileOutbox.ts"
import * as Outbound from "../../src/layers/outbound/Outbound.ts"
import { GatewayAdapters } from "../../src/services/GatewayAdapters.ts"
import { GatewayManager } from "../../src/services/GatewayManager.ts"
import type { OwnGateway } from "../../src/services/GatewayDirectory.ts"
import type { SecretKey } from "../../src/services/SecretSeal.ts"
import * as AesSecretSeal from "../../src/layers/secrets/AesSecretSeal.ts"
import { GatewayDirectory } from "../../src/services/GatewayDirectory.ts"
import { noLogins } from "../../src/services/FleetLogins.ts"
import type { FleetLogins } from "../../src/services/FleetLogins.ts"
import type { SessionEvent } from "../../src/services/GatewayParts.ts"
import { SlotLookup } from "../../src/services/SlotLookup.ts"
import { readBuiltPages } from "../../src/layers/files/builtPages.ts"
import { WebAssets } from "../../src/services/WebAssets.ts"
import { WebhookIngest } from "../../src/services/WebhookIngest.ts"
import { WebhookSecrets } from "../../src/services/WebhookSecrets.ts"
import { ScriptedGateway } from "./scriptedGateway.ts"
import type { DraftOf } from "./drafts.ts"

/** The behaviour of the doubles behind the surface; a test changes it as it runs. */
export interface Script {
  readonly gateway: ScriptedGateway
  incidents: ReadonlyArray<IncidentView>
  views: ReadonlyMap<DeviceId, ActorView>
  /** What the actor of the device does with an answer of its gateway; false: no actor lives here. */
  reportStatus: DeviceFleet["Service"]["reportStatus"]
  /** The webhooks that the actors received. */
  readonly heard: Array<readonly [id: DeviceId, events: ReadonlyArray<SessionEvent>, repeats: number]>
  readonly refused: Array<DeviceId>
  /** Whether the actors run in this process. */
  hosts: boolean
  readonly logins: FleetLogins
}

export const makeScript = (): Script => ({
  gateway: new ScriptedGateway(),
  incidents: [],
  views: new Map(),
  reportStatus: () => Effect.succeed(false),
  heard: [],
  refused: [],
  hosts: true,
  logins: noLogins
})

export type Key = readonly [name: string, scopes: ReadonlyArray<Scope>, key: string, devices?: ReadonlyArray<DeviceId>]

const makeFleet = (script: Script) =>
  Layer.succeed(
    DeviceFleet,
    DeviceFleet.of({
      view: (id) => Effect.sync(() => script.views.get(id) ?? null),
      reportStatus: (id, status) => script.reportStatus(id, status),
      receiveWebhook: (id, events, repeats = []) =>
        Effect.sync(() => void script.heard.push([id, events, repeats.length])),
      refused: (id) => Effect.sync(() => script.hosts && script.refused.push(id) > 0),
      reportSilence: () => Effect.void,
      loggedOut: () => Effect.void,
      backfills: Effect.succeed([]),
      incidents: Effect.sync(() => script.incidents),
      counts: Effect.die("not asked here"),
      reconcile: Effect.void,
      logins: script.logins
    })
  )

/** The gateway of the environment; the script defines its answers. */
const ownGateway: OwnGateway = {
  name: "default" as GatewayName,
  dialect: "bridge",
  url: "http://scripted",
  user: null,
  secrets: {},
  source: "environment"
}

const withSecret = (secret: string | undefined): OwnGateway =>
  secret === undefined ? ownGateway : { ...ownGateway, secrets: { webhookSecret: Redacted.make(secret) } }

/** Everything the routes need. The caller may pass storage that outlives a server. */
export const services = (
  options: {
    readonly script?: Script
    readonly keys?: ReadonlyArray<Key>
    readonly storage?: Storage
    readonly secretKeys?: ReadonlyArray<SecretKey>
    /** The secret that signs the webhooks of the gateway. */
    readonly webhookSecret?: string
    /** Whether subscriptions may point to this machine; by default they may. */
    readonly allowPrivate?: boolean
    /** The shared limits of several installations; none without it. */
    readonly sharedPacing?: SharedPacing["Service"]
    /** Where files to send are kept; without it the server accepts none, like one that runs no devices. */
    readonly outbox?: string
  } = {}
) => {
  const script = options.script ?? makeScript()
  const secretKeys = options.secretKeys ?? [Redacted.make<Uint8Array>(new Uint8Array(32))]
  const base = Layer.mergeAll(
    options.storage ?? MemoryStorage.layerMemory,
    makeFleet(script),
    Layer.succeed(
      ServerIdentity,
      ServerIdentity.of({
        version: "0.0.0-test",
        node: "test-node",
        startedAt: "2026-01-01T00:00:00.000Z",
        roles: ["api"],
        database: "memory",
        broker: null
      })
    ),
    Layer.succeed(
      ApiKeys,
      ApiKeys.of({
        keys: (options.keys ?? []).map(([name, scopes, key, devices]) => ({
          name,
          scopes,
          devices,
          key: Redacted.make(key)
        }))
      })
    ),
    Readiness.layer,
    options.sharedPacing === undefined ? Layer.empty : Layer.succeed(SharedPacing, options.sharedPacing),
    Layer.succeed(SinkRelays, makeLateRelays().relays)
  )
  const seal = AesSecretSeal.layer(secretKeys)
  const gateways = GatewayManager.layer.pipe(
    Layer.provideMerge(GatewayDirectory.layer([withSecret(options.webhookSecret)])),
    Layer.provideMerge(Layer.succeed(
      GatewayAdapters,
      GatewayAdapters.of({
        byDialect: new Map([[
          "bridge",
          ({ name }) => Effect.sync(() => Object.assign(Object.create(script.gateway), { name }))
        ]])
      })
    )),
    Layer.provideMerge(Layer.merge(seal, WebhookSecrets.layer(secretKeys))),
    Layer.orDie
  )
  const keys = KeyManager.layer.pipe(Layer.provideMerge(KeyDirectory.layer), Layer.orDie)
  const ingest = Layer.provide(WebhookIngest.layer, SlotLookup.layer)
  const outbound = Outbound.layer({ allowPrivate: options.allowPrivate ?? true })
  const subscriptions = SubscriptionManager.layer.pipe(Layer.provide(outbound))
  const sender = Layer.merge(
    MessageActions.layer,
    Layer.provide(Layer.provideMerge(ScheduleManager.layer, MessageSender.layer), outbound)
  )
  return Layer.mergeAll(
    DeadLetters.layerInbox,
    DeviceManager.layer,
    MessageMedia.layer,
    sender,
    keys,
    ingest,
    subscriptions
  ).pipe(
    Layer.provideMerge(gateways),
    Layer.provideMerge(base),
    Layer.provideMerge(
      options.outbox === undefined ? Layer.empty : FileOutbox.layer({ directory: options.outbox })
    )
  )
}

export type Storage = typeof MemoryStorage.layerMemory

/** Storage that lives as long as the surrounding scope, whichever servers start and stop. */
export const makeStorage: Effect.Effect<Storage, never, EffectScope.Scope> = Effect.map(
  Layer.build(MemoryStorage.layerMemory),
  Layer.succeedContext
)

export interface RunningServer {
  readonly url: string
  readonly port: number
  readonly services: Context.Context<Layer.Success<ReturnType<typeof services>>>
  /** Stops gracefully, as on a signal. */
  readonly stop: Effect.Effect<void>
}

export const startServer = (
  options: Parameters<typeof services>[0] & {
    readonly port?: number
    readonly host?: string
    readonly corsOrigins?: ReadonlyArray<string>
    readonly webhookBodyTimeout?: Duration.Duration
    /** Also serves the pages for browsers, which must have been built. */
    readonly pages?: boolean
  } = {}
): Effect.Effect<RunningServer, never, EffectScope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* EffectScope.fork(yield* Effect.scope)
    const layer = HttpServerLayer({
      host: options.host ?? "127.0.0.1",
      port: options.port ?? 0,
      corsOrigins: options.corsOrigins ?? []
    }).pipe(
      Layer.provide(Layer.effect(
        WebhookBodyTimeout,
        Effect.map(WebhookBodyTimeout, (usual) => options.webhookBodyTimeout ?? usual)
      )),
      Layer.provide(Layer.effect(WebAssets, options.pages === true ? readBuiltPages : Effect.succeed(new Map()))),
      Layer.provideMerge(services(options))
    )
    const context = yield* Layer.buildWithScope(Layer.fresh(layer), scope)
    const { address } = Context.get(context, HttpServer.HttpServer)
    const port = "port" in address ? Number(address.port) : 0
    return { url: `http://127.0.0.1:${port}`, port, services: context, stop: EffectScope.close(scope, Exit.void) }
  }).pipe(Effect.orDie)

/** A parsed answer: tests look into many shapes, and check them themselves. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Json = any

/** Sends a request as any HTTP client would. The body is parsed if it is JSON. */
export const ask = (
  url: string,
  init: RequestInit & { readonly json?: unknown } = {}
): Effect.Effect<{ readonly status: number; readonly headers: Headers; readonly body: Json }> =>
  Effect.promise(async (signal) => {
    const { json, ...rest } = init
    const response = await fetch(url, {
      signal,
      ...rest,
      ...(json === undefined
        ? {}
        : { body: JSON.stringify(json), headers: { "content-type": "application/json", ...rest.headers } })
    })
    const text = await response.text()
    const isJson = response.headers.get("content-type")?.includes("json") === true
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
  })

const occurredAt = "2026-01-01T00:00:00.000Z"

export const messageDraft = (
  deviceId: DeviceId,
  number: number,
  body = `message ${number}`
): DraftOf<"message.received"> => {
  const identity = { chat: "6281@s.whatsapp.net", sender: "6281@s.whatsapp.net", fromMe: false, waId: `WA${number}` }
  return {
    id: makeEventId(number) as EventId,
    kind: "message.received",
    deviceId,
    occurredAt,
    via: "live",
    data: { messageId: deriveMessageId(deviceId, identity), ...identity, type: "text", body },
    identity: { ...identity, rank: "" },
    aliases: []
  }
}

export const stateDraft = (
  deviceId: DeviceId,
  from: string,
  state: DeviceState,
  rule = "test",
  jid: string | null = null
): DraftOf<"device.state"> => ({
  id: makeEventId(0) as EventId,
  kind: "device.state",
  deviceId,
  occurredAt,
  via: "columba",
  data: { from, state, rule, failure: null, jid, phone: null, memory: { failures: [], releaseRequests: 0 } },
  identity: null,
  aliases: []
})
