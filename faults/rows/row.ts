/** How rows are written, without the parts that most of them share. */
import type { Fault, Load, Scenario } from "../Scenario.ts"

export const seconds = (count: number): number => count * 1000

/** Far from the limits of a small machine, so that the effect is the fault's and not a queue's. */
export const steady: Load = { devices: 50, events: 8_000, rate: 400 }
export const short: Load = { devices: 20, events: 4_000, rate: 400 }

/** For every test run. */
export const brief: Load = { devices: 20, events: 2_400, rate: 400 }

/** For faults that affect few devices like many. */
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

/** The program dies, so events on their way into it may be missing, and are counted. */
export const dies = { missed: "counted", survives: false } as const

/** Sockets are lost, so events that were emitted without a socket may be missing. */
export const losesSockets = { missed: "counted", survives: true } as const
