/**
 * The state of the log's writes, for readiness and people: whether the last one succeeded, how long waiting drafts
 * have waited, and whether the log was ever found to have gone back.
 */
import { Context, Duration, Effect } from "effect"
import type { Layer } from "effect"
import { Readiness } from "./Readiness.ts"

export interface LogView {
  /** Set while no write has succeeded since one failed. */
  readonly failing: { readonly forMillis: number; readonly reason: string } | null
  /** Null before the first write of this process. */
  readonly writtenMillisAgo: number | null
  /** Drafts that are not committed yet; the age is that of the oldest, 0 without any. */
  readonly waiting: { readonly events: number; readonly bytes: number; readonly oldestMillis: number }
  /** The last time that an older database was found in place of this one (`another`: that of another log). */
  readonly reset: {
    readonly at: string
    readonly from: number
    readonly to: number
    readonly another: boolean
  } | null
}

/** Replacing a connection or restarting a server takes less; a probe should not react to these. */
const failingMax = Duration.seconds(10)

export class LogStatus extends Context.Service<LogStatus, {
  readonly view: Effect.Effect<LogView>
}>()("columba/services/LogStatus") {
  /** Not ready once writes have failed, or a draft has waited without any write, for `failingMax`. */
  static readonly readiness: Layer.Layer<never, never, Readiness | LogStatus> = Readiness.check(
    "log",
    Effect.flatMap(
      Effect.flatMap(LogStatus, ({ view }) => view),
      (view) => isFailing(view) ? Effect.fail(describe(view)) : Effect.succeed(describe(view))
    )
  )
}

/** A draft that waits long while writes succeed indicates a slow log, which is no reason to take work from it. */
const isFailing = ({ failing, waiting, writtenMillisAgo }: LogView): boolean => {
  const max = Duration.toMillis(failingMax)
  if (failing !== null) return failing.forMillis >= max
  return waiting.oldestMillis >= max && (writtenMillisAgo ?? max) >= max
}

const describe = ({ failing, reset, waiting, writtenMillisAgo }: LogView): string =>
  [
    writtenMillisAgo === null ? "nothing written yet" : `last write ${seconds(writtenMillisAgo)} ago`,
    failing === null ? null : `writes have failed for ${seconds(failing.forMillis)}: ${failing.reason}`,
    waiting.events === 0 ? null : `${waiting.events} events wait, the oldest for ${seconds(waiting.oldestMillis)}`,
    reset === null ? null : describeReset(reset)
  ].filter((part) => part !== null).join("; ")

const describeReset = ({ another, at, from, to }: NonNullable<LogView["reset"]>): string =>
  another ? `another log took its place at ${at}` : `the log went back from ${from} to ${to} at ${at}`

const seconds = (millis: number): string => `${Math.floor(millis / 1000)} s`
