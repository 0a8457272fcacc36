/**
 * How a command ends badly: one clear line and, where we know one, a hint what to do. Stack traces are for defects, and
 * then only with `--debug`. Exit codes: 1 something failed, 2 used or set up wrongly, 3 something it needs is not there.
 */
import { Cause, Effect, Runtime, Schema } from "effect"
import { style } from "./style.ts"

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

/** What is sensible to say of any failure. Errors of ours speak for themselves; the rest gets its tag before it. */
const describe = (cause: Cause.Cause<unknown>): readonly [message: string, hint: string | null] => {
  const error = Cause.squash(cause)
  if (error instanceof CommandFailed) return [error.message, error.hint]
  const message = error instanceof Error && error.message !== "" ? error.message : String(error)
  if (cause.reasons.some(Cause.isDieReason)) {
    return [`defect: ${message}`, "this is a fault in Columba; run again with --debug to see where it happened"]
  }
  return [message, null]
}

/** Says on stderr why the command failed. Silent for an interruption, and for what the command line already said. */
export const report = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Effect.sync(() => {
    const error = Cause.squash(cause)
    const alreadySaid = typeof error === "object" && error !== null && "_tag" in error && error._tag === "ShowHelp"
    if (Cause.hasInterruptsOnly(cause) || alreadySaid) return
    const [message, hint] = describe(cause)
    const { red, dim } = style(process.stderr)
    process.stderr.write(`${red("columba:")} ${message}\n${hint === null ? "" : `${dim(`  ${hint}`)}\n`}`)
    if (process.argv.includes("--debug")) process.stderr.write(`${Cause.pretty(cause)}\n`)
  })

/** The code the process ends with. */
export const chooseExitCode = (cause: Cause.Cause<unknown>): number => {
  const error = Cause.squash(cause)
  if (typeof error !== "object" || error === null || !("_tag" in error)) return exitCode.failed
  if (error._tag === "ShowHelp") {
    return "errors" in error && Array.isArray(error.errors) && error.errors.length > 0
      ? 2
      : 0
  }
  if (error._tag === "SettingsInvalid") return exitCode.misused
  return Runtime.getErrorExitCode(error)
}
