/** The program: reads the command line and hands over to a command. Without one, it serves. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Effect, Exit, Runtime } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag } from "effect/cli"
import { devices } from "./devices.ts"
import { doctor } from "./doctor.ts"
import { events } from "./events.ts"
import { exitCode, chooseExitCode, report } from "./failures.ts"
import { migrate } from "./migrate.ts"
import { serve } from "./serve.ts"
import { simulator } from "./simulator.ts"
import { style } from "./style.ts"
import { version } from "./version.ts"

/**
 * How long a stop may take before it is cut short: relays get a few seconds for confirms, the log for its last batch,
 * readers for a goodbye. Below the 30 s that orchestrators usually give.
 */
const stopWithinMillis = 20_000

const columba = Command.make("columba").pipe(
  Command.withDescription(
    "Keeps a fleet of WhatsApp devices connected and turns what they hear into a durable, replayable event log."
  ),
  Command.withSubcommands([serve, devices, events, simulator, migrate, doctor]),
  Command.withExamples([
    { command: "columba", description: "Runs everything: embedded database, built-in simulator, API and docs" },
    { command: "columba devices list", description: "How the fleet of a running Columba stands" },
    { command: "columba events tail", description: "What it hears, as it is committed" },
    { command: "columba doctor", description: "What is missing on this machine, and how to mend it" }
  ])
)

/** Wrong usage is one line and where to read on, not a page of help. */
const presenter: CliOutput.Presenter = {
  present: (event) => {
    if (event._tag !== "InvalidInvocation") return CliOutput.defaultPresenter.present(event)
    const { dim, red } = style(process.stderr)
    const said = event.errors.map(({ message }) => `${red("columba:")} ${message.replaceAll(/\s*\n\s*/g, " ")}`)
    return Console.error(`${said.join("\n")}\n${dim(`  see: ${event.commandPath.join(" ")} --help`)}`)
  }
}

/** `columba --port 9000` means `columba serve --port 9000`; `columba --help` means the whole program. */
const ofProgram = new Set(["--help", "-h", "--version", "-v", "--completions", "--wizard"])
const withCommand = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const [first] = args
  const ownFlag = first !== undefined && first.startsWith("-") && !ofProgram.has(first.split("=")[0] ?? first)
  return first === undefined || ownFlag ? ["serve", ...args] : args
}

const program = Command.runWith(columba, { version })(withCommand(process.argv.slice(2))).pipe(
  Effect.tapCause(report),
  Effect.provide([
    NodeServices.layer,
    CliOutput.layerPresenter(presenter),
    CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
  ])
)

const teardown: Runtime.Teardown = (exit, onExit) =>
  onExit(
    Exit.isSuccess(exit) ? 0 : process.exitCode === undefined ? chooseExitCode(exit.cause) : Number(process.exitCode)
  )

/** The first SIGINT or SIGTERM asks to stop in order, the second stops at once. */
const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  let signals = 0
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code)))
  const stop = (): void => {
    signals++
    if (signals > 1) process.exit(exitCode.interrupted)
    setTimeout(() => {
      process.stderr.write(`columba: did not stop within ${stopWithinMillis / 1000} s; ending now\n`)
      process.exit(exitCode.failed)
    }, stopWithinMillis).unref()
    fiber.interruptUnsafe(fiber.id)
  }
  process.on("SIGINT", stop)
  process.on("SIGTERM", stop)
})

// Whoever read our output has gone, as in `columba events tail | head`: nothing is left to say, and nothing is wrong.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error
  process.exit(0)
})

runMain(program, { disableErrorReporting: true, teardown })
