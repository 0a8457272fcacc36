/**
 * Devices that are moving from one node of a cluster to another, on both sides. The node that releases a device keeps its
 * session open (`PassedSession`) until the device's row shows that the next actor is online. It then ends the session in
 * order and, once all its events are committed, records a confirmation for the next actor's claim, if that is still the
 * last one. The next actor depends on that confirmation: without it, the time in between is a gap.
 *
 * Nothing here decides about a device. Every wait has a bound, so a node that dies meanwhile, or a device that no other
 * node takes, costs a gap and nothing else.
 */
import { Cause, Clock, Context, Duration, Effect, Layer, Metric, Option } from "effect"
import type { DeviceId } from "../../domain/Ids.ts"
import { Condition } from "../../services/Condition.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import type { HandOver } from "../../services/DeviceRepository.ts"
import { EventLog } from "../../services/EventLog.ts"
import * as Metrics from "../../services/Metrics.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { handOverMax, passMax } from "../../services/shutdownBudget.ts"
import { Successors } from "../../services/Successors.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import { listenMax, settleMax } from "../device/GapTracker.ts"
import { loseReception, missHandOver, push } from "../device/receptionGaps.ts"
import type { PassedSession } from "../device/PassedSession.ts"

/** The interval of one query for all moving devices, which determines how soon a replaced session ends. */
const lookInterval = Duration.millis(200)

/** A gateway answers the end of a session in milliseconds. Frames that wait for its answers take up to four seconds. */
const finishMax = 5000

/** The bound of one query: while the database does not answer, only the time limits of the hand-overs apply. */
const lookMax = Duration.seconds(2)

const seamless = Metric.withAttributes(Metrics.handOvers, { outcome: "seamless" })
const missed = Metric.withAttributes(Metrics.handOvers, { outcome: "missed" })

interface Given {
  readonly cell: DeviceCell
  readonly passed: PassedSession
  /** Releases the session's host. */
  readonly release: Effect.Effect<void>
  /** Monotonic. */
  readonly since: number
  finishingSince: number | null
  /** The claim whose holder was seen online (`HandOver.claim`). */
  seen: string | null
}

export class HandOvers extends Context.Service<HandOvers, {
  /** The actor has stopped, and its session stays open (`passed`). */
  readonly give: (cell: DeviceCell, release: Effect.Effect<void>) => void
  /** The actor is online, and depends on the previous node's confirmation. */
  readonly expect: (cell: DeviceCell) => void
  /**
   * Ends the sessions of these devices that are still open: there is no other node to take them, or the database is
   * unavailable.
   */
  readonly cut: (cells: ReadonlyArray<DeviceCell>) => void
  /**
   * The process stops. Completes when other nodes have taken all released devices; sessions that are not taken in time are
   * ended. Must run before the hosts of the sessions close.
   */
  readonly settled: Effect.Effect<void>
}>()("columba/actors/fleet/HandOvers") {
  static readonly layer = Layer.effect(
    HandOvers,
    Effect.gen(function*() {
      const repository = yield* DeviceRepository
      const log = yield* EventLog
      const clock = yield* Clock.Clock
      const successors = yield* Successors
      const given = new Set<Given>()
      const expected = new Map<DeviceCell, number>()
      const changed = new Condition()
      let stopping = false
      const now = () => monotonicMillis(clock)

      const read = Effect.suspend(() => {
        const ids = new Set<DeviceId>()
        for (const { cell } of given) ids.add(cell.device.id)
        for (const [cell] of expected) ids.add(cell.device.id)
        return repository.handOvers([...ids])
      }).pipe(
        Effect.timeout(lookMax),
        Effect.catch(() => Effect.succeed(new Map<DeviceId, HandOver>()))
      )

      const follow = (one: Given, row: HandOver | undefined, at: number): void => {
        const { cell, passed } = one
        if (passed.over) return
        if (one.finishingSince !== null) {
          if (at - one.finishingSince >= finishMax) passed.cut("passed", "the gateway did not answer its end")
          return
        }
        if (row !== undefined && row.online && row.epoch > cell.epoch) {
          one.finishingSince = at
          one.seen = row.claim
          return passed.finish()
        }
        if (at - one.since >= listenMax) passed.cut("passed", "no other node has taken the device")
      }

      /** The last events of a session are committed before its confirmation. */
      const confirm = Effect.fnUntraced(function*(over: ReadonlyArray<Given>) {
        const taken = over.flatMap(({ cell, passed, seen }): ReadonlyArray<readonly [DeviceId, string]> =>
          seen !== null && passed.complete ? [[cell.device.id, seen]] : []
        )
        if (taken.length === 0) return
        const flushed = yield* Effect.timeoutOption(log.flush, handOverMax)
        if (Option.isSome(flushed)) yield* Effect.ignore(repository.confirmHandOvers(new Map(taken)))
      })

      const letGo = Effect.fnUntraced(function*(over: ReadonlyArray<Given>) {
        for (const one of over) {
          // Refused if another node has claimed the device: that node detects the gap by itself.
          if (one.seen === null) {
            push(one.cell, loseReception(one.cell, "process-down", "no other node took it in time"))
          }
          given.delete(one)
          yield* Effect.andThen(one.passed.close, one.release)
        }
        changed.changed()
      }, Effect.uninterruptible)

      const judge = Effect.fnUntraced(
        function*(cell: DeviceCell, since: number, row: HandOver | undefined, at: number) {
          const isOpen = cell.reception.handOver !== null
          if (isOpen && row?.confirmed === cell.epoch) {
            cell.reception.handOver = null
            yield* Metric.update(seamless, 1)
          } else if (isOpen && at - since < settleMax) return
          else {
            // No gap is recorded if reception was lost again before: it is in a gap already.
            push(cell, missHandOver(cell))
            yield* Metric.update(missed, 1)
          }
          expected.delete(cell)
        }
      )

      const round = Effect.gen(function*() {
        const rows = yield* read
        if (stopping && !(yield* successors)) cutAll([...given])
        const at = now()
        for (const one of given) follow(one, rows.get(one.cell.device.id), at)
        for (const [cell, since] of expected) yield* judge(cell, since, rows.get(cell.device.id), at)
        const over = [...given].filter(({ passed }) => passed.over)
        yield* confirm(over)
        yield* letGo(over)
      }).pipe(
        Effect.catchCause((cause) =>
          Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.logError("following hand-overs crashed", cause)
        )
      )

      const cutAll = (some: ReadonlyArray<Given>): void => {
        for (const { passed } of some) if (!passed.over) passed.cut("passed", "no other node takes the device")
      }

      yield* Effect.forkScoped(Effect.forever(Effect.andThen(
        changed.waitUntil(() => given.size > 0 || expected.size > 0),
        Effect.andThen(Effect.sleep(lookInterval), round)
      )))

      const settled = Effect.gen(function*() {
        stopping = true
        if (given.size > 0 && (yield* successors)) {
          yield* Effect.timeoutOption(changed.waitUntil(() => given.size === 0), passMax)
        }
        const left = [...given]
        cutAll(left)
        yield* letGo(left)
      })

      return HandOvers.of({
        settled,
        give: (cell, release) => {
          if (cell.passed === null) return
          given.add({ cell, passed: cell.passed, release, since: now(), finishingSince: null, seen: null })
          changed.changed()
        },
        expect: (cell) => {
          expected.set(cell, now())
          changed.changed()
        },
        cut: (cells) => cutAll([...given].filter(({ cell }) => cells.includes(cell)))
      })
    })
  )
}
