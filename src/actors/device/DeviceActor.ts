/**
 * The actor of one device: it owns the session, keeps the device's state, and carries out what `DeviceBehaviour` decides.
 *
 * The actor is one fiber. While online it waits on its inbox; frames do not pass through it: the session passes them to the
 * cell's listener, which writes them straight to the log. Only inputs that change the state wake the fiber.
 *
 * Order in `handle`: decide, record the transition in the log, then act. A crash between the last two leaves a recorded
 * state that was not carried out; the next actor starts with a connection, not with the unfinished action of the last one.
 */
import { Cause, Effect, Exit, Metric, Option, Random, Scope } from "effect"
import type { EventLog } from "../../services/EventLog.ts"
import * as Metrics from "../../services/Metrics.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import type { SessionRefused } from "../../services/GatewayParts.ts"
import type { GatewayIncidents } from "../gateway/GatewayIncidents.ts"
import { reconnectDelay } from "../Supervision.ts"
import { evolve, nextStep, wasStable } from "./ActorState.ts"
import type { Now, Transition } from "./ActorState.ts"
import { decide } from "./DeviceBehaviour.ts"
import type { Input } from "./DeviceBehaviour.ts"
import { describeDefect, FrameListener, pauseUntilRoom } from "./DeviceCell.ts"
import type { DeviceCell } from "./DeviceCell.ts"
import { noteTransition, push } from "./receptionGaps.ts"
import { mayPassOn, passOn } from "./PassedSession.ts"
import { dropHeld, recordTransition } from "./stateRecords.ts"

/** Runs the device until it is interrupted. Never fails: a defect inside becomes an input like any other. */
export const run = (cell: DeviceCell): Effect.Effect<void> =>
  Effect.onExit(supervised(cell, cell.begin), () => stop(cell))

const supervised = (cell: DeviceCell, first: Input): Effect.Effect<void> =>
  Effect.catchCause(live(cell, first), (cause) => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause)
    cell.restarts++
    const detail = describeDefect(Cause.squash(cause))
    return Effect.logError("device crashed", cause).pipe(
      Effect.annotateLogs({ device: cell.device.id, restarts: cell.restarts }),
      Effect.andThen(Metric.update(Metrics.actorRestarts, 1)),
      Effect.andThen(supervised(cell, { _tag: "Crashed", detail }))
    )
  })

const live = Effect.fnUntraced(function*(cell: DeviceCell, first: Input) {
  yield* handle(cell, first)
  while (true) {
    const todo = nextStep(cell.actorState)
    switch (todo._tag) {
      case "Finished":
        return yield* reportEnd(cell)
      case "Open":
        yield* handle(cell, yield* connect(cell))
        break
      case "WaitUntil":
        yield* handle(cell, yield* cell.takeUntil(todo.at))
        break
      case "Park":
        yield* handle(cell, yield* cell.take)
        break
    }
  }
})

/** A running actor ends by itself only when the log refused it as stale. */
const reportEnd = (cell: DeviceCell): Effect.Effect<void> =>
  !cell.fenced ?
    Effect.void :
    Effect.logWarning("the device has been claimed again, so its actor under the older claim stops").pipe(
      Effect.annotateLogs({ device: cell.device.id, epoch: cell.epoch }),
      Effect.andThen(Metric.update(Metrics.actorsFenced, 1))
    )

/** Most inputs are decided at once; only a failure may require a probe, and gets a random delay. */
const handle = (cell: DeviceCell, input: Input): Effect.Effect<void> =>
  input._tag === "Ended" || input._tag === "Crashed" ? handleFailure(cell, input) : apply(cell, input, 0)

type Failed = Extract<Input, { readonly _tag: "Ended" | "Crashed" }>

const handleFailure = (cell: DeviceCell, raw: Failed): Effect.Effect<void> =>
  raw._tag === "Ended" && raw.failure.class === "upstreamDown"
    ? Effect.flatMap(
      confirmEnd(cell, raw),
      (input) => input._tag === "Ended" ? applyFailure(cell, input) : apply(cell, input, 0)
    )
    : applyFailure(cell, raw)

const applyFailure = (cell: DeviceCell, input: Failed): Effect.Effect<void> =>
  Effect.flatMap(Random.next, (chance) => {
    const delay = nextDelay(cell, chance)
    if (input._tag === "Ended") {
      cell.lastFailure = input.failure
      cell.host.meter.lost(input.failure.class)
    }
    return apply(cell, input, delay)
  })

/** Decides, records, acts. All of it is synchronous, so an interruption comes before or after it, never in between. */
const apply = (cell: DeviceCell, input: Input, delay: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { clock } = cell.host
    const now: Now = { wall: clock.currentTimeMillisUnsafe(), monotonic: monotonicMillis(clock) }
    const { orders, transition } = decide(cell.actorState, input, { ...now, delay })
    if (transition !== null) record(cell, transition, now)
    let forget = false
    for (const order of orders) {
      if (order._tag === "SyncStatus") {
        cell.host.status.want(cell, order.when)
        continue
      }
      if (order._tag === "StartSlot") {
        cell.host.starter.want(cell)
        continue
      }
      forget = order.forget
      if (order.forget) cell.listener = null
      cell.session?.end(order.failure)
    }
    return cell.session !== null && (forget || !cell.actorState.sessionOpen) ? dropSession(cell) : Effect.void
  })

/**
 * Applies the transition to the actor's state and appends it to the log, under the epoch of the actor's claim. An actor
 * that was refused as stale records nothing more: another process now decides about the device.
 */
