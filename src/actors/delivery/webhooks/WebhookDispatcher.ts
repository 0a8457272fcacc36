/**
 * Delivers events to all active subscriptions: one separately supervised courier each, and one shared reader of the log.
 * The reader waits for no courier. A courier whose window is full reads the events that it missed by itself, as soon as it
 * has room; few couriers read at a time, each in bounded steps.
 *
 * One process at a time delivers for a subscription: each courier claims its cursor, and a newer claim ends the older one.
 * The older one then stands by and claims the cursor again only if the other process makes no progress.
 */
import { DateTime, Duration, Effect, Fiber, Layer, Metric, Random, Schedule, Scope, Semaphore, Stream } from "effect"
import type { EventDraft } from "../../../domain/Event.ts"
import { fleetDevice } from "../../../domain/Ids.ts"
import type { EventId } from "../../../domain/Ids.ts"
import type { DisabledReason, SubscriptionId } from "../../../domain/Subscription.ts"
import { makeEventId } from "../../../services/EventIdentity.ts"
import { EventLog } from "../../../services/EventLog.ts"
import type { CursorClaim } from "../../../services/EventLog.ts"
import * as Metrics from "../../../services/Metrics.ts"
import { OutboundHttp } from "../../../services/OutboundHttp.ts"
import { Readiness } from "../../../services/Readiness.ts"
import { SecretSeal } from "../../../services/SecretSeal.ts"
import { Condition } from "../../../services/Condition.ts"
import * as bounds from "../../../services/subscriptionBounds.ts"
import { formatCursorName, SubscriptionRepository } from "../../../services/SubscriptionRepository.ts"
import type { StoredSubscription } from "../../../services/SubscriptionRepository.ts"
import * as Courier from "./Courier.ts"
import type { Ended, FeedPage } from "./Courier.ts"
import * as DeliveryJournal from "./DeliveryJournal.ts"
import { WebhookBodies } from "./WebhookBodies.ts"

/** Polling intervals without a notice. Tests that cover days poll less often. */
export interface DispatcherIntervals {
  /** For changes whose notice was lost: one small query. */
  readonly poll: Duration.Duration
  /** How often the gauges are set: two small queries. */
  readonly gauges: Duration.Duration
}

const defaultIntervals: DispatcherIntervals = { poll: Duration.seconds(10), gauges: Duration.seconds(15) }

/** Storage is unavailable: nothing can be read or claimed, and it usually recovers within seconds. */
const storageRetry = Schedule.spaced("1 second").pipe(Schedule.jittered)

/** The pause after a defect, so that a recurring one costs little. */
const defectPause = Duration.seconds(5)

/** How long another process that has claimed a cursor may leave it unmoved while there are events to deliver. */
const standbyTimeout = Duration.seconds(30)
const standbyScatter = Duration.seconds(15)

/** Maximum number of concurrent claims and stops, when many subscriptions start or end together. */
const changesAtOnce = 16

export interface DispatcherView {
  readonly active: number
  readonly failing: number
  readonly held: number
}

interface Running {
  readonly revision: number
  readonly fiber: Fiber.Fiber<void>
}

