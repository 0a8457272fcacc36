/** `columba serve`: runs the parts that the settings select until a signal stops it, and shows their stats. */
import { Clock, ConfigProvider, Effect, Ref, Stream } from "effect"
import type { Scope } from "effect"
import { Command } from "effect/cli"
import type { App, Stats } from "../layers/App.ts"
import * as Settings from "../layers/Settings.ts"
import { describeState } from "../services/BrokerStatus.ts"
import { CommandFailed, exitCode } from "./failures.ts"
import { hasColours } from "./printer.ts"
import { prettyLogger, Screen, statLines } from "./screen.ts"
import type { Reading } from "./screen.ts"
import { allSettings, givenFlags, settingsFlags } from "./settingsFlags.ts"
import { bold, cyan, dim, padEnd, render, styled, yellow } from "./styledText.ts"
import type { Part } from "./styledText.ts"
import { version } from "./version.ts"

/** Twice a second reads as live; each reading is two small queries. */
const screenInterval = "500 millis"

/** Rates over this many readings, so that they do not flicker. */
const rateReadings = 6

/** In a log file, one line every half minute is enough. */
const summaryInterval = "30 seconds"

/** The parts are loaded only when something is to be served, so that the other commands start at once. */
const load = Effect.promise(() =>
  Promise.all([import("../layers/App.ts"), import("../layers/telemetry/Telemetry.ts"), import("./parts.ts")])
)

const run = Effect.fn("serve")(function*(settings: Settings.Settings, screen: Screen | null) {
  const [App, , parts] = yield* load
  const app = yield* App.start(settings, version).pipe(
    Effect.mapError((error) => CommandFailed.of(error.message, error.hint, exitCode.unavailable))
  )
  const overview = { parts: parts.listParts(app), notes: parts.listNotes(app) }
  yield* Effect.forkScoped(screen === null ? summarize(app, overview) : show(app, overview, screen))
  // From here on a signal is the normal end, and the parts stop in order.
  return yield* Effect.never.pipe(Effect.onInterrupt(() =>
    Effect.andThen(
      app.stop,
      Effect.sync(() => {
        process.exitCode = 0
      })
    )
  ))
})

export const serve = Command.make("serve", settingsFlags(allSettings), (flags) =>
  Effect.scoped(Effect.gen(function*() {
    const given = givenFlags(flags)
    const settings = yield* Settings.load(given)
    const terminal = process.stdout.isTTY
    const colours = hasColours(process.stdout)
    const pretty = settings.log === "pretty" || (settings.log === "auto" && terminal)
    const screen = pretty && terminal ? new Screen(process.stdout, colours) : null
    const writeLine = (line: Part): void => {
      if (screen === null) process.stdout.write(`${render(line, colours)}\n`)
      else screen.lines(line)
    }
    const [, Telemetry] = yield* load
    const telemetry = Telemetry.layer(settings, pretty ? prettyLogger(writeLine) : null)
    return yield* Effect.scoped(run(settings, screen)).pipe(
      Effect.provide(telemetry),
      Effect.provideService(ConfigProvider.ConfigProvider, yield* Settings.provider(given))
    )
  }))).pipe(
    Command.withDescription(
      "Runs Columba: the fleet, the log, its delivery, and the API. Everything has a default; each flag is also an " +
        "environment variable (in brackets), and a .env file is read"
    ),
    Command.withShortDescription("Runs Columba (the default command)"),
    Command.withExamples([
      { command: "columba", description: "Embedded database, built-in simulator, demo devices" },
      {
        command: "columba serve --whatsapp-api-url http://gateway:3000 --rabbitmq-url amqp://broker",
        description: "With a real gateway and RabbitMQ"
      },
      {
        command: "columba serve --database-url postgres://columba@db/columba --roles devices",
        description: "One process of several, only for the fleet"
      }
    ])
  )

/** The running parts, and notes for an operator. */
interface Overview {
  readonly parts: ReadonlyArray<{ readonly name: string; readonly description: string }>
  readonly notes: ReadonlyArray<string>
}

const readStatsNow = (app: App, received: Ref.Ref<number>): Effect.Effect<Reading> =>
  Effect.all({ at: Clock.currentTimeMillis, stats: app.stats, received: Ref.get(received) })

/** This terminal is a reader of the log like any other, and counts the events that it receives. */
const listen = (app: App, received: Ref.Ref<number>): Effect.Effect<void> =>
  app.log.bounds.pipe(
    Effect.flatMap(({ head }) =>
      app.log.follow({ after: head }).pipe(
        Stream.runForEach(({ events }) => Ref.update(received, (count) => count + events.length))
      )
    ),
    Effect.ignore
  )

const show = Effect.fnUntraced(function*(app: App, { notes, parts }: Overview, screen: Screen) {
  const row = (name: Part, value: Part): Part => styled`  ${padEnd(name, 10)} ${value}`
  screen.lines(
    "",
    bold(`  Columba ${version}`),
    "",
    ...parts.map(({ description, name }) =>
      row(bold(name), description.startsWith("http") ? cyan(description) : description)
    ),
    ...notes.map((note) => row(yellow("note"), dim(note))),
    ""
  )
  const received = yield* Ref.make(0)
  yield* Effect.forkScoped(listen(app, received))
  const readings: Array<Reading> = []
  yield* Effect.addFinalizer(() => Effect.sync(() => screen.footer([])))
  while (true) {
    const reading = yield* readStatsNow(app, received)
    readings.push(reading)
    if (readings.length > rateReadings) readings.shift()
    screen.footer(statLines(reading, readings[0] ?? reading))
    yield* Effect.sleep(screenInterval)
  }
})

const summary = (stats: Stats) => ({
  devices: stats.devices,
  online: stats.online,
  committed: stats.committed,
  ...Object.fromEntries(stats.sinks.flatMap(({ confirmed, lag, sink }) => [
    [`delivered.${sink}`, confirmed],
    [`behind.${sink}`, lag]
  ])),
  ...(stats.broker === null || stats.broker._tag === "Connected"
    ? {}
    : { broker: describeState(stats.broker) }),
  ...(stats.incidents.length === 0 ? {} : { incidents: stats.incidents.length })
})

const summarize: (app: App, overview: Overview) => Effect.Effect<never, never, Scope.Scope> = Effect.fnUntraced(
  function*(app: App, { notes, parts }: Overview) {
    yield* Effect.logInfo("Columba is up").pipe(
      Effect.annotateLogs({ version, ...Object.fromEntries(parts.map(({ description, name }) => [name, description])) })
    )
    for (const note of notes) yield* Effect.logInfo(note)
    return yield* Effect.forever(Effect.andThen(
      Effect.sleep(summaryInterval),
      Effect.flatMap(app.stats, (stats) => Effect.annotateLogs(Effect.logInfo("Running"), summary(stats)))
    ))
  }
)