const record = (cell: DeviceCell, transition: Transition, now: Now): void => {
  const { host } = cell
  const from = cell.actorState.state
  const { drafts, effects } = noteTransition(cell, transition)
  push(cell, { drafts, effects: [] })
  cell.actorState = evolve(cell.actorState, transition, now)
  if (transition.rule === "gateway-down") host.incidents.wait(cell)
  else host.incidents.leave(cell)
  if (transition.rule === "fenced") {
    cell.fenced = true
    dropHeld(cell)
  } else recordTransition(cell, from, transition, now.wall)
  push(cell, { drafts: [], effects })
  host.meter.moved(from._tag, cell.actorState.state._tag)
  host.status.moved(cell, from)
  host.starter.moved(cell)
  host.webhooks.moved(cell)
  host.backfill.changed(cell)
}

/**
 * A gateway that seems down is probed once for all its devices. If it answers, the failure concerns this device alone and
 * counts as transport; if not, the device joins the incident.
 */
const confirmEnd = Effect.fnUntraced(function*(cell: DeviceCell, ended: Extract<Input, { _tag: "Ended" }>) {
  const { incidents } = cell.host
  const down = (yield* incidents.suspect(ended.failure)) ? joinIncident(incidents) : null
  if (down !== null) return down
  return { ...ended, failure: { ...ended.failure, class: "transport" as const } }
})

/** Called when the gateway did not answer about the device: returns the resulting input, or null if there is none. */
export const confirmSilence = ({ host }: DeviceCell, detail: string): Effect.Effect<Input | null> =>
  Effect.map(
    host.incidents.suspect({ class: "upstreamDown", code: "no-status", detail }),
    (down) => down ? joinIncident(host.incidents) : null
  )

/** Waits grow through one run of failures, which a stable connection ends. */
const nextDelay = (cell: DeviceCell, chance: number): number => {
  if (wasStable(cell.actorState, monotonicMillis(cell.host.clock))) cell.failuresInRow = 0
  cell.failuresInRow++
  return reconnectDelay(cell.failuresInRow, chance)
}

/**
 * Opens the session through the connect gate, and returns the outcome. Once the gate admits the device, the incident is
 * checked again: other devices may have found the gateway down meanwhile.
 */
const connect = Effect.fnUntraced(function*(cell: DeviceCell) {
  const { gate, gateway, incidents, log } = cell.host
  const down = joinIncident(incidents)
  if (down !== null) return down
  // Without room in the log, frames cannot be stored, so reading must not start.
  yield* awaitRoom(log)
  const opened = yield* Effect.exit(gate.enter(Effect.suspend(() => {
    const found = joinIncident(incidents)
    return found === null ? Effect.as(openSession(cell), sessionOpened) : Effect.succeed(found)
  })))
  if (Exit.isSuccess(opened)) return opened.value
  const refused = Cause.findErrorOption(opened.cause)
  if (Option.isNone(refused)) return yield* Effect.failCause(opened.cause as Cause.Cause<never>)
  if (refused.value.code === "unknown-slot") yield* Effect.ignore(gateway.ensureSlot(cell.device.upstreamId))
  return endedBy(refused.value)
})

const sessionOpened: Input = { _tag: "Opened" }

const joinIncident = (incidents: GatewayIncidents): Input | null => {
  const incident = incidents.current()
  return incident === null
    ? null
    : { _tag: "GatewayDown", failure: incident.failure, probeAt: incident.probeAt }
}

const endedBy = (refused: SessionRefused): Input => ({
  _tag: "Ended",
  failure: { class: refused.class, code: refused.code, detail: refused.message },
  retryAfter: refused.retryAfter ?? 0
})

const awaitRoom = (log: EventLog["Service"]): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const withdraw = log.onRoom(() => resume(Effect.void))
    return Effect.sync(withdraw)
  })

/** An opened session is stored in the cell before an interruption is possible; otherwise it would stay open forever. */
const openSession = (cell: DeviceCell): Effect.Effect<void, SessionRefused> =>
  Effect.uninterruptibleMask((restore) => {
    const scope = Scope.makeUnsafe()
    const listener = new FrameListener(cell)
    cell.listener = listener
    const target = { deviceId: cell.device.id, upstreamId: cell.device.upstreamId, jid: cell.actorState.jid }
    return Effect.matchCauseEffect(restore(Scope.provide(cell.host.openSession(target, listener), scope)), {
      onFailure: (cause) => {
        if (cell.listener === listener) cell.listener = null
        return Effect.andThen(Scope.close(scope, Exit.void), Effect.failCause(cause))
      },
      onSuccess: (session) => {
        cell.session = session
        cell.sessionScope = scope
        if (cell.pauseOnOpen) pauseUntilRoom(cell)
        cell.pauseOnOpen = false
        return Effect.void
      }
    })
  })

const dropSession = (cell: DeviceCell): Effect.Effect<void> => {
  const scope = cell.sessionScope
  cell.forgetSession()
  return scope === null ? Effect.void : Scope.close(scope, Exit.void)
}

/** The fiber ends: the open session is closed, or passed on, and the stop is recorded. */
const stop = (cell: DeviceCell): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (cell.passesOn && mayPassOn(cell)) passOn(cell)
    return Effect.andThen(
      apply(cell, { _tag: "Stop", rule: cell.stopRule }, 0),
      Effect.suspend(() => cell.session === null ? Effect.void : dropSession(cell))
    )
  })
