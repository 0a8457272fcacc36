/** The settings as command line flags: one per environment variable, from the same table. */
import { Option } from "effect"
import { Flag } from "effect/cli"
import { type Variable, variables } from "../layers/settingsVariables.ts"

type VariableKey = keyof typeof variables

const makeFlag = (variable: Variable<unknown>): Flag.Flag<Option.Option<string>> => {
  const without = variable.fallback === null ? `unset: ${variable.unset}` : `default ${variable.fallback}`
  const about = `${variable.about} [${variable.name}] (${without})`
  return variable.toggle
    ? Flag.Boolean(variable.flag).pipe(
      Flag.withDescription(about),
      Flag.optional,
      Flag.map(Option.map(String))
    )
    : Flag.String(variable.flag).pipe(Flag.withDescription(about), Flag.withMetavar("value"), Flag.optional)
}

/** Flags for these settings. */
export const settingsFlags = <const K extends ReadonlyArray<VariableKey>>(keys: K) =>
  Object.fromEntries(keys.map((key) => [key, makeFlag(variables[key])])) as Record<
    K[number],
    Flag.Flag<Option.Option<string>>
  >

/** The given flags, keyed by the variable's name, as `Settings.load` expects them. */
export const givenFlags = (values: Readonly<Record<string, unknown>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(variables).flatMap(([key, { name }]) => {
      const value = values[key] as Option.Option<string> | undefined
      return value !== undefined && Option.isSome(value) ? [[name, value.value] as const] : []
    })
  )

export const allSettings = Object.keys(variables) as Array<VariableKey>

/** A field for an optional flag: present only if the flag was given. */
export const given = <K extends string, A>(key: K, value: Option.Option<A>): { readonly [P in K]?: A } =>
  (Option.isSome(value) ? { [key]: value.value } : {}) as { readonly [P in K]?: A }
