/**
 * How a command fails: one clear line and, if there is one, a hint. Stack traces are for defects, and only with
 * `--debug`. Exit codes: 1 something failed, 2 used or configured wrongly, 3 something it needs is not there.
 */
import { Cause, Effect, Runtime, Schema } from "effect"
import { SettingsInvalid } from "../layers/Settings.ts"
import { printError } from "./printer.ts"
import { dim, red, styled } from "./styledText.ts"
import type { Part } from "./styledText.ts"

export const exitCode = { failed: 1, misused: 2, unavailable: 3, interrupted: 130 } as const

export class CommandFailed extends Schema.TaggedError<CommandFailed>()("CommandFailed", {
  message: Schema.String,
  hint: Schema.NullOr(Schema.String),
  code: Schema.Int
}) {
  override readonly [Runtime.errorExitCode] = this.code

  static of(message: string, hint: string | null, code: number = exitCode.failed): CommandFailed {
    return new CommandFailed({ message, hint, code })
  }
}

/**
 * The lines that report why a command failed: Columba's errors contain their own sentence, a defect is reported as
 * one.
 */
const describe = (cause: Cause.Cause<unknown>): ReadonlyArray<Part> => {
  const error = Cause.squash(cause)
  const failed = (message: string, hint: string | null): ReadonlyArray<Part> => [
    styled`${red("columba:")} ${message}`,
    ...(hint === null ? [] : [dim(`  ${hint}`)])
  ]
  if (error instanceof CommandFailed) return failed(error.message, error.hint)
  if (error instanceof SettingsInvalid) {
    return [...failed(error.heading, null), ...error.problems.map((problem) => `  - ${problem}`)]
  }
  const message = error instanceof Error && error.message !== "" ? error.message : String(error)
  return cause.reasons.some(Cause.isDieReason)
    ? failed(`defect: ${message}`, "this is a bug in Columba; run again with --debug to see where it happened")
    : failed(message, null)
}

/**
 * Reports on stderr why the command failed. Silent for an interruption, and for errors that the command line already
 * reported.
 */
export const report = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const error = Cause.squash(cause)
    const alreadySaid = typeof error === "object" && error !== null && "_tag" in error && error._tag === "ShowHelp"
    if (Cause.hasInterruptsOnly(cause) || alreadySaid) return Effect.void
    const trace = process.argv.includes("--debug") ? Cause.pretty(cause).split("\n") : []
    return printError(...describe(cause), ...trace)
  })

/** The code the process ends with. */
export const chooseExitCode = (cause: Cause.Cause<unknown>): number => {
  const error = Cause.squash(cause)
  if (typeof error !== "object" || error === null || !("_tag" in error)) return exitCode.failed
  if (error._tag === "ShowHelp") {
    return "errors" in error && Array.isArray(error.errors) && error.errors.length > 0
      ? exitCode.misused
      : 0
  }
  if (error._tag === "SettingsInvalid") return exitCode.misused
  return Runtime.getErrorExitCode(error)
}
