/**
 * Delivers to one subscription under one claim of its cursor, until the claim is lost, the log goes back or the
 * subscription is disabled. The plan decides what to do next; this module makes the requests, the reads and the writes.
 *
 * A crash repeats the deliveries made since position and health were last written: in order for each device, under the same
 * ids. Health is written first: once the cursor has passed a held device, the device must be recorded as held.
 */
import { Cause, Clock, DateTime, Deferred, Duration, Effect, Exit, Metric, Random, Scope, Semaphore } from "effect"
import { auditKind } from "../../../domain/EventKinds.ts"
import type { LoggedEvent } from "../../../domain/Event.ts"
import type { DisabledReason } from "../../../domain/Subscription.ts"
import { Condition } from "../../../services/Condition.ts"
import type { CursorClaim, EventLog, EventPage } from "../../../services/EventLog.ts"
import * as Metrics from "../../../services/Metrics.ts"
import { monotonicMillis } from "../../../services/monotonic.ts"
import type { OutboundHttp } from "../../../services/OutboundHttp.ts"
import type { SecretSeal } from "../../../services/SecretSeal.ts"
import { shutdownBudget } from "../../../services/shutdownBudget.ts"
import * as bounds from "../../../services/subscriptionBounds.ts"
import type { StoredSubscription, SubscriptionRepository } from "../../../services/SubscriptionRepository.ts"
import { attempt, openEndpoint } from "../../../services/webhookDelivery.ts"
import type { Attempted } from "../../../services/webhookDelivery.ts"
import { DeliveryPlan } from "./DeliveryPlan.ts"
import type { Job } from "./deliverySteps.ts"
import { countDelivery } from "./DeliveryJournal.ts"
import type { DeliveryJournal } from "./DeliveryJournal.ts"
import type { WebhookBodies } from "./WebhookBodies.ts"

/** The parts that all couriers of a process share. */
export interface CourierParts {
  readonly log: EventLog["Service"]
  readonly repository: SubscriptionRepository["Service"]
  readonly outbound: OutboundHttp["Service"]
  readonly seal: SecretSeal["Service"]
  readonly journal: DeliveryJournal
  readonly bodies: WebhookBodies
  readonly catchUp: Semaphore.Semaphore
  /** The number up to which the shared reader has read. */
  readonly feed: { readonly through: number }
}

/** A page of the shared reader: all events after `after` up to `through`. */
export interface FeedPage extends EventPage {
  readonly after: number
}

export type Ended =
  | { readonly _tag: "CursorLost" }
  | { readonly _tag: "LogReset" }
  | { readonly _tag: "Disable"; readonly reason: DisabledReason }
  | { readonly _tag: "Defect" }

export interface Courier {
  /** As `CursorClaim.generation`, of its claim. */
  readonly generation: number
  readonly offer: (page: FeedPage) => void
  /** The log is another one, so the state in memory is invalid. */
  readonly reset: Effect.Effect<void>
  readonly view: () => { readonly failing: boolean; readonly held: number; readonly confirmed: number }
  readonly ended: Effect.Effect<Ended>
}

/** A new time of the last delivery alone does not cause a write, but the recorded time should not be older than this. */
const quietHealthInterval = Duration.seconds(30)

/** The pause after a read that returned nothing: the log is unavailable, or is shorter than the shared reader believes. */
const readAgainAfter = Duration.seconds(1)

/** Keys may be fixed at any time; the circuit waits longer between two attempts. */
const unsigned: Attempted = {
  outcome: "unsigned",
  status: null,
  detail: "the secret does not open with the keys of this process",
  millis: 0,
  retryAfterSeconds: null
}

