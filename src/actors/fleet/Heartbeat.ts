/**
 * Writes down until when this process was alive, so that the next one knows from when on nothing was heard if this one is
 * killed.
 *
 * A beat reads the database's clock and then appends that time behind everything that was received before. Once it is
 * committed, all of that is committed too. While the log cannot be written no beat is, and rightly: what was received
 * since is not safe yet.
 *
 * Who reads a beat takes some time before it for unproven, and takes it for time in which the process ran. Where it stood still
 * in that time, a beat says so much less: what came meanwhile may wait in a socket, which may have died too.
 *
 * Each beat names what the one before has written. Where the database holds something else, an older one has taken its
 * place, and what the log had received since then is missing. One that is older by less than a beat, as after a failover
 * to a replica that lags, holds the same; the log itself notices that it went back.
 */
import { Clock, Effect, Option } from "effect"
import type { Duration, Scope } from "effect"
import type { Timestamp } from "../../domain/Ids.ts"
import { EventLog } from "../../services/EventLog.ts"
import { GapRepository } from "../../services/GapRepository.ts"
import type { Heartbeat } from "../../services/GapRepository.ts"
import { LogStatus } from "../../services/LogStatus.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { unprovenMax } from "../device/hearing.ts"
import type { RunningTime } from "./RunningTime.ts"

/** The log lacks what it had received in this time. `from` is null where nothing is known of the time before. */
export interface Forgotten {
  readonly from: Timestamp | null
  readonly to: Timestamp
}

interface Options {
  /** As in `DeviceRepository.claim`. */
  readonly owner: string
  readonly interval: Duration.Duration
  readonly running: RunningTime
  /** Sessions are being closed: from now on being alive says nothing about hearing. */
  readonly closing: () => boolean
  /** No beat is written before it has returned: a process that dies in it leaves the next one the same time to find. */
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
  /** Whether what we wrote was found in the database once: before that a claim may have written the row at the same time. */
  let found = false

  /** Whether the log has noticed that it went back since it was asked last. */
  const wentBack = Effect.map(readReset, (reset) => {
    const news = reset !== known
    known = reset
    return news
  })

  const beat = Effect.gen(function*() {
    const seen = yield* gaps.heartbeat(owner)
    if (closing()) return
    const forgot = (yield* wentBack) || (found && seen.aliveAt !== written)
    if (forgot) yield* onForgotten({ from: findStart(seen, written), to: seen.now })
    found = written !== null && seen.aliveAt === written
    const at = findVouched(seen, running, monotonicMillis(clock))
    yield* log.append([], { effects: [{ _tag: "Alive", owner, at, after: seen.aliveAt }] })
    written = at
    // Noticed only by the write of the beat itself.
    if ((yield* wentBack) && !forgot) yield* onForgotten({ from: seen.aliveAt, to: seen.now })
  }).pipe(
    Effect.catchTag("StorageUnavailable", (error) => Effect.logDebug("The heartbeat is late", error)),
    Effect.orDie
  )

  yield* Effect.forkScoped(Effect.forever(Effect.andThen(beat, Effect.sleep(interval))))
}) satisfies (options: Options) => Effect.Effect<void, never, EventLog | GapRepository | Scope.Scope>

/** Until when the process was alive, less the time for which it stood still of late; not before what it has said already. */
const findVouched = ({ aliveAt, now }: Heartbeat, running: RunningTime, at: number): Timestamp => {
  const stoodStill = Math.max(0, at - unprovenMax - running.before(at, unprovenMax))
  const vouched = new Date(Date.parse(now) - Math.ceil(stoodStill)).toISOString()
  return aliveAt !== null && aliveAt > vouched ? aliveAt : vouched
}

/** The newest time of before that the older database still knows. */
const findStart = ({ aliveAt, newest }: Heartbeat, written: Timestamp | null): Timestamp | null =>
  [aliveAt, newest].find((time) => time !== null && written !== null && time <= written) ?? null
