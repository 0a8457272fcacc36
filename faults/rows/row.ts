/** How a row is written down: what most rows have in common is left out. */
import type { Fault, Load, Scenario } from "../Scenario.ts"

export const seconds = (count: number): number => count * 1000

/** Far from the limits of a small machine, so that what is seen is the fault and not a queue. */
export const steady: Load = { devices: 50, events: 8_000, rate: 400 }
export const short: Load = { devices: 20, events: 4_000, rate: 400 }

/** For every test run. */
export const brief: Load = { devices: 20, events: 2_400, rate: 400 }

/** Where what happens to a few is what happens to many. */
export const few: Load = { devices: 10, events: 2_000, rate: 200 }

export type Struck = ReadonlyArray<readonly [times: number, fault: Fault]>

export type More = Partial<Omit<Scenario, "faults" | "expect">> & { readonly expect?: Partial<Scenario["expect"]> }

export const row = (
  area: Scenario["area"],
  name: string,
  title: string,
  faults: Struck,
  more: More = {}
): Scenario => ({
  name,
  area,
  title,
  load: steady,
  dialect: "bridge",
  smoke: false,
  ...more,
  faults: faults.map(([times, fault]) => ({ times, fault })),
  expect: { missed: "none", survives: true, ...more.expect }
})

/** The program dies, so what was on its way into it may be missing, and is counted. */
export const dies = { missed: "counted", survives: false } as const

/** Sockets are lost, so what was emitted without a socket may be missing. */
export const hearsLess = { missed: "counted", survives: true } as const
