/** The soak: a fault per minute at a steady load, and nothing may grow. */
import type { Fault, Scenario } from "../Scenario.ts"
import { losesSockets, row, seconds } from "./row.ts"

/** Faults that the program survives as the same process, so that a trend of its memory is visible. */
const lasting: ReadonlyArray<Fault> = [
  { do: "kill broker" },
  { do: "restart broker" },
  { do: "freeze broker", millis: seconds(12) },
  { do: "delete queue" },
  { do: "restart database", mode: "immediate" },
  { do: "kill database" },
  { do: "end sessions" },
  { do: "lock table", millis: seconds(3) },
  { do: "cut network", to: "database", millis: seconds(3) },
  { do: "cut network", to: "broker", millis: seconds(3) },
  { do: "cut network", to: "gateway", millis: seconds(3) },
  { do: "freeze program", millis: seconds(5) },
  { do: "fault gateway", fault: { kind: "drop", reset: true }, millis: seconds(1) },
  { do: "fault gateway", fault: { kind: "junk", probability: 0.1 }, millis: seconds(5) }
]

/** Events per second of the soak: a fleet of a few hundred numbers by day. */
const soakRate = 50

/** A fault per minute at a steady load: nothing may grow. */
export const makeSoak = (minutes: number): Scenario =>
  row(
    "all",
    "soak",
    `${minutes} minutes with a fault per minute: memory, open files and fibers stay level`,
    Array.from({ length: minutes }, (_, minute) => [1, lasting[minute % lasting.length]!] as const),
    {
      load: { devices: 100, events: minutes * 60 * soakRate, rate: soakRate },
      expect: { ...losesSockets, level: true }
    }
  )
