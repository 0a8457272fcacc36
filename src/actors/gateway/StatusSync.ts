/**
 * Asks one gateway about its slots: about each device when its session has opened, soon after a hint, and now and then
 * at random moments, so that the questions spread out. One loop and a few workers for all devices of the gateway
 * instead of a timer per device. An answer becomes an input of the device.
 *
 * Where the gateway answers for all its slots in one request, devices that are due together are asked about together;
 * those of whom that answer proves nothing are then asked about one by one.
 */
import { Cause, Clock, Duration, Effect, Latch, Metric, Random } from "effect"
import type { Scope } from "effect"
import type { DeviceState } from "../../domain/DeviceState.ts"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import * as Metrics from "../../services/Metrics.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import type { ReadStatuses, SlotStatus } from "../../services/GatewayParts.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import type { ConnectGate } from "./ConnectGate.ts"

/** A hint is followed up within this time; many hints at once are spread over it. */
const hintDelayMax = 500

/** What a list of all slots says of one that is not in it. */
const noSlot: SlotStatus = { status: { isConnected: false, isLoggedIn: false, jid: null }, proven: true }

export interface StatusSync {
  readonly add: (cell: DeviceCell) => void
  readonly remove: (cell: DeviceCell) => void
  /** Asks about this device now, as soon as one of the places is free, or soon. */
  readonly want: (cell: DeviceCell, when: "now" | "soon") => void
  /** The device made a transition: its next regular question may move. */
  readonly moved: (cell: DeviceCell, from: DeviceState) => void
}

export const make = Effect.fnUntraced(function*(
  gateway: WhatsAppGateway,
  settings: Pick<
    FleetSettings,
    "statusConcurrency" | "statusInterval" | "statusIntervalUnannounced" | "statusIntervalWaiting" | "tick"
  >,
  gate: Pick<ConnectGate, "giveWay">
): Effect.fn.Return<StatusSync, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const cells = new Set<DeviceCell>()
  /** In the order in which they became due; a device is in it once, so it is bounded by the devices. */
  const due = new Set<DeviceCell>()
  const someDue = Latch.makeUnsafe()
  /** Devices about which the list of all slots proved nothing. They are asked about first. */
  const unproven = new Set<DeviceCell>()

  /** A session that carries the events says when it ends; one that carries hints at most says nothing of the account. */
  const readInterval = (cell: DeviceCell): Duration.Duration => {
    if (cell.actorState.state._tag !== "Online") return settings.statusIntervalWaiting
    return gateway.capabilities.liveEvents === "session" ? settings.statusInterval : settings.statusIntervalUnannounced
  }

  const plan = (cell: DeviceCell): void => {
    if (!cell.actorState.sessionOpen) {
      cell.statusDueAt = Number.POSITIVE_INFINITY
      cell.statusHinted = false
      return
    }
    // A question that a hint asked for keeps its time: the hint is newer than what led to this plan.
    if (cell.statusHinted) return
    const interval = Duration.toMillis(readInterval(cell))
    cell.statusDueAt = monotonicMillis(clock) + interval * (0.5 + random.nextDoubleUnsafe())
  }

  /** One question about a device at a time: what is wanted meanwhile is asked when the answer is there. */
  const enqueue = (cell: DeviceCell): void => {
    if (cell.statusAsked) return
    cell.statusAsked = true
    due.add(cell)
    someDue.openUnsafe()
  }

  const ask = Effect.fnUntraced(function*(cell: DeviceCell) {
    const { session } = cell
    // A whole fleet asks this when its sessions have opened, and only whether the account is usable; which account it is
    // the regular questions find out.
    const accountKnown = cell.actorState.state._tag === "Connecting"
    const target = { deviceId: cell.device.id, upstreamId: cell.device.upstreamId, jid: cell.actorState.jid }
    cell.statusHinted = false
    const answer = yield* Effect.result(gateway.status(target, accountKnown)).pipe(
      Effect.ensuring(Effect.sync(() => {
        cell.statusAsked = false
        plan(cell)
      }))
    )
    yield* Metric.update(Metric.withAttributes(Metrics.statusSyncs, { outcome: answer._tag.toLowerCase() }), 1)
    // An answer to a question that was asked under an older session proves nothing about this one.
    if (answer._tag === "Success" && cell.session === session) cell.post({ _tag: "StatusRead", status: answer.success })
  })

  const askAll = Effect.fnUntraced(function*(statuses: ReadStatuses, some: ReadonlyArray<DeviceCell>) {
    const asked = some.map((cell) => ({ cell, session: cell.session }))
    for (const cell of some) cell.statusHinted = false
    const done = (cell: DeviceCell): void => {
      cell.statusAsked = false
      plan(cell)
    }
    const answer = yield* Effect.onError(Effect.result(statuses), () => Effect.sync(() => some.forEach(done)))
    yield* Metric.update(Metric.withAttributes(Metrics.statusSyncs, { outcome: answer._tag.toLowerCase() }), 1)
    for (const { cell, session } of asked) {
      const found = answer._tag === "Success" ? answer.success.get(cell.device.upstreamId) ?? noSlot : null
      if (found?.proven === false && cells.has(cell)) {
        unproven.add(cell)
        someDue.openUnsafe()
        continue
      }
      done(cell)
      if (found !== null && cell.session === session) cell.post({ _tag: "StatusRead", status: found.status })
    }
  })

  const nextQuestion = (): Effect.Effect<void> | null => {
    const [alone] = unproven
    if (alone !== undefined) {
      unproven.delete(alone)
      return ask(alone)
    }
    if (gateway.statuses !== undefined && due.size > 1) {
      const some = [...due]
      due.clear()
      return askAll(gateway.statuses, some)
    }
    const [cell] = due
    if (cell === undefined) return null
    due.delete(cell)
    return ask(cell)
  }

  const answerNext = Effect.suspend(() => nextQuestion() ?? Effect.void).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.failCause(cause)
        : Effect.annotateLogs(Effect.logError("a status question crashed", cause), { gateway: gateway.name })
    )
  )

  const worker = Effect.suspend(() => {
    if (due.size > 0 || unproven.size > 0) return Effect.andThen(gate.giveWay, answerNext)
    someDue.closeUnsafe()
    return someDue.await
  })
  for (let place = 0; place < settings.statusConcurrency; place++) yield* Effect.forkScoped(Effect.forever(worker))

  const sweep = Effect.sync(() => {
    const now = monotonicMillis(clock)
    for (const cell of cells) if (cell.statusDueAt <= now && cell.actorState.sessionOpen) enqueue(cell)
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(sweep, Effect.sleep(settings.tick))))

  return {
    add: (cell) => {
      cells.add(cell)
    },
    remove: (cell) => {
      cells.delete(cell)
      due.delete(cell)
      unproven.delete(cell)
    },
    want: (cell, when) => {
      cell.statusHinted = true
      cell.statusDueAt = monotonicMillis(clock) + (when === "now" ? 0 : hintDelayMax * random.nextDoubleUnsafe())
      if (when === "now") enqueue(cell)
    },
    moved: (cell, from) => {
      const planned = Number.isFinite(cell.statusDueAt)
      if (cell.actorState.sessionOpen !== planned || from._tag !== cell.actorState.state._tag) plan(cell)
    }
  }
})
