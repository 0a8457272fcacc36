/**
 * Records the time until which this process was alive, so that the next one knows when reception ended if this one is
 * killed.
 *
 * A beat reads the database's clock and then appends that time after everything that was received before. Once it is
 * committed, all of that is committed too. While the log cannot be written, no beat is written either, as it must be:
 * events received since are not durable yet.
 *
 * A reader of a beat counts some time before it as unproven, and assumes that the process ran in that time. If the process
 * was suspended in that time, a beat records a time that is earlier by as much: events of the suspension may still wait in a
 * socket, which may have died too.
 *
 * Each beat names the time that the previous one has written. If the database holds another time, an older database has
 * taken its place, and the events that the log had received since then are missing. A database that is older by less than a
 * beat, as after a failover to a replica that lags, holds the same time; the log itself notices that it went back.
 */
import { Clock, Effect, Option } from "effect"
import type { Duration, Scope } from "effect"
import type { Timestamp } from "../../domain/Ids.ts"
import { EventLog } from "../../services/EventLog.ts"
import { GapRepository } from "../../services/GapRepository.ts"
import type { Heartbeat } from "../../services/GapRepository.ts"
import { LogStatus } from "../../services/LogStatus.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { unprovenMax } from "../device/receptionGaps.ts"
import type { RunningTime } from "./RunningTime.ts"

/** The log lacks the events received in this interval. `from` is null if nothing is known about the time before. */
export interface Forgotten {
  readonly from: Timestamp | null
  readonly to: Timestamp
}

interface Options {
  /** As in `DeviceRepository.claim`. */
  readonly owner: string
  readonly interval: Duration.Duration
  readonly running: RunningTime
  /** Whether sessions are being closed: from then on, being alive proves nothing about reception. */
  readonly closing: () => boolean
  /** No beat is written before it has completed: if the process dies during it, the next one finds the same interval. */
  readonly onForgotten: (forgotten: Forgotten) => Effect.Effect<void>
}

/** Beats with its scope. */
export const make = Effect.fnUntraced(function*({ closing, interval, onForgotten, owner, running }: Options) {
  const clock = yield* Clock.Clock
  const log = yield* EventLog
  const gaps = yield* GapRepository
  const status = Option.getOrUndefined(yield* Effect.serviceOption(LogStatus))
  const readReset = status === undefined ? Effect.succeed(null) : Effect.map(status.view, ({ reset }) => reset)
  let known = yield* readReset
  let written: Timestamp | null = null
  /**
   * Whether the database has contained our last beat at least once: before that, a claim may have written the row at the
   * same time.
   */
  let found = false

  /** Whether the log has noticed a reset since the last check. */
  const wentBack = Effect.map(readReset, (reset) => {
    const changed = reset !== known
    known = reset
    return changed
  })

  const beat = Effect.gen(function*() {
    const seen = yield* gaps.heartbeat(owner)
    if (closing()) return
    const forgot = (yield* wentBack) || (found && seen.aliveAt !== written)
    if (forgot) yield* onForgotten({ from: findStart(seen, written), to: seen.now })
    found = written !== null && seen.aliveAt === written
    const at = findProvenTime(seen, running, monotonicMillis(clock))
    yield* log.append([], { effects: [{ _tag: "Alive", owner, at, after: seen.aliveAt }] })
    written = at
    // Only the write of the beat itself noticed it.
    if ((yield* wentBack) && !forgot) yield* onForgotten({ from: seen.aliveAt, to: seen.now })
  }).pipe(
    Effect.catchTag("StorageUnavailable", (error) => Effect.logDebug("The heartbeat is late", error)),
    Effect.orDie
  )

  yield* Effect.forkScoped(Effect.forever(Effect.andThen(beat, Effect.sleep(interval))))
}) satisfies (options: Options) => Effect.Effect<void, never, EventLog | GapRepository | Scope.Scope>

/** The time until which the process ran, less its recent suspensions; not before the time that is recorded already. */
const findProvenTime = ({ aliveAt, now }: Heartbeat, running: RunningTime, at: number): Timestamp => {
  const suspended = Math.max(0, at - unprovenMax - running.before(at, unprovenMax))
  const proven = new Date(Date.parse(now) - Math.ceil(suspended)).toISOString()
  return aliveAt !== null && aliveAt > proven ? aliveAt : proven
}

/** The newest earlier time that the older database still has. */
const findStart = ({ aliveAt, newest }: Heartbeat, written: Timestamp | null): Timestamp | null =>
  [aliveAt, newest].find((time) => time !== null && written !== null && time <= written) ?? null
