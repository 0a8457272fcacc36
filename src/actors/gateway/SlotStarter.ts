/**
 * Starts slots that one gateway has left stopped or disconnected, for devices that should run: a few at a time over the
 * whole gateway, and each device at growing intervals. Otherwise a slot that cannot start would be started forever, and a
 * gateway that has lost all its slots would start them all at once.
 *
 * A device requests a start whenever the gateway reports that its account is not usable. The gateway's adapter finds out
 * whether there is anything to start; the next status shows the result.
 */
import { Clock, Duration, Effect, Metric, Random } from "effect"
import type { Scope } from "effect"
import * as Metrics from "../../services/Metrics.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import * as Workers from "./workers.ts"

/** Maximum number of concurrent starts. A start costs a gateway seconds of work, and a browser with some engines. */
const startsMax = 4

/** The wait after the first start, which doubles with each further one: an engine needs seconds to come up. */
const waitFirst = Duration.toMillis(Duration.seconds(10))

/**
 * The longest wait. A slot that waits for a person to scan a code is started again when its codes run out, but not all day
 * at that rate.
 */
const waitMax = Duration.toMillis(Duration.minutes(10))

/** The adapter's own requests are bounded; this is the bound for all of them together. */
const startTimeout = Duration.seconds(60)

export interface SlotStarter {
  /** The device's account is not usable. Has no effect before the device's wait has ended. */
  readonly want: (cell: DeviceCell) => void
  /** The device made a transition: if it is online, its waits start from the beginning. */
  readonly moved: (cell: DeviceCell) => void
  readonly remove: (cell: DeviceCell) => void
}

const none: SlotStarter = { want: () => {}, moved: () => {}, remove: () => {} }

interface Wait {
  /** The wait before the next start, in milliseconds. */
  readonly wait: number
  /** By the monotonic clock. */
  readonly until: number
}

/** `onStarted` is called when a start has succeeded, so that the slot's status is read. */
export const make = Effect.fnUntraced(function*(
  gateway: WhatsAppGateway,
  onStarted: (cell: DeviceCell) => void
): Effect.fn.Return<SlotStarter, never, Scope.Scope> {
  if (gateway.start === undefined) return none
  const { start } = gateway
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const waits = new Map<DeviceCell, Wait>()
  const due = new Set<DeviceCell>()

  const startOne = Effect.fnUntraced(function*(cell: DeviceCell) {
    const { device, session } = cell
    const target = { deviceId: device.id, upstreamId: device.upstreamId, jid: cell.actorState.jid }
    const outcome = yield* Effect.result(Effect.timeout(start(target), startTimeout))
    yield* Metric.update(Metric.withAttributes(Metrics.slotStarts, { outcome: outcome._tag.toLowerCase() }), 1)
    if (outcome._tag === "Success" && session !== null && cell.session === session) onStarted(cell)
  })

  const next = (): Effect.Effect<void> | null => {
    const [cell] = due
    if (cell === undefined) return null
    due.delete(cell)
    return startOne(cell)
  }
  const wake = yield* Workers.make({
    gateway: gateway.name,
    concurrency: startsMax,
    work: "the start of a slot",
    next
  })

  return {
    want: (cell) => {
      const now = monotonicMillis(clock)
      const before = waits.get(cell)
      if (due.has(cell) || (before !== undefined && now < before.until)) return
      const wait = before === undefined ? waitFirst : Math.min(waitMax, before.wait * 2)
      // Between 0.5 and 1.5 times the wait: slots that stopped together need not start together again.
      waits.set(cell, { wait, until: now + wait * (0.5 + random.nextDoubleUnsafe()) })
      due.add(cell)
      wake()
    },
    moved: (cell) => {
      if (cell.actorState.state._tag === "Online") waits.delete(cell)
      if (!cell.actorState.sessionOpen) due.delete(cell)
    },
    remove: (cell) => {
      waits.delete(cell)
      due.delete(cell)
    }
  }
})
