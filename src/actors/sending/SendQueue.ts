/**
 * Sends messages to the gateways of the devices that this process runs: for each device in order per chat, a few chats at
 * once, the oldest first. One set of devices with possible messages, one loop and one clock for all of them.
 *
 * A message is claimed in the database before its request begins, under the epoch of the device's claim, and the log writes
 * its outcome in the transaction of its events. If the process dies in between, the device's next owner finds the message
 * claimed under an older epoch: then it is unknown whether it was sent, and it is in doubt (`SendDoubts`). A message that
 * was certainly not sent is released and keeps its place.
 */
import { Cause, Clock, Duration, Effect, Exit, FiberSet, Metric, Option, Schedule, Stream } from "effect"
import type { Scope } from "effect"
import { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import type { DeviceId, MessageId } from "../../domain/Ids.ts"
import { isFetched } from "../../domain/Send.ts"
import type { SendReason } from "../../domain/Send.ts"
import type { OutgoingFile } from "../../services/GatewayParts.ts"
import { Condition } from "../../services/Condition.ts"
import { EventLog } from "../../services/EventLog.ts"
import * as Metrics from "../../services/Metrics.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { RepeatedWarnings } from "../../services/RepeatedWarnings.ts"
import { recordOutcome, sentAs } from "../../services/sendDrafts.ts"
import type { SendOutcome } from "../../services/sendDrafts.ts"
import { heldAfter, SendRepository } from "../../services/SendRepository.ts"
import type { ClaimedSend, StoredSend } from "../../services/SendRepository.ts"
import { SendSettings } from "../../services/SendSettings.ts"
import { describeDefect } from "../device/DeviceCell.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import * as LanePacing from "./LanePacing.ts"
import * as SendDoubts from "./SendDoubts.ts"
import * as SendFiles from "./SendFiles.ts"

/** A device that may have messages to send. */
interface Lane {
  /**
   * Whether there may be an unclaimed message, followed by the number of such notices, which distinguishes new notices from
   * old ones.
   */
  waits: boolean
  notices: number
  claiming: boolean
  inFlight: number
  pausedUntil: number
  pause: number
}

/** The wait before a claim is retried after an outage of the database. */
const retryMillis = 1000

/**
 * How long claimed messages are searched for after a claim without an answer, or after a defect: the claim may still be
 * executed.
 */
const unansweredMillis = 3 * Duration.toMillis(heldAfter)

/** How long requests in flight may still be answered when the process stops. The whole fleet has 2 s to stop. */
const drainMax = Duration.seconds(1)

/** The result of a message's request. `Back`: it was not sent and may be sent later. */
type Answer =
  | { readonly _tag: "Ended"; readonly outcome: SendOutcome }
  | { readonly _tag: "Back"; readonly reason: SendReason; readonly detail: string }

export const make = Effect.fnUntraced(function*(
  cells: ReadonlyMap<DeviceId, DeviceCell>
): Effect.fn.Return<void, never, EventLog | Scope.Scope> {
  const found = yield* Effect.serviceOption(SendRepository)
  if (Option.isNone(found)) return
  const sends = found.value
  const log = yield* EventLog
  const settings = yield* SendSettings
  const clock = yield* Clock.Clock
  const fibers = yield* FiberSet.make<void>()
  const files = yield* SendFiles.make(sends)
  const warnings = new RepeatedWarnings()
  const lanes = new Map<DeviceId, Lane>()
  const work = new Condition()
  /** The messages that were claimed and have not ended. */
  const taken = new Set<MessageId>()
  /** The messages that the gateway has, and whose outcome could not be recorded. */
  const unrecorded = new Map<MessageId, Effect.Effect<void>>()
  let unansweredUntil = Number.NEGATIVE_INFINITY
  let inFlight = 0
  let closing = false
  let changed = false
  /** Whether the last sweep found a message that changes by itself, or a message was accepted since. */
  let active = true

  const now = () => monotonicMillis(clock)
  const nudge = () => {
    changed = true
    work.changed()
  }

  const pacing = yield* LanePacing.make(sends, settings, (id) => {
    remember(id)
    nudge()
  })

  /** The device may have a new message. */
  const mark = (id: DeviceId): void => {
    pacing.noteNew(id)
    remember(id)
  }

  const remember = (id: DeviceId): void => {
    const lane = lanes.get(id)
    if (lane === undefined) {
      lanes.set(id, {
        waits: true,
        notices: 1,
        claiming: false,
        inFlight: 0,
        pausedUntil: Number.NEGATIVE_INFINITY,
        pause: Duration.toMillis(settings.pauseMin)
      })
    } else {
      lane.waits = true
      lane.notices++
    }
    active = true
  }

  /** The facts of an outcome are true no matter which process reports them, so they carry no fence; the row compares its own state. */
  const record = (send: StoredSend, outcome: SendOutcome, sender: string) =>
    Effect.suspend(() => {
      const { drafts, effects } = recordOutcome(send, outcome, sender, clock.currentTimeMillisUnsafe())
      return log.append(drafts, { effects })
    }).pipe(
      Effect.orDie,
      Effect.andThen(Metric.update(Metric.withAttributes(Metrics.sendsEnded, { outcome: outcome.state }), 1))
    )

  const reportEnded = (untold: ReadonlyArray<StoredSend>) =>
    Effect.forEach(untold, (send) => {
      const { detail, reason, sender, state, waId } = send
      if (state !== "cancelled" && state !== "expired" && state !== "unknown") return Effect.void
      return record(send, { state, waId, reason, detail }, sender)
    }, { discard: true, concurrency: 64 })

  /**
   * Releases messages of a claim whose answer was lost: this process does not know that it holds them, and they would block
   * their chats forever.
   */
  const takeBack = Effect.gen(function*() {
    for (const claimed of yield* sends.held) {
      // Held by another process, which knows its own claims.
      if (!cells.has(claimed.deviceId)) continue
      if (taken.has(claimed.id) || unrecorded.has(claimed.id)) continue
      yield* sends.release(claimed, null)
      pacing.forget(claimed.deviceId)
      mark(claimed.deviceId)
      nudge()
    }
  })

  const recordAgain = Effect.suspend(() =>
    Effect.forEach([...unrecorded], ([id, again]) => Effect.andThen(again, Effect.sync(() => unrecorded.delete(id))), {
      discard: true
    })
  )

  const readWaiting = (mark: (id: DeviceId) => void) =>
    Effect.map(sends.waiting, (ids) => {
      for (const id of ids) mark(id)
      nudge()
    })

  const sweep = Effect.gen(function*() {
    const swept = yield* sends.sweep
    active = swept.active
    for (const id of swept.due) mark(id)
    if (swept.due.length > 0) nudge()
    yield* reportEnded(swept.untold)
    if (now() < unansweredUntil) yield* takeBack
    yield* recordAgain
    // These are not new: devices that wait for resting chats continue to wait.
    if (active) yield* readWaiting(remember)
    yield* pacing.measure
  }).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.logDebug("messages to send could not be looked over; tried again", cause)
    )
  )

  const ask = Effect.fnUntraced(function*(cell: DeviceCell, claimed: ClaimedSend, claimedAt: number) {
    const { gateway } = cell.host
    const takes = gateway.send?.contents.has(claimed.body.content.type) === true && !claimed.limited
    const file = takes ? yield* files.prepare(claimed) : null
    if (file === null || !("_tag" in file)) {
      // A message whose file was fetched has begun again: its times count from now.
      if (isFetched(claimed.body.content)) pacing.forget(claimed.deviceId)
      return yield* give(cell, claimed, isFetched(claimed.body.content) ? now() : claimedAt, file)
    }
    const { detail, permanent, reason } = file
    return permanent
      ? { _tag: "Ended" as const, outcome: { state: "failed" as const, waId: null, reason, detail } }
      : { _tag: "Back" as const, reason, detail }
  })

  const give = (
    cell: DeviceCell,
    claimed: ClaimedSend,
    claimedAt: number,
    file: OutgoingFile | null
  ): Effect.Effect<Answer> => {
    const { content } = claimed.body
    const part = cell.host.gateway.send
    const failed = (reason: SendReason, detail: string): Answer => ({
      _tag: "Ended",
      outcome: { state: "failed", waId: null, reason, detail }
    })
    if (part === undefined || !part.contents.has(content.type)) {
      return Effect.succeed(failed("unsupported", "the device's gateway cannot send this"))
    }
    if (claimed.limited) {
      const detail = "the gateway refused this recipient less than an hour ago, so it was not given to it"
      return Effect.succeed(failed("reach-out-pause", detail))
    }
    if (now() - claimedAt > Duration.toMillis(settings.freshMax)) {
      return Effect.succeed({ _tag: "Back", reason: "gateway-unavailable", detail: "the process was too slow" })
    }
    const target = { deviceId: cell.device.id, upstreamId: cell.device.upstreamId, jid: cell.actorState.jid }
    const unknown = (detail: string): Answer => ({
      _tag: "Ended",
      outcome: { state: "unknown", waId: null, reason: "no-answer", detail }
    })
    return part.message(target, { to: claimed.chat, file, ...claimed.body }).pipe(
      Effect.map(({ sentAt, waId }): Answer => ({ _tag: "Ended", outcome: sentAs(waId, sentAt) })),
      Effect.catchTags({
        SendRefused: ({ message, permanent, reason }) =>
          Effect.succeed(permanent ? failed(reason, message) : { _tag: "Back" as const, reason, detail: message }),
        SendOutcomeUnknown: ({ message }) => Effect.succeed(unknown(message)),
        GatewayUnavailable: ({ message }) =>
          Effect.succeed({ _tag: "Back" as const, reason: "gateway-unavailable" as const, detail: message })
      }),
      Effect.catchDefect((defect) =>
        Effect.as(
          Effect.logError("A defect while a message was given to a gateway", describeDefect(defect)),
          unknown("a defect in this program; its log says more")
        )
      )
    )
  }

  const serve = Effect.fnUntraced(function*(id: DeviceId, lane: Lane, cell: DeviceCell) {
    const { notices } = lane
    if (!(yield* pacing.turn(cell))) {
      lane.claiming = false
      return
    }
    const claimedAt = now()
    const claimed = yield* Effect.exit(sends.claim(id, cell.epoch, pacing.resting(id)))
    if (Exit.isFailure(claimed) || claimed.value === null) yield* pacing.giveBack(cell)
    lane.claiming = false
    if (Exit.isFailure(claimed)) {
      yield* warnings.warn("claim", "Messages could not be claimed for sending; tried again", {
        device: id,
        reason: describeCause(claimed.cause)
      })
      unansweredUntil = now() + unansweredMillis
      active = true
      lane.pausedUntil = now() + retryMillis
      return
    }
    if (claimed.value === null) {
      if (lane.notices === notices) {
        lane.waits = false
        pacing.nothing(id)
      }
      return
    }
    taken.add(claimed.value.id)
    lane.inFlight++
    inFlight++
    pacing.claimed(claimed.value)
    nudge()
    const send = claimed.value
    let recorded: Effect.Effect<void> | null = null
    yield* Effect.gen(function*() {
      const answer = yield* ask(cell, send, claimedAt)
      if (answer._tag === "Ended") {
        lane.pause = Duration.toMillis(settings.pauseMin)
        recorded = Effect.andThen(
          record(send, answer.outcome, cell.actorState.jid ?? send.sender),
          files.ended(send)
        )
        return yield* recorded
      }
      lane.pausedUntil = now() + lane.pause
      lane.pause = Math.min(lane.pause * 2, Duration.toMillis(settings.pauseMax))
      cell.host.status.want(cell, "soon")
      yield* Effect.retry(sends.release(send, answer), {
        schedule: Schedule.spaced(retryMillis)
      })
      yield* pacing.giveBack(cell)
      pacing.forget(id)
    }).pipe(
      // Its file is closed after the outcome is recorded: a failure then cannot send the message a second time.
      Effect.scoped,
      Effect.catchCause((cause) => {
        if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
        if (recorded === null) unansweredUntil = now() + unansweredMillis
        else unrecorded.set(send.id, recorded)
        return Effect.logError("A message could not be sent, or its outcome not be recorded; tried again", cause)
      }),
      Effect.ensuring(Effect.sync(() => {
        taken.delete(send.id)
        lane.inFlight--
        inFlight--
        lane.notices++
        lane.waits = true
        nudge()
      }))
    )
  })

  const readPace = Effect.fnUntraced(function*(lane: Lane, cell: DeviceCell) {
    const read = yield* Effect.exit(pacing.read(cell))
    lane.claiming = false
    if (Exit.isSuccess(read) && read.value) nudge()
    else lane.pausedUntil = now() + retryMillis
  })

  const startable = (id: DeviceId, lane: Lane): DeviceCell | null => {
    if (!lane.waits || lane.claiming || lane.inFlight >= settings.chatsAtOnce || now() < lane.pausedUntil) return null
    const cell = cells.get(id)
    return cell === undefined || cell.actorState.state._tag !== "Online" ? null : cell
  }

  const pump = Effect.gen(function*() {
    yield* work.waitUntil(() => changed)
    changed = false
    for (const [id, lane] of lanes) {
      if (closing || inFlight >= settings.inFlightMax) return
      if (!lane.waits && !lane.claiming && lane.inFlight === 0 && now() >= lane.pausedUntil) {
        lanes.delete(id)
        if (!pacing.isClosed(id)) pacing.forget(id)
      }
      const cell = startable(id, lane)
      if (cell === null) continue
      const gate = pacing.gate(cell)
      if (gate === "closed") continue
      lane.claiming = true
      yield* FiberSet.run(fibers, gate === "unread" ? readPace(lane, cell) : serve(id, lane, cell))
    }
  })

  yield* Effect.forkScoped(Effect.forever(pump))
  yield* Effect.forkScoped(Stream.runForEach(sends.changes, (id) => {
    if (id === null) return Effect.ignore(readWaiting(mark))
    mark(id)
    return Effect.sync(nudge)
  }))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(
    sweep,
    Effect.suspend(() =>
      active
        ? Effect.andThen(Effect.sleep(settings.tick), Effect.sync(nudge))
        : Effect.timeoutOption(work.waitUntil(() => active), settings.idleTick)
    )
  )))
  yield* SendDoubts.make({
    cells,
    sends,
    log,
    settings,
    isActive: () => active,
    resolved: (send, outcome, sender) => record(send, outcome, sender),
    again: (id) => {
      mark(id)
      nudge()
    }
  })
  // Added last, so it runs first: no new request begins, and requests in flight may still be answered.
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      closing = true
      return Effect.timeoutOption(work.waitUntil(() => inFlight === 0), drainMax)
    })
  )
})

const describeCause = (cause: Cause.Cause<StorageUnavailable>): string => {
  const error = Cause.squash(cause)
  return error instanceof StorageUnavailable ? error.message : describeDefect(error)
}
