/** `npm run simulate -- --mutants`: one line per mutant, with the seed that condemns it. */
import { Effect } from "effect"
import { condemn, mutants } from "./mutants.ts"

/** Returns the exit code: 1 if a mutant is not found. */
export const runMutants = async (names: ReadonlyArray<string>, seeds: number, hours: number): Promise<number> => {
  let missed = 0
  for (const mutant of mutants.filter(({ name }) => names.length === 0 || names.includes(name))) {
    const { found, seconds } = await Effect.runPromise(condemn(mutant, seeds, hours))
    const line = found?.split("\n").findLast((line) => line.includes("BROKEN")) ?? `none of ${seeds} seeds`
    console.log(
      `${found === null ? "MISSED" : "found "} ${mutant.name} (${mutant.title}): ${line}, ${seconds.toFixed(1)} s`
    )
    if (found === null) missed++
  }
  return missed === 0 ? 0 : 1
}
