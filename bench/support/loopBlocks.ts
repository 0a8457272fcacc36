/** The longest time for which a process did not return to its event loop, measured with a timer of one millisecond. */
import { monitorEventLoopDelay } from "node:perf_hooks"

const resolution = 1

const histogram = monitorEventLoopDelay({ resolution })

export const startBlocks = (): void => {
  histogram.reset()
  histogram.enable()
}

/** In milliseconds, since `startBlocks`. */
export const longestBlock = (): number => {
  histogram.disable()
  return Math.max(resolution, histogram.max / 1e6 - resolution)
}
