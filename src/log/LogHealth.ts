/**
 * The state of the log's writes, kept as plain fields by the writer: used for readiness and metrics, not for decisions.
 */
import type { Clock } from "effect"
import type { LogView } from "../services/LogStatus.ts"
import type { AppendQueue } from "./AppendQueue.ts"
import type { ResetDetail } from "./LogTail.ts"

const nanosInMilli = 1_000_000n

export class LogHealth {
  readonly #clock: Clock.Clock
  readonly #queue: AppendQueue
  #failing: { readonly since: bigint; reason: string } | null = null
  #writtenAt: bigint | null = null
  #reset: LogView["reset"] = null

  constructor(clock: Clock.Clock, queue: AppendQueue) {
    this.#clock = clock
    this.#queue = queue
  }

  written(): void {
    this.#failing = null
    this.#writtenAt = this.#clock.monotonicTimeNanosUnsafe()
  }

  failed(reason: string): void {
    if (this.#failing === null) this.#failing = { since: this.#clock.monotonicTimeNanosUnsafe(), reason }
    else this.#failing.reason = reason
  }

  reset(detail: ResetDetail): void {
    this.#reset = { ...detail, at: new Date(this.#clock.currentTimeMillisUnsafe()).toISOString() }
  }

  get view(): LogView {
    const oldest = this.#queue.oldestArrival
    return {
      failing: this.#failing === null
        ? null
        : { forMillis: this.#millisSince(this.#failing.since), reason: this.#failing.reason },
      writtenMillisAgo: this.#writtenAt === null ? null : this.#millisSince(this.#writtenAt),
      waiting: {
        events: this.#queue.events,
        bytes: this.#queue.bytes,
        oldestMillis: oldest === null ? 0 : this.#millisSince(oldest)
      },
      reset: this.#reset
    }
  }

  #millisSince(moment: bigint): number {
    return Number((this.#clock.monotonicTimeNanosUnsafe() - moment) / nanosInMilli)
  }
}
