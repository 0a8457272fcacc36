/**
 * Accepts the webhooks of gateways. A webhook is answered as accepted only after its events are committed. Every
 * obstacle is an answer after which the gateway tries again, and is sent while the gateway still waits.
 *
 * A webhook is signed with a secret of its device, which is valid for that device alone, or with the secret of its
 * gateway. An unsigned webhook changes nothing, and costs no query of the database.
 *
 * Any process may accept a webhook. The device's actor is notified if it lives here; otherwise the events are in the
 * log all the same.
 */
import { hash } from "node:crypto"
import { Clock, Context, Deferred, Duration, Effect, Layer, Metric, Option, Result, Schema } from "effect"
import type { Redacted } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { EventDraft } from "../domain/Event.ts"
import { DeviceId, GatewayName } from "../domain/Ids.ts"
import { DeviceFleet } from "./DeviceFleet.ts"
import type { SlotHolder } from "./DeviceRepository.ts"
import { EventLog, groupEventsMax } from "./EventLog.ts"
import type { Appended } from "./EventLog.ts"
import type { GatewayDirectory } from "./GatewayDirectory.ts"
import type { IngestResult, SessionEvent, SessionTarget } from "./GatewayParts.ts"
import * as Metrics from "./Metrics.ts"
import { monotonicMillis } from "./monotonic.ts"
import { toPrintable } from "./printableText.ts"
import * as RefusalReport from "./RefusalReport.ts"
import { RepeatedWarnings } from "./RepeatedWarnings.ts"
import { isAccount, ofDevice, SlotLookup } from "./SlotLookup.ts"
import * as WebhookIntakes from "./WebhookIntakes.ts"
import type { Intake } from "./WebhookIntakes.ts"
import { webhookAnswerMax, webhookOutcomes } from "./webhookOutcomes.ts"
import type { WebhookOutcome } from "./webhookOutcomes.ts"
import type { WebhookRefusals } from "./WebhookRefusals.ts"
import { WebhookSecrets } from "./WebhookSecrets.ts"

/** Maximum logged length of a name or a reason that others chose. */
const loggedTextMax = 120

export interface IncomingWebhook {
  /** The gateway's name from the path. */
  readonly gateway: string
  /** From the query: the device whose own secret may have signed. */
  readonly device: string | null
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Uint8Array
  /** When the request arrived, by the monotonic clock. */
  readonly startedAt: number
}

export class WebhookIngest extends Context.Service<WebhookIngest, {
  /** Never fails: every obstacle is an outcome. */
  readonly take: (webhook: IncomingWebhook) => Effect.Effect<WebhookOutcome>
  /** Counts and logs an outcome that is determined before the body is read. */
  readonly refuse: (
    webhook: Pick<IncomingWebhook, "gateway" | "startedAt">,
    outcome: WebhookOutcome
  ) => Effect.Effect<WebhookOutcome>
}>()("columba/services/WebhookIngest") {
  static readonly layer: Layer.Layer<
    WebhookIngest,
    never,
    GatewayDirectory | SlotLookup | WebhookSecrets | WebhookRefusals | DeviceFleet | EventLog
  > = Layer.effect(WebhookIngest, Effect.suspend(() => make))
}

/** The secrets that may have signed. `device`: they are its own; null: the gateway's. */
interface Signer {
  readonly device: DeviceId | null
  readonly secrets: ReadonlyArray<Redacted.Redacted>
}

/** The adapter's result for a webhook. */
interface Reading {
  readonly result: IngestResult
  /** The holders that it found, by id. */
  readonly found: ReadonlyMap<DeviceId, SlotHolder>
  /** Names that were not cached: they may have holders. */
  readonly unknown: ReadonlyArray<string>
  /** A device's own secret signed an event of another slot. */
  readonly foreign: boolean
}

/** `detail` is for the log alone. */
interface Refusal {
  readonly outcome: WebhookOutcome
  readonly detail: string | null
}

/** Signed, and about a device that is in use. */
interface Signed {
  readonly deviceId: DeviceId
  readonly events: ReadonlyArray<SessionEvent>
}

const isDeviceId = Schema.is(DeviceId)
const isGatewayName = Schema.is(GatewayName)

