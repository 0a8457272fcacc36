/**
 * Time for measuring intervals. The wall clock is corrected while a process runs, backward too, so it only shows when
 * something happened; durations and due times are measured by this clock.
 */
import type { Clock } from "effect"

/** Milliseconds of the monotonic clock. Its origin is arbitrary: only differences within one process mean something. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000
