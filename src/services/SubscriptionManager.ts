/**
 * The operations of people and programs on subscriptions. A change is durable when an operation returns; the
 * delivering process follows within seconds. Secrets are stored sealed; only a secret that was just made is ever
 * returned.
 *
 * A key that is limited to some devices sees and changes only subscriptions that are limited to some of its devices,
 * and the subscriptions it makes are limited to them. Subscriptions made before the limits of the key changed stay as
 * they are.
 */
import { Context, DateTime, Effect, Layer, Redacted, Semaphore } from "effect"
import type { Duration } from "effect"
import { SecureRandom } from "effect/crypto"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import { DeviceNotFound } from "../domain/DeviceErrors.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { toWire } from "../domain/Event.ts"
import { isSameServer } from "../domain/Gateway.ts"
import type { SecretKeyMissing } from "../domain/GatewayErrors.ts"
import { fleetDevice, positionAfter, readPosition } from "../domain/Ids.ts"
import type { DeviceId } from "../domain/Ids.ts"
import { PositionInvalid } from "../domain/MessageErrors.ts"
import type { CursorInvalid, EventsExpired, LogReset } from "../domain/MessageErrors.ts"
import { SubscriptionId } from "../domain/Subscription.ts"
import type { DeliveryOutcome, DeliveryResult, Subscription } from "../domain/Subscription.ts"
import {
  HeaderRefused,
  SecretInvalid,
  SubscriptionNotFound,
  SubscriptionUnreadable,
  SubscriptionUrlRefused
} from "../domain/SubscriptionErrors.ts"
import type { TooManySubscriptions } from "../domain/SubscriptionErrors.ts"
import { EventLog } from "./EventLog.ts"
import { makeEventId } from "./EventIdentity.ts"
import { OutboundHttp } from "./OutboundHttp.ts"
import { SecretSeal } from "./SecretSeal.ts"
import { SubscriptionRepository } from "./SubscriptionRepository.ts"
import type { DeliveryPage, StoredSubscription, SubscriptionChange } from "./SubscriptionRepository.ts"
import { attempt, openEndpoint } from "./webhookDelivery.ts"
import { makeSecret, readSecret } from "./webhookSignature.ts"

/** Values of headers may hold credentials. */
type Headers = Readonly<Record<string, Redacted.Redacted>>

interface Wanted {
  readonly url?: Redacted.Redacted | undefined
  readonly name?: string | null | undefined
  readonly kinds?: ReadonlyArray<string> | null | undefined
  readonly devices?: ReadonlyArray<DeviceId> | null | undefined
  readonly headers?: Headers | null | undefined
  readonly rateLimit?: number | null | undefined
}

export interface NewSubscription extends Wanted {
  readonly url: Redacted.Redacted
  readonly secret?: Redacted.Redacted | undefined
  readonly from?: "beginning" | "now" | undefined
}

export interface SubscriptionEdit extends Wanted {
  readonly paused?: boolean | undefined
}

export type WithSecret = Subscription & { readonly secret: Redacted.Redacted }

/** Maximum number of concurrent test events: each may take the whole time of a request. */
const testsAtOnce = 4

/** Headers that Columba sets, or that belong to the connection and not to the request. */
const ownHeaders =
  /^(webhook-.*|content-(length|type|encoding)|user-agent|host|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|proxy-.*)$/

type Missing = SubscriptionNotFound | StorageUnavailable
type Refused = SubscriptionUrlRefused | HeaderRefused | DeviceNotFound | SecretKeyMissing