const make = Effect.gen(function*() {
  const intakes = yield* WebhookIntakes.make
  const lookup = yield* SlotLookup
  const secrets = yield* WebhookSecrets
  const fleet = yield* DeviceFleet
  const log = yield* EventLog
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const report = yield* RefusalReport.make
  const warnings = new RepeatedWarnings()

  const inTime = <A, E>({ startedAt }: IncomingWebhook, effect: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      const left = startedAt + Duration.toMillis(webhookAnswerMax) - monotonicMillis(clock)
      return left <= 0 ? Effect.succeed(Option.none<A>()) : Effect.timeoutOption(effect, left)
    })

  /** The gateway may not try again, so the device may miss something: its process records that, wherever it is. */
  const recordRefusal = (deviceId: DeviceId): Effect.Effect<void> =>
    Effect.map(fleet.refused(deviceId), (isRecorded) => isRecorded ? undefined : report.note(deviceId))

  // Reading

  const readOnce = (intake: Intake, { body, device, headers }: IncomingWebhook, signer: Signer): Reading => {
    const found = new Map<DeviceId, SlotHolder>()
    const unknown: Array<string> = []
    let foreign = false
    const peek = (name: string): SlotHolder | null => {
      const holder = lookup.peek(intake.gateway.name, name)
      if (holder === undefined) unknown.push(name)
      else if (holder !== null) found.set(holder.deviceId, holder)
      return holder ?? null
    }
    const named = isDeviceId(device) ? peek(ofDevice(device)) : null
    const find = (name: string): SessionTarget | null => {
      if (signer.device === null) return peek(name)
      // The secret identifies the account's device, even if the account is not recorded yet.
      if (named === null || name === named.upstreamId || isAccount(name)) return named
      foreign = true
      return null
    }
    const result = intake.gateway.ingest!(
      { headers, body, secrets: signer.secrets },
      { find, device: named, now: clock.currentTimeMillisUnsafe() }
    )
    return { result, found, unknown, foreign }
  }

  /**
   * Names without a cached answer are looked up once, if the signature is valid, and then the webhook is read again;
   * the same applies if the adapter can read it better after asking the gateway.
   */
  const read = Effect.fnUntraced(function*(
    intake: Intake,
    webhook: IncomingWebhook,
    signer: Signer
  ): Effect.fn.Return<Reading, StorageUnavailable> {
    let reading = readOnce(intake, webhook, signer)
    if (isUnsigned(reading)) return reading
    if (reading.unknown.length > 0) {
      yield* lookup.read(intake.gateway.name, reading.unknown).pipe(
        // The lookup of the holder failed, but a device's own secret identifies the device.
        Effect.tapError(() => signer.device === null ? Effect.void : recordRefusal(signer.device))
      )
      reading = readOnce(intake, webhook, signer)
    }
    const { result } = reading
    if (result._tag !== "Accepted" || result.better === undefined) return reading
    yield* result.better
    return readOnce(intake, webhook, signer)
  })

  /** The device's own secret is tried first, because it identifies the device. Null: no available secret verifies. */
  const verify = Effect.fnUntraced(function*(intake: Intake, webhook: IncomingWebhook, signers: ReadonlyArray<Signer>) {
    for (const signer of signers) {
      const reading = yield* read(intake, webhook, signer)
      if (!isUnsigned(reading)) return reading
    }
    return null
  })

  const listSigners = ({ gateway, secret }: Intake, { device }: IncomingWebhook): ReadonlyArray<Signer> => {
    const own = isDeviceId(device) ? [{ device, secrets: secrets.of(gateway.name, device) }] : []
    const shared = secret === null ? [] : [{ device: null, secrets: [secret] }]
    return [...own, ...shared].filter((signer) => signer.secrets.length > 0)
  }

  const judge = Effect.fnUntraced(
    function*(intake: Intake, webhook: IncomingWebhook): Effect.fn.Return<Signed | Refusal> {
      const signers = listSigners(intake, webhook)
      if (signers.length === 0) return refused("no-secret")
      const verified = yield* inTime(webhook, Effect.result(verify(intake, webhook, signers)))
      if (Option.isNone(verified) || Result.isFailure(verified.value)) return refused("no-database")
      const reading = verified.value.success
      return reading === null
        ? refused("unsigned")
        : weigh(reading)
    }
  )

  // Writing

  const committing = new Map<string, Deferred.Deferred<ReadonlyArray<Appended>>>()

  const append = (drafts: ReadonlyArray<EventDraft>) =>
    log.append(drafts).pipe(
      // Too many bytes for one transaction. The events of a webhook need not share one.
      Effect.catchTag("GroupTooLarge", () =>
        Effect.map(Effect.forEach(drafts, (draft) => log.append([draft])), (results) => results.flat())),
      // Facts carry no fence, and one draft is never too large.
      Effect.orDie
    )

  const appendAll = Effect.fnUntraced(function*(drafts: ReadonlyArray<EventDraft>) {
    const results: Array<Appended> = []
    for (let at = 0; at < drafts.length; at += groupEventsMax) {
      results.push(...(yield* append(drafts.slice(at, at + groupEventsMax))))
    }
    return results
  })

  /**
   * Continues when its caller stops waiting: accepted drafts are committed as soon as possible, also for a gateway
   * that will not try again. A repeat that arrives meanwhile waits for the same commit instead of queueing once more.
   */
  const commit = (key: string, drafts: ReadonlyArray<EventDraft>): Effect.Effect<ReadonlyArray<Appended>> =>
    Effect.suspend(() => {
      const waiting = committing.get(key)
      if (waiting !== undefined) return Deferred.await(waiting)
      const done = Deferred.makeUnsafe<ReadonlyArray<Appended>>()
      committing.set(key, done)
      const write = Effect.onExit(appendAll(drafts), (exit) =>
        Effect.sync(() => {
          committing.delete(key)
          Deferred.doneUnsafe(done, exit)
        }))
      return Effect.andThen(Effect.forkIn(write, scope, { startImmediately: true }), Deferred.await(done))
    })

  /** The gateway signed the webhook, and it is refused: the gateway tries again, or abandons it. */
  const turnAway = (deviceId: DeviceId, outcome: WebhookOutcome): Effect.Effect<Refusal> =>
    Effect.as(recordRefusal(deviceId), refused(outcome))

  const record = Effect.fnUntraced(
    function*(webhook: IncomingWebhook, { deviceId, events }: Signed): Effect.fn.Return<Refusal> {
      const drafts = events.flatMap((event) => event._tag === "Record" ? [event.draft] : [])
      if (drafts.length > 0 && !log.hasRoom()) return yield* turnAway(deviceId, "no-room")
      const key = `${webhook.gateway} ${deviceId} ${digestBody(webhook.body)}`
      const committed = yield* inTime(webhook, commit(key, drafts))
      if (Option.isNone(committed)) return yield* turnAway(deviceId, "too-late")
      const isNew = new Set(drafts.filter((_, index) => committed.value[index]?._tag === "Committed"))
      const isRepeat = isNew.size === 0 && drafts.length > 0
      const news = isRepeat ? [] : events.filter((event) => event._tag !== "Record" || isNew.has(event.draft))
      yield* fleet.receiveWebhook(deviceId, news, drafts.filter((draft) => !isNew.has(draft)))
      return refused(isRepeat ? "repeated" : "accepted")
    }
  )

  const decide = Effect.fnUntraced(function*(webhook: IncomingWebhook): Effect.fn.Return<Refusal> {
    if (!isGatewayName(webhook.gateway)) return refused("gateway-unknown")
    const opened = yield* inTime(webhook, Effect.result(intakes.open(webhook.gateway)))
    if (Option.isNone(opened)) return refused("no-database")
    if (Result.isFailure(opened.value)) {
      const { _tag, message } = opened.value.failure
      return { outcome: _tag === "GatewayUnknown" ? "gateway-unknown" : "gateway-unusable", detail: message }
    }
    const intake = opened.value.success
    if (intake.gateway.ingest === undefined) {
      return { outcome: "gateway-unknown", detail: "gateways of its dialect send no webhooks" }
    }
    const judged = yield* judge(intake, webhook)
    return "outcome" in judged ? judged : yield* record(webhook, judged)
  })

  // Counting

  const counters = new Map<string, Metric.Counter<number>>()
  const findCounter = (gateway: string, outcome: WebhookOutcome) => {
    const key = `${gateway} ${outcome}`
    const counter = counters.get(key) ?? Metric.withAttributes(Metrics.webhooks, { gateway, outcome })
    counters.set(key, counter)
    return counter
  }

  const finish = Effect.fnUntraced(
    function*({ gateway, startedAt }: Pick<IncomingWebhook, "gateway" | "startedAt">, { detail, outcome }: Refusal) {
      // A name that anyone can invent must not become a label.
      const known = intakes.has(gateway) ? gateway : "unknown"
      yield* Metric.update(findCounter(known, outcome), 1)
      yield* Metric.update(Metrics.webhookLatency, (monotonicMillis(clock) - startedAt) / 1000)
      if (webhookOutcomes[outcome].message === null) return outcome
      yield* warnings.warn(`${known} ${outcome}`, "a webhook was refused", {
        gateway: shorten(gateway),
        outcome,
        ...(detail === null ? {} : { detail: shorten(detail) })
      })
      return outcome
    }
  )

  return WebhookIngest.of({
    refuse: (webhook, outcome) => finish(webhook, refused(outcome)),
    take: (webhook) => Effect.flatMap(decide(webhook), (refusal) => finish(webhook, refusal))
  })
})

const isUnsigned = ({ result }: Reading): boolean => result._tag === "Refused" && result.reason === "signature"

const refused = (outcome: WebhookOutcome): Refusal => ({ outcome, detail: null })

const shorten = (text: string): string => toPrintable(text.slice(0, loggedTextMax))

const digestBody = (body: Uint8Array): string => hash("sha256", body, "hex")

/** The meaning of a signed webhook for its device. */
const weigh = ({ foreign, found, result }: Reading): Signed | Refusal => {
  if (foreign) return refused("wrong-device")
  switch (result._tag) {
    case "UnknownSlot":
      return {
        outcome: "slot-unknown",
        detail: isAccount(result.slot) ? "named by its account" : `slot ${result.slot}`
      }
    case "Refused":
      return { outcome: "unreadable", detail: result.detail }
    case "Accepted": {
      const { deviceId, events } = result
      return found.get(deviceId)?.active === false
        ? { outcome: "device-inactive", detail: deviceId }
        : { deviceId, events }
    }
  }
}
