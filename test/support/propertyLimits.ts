/**
 * Limits of a property test in wall time. On a loaded machine the test checks fewer cases instead of failing: after
 * `wholeMillis` it ends with the cases checked so far. One case that never ends still fails, by `caseMillis`.
 */

/** With `caseMillis` below the 60 s that a test of the project `unit` may take. */
const wholeMillis = 20_000

/** A case takes milliseconds on an idle machine. */
const caseMillis = 30_000

export const propertyLimits = (numRuns: number) => ({
  numRuns,
  timeout: caseMillis,
  interruptAfterTimeLimit: wholeMillis
})