export class SubscriptionManager extends Context.Service<SubscriptionManager, {
  readonly create: (
    wanted: NewSubscription,
    visible: VisibleDevices
  ) => Effect.Effect<WithSecret, Refused | SecretInvalid | TooManySubscriptions | StorageUnavailable>
  readonly list: (visible: VisibleDevices) => Effect.Effect<ReadonlyArray<Subscription>, StorageUnavailable>
  readonly get: (id: SubscriptionId, visible: VisibleDevices) => Effect.Effect<Subscription, Missing>
  /** With the URL of another server, headers must be set again: stored ones are not sent there. */
  readonly edit: (
    id: SubscriptionId,
    edit: SubscriptionEdit,
    visible: VisibleDevices
  ) => Effect.Effect<Subscription, Refused | Missing>
  readonly remove: (id: SubscriptionId, visible: VisibleDevices) => Effect.Effect<void, Missing>
  /** Activates it after Columba has disabled it, and tries it at once. */
  readonly enable: (id: SubscriptionId, visible: VisibleDevices) => Effect.Effect<Subscription, Missing>
  readonly replay: (
    id: SubscriptionId,
    after: string,
    visible: VisibleDevices
  ) => Effect.Effect<Subscription, PositionInvalid | EventsExpired | LogReset | Missing>
  readonly deliveries: (
    id: SubscriptionId,
    options: {
      readonly limit: number
      readonly cursor?: string | undefined
      readonly outcome?: DeliveryOutcome | undefined
    },
    visible: VisibleDevices
  ) => Effect.Effect<DeliveryPage, CursorInvalid | Missing>
  /** Sends a test event from this process, once, whatever the state of the subscription. */
  readonly test: (
    id: SubscriptionId,
    visible: VisibleDevices
  ) => Effect.Effect<DeliveryResult, SubscriptionUnreadable | Missing>
  /** A new secret. The previous one signs too for `keep`. */
  readonly rotate: (
    id: SubscriptionId,
    options: { readonly secret?: Redacted.Redacted | undefined; readonly keep: Duration.Duration },
    visible: VisibleDevices
  ) => Effect.Effect<WithSecret, SecretInvalid | SecretKeyMissing | Missing>
}>()("columba/services/SubscriptionManager") {
  static readonly layer = Layer.effect(
    SubscriptionManager,
    Effect.gen(function*() {
      const repository = yield* SubscriptionRepository
      const outbound = yield* OutboundHttp
      const seal = yield* SecretSeal
      const log = yield* EventLog
      const random = yield* SecureRandom.SecureRandom
      const tests = Semaphore.makeUnsafe(testsAtOnce)

      const find = Effect.fnUntraced(function*(id: SubscriptionId, visible: VisibleDevices) {
        const stored = yield* repository.get(id)
        return isOwn(stored, visible) ? stored : yield* SubscriptionNotFound.of(id)
      })

      const show = (stored: StoredSubscription) => Effect.map(log.bounds, ({ head }) => toSubscription(stored, head))

      const checkUrl = (url: Redacted.Redacted) =>
        Effect.mapError(
          outbound.check(Redacted.value(url)),
          ({ message, reason }) => SubscriptionUrlRefused.of(reason, message)
        )

      const sealHeaders = Effect.fnUntraced(function*(owner: SubscriptionId, headers: Headers | null) {
        const entries = Object.entries(headers ?? {})
        if (entries.length === 0) return null
        for (const [name, value] of entries) yield* checkHeader(name, Redacted.value(value))
        const text = JSON.stringify(Object.fromEntries(entries.map(([name, value]) => [name, Redacted.value(value)])))
        return yield* seal.seal(Redacted.make(text), { owner, field: "headers" })
      })

      const sealSecret = Effect.fnUntraced(function*(owner: SubscriptionId, secret: Redacted.Redacted) {
        if (readSecret(secret) === null) return yield* SecretInvalid.instance
        return yield* seal.seal(secret, { owner, field: "secret" })
      })

      const create: SubscriptionManager["Service"]["create"] = Effect.fn("SubscriptionManager.create")(
        function*(wanted, visible) {
          const id = SubscriptionId.make(`sub_${yield* random.ulid}`)
          const devices = yield* limitDevices(wanted.devices ?? null, visible)
          const secret = wanted.secret ?? makeSecret()
          yield* checkUrl(wanted.url)
          const sealed = {
            secret: yield* sealSecret(id, secret),
            previousSecret: null,
            headers: yield* sealHeaders(id, wanted.headers ?? null)
          }
          const stored = yield* repository.insert({
            id,
            name: wanted.name ?? null,
            url: Redacted.value(wanted.url),
            kinds: wanted.kinds ?? null,
            devices,
            headers: Object.keys(wanted.headers ?? {}),
            rateLimit: wanted.rateLimit ?? null,
            sealed
          }, wanted.from ?? "now")
          return { ...(yield* show(stored)), secret }
        }
      )

      const edit: SubscriptionManager["Service"]["edit"] = Effect.fn("SubscriptionManager.edit")(
        function*(id, wanted, visible) {
          const before = yield* find(id, visible)
          const { subscription: { headers: kept, url: urlBefore } } = before
          if (wanted.url !== undefined) {
            yield* checkUrl(wanted.url)
            if (
              wanted.headers === undefined && kept.length > 0 && !isSameServer(Redacted.value(wanted.url), urlBefore)
            ) {
              return yield* HeaderRefused.of(
                kept[0]!,
                "was given for another server: give the headers again, or null to remove them"
              )
            }
          }
          const change: SubscriptionChange = {
            ...(wanted.name === undefined ? {} : { name: wanted.name }),
            ...(wanted.url === undefined ? {} : { url: Redacted.value(wanted.url) }),
            ...(wanted.kinds === undefined ? {} : { kinds: wanted.kinds }),
            ...(wanted.devices === undefined ? {} : { devices: yield* limitDevices(wanted.devices, visible) }),
            ...(wanted.rateLimit === undefined ? {} : { rateLimit: wanted.rateLimit }),
            ...(wanted.paused === undefined ? {} : { paused: wanted.paused }),
            ...(wanted.headers === undefined
              ? {}
              : {
                headers: Object.keys(wanted.headers ?? {}),
                sealed: { ...before.sealed, headers: yield* sealHeaders(id, wanted.headers) }
              })
          }
          return yield* show(yield* repository.update(id, change))
        }
      )

      const replay: SubscriptionManager["Service"]["replay"] = Effect.fn("SubscriptionManager.replay")(
        function*(id, after, visible) {
          yield* find(id, visible)
          const place = readPosition(after)
          if (place === null) return yield* PositionInvalid.of(after)
          const { mark, seq } = place
          if (seq > 0) yield* log.locate({ after: seq, mark })
          return yield* show(yield* repository.moveTo(id, seq > 0 ? seq : (yield* log.bounds).oldest - 1))
        }
      )

      const test: SubscriptionManager["Service"]["test"] = Effect.fn("SubscriptionManager.test")(
        function*(id, visible) {
          const stored = yield* find(id, visible)
          const endpoint = yield* Effect.mapError(openEndpoint(seal, stored), () => SubscriptionUnreadable.of(id))
          const now = yield* DateTime.now
          const at = DateTime.formatIso(now)
          const eventId = makeEventId(DateTime.toEpochMillis(now))
          const body = Buffer.from(toWire({
            seq: 0,
            id: eventId,
            kind: "subscription.test",
            deviceId: fleetDevice,
            occurredAt: at,
            recordedAt: at,
            via: "columba",
            data: JSON.stringify({ subscriptionId: id }),
            bytes: 0
          }))
          const { retryAfterSeconds: _, ...result } = yield* tests.withPermit(
            attempt(outbound, endpoint, { id: eventId, body })
          )
          return result
        }
      )

      const rotate: SubscriptionManager["Service"]["rotate"] = Effect.fn("SubscriptionManager.rotate")(
        function*(id, options, visible) {
          const { sealed } = yield* find(id, visible)
          const secret = options.secret ?? makeSecret()
          const stored = yield* repository.update(id, {
            sealed: { ...sealed, secret: yield* sealSecret(id, secret), previousSecret: sealed.secret },
            previousSecretFor: options.keep
          })
          return { ...(yield* show(stored)), secret }
        }
      )

      return SubscriptionManager.of({
        create,
        list: Effect.fnUntraced(function*(visible) {
          const { head } = yield* log.bounds
          const rows = yield* repository.list
          return rows.filter((stored) => isOwn(stored, visible)).map((stored) => toSubscription(stored, head))
        }),
        get: (id, visible) => Effect.flatMap(find(id, visible), show),
        edit,
        remove: (id, visible) => Effect.andThen(find(id, visible), repository.delete(id)),
        enable: (id, visible) => find(id, visible).pipe(Effect.andThen(repository.enable(id)), Effect.flatMap(show)),
        replay,
        deliveries: (id, options, visible) => Effect.andThen(find(id, visible), repository.deliveries(id, options)),
        test,
        rotate
      })
    })
  ).pipe(Layer.provide(SecureRandom.layerWebCrypto))
}

