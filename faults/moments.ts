/** When the faults of a row strike, and in which order. */
import { seeded } from "../src/simulator/Seeded.ts"
import type { Seeded } from "../src/simulator/Seeded.ts"
import type { Fault, Scenario } from "./Scenario.ts"

export interface Moment {
  /** Number of events emitted when it strikes. */
  readonly at: number
  /** Number of events at the end of this part of the load. The next part begins when the fault is over. */
  readonly end: number
  readonly fault: Fault
}

/** One moment in each of as many equal parts of the load, anywhere in its first two thirds; faults in seeded order. */
export const planMoments = (scenario: Scenario, seed: string): ReadonlyArray<Moment> => {
  const random = seeded(`${seed}/moments`)
  const kinds = scenario.faults.flatMap(({ fault, times }) => Array.from({ length: times }, () => fault))
  const order = scenario.inOrder === true ? kinds : shuffle(kinds, random)
  const part = scenario.load.events / order.length
  return order.map((fault, index) => ({
    fault,
    at: Math.floor((index + 0.1 + random.next() * 0.55) * part),
    end: Math.floor((index + 1) * part)
  }))
}

const shuffle = <A>(items: ReadonlyArray<A>, random: Seeded): ReadonlyArray<A> =>
  items.map((item) => [random.next(), item] as const).sort(([left], [right]) => left - right).map(([, item]) => item)

export const describe = ({ do: name, ...settings }: Fault): string =>
  Object.keys(settings).length === 0 ? name : `${name} ${JSON.stringify(settings)}`
