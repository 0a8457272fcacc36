/**
 * Asks one gateway about its slots: about each device when its session has opened, soon after a hint, and periodically at
 * random moments, so that the questions spread out. One timer and a few workers for all devices of the gateway instead of a
 * timer per device. An answer becomes an input of the device.
 *
 * If the gateway answers for all its slots in one request, devices that are due together share one; those for which that
 * answer proves nothing are then asked about one by one.
 */
import { Cause, Duration, Effect, Exit, Metric, Random } from "effect"
import type { Scope } from "effect"
import type { UpstreamStatus } from "../../domain/Device.ts"
import type { DeviceState } from "../../domain/DeviceState.ts"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import * as Metrics from "../../services/Metrics.ts"
import type { ReadStatuses, SlotStatus } from "../../services/GatewayParts.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import type { ConnectGate } from "./ConnectGate.ts"
import * as DueSet from "./DueSet.ts"
import * as Workers from "./workers.ts"

/** A hint is followed up within this time; many hints at once are spread over it. */
const hintDelayMax = 500

/** Made once: a metric with attributes computes its key when it is first used. */
const succeeded = Metric.withAttributes(Metrics.statusSyncs, { outcome: "success" })
const failed = Metric.withAttributes(Metrics.statusSyncs, { outcome: "failure" })

/** The status of a slot that is missing in a list of all slots. */
const noSlot: SlotStatus = { status: { isConnected: false, isLoggedIn: false, jid: null }, proven: true }

export interface StatusSync {
  readonly add: (cell: DeviceCell) => void
  readonly remove: (cell: DeviceCell) => void
  /** Asks about this device: `now`, as soon as a place is free, or `soon`. */
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
  gate: Pick<ConnectGate, "yieldToHandshakes">
): Effect.fn.Return<StatusSync, never, Scope.Scope> {
  const random = yield* Random.Random
  const cells = new Set<DeviceCell>()
  /** In the order in which they became due; a device is in it at most once, so it is bounded by the number of devices. */
  const due = new Set<DeviceCell>()
  /** Devices about which the list of all slots proved nothing. They are asked about first. */
  const unproven = new Set<DeviceCell>()

  const intervalWaiting = Duration.toMillis(settings.statusIntervalWaiting)
  /** A session that carries events reports its own end; one that carries at most hints reports nothing about the account. */
  const intervalOnline = Duration.toMillis(
    gateway.capabilities.liveEvents === "session" ? settings.statusInterval : settings.statusIntervalUnannounced
  )

  const plan = (cell: DeviceCell): void => {
    if (!cells.has(cell) || !cell.actorState.sessionOpen) {
      times.cancel(cell)
      cell.statusHinted = false
      return
    }
    // A question requested by a hint keeps its time: the hint is newer than the reason for this plan.
    if (cell.statusHinted) return
    const interval = cell.actorState.state._tag === "Online" ? intervalOnline : intervalWaiting
    times.planIn(cell, interval * (0.5 + random.nextDoubleUnsafe()))
  }

  /** One question about a device at a time: a request meanwhile is sent when the answer has come. */
  const enqueue = (cell: DeviceCell): void => {
    if (cell.statusAsked) return
    cell.statusAsked = true
    due.add(cell)
    wake()
  }

  const answered = (cell: DeviceCell): void => {
    cell.statusAsked = false
    // A hint that came due while the question was under way.
    if (cell.statusHinted && !times.has(cell)) enqueue(cell)
    else plan(cell)
  }

  /** If the account was reported as lost since the question was sent, the answer may be older: then it is asked again. */
  const take = (cell: DeviceCell, losses: number, status: UpstreamStatus): void => {
    if (cell.losses === losses) return cell.post({ _tag: "StatusRead", status })
    cell.statusHinted = true
    enqueue(cell)
  }

  /** A whole fleet asks this when its sessions have opened, so the effect contains only what is needed. */
  const ask = (cell: DeviceCell): Effect.Effect<void> =>
    Effect.suspend(() => {
      const { losses, session } = cell
      // After a session has opened, only whether the account is usable; the regular questions find out which account it is.
      const accountKnown = cell.actorState.state._tag === "Connecting"
      const target = { deviceId: cell.device.id, upstreamId: cell.device.upstreamId, jid: cell.actorState.jid }
      cell.statusHinted = false
      return Effect.ignore(Effect.onExit(gateway.status(target, accountKnown), (answer) => {
        answered(cell)
        if (Exit.isFailure(answer)) return Cause.hasFails(answer.cause) ? Metric.update(failed, 1) : Effect.void
        // An answer to a question that was asked under an older session proves nothing about this one.
        if (cell.session === session) take(cell, losses, answer.value)
        return Metric.update(succeeded, 1)
      }))
    })

  const askAll = Effect.fnUntraced(function*(statuses: ReadStatuses, some: ReadonlyArray<DeviceCell>) {
    const asked = some.map((cell) => ({ cell, session: cell.session, losses: cell.losses }))
    for (const cell of some) cell.statusHinted = false
    const answer = yield* Effect.onError(Effect.result(statuses), () => Effect.sync(() => some.forEach(answered)))
    yield* Metric.update(answer._tag === "Success" ? succeeded : failed, 1)
    for (const { cell, losses, session } of asked) {
      const found = answer._tag === "Success" ? answer.success.get(cell.device.upstreamId) ?? noSlot : null
      if (found?.proven === false && cells.has(cell)) {
        unproven.add(cell)
        wake()
        continue
      }
      answered(cell)
      if (found !== null && cell.session === session) take(cell, losses, found.status)
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

  const answerNext = Effect.suspend(() => nextQuestion() ?? Effect.void)
  const wake = yield* Workers.make({
    gateway: gateway.name,
    concurrency: settings.statusConcurrency,
    work: "a status question",
    next: () => due.size > 0 || unproven.size > 0 ? Effect.andThen(gate.yieldToHandshakes, answerNext) : null
  })
  const times = yield* DueSet.make<DeviceCell>({
    grain: settings.tick,
    onDue: (cell) => {
      if (cell.actorState.sessionOpen) enqueue(cell)
    }
  })

  return {
    add: (cell) => {
      cells.add(cell)
    },
    remove: (cell) => {
      cells.delete(cell)
      times.cancel(cell)
      due.delete(cell)
      unproven.delete(cell)
    },
    want: (cell, when) => {
      cell.statusHinted = true
      if (when === "soon") return times.planIn(cell, hintDelayMax * random.nextDoubleUnsafe())
      times.cancel(cell)
      enqueue(cell)
    },
    moved: (cell, from) => {
      const planned = times.has(cell) || cell.statusAsked
      if (cell.actorState.sessionOpen !== planned || from._tag !== cell.actorState.state._tag) plan(cell)
    }
  }
})