const isOwn = ({ subscription: { devices } }: StoredSubscription, visible: VisibleDevices): boolean =>
  visible === undefined || (devices !== null && devices.every((id) => visible.includes(id)))

/** A limited key may ask for some of its devices; without a list it gets all of them. */
const limitDevices = (
  devices: ReadonlyArray<DeviceId> | null,
  visible: VisibleDevices
): Effect.Effect<ReadonlyArray<DeviceId> | null, DeviceNotFound> => {
  if (visible === undefined) return Effect.succeed(devices)
  const foreign = devices?.find((id) => !visible.includes(id))
  return foreign === undefined ? Effect.succeed(devices ?? visible) : Effect.fail(DeviceNotFound.of(foreign))
}

const checkHeader = (name: string, value: string): Effect.Effect<void, HeaderRefused> => {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) return Effect.fail(HeaderRefused.of(name, "is no name of a header"))
  if (ownHeaders.test(name.toLowerCase())) return Effect.fail(HeaderRefused.of(name, "is set by Columba"))
  return /^[\x20-\x7e]*$/.test(value)
    ? Effect.void
    : Effect.fail(HeaderRefused.of(name, "has a value with characters that no header may have"))
}

const toSubscription = ({ confirmed, subscription }: StoredSubscription, head: number): Subscription => ({
  ...subscription,
  position: positionAfter(confirmed),
  behind: Math.max(0, head - confirmed)
})
