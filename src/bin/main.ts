/** The program: reads the command line and runs the command. Without a command, it serves. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Duration, Effect, Exit, Runtime } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag } from "effect/cli"
import { shutdownMax } from "../services/shutdownBudget.ts"
import { dead } from "./dead.ts"
import { devices } from "./devices.ts"
import { doctor } from "./doctor.ts"
import { events } from "./events.ts"
import { exitCode, chooseExitCode, report } from "./failures.ts"
import { gaps } from "./gaps.ts"
import { keys } from "./keys.ts"
import { messages } from "./messages.ts"
import { schedules } from "./schedules.ts"
import { gateways } from "./gateways.ts"
import { migrate } from "./migrate.ts"
import { nodes } from "./nodes.ts"
import { printError } from "./printer.ts"
import { serve } from "./serve.ts"
import { simulator } from "./simulator.ts"
import { subscriptions } from "./subscriptions.ts"
import { dim, red, styled } from "./styledText.ts"
import { top } from "./top.ts"
import { version } from "./version.ts"

const shutdownMillis = Duration.toMillis(shutdownMax)

const columba = Command.make("columba").pipe(
  Command.withDescription(
    "Keeps a fleet of WhatsApp devices connected and turns what they receive into a durable, replayable event log."
  ),
  Command.withSubcommands([
    serve,
    top,
    devices,
    gateways,
    gaps,
    messages,
    schedules,
    events,
    subscriptions,
    dead,
    keys,
    nodes,
    simulator,
    migrate,
    doctor
  ]),
  Command.withExamples([
    { command: "columba", description: "Runs everything: embedded database, built-in simulator, API and docs" },
    { command: "columba top", description: "The fleet of a running Columba, live in the terminal" },
    { command: "columba devices list", description: "The devices of a running Columba and their states" },
    { command: "columba gateways list", description: "The WhatsApp gateways that its devices use" },
    {
      command: "columba gaps list --status unprovable",
      description: "Gaps in which something may be missing permanently"
    },
    { command: "columba events tail", description: "Events, as they are committed" },
    { command: "columba doctor", description: "What is missing on this machine, and how to fix it" }
  ])
)

/** Wrong usage prints one line and a reference, not a page of help. */
const presenter: CliOutput.Presenter = {
  present: (event) => {
    if (event._tag !== "InvalidInvocation") return CliOutput.defaultPresenter.present(event)
    return printError(
      ...event.errors.map(({ message }) => styled`${red("columba:")} ${message.replaceAll(/\s*\n\s*/g, " ")}`),
      dim(`  see: ${event.commandPath.join(" ")} --help`)
    )
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

/** A pipe accepts as much as its reader has room for; the rest would be lost with the process. */
const exitOnceWritten = (code: number): void => {
  process.stdout.write("", () => process.stderr.write("", () => process.exit(code)))
}

/** The first SIGINT or SIGTERM stops in order, the second stops at once. */
const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  let signals = 0
  fiber.addObserver((exit) => teardown(exit, exitOnceWritten))
  const stop = (): void => {
    signals++
    if (signals > 1) process.exit(exitCode.interrupted)
    setTimeout(() => {
      process.stderr.write(`columba: did not stop within ${shutdownMillis / 1000} s; ending now\n`)
      process.exit(exitCode.failed)
    }, shutdownMillis).unref()
    fiber.interruptUnsafe(fiber.id)
  }
  process.on("SIGINT", stop)
  process.on("SIGTERM", stop)
})

// The reader of the output has closed it, as in `columba events tail | head`. That is not a failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error
  process.exit(0)
})

runMain(program, { disableErrorReporting: true, teardown })