/** Runs until its scope closes, which waits, within a bound, for requests in flight. */
export const make = Effect.fnUntraced(function*(
  parts: CourierParts,
  stored: StoredSubscription,
  claim: CursorClaim
): Effect.fn.Return<Courier, never, Scope.Scope> {
  const { log, repository } = parts
  const { devices, health, id, kinds, rateLimit } = stored.subscription
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const context = yield* Effect.context<never>()
  const now = () => monotonicMillis(clock)
  const plan = new DeliveryPlan({
    kinds,
    devices,
    rateLimit,
    cursor: claim.seq,
    health,
    random: () => random.nextDoubleUnsafe(),
    now: now()
  })
  const endpoint = yield* Effect.option(openEndpoint(parts.seal, stored))
  const ended = yield* Deferred.make<Ended>()
  const sending = yield* Scope.make()
  const changes = new Condition()
  let version = 0
  const changed = () => {
    version++
    changes.changed()
  }

  /** A defect ends this courier only; the next one starts from the durable state. */
  const contained = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.catchCause(effect, (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.andThen(
          Effect.logError(
            "The deliveries of a subscription failed by a defect; they restart",
            { subscription: id },
            cause
          ),
          Deferred.succeed(ended, { _tag: "Defect" })
        ))

  const send = Effect.fnUntraced(function*(job: Job) {
    const { event } = job
    const result = endpoint._tag === "None"
      ? unsigned
      : yield* attempt(parts.outbound, endpoint.value, { id: event.id, body: parts.bodies.of(event) })
    const at = DateTime.formatIso(yield* DateTime.now)
    const consequence = plan.report(job, result, now(), at)
    const { retryAfterSeconds: _, ...outcome } = result
    parts.journal.add({
      ...outcome,
      subscriptionId: id,
      eventId: event.id,
      seq: event.seq,
      kind: event.kind,
      deviceId: event.deviceId,
      attempt: job.attempt,
      at,
      abandoned: consequence._tag === "Abandoned"
    })
    changed()
    yield* countDelivery(result.outcome)
    yield* Metric.update(Metrics.subscriptionLatency, result.millis / 1000)
    if (consequence._tag === "Disable") {
      plan.closing = true
      yield* settle
      yield* Deferred.succeed(ended, consequence)
    }
    if (consequence._tag === "Abandoned") {
      yield* Metric.update(Metrics.subscriptionEventsAbandoned, 1)
      yield* Effect.logError(
        "A subscription did not take an event in three days of attempts; it continues without it",
        {
          subscription: id,
          event: event.id,
          seq: event.seq,
          status: result.status
        }
      )
    }
  })

  const filter = { kinds: kinds ?? undefined, visible: devices ?? undefined, hidden: [auditKind] }

  const readHeld = (device: LoggedEvent["deviceId"], after: number) =>
    parts.catchUp.withPermit(
      log.read({
        ...filter,
        device,
        after,
        limit: bounds.heldReadMax,
        bytesMax: bounds.heldReadBytesMax
      })
    ).pipe(
      Effect.tap((page) => Effect.sync(() => plan.heldRead(device, page, now()))),
      Effect.catchTags({
        EventsExpired: ({ oldest }) => Effect.sync(() => plan.heldExpired(device, Number(oldest))),
        LogReset: () => reset,
        StorageUnavailable: () => Effect.sync(() => plan.heldRead(device, null, now()))
      }),
      Effect.ensuring(Effect.sync(changed))
    )

  const pump = Effect.gen(function*() {
    while (true) {
      const step = plan.next(now())
      if (step._tag === "Send") yield* Effect.forkIn(contained(send(step.job)), sending, { startImmediately: true })
      else if (step._tag === "ReadHeld") yield* Effect.forkIn(contained(readHeld(step.device, step.after)), sending)
      else {
        const seen = version
        const change = changes.waitUntil(() => version !== seen)
        yield* step.wakeAt === null ? change : Effect.timeoutOption(change, Math.max(1, step.wakeAt - now()))
      }
    }
  })

  /** Reads the events that the shared reader has passed before this subscription had room for them. */
  const catchUp = Effect.gen(function*() {
    while (true) {
      yield* changes.waitUntil(() => plan.through < parts.feed.through && plan.room > 0)
      const after = plan.through
      const fed = parts.feed.through
      yield* parts.catchUp.withPermit(
        log.read({
          ...filter,
          after,
          mark: plan.throughId,
          limit: Math.max(1, plan.room),
          bytesMax: bounds.windowBytesMax
        })
      ).pipe(
        Effect.flatMap((page) => {
          plan.offer(after, page.events, page.through, page.throughId)
          if (page.through > after) return Effect.void
          // The shared reader has not noticed yet that an older, shorter log has taken the place of the one it read.
          return Effect.timeoutOption(changes.waitUntil(() => parts.feed.through !== fed), readAgainAfter)
        }),
        Effect.catchTags({
          EventsExpired: ({ oldest }) => expired(Number(oldest)),
          LogReset: () => reset,
          StorageUnavailable: () => Effect.sleep(readAgainAfter)
        })
      )
      changed()
    }
  })

  /** Without the claim, the events may have been delivered: by another process, or before the database was replaced by a newer copy. */
  const expired = Effect.fnUntraced(function*(oldest: number) {
    if (!(yield* saveHealth)) return yield* Effect.asVoid(lost)
    const gone = plan.skipTo(oldest - 1)
    yield* Metric.update(Metrics.subscriptionEventsExpired, gone)
    yield* Effect.logError("Events were deleted before a subscription got to them; it continues with the oldest kept", {
      subscription: id,
      numbers: gone,
      oldest
    })
  }, Effect.catchTag("StorageUnavailable", () => Effect.sleep(readAgainAfter)))

  const reset = Effect.asVoid(Deferred.succeed(ended, { _tag: "LogReset" }))

  const written = {
    cursor: claim.seq,
    healthVersion: plan.healthVersion,
    healthAt: now(),
    deliveredAt: health.lastDeliveredAt ?? ""
  }
  const lost = Deferred.succeed(ended, { _tag: "CursorLost" })

  /** One write at a time, so that an older state does not follow a newer one. */
  const writing = Semaphore.makeUnsafe(1)
  const saveHealth = writing.withPermit(Effect.suspend(() => {
    const { health, healthVersion } = plan
    const saved = { healthVersion, healthAt: now(), deliveredAt: health.lastDeliveredAt ?? "" }
    return Effect.tap(
      repository.saveHealth(id, claim.epoch, health),
      () => Effect.sync(() => Object.assign(written, saved))
    )
  }))

  /** Writes health first, then the cursor as it was when the health was read. */
  const settle: Effect.Effect<void> = Effect.gen(function*() {
    const { cursor, cursorId, health, healthVersion } = plan
    const delivered = health.lastDeliveredAt ?? ""
    const quiet = delivered !== written.deliveredAt &&
      now() - written.healthAt >= Duration.toMillis(quietHealthInterval)
    if (healthVersion !== written.healthVersion || quiet) {
      if (!(yield* saveHealth)) {
        yield* lost
        return
      }
    }
    if (cursor <= written.cursor) return
    yield* log.moveCursor(claim, cursor, cursorId)
    written.cursor = cursor
  }).pipe(
    Effect.catchTag("CursorLost", () => lost),
    // Retried with the next change; a crash before that repeats some events.
    Effect.catchTag("StorageUnavailable", () => Effect.void),
    Effect.asVoid
  )

  const isSettled = () =>
    plan.cursor <= written.cursor && plan.healthVersion === written.healthVersion &&
    (plan.health.lastDeliveredAt ?? "") === written.deliveredAt
  const settling = changes.waitUntil(() => !isSettled()).pipe(
    Effect.andThen(Effect.sleep(bounds.settleInterval)),
    Effect.andThen(settle),
    Effect.forever
  )
  const drained = Effect.gen(function*() {
    plan.closing = true
    if (yield* Deferred.isDone(ended)) return
    yield* Effect.timeoutOption(changes.waitUntil(() => plan.inFlight === 0), shutdownBudget.relayDrain)
    yield* Effect.timeoutOption(settle, shutdownBudget.relayCursor)
  })
  // Closed after the loops below, which are forked later, so that requests in flight can still be reported.
  yield* Effect.addFinalizer(() => Effect.andThen(drained, Scope.close(sending, Exit.void)))
  yield* Effect.forEach([pump, catchUp, settling], (loop) => Effect.forkScoped(contained(loop)), { discard: true })
  return {
    generation: claim.generation,
    offer: (page) => {
      try {
        plan.offer(page.after, page.events, page.through, page.throughId)
        changed()
      } catch (defect) {
        // A defect of this courier must not end the reader, which serves the others too.
        Effect.runForkWith(context)(contained(Effect.die(defect)))
      }
    },
    reset,
    view: () => {
      const { failing, held } = plan.health
      return { failing: failing !== null, held: held.length, confirmed: plan.cursor }
    },
    ended: Deferred.await(ended)
  }
})