/** Runs until its scope closes. */
export const make = Effect.fnUntraced(function*(
  intervals: DispatcherIntervals = defaultIntervals
): Effect.fn.Return<
  Effect.Effect<DispatcherView>,
  never,
  EventLog | SubscriptionRepository | OutboundHttp | SecretSeal | Scope.Scope
> {
  const log = yield* EventLog
  const repository = yield* SubscriptionRepository
  const outbound = yield* OutboundHttp
  const seal = yield* SecretSeal
  const journal = yield* DeliveryJournal.make(repository)
  const bodies = new WebhookBodies()
  const feed = { through: 0, throughId: null as EventId | null }
  const claims = Semaphore.makeUnsafe(changesAtOnce)
  const catchUp = Semaphore.makeUnsafe(bounds.catchUpReadsMax)
  const parts = { log, repository, outbound, seal, journal, bodies, catchUp, feed }
  const couriers = new Map<SubscriptionId, Courier.Courier>()
  const delivering = new Condition()
  const running = new Map<SubscriptionId, Running>()

  /** Whether the claim is of a log that was replaced before this process knew anything of it. */
  const isBeyond = ({ seq }: CursorClaim): Effect.Effect<boolean> =>
    seq <= feed.through ? Effect.succeed(false) : log.locate({ after: seq }).pipe(
      Effect.retry({ schedule: storageRetry, while: ({ _tag }) => _tag === "StorageUnavailable" }),
      Effect.as(false),
      Effect.catch(({ _tag }) => Effect.succeed(_tag === "LogReset"))
    )

  /** Runs one claim of one subscription until it ends, and returns why it ended. */
  const deliver = (stored: StoredSubscription, claim: CursorClaim): Effect.Effect<Ended> => {
    const { id } = stored.subscription
    return Effect.scoped(Effect.gen(function*() {
      const courier = yield* Courier.make(parts, stored, claim)
      couriers.set(id, courier)
      delivering.changed()
      yield* Effect.addFinalizer(() => Effect.sync(() => couriers.delete(id)))
      // From here on the reader notices that the log has gone back.
      if (claim.generation !== log.generation() || (yield* isBeyond(claim))) yield* courier.reset
      return yield* courier.ended
    }))
  }

  const supervise = Effect.fnUntraced(function*(first: StoredSubscription) {
    const { id } = first.subscription
    let stored = first
    while (true) {
      const claim = yield* Effect.retry(claims.withPermit(log.resumeCursor(formatCursorName(id))), storageRetry).pipe(
        Effect.orDie
      )
      if (claim === null) {
        return yield* Effect.logWarning(
          "A subscription has no cursor: it was removed, or its row was deleted by hand",
          {
            cursor: formatCursorName(id)
          }
        )
      }
      // Health is read after the claim: changes that another process has recorded must not be overwritten.
      const found = yield* Effect.retry(claims.withPermit(repository.get(id)), {
        schedule: storageRetry,
        while: ({ _tag }) => _tag === "StorageUnavailable"
      }).pipe(Effect.option)
      if (found._tag === "None" || found.value.revision !== stored.revision) return
      stored = found.value
      const ended = yield* deliver(stored, claim)
      switch (ended._tag) {
        case "Disable":
          if (yield* disable(stored, claim, ended.reason)) return
          // The claim no longer held the cursor.
          yield* standBy(claim)
          break
        case "CursorLost":
          yield* standBy(claim)
          break
        case "Defect":
          yield* Effect.sleep(defectPause)
          break
        case "LogReset":
          break
      }
    }
  })

  /**
   * Writes the event first, with an identity: after a crash between the two steps, disabling repeats without a second
   * event.
   */
  const disable = Effect.fnUntraced(function*(
    stored: StoredSubscription,
    claim: CursorClaim,
    reason: DisabledReason
  ) {
    const { id, name, url } = stored.subscription
    const found = yield* Effect.option(repository.get(id))
    const failing = found._tag === "None" ? null : found.value.subscription.health.failing
    const now = yield* DateTime.now
    const draft: EventDraft = {
      id: makeEventId(DateTime.toEpochMillis(now)),
      kind: "subscription.disabled",
      deviceId: fleetDevice,
      occurredAt: DateTime.formatIso(now),
      via: "columba",
      data: {
        subscriptionId: id,
        name,
        host: new URL(url).host,
        reason,
        outcome: reason === "gone" ? "gone" : failing?.outcome ?? null,
        status: reason === "gone" ? 410 : failing?.status ?? null
      },
      identity: { chat: "", sender: "", fromMe: false, waId: id, rank: String(stored.enabledTimes) },
      aliases: []
    }
    yield* Effect.orDie(log.append([draft]))
    const disabled = yield* Effect.retry(repository.disable(id, claim.epoch, reason), storageRetry).pipe(Effect.orDie)
    if (!disabled) return false
    yield* Metric.update(Metrics.subscriptionsDisabled, 1)
    yield* Effect.logError(
      reason === "gone"
        ? "A subscription is disabled: its endpoint answered that it is gone"
        : "A subscription is disabled: nothing was delivered in three days of attempts",
      { subscription: id, enable: `columba subscriptions enable ${id}` }
    )
    return true
  })

  /** Returns when the cursor may be claimed again. */
  const standBy = Effect.fnUntraced(function*(claim: CursorClaim) {
    const look = Effect.gen(function*() {
      const { head } = yield* log.bounds
      const row = (yield* log.cursors).find(({ sink }) => sink === claim.sink)
      return row === undefined || row.epoch <= claim.epoch ? null : { seq: row.seq, behind: row.seq < head }
    })
    let before = yield* Effect.option(look)
    if (before._tag === "None" || before.value !== null) {
      yield* Effect.logInfo("A subscription stands by: another process has its cursor", { cursor: claim.sink })
    }
    while (before._tag === "None" || before.value !== null) {
      yield* Effect.sleep(Duration.sum(standbyTimeout, Duration.times(standbyScatter, yield* Random.next)))
      const now = yield* Effect.option(look)
      const stuck = before._tag === "Some" && now._tag === "Some" && now.value?.behind === true &&
        now.value.seq === before.value?.seq
      if (stuck) return
      before = now
    }
  })

  const start = Effect.fnUntraced(function*(stored: StoredSubscription) {
    const { id } = stored.subscription
    const again = (defect: unknown) =>
      Effect.logError("A subscription failed by a defect; it restarts", { subscription: id }, defect).pipe(
        Effect.andThen(Effect.sleep(defectPause)),
        Effect.as(false)
      )
    const supervised = supervise(stored).pipe(
      Effect.as(true),
      Effect.catchDefect(again),
      Effect.repeat({ until: (over) => over }),
      Effect.asVoid
    )
    const fiber = yield* Effect.forkIn(supervised, scope)
    running.set(id, { revision: stored.revision, fiber })
  })

  const stop = (id: SubscriptionId) =>
    Effect.suspend(() => {
      const before = running.get(id)
      running.delete(id)
      return before === undefined ? Effect.void : Fiber.interrupt(before.fiber)
    })

  const reconcile = Effect.gen(function*() {
    const wanted = new Map(
      (yield* repository.list).filter(({ subscription }) => subscription.state === "active")
        .map((stored) => [stored.subscription.id, stored] as const)
    )
    const over = [...running].filter(([id, { revision }]) => wanted.get(id)?.revision !== revision)
    yield* Effect.forEach(over, ([id]) => stop(id), { concurrency: changesAtOnce, discard: true })
    const begin = [...wanted.values()].filter(({ subscription }) => !running.has(subscription.id))
    yield* Effect.forEach(begin, start, { discard: true })
  }).pipe(
    Effect.catch((error) => Effect.logDebug("The subscriptions could not be read", error.message)),
    Effect.catchDefect((defect) => Effect.logError("A defect in following the subscriptions", defect))
  )

  // They stop concurrently: each may wait for its requests in flight.
  const scope = yield* Scope.fork(yield* Effect.scope, "parallel")

  const offer = (page: FeedPage) => {
    feed.through = page.through
    feed.throughId = page.throughId
    for (const courier of couriers.values()) courier.offer(page)
  }

  /**
   * Reads from the head on, once there is a courier: most installations have none, and waking a reader for each commit is a
   * noticeable part of its cost. Ends when the log is another one; then every courier starts again as well.
   */
  const read = Effect.gen(function*() {
    yield* delivering.waitUntil(() => couriers.size > 0)
    const generation = log.generation()
    const { head, headId } = yield* Effect.retry(log.bounds, storageRetry).pipe(Effect.orDie)
    offer({ after: head, events: [], through: head, throughId: headId })
    const outdated = [...couriers.values()].filter((courier) => courier.generation !== generation)
    yield* Effect.forEach(outdated, (courier) => courier.reset, { discard: true })
    return yield* Effect.suspend(() =>
      log.followEach(
        { after: feed.through, mark: feed.throughId, generation },
        (page) => Effect.sync(() => offer({ ...page, after: feed.through }))
      )
    ).pipe(Effect.retry({ schedule: storageRetry, while: ({ _tag }) => _tag === "StorageUnavailable" }))
  }).pipe(
    Effect.catch((error) => Effect.logWarning("Subscriptions read their cursors again", error.message)),
    Effect.catchDefect((defect) =>
      Effect.andThen(Effect.logError("A defect in the reader of the subscriptions", defect), Effect.sleep(defectPause))
    ),
    Effect.andThen(Effect.suspend(() => {
      feed.through = 0
      bodies.forget()
      return Effect.forEach([...couriers.values()], (courier) => courier.reset, { discard: true })
    }))
  )

  const view = Effect.sync((): DispatcherView => {
    const views = Array.from(couriers.values(), (courier) => courier.view())
    return {
      active: running.size,
      failing: views.filter(({ failing }) => failing).length,
      held: views.reduce((sum, { held }) => sum + held, 0)
    }
  })

  const showGauges = Effect.gen(function*() {
    const rows = yield* repository.list
    const { head } = yield* log.bounds
    const { failing, held } = yield* view
    const count = (state: string) => rows.filter(({ subscription }) => subscription.state === state).length
    const states = { active: count("active"), paused: count("paused"), disabled: count("disabled"), failing }
    for (const [state, value] of Object.entries(states)) {
      yield* Metric.update(Metric.withAttributes(Metrics.subscriptions, { state }), value)
    }
    const confirmed = Array.from(couriers.values(), (courier) => courier.view().confirmed)
    yield* Metric.update(Metrics.subscriptionLag, Math.max(0, ...confirmed.map((seq) => head - seq)))
    yield* Metric.update(Metrics.subscriptionHeldDevices, held)
  }).pipe(Effect.ignore)

  yield* Effect.addFinalizer(() => journal.flush)
  yield* Effect.forkScoped(Effect.forever(read))
  yield* Effect.forkScoped(
    Stream.merge(repository.changes, Stream.fromSchedule(Schedule.spaced(intervals.poll))).pipe(
      Stream.runForEach(() => reconcile)
    )
  )
  yield* Effect.forkScoped(Effect.repeat(showGauges, Schedule.spaced(intervals.gauges)))
  yield* reconcile
  return view
})

/** Names subscribers that do not accept events; they do not make the process unready, because the log keeps the events. */
export const layer: Layer.Layer<
  never,
  never,
  EventLog | SubscriptionRepository | OutboundHttp | SecretSeal | Readiness
> = Layer.unwrap(
  Effect.map(make(), (view) => Readiness.check("subscriptions", Effect.map(view, describe)))
)

const describe = ({ active, failing, held }: DispatcherView): string =>
  [
    `${active} active subscription${active === 1 ? "" : "s"}`,
    ...(failing === 0 ? [] : [`${failing} failing`]),
    ...(held === 0 ? [] : [`${held} devices held back`])
  ].join(", ")
