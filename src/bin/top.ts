/**
 * `columba top`: the fleet as it is now, on the whole terminal, over the typed client. When the server returns after
 * an outage, it continues where it was.
 */
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import { Clock, Duration, Effect, Queue, Schedule, Stream, Terminal } from "effect"
import { Command } from "effect/cli"
import type { ColumbaClient } from "../client/ColumbaClient.ts"
import { FleetModel } from "../client/FleetModel.ts"
import { CommandFailed, exitCode } from "./failures.ts"
import * as FullScreen from "./fullScreen.ts"
import { hasColours } from "./printer.ts"
import { answeredInTime, remoteFlags, withClient } from "./remote.ts"
import { topLines } from "./topLines.ts"
import { begin, step } from "./topModel.ts"
import type { TopCommand, TopInput } from "./topModel.ts"

/** Changes are drawn together: faster than eyes follow, and one drawing for all that arrived in the meantime. */
const drawEvery = Duration.millis(250)

/** The first part contains every device at once. */
const drawAtMost = 2_000

/** Two seconds: often enough to see a rate, seldom enough to cost nothing. */
const askEvery = Duration.seconds(2)
const answerMax = Duration.seconds(5)

/** A terminal that has no recorded size reports zero. */
const sized = ({ columns, rows }: Terminal.Size): Terminal.Size => ({ columns: columns || 80, rows: rows || 24 })

type Client = ColumbaClient["Service"]

/**
 * A key that is limited to some devices may not see figures of the whole fleet; the server is asked all the same, to
 * see whether it answers.
 */
const figures = ({ server }: Client, isWhole: boolean) =>
  Effect.gen(function*() {
    const asked = isWhole ? server.overview() : Effect.as(server.ping(), null)
    const answer = yield* Effect.option(Effect.timeout(asked, answerMax))
    const now = yield* Clock.currentTimeMillis
    return {
      _tag: "Figures",
      overview: answer._tag === "Some" ? answer.value : null,
      lostAt: answer._tag === "Some" ? null : now
    } satisfies TopInput
  }).pipe((ask) => Stream.fromEffectSchedule(ask, Schedule.spaced(askEvery)))

const fleet = ({ watchDevices }: Client) =>
  watchDevices.pipe(
    Stream.groupedWithin(drawAtMost, drawEvery),
    Stream.mapAccum(
      () => new FleetModel(),
      (model, items) => [model, [{ _tag: "Fleet", view: model.apply(items) } satisfies TopInput]]
    )
  )

const carryOut = ({ devices }: Client, command: TopCommand): Effect.Effect<TopInput> => {
  const failed = (error: { readonly message: string }): Effect.Effect<TopInput> =>
    Effect.succeed({ _tag: "Said", ok: false, text: error.message })
  switch (command._tag) {
    case "Explain":
      return answeredInTime(devices.explain({ id: command.id })).pipe(
        Effect.map((found): TopInput => ({ _tag: "Explained", id: command.id, found })),
        Effect.catch(failed)
      )
    case "Release":
      return answeredInTime(devices.release({ id: command.id })).pipe(
        Effect.map((device): TopInput => ({ _tag: "Said", ok: true, text: `${device.name} is released` })),
        Effect.catch(failed)
      )
    case "Quit":
      return Effect.succeed({ _tag: "Ended" })
  }
}

const follow = Effect.fnUntraced(function*(client: Client) {
  // Before the terminal is taken over, so that an unreachable server is reported as by any other command.
  const caller = yield* answeredInTime(client.server.caller())
  const terminal = yield* Terminal.Terminal
  const screen = yield* FullScreen.open(process.stdout, hasColours(process.stdout))
  // The newest request counts: a person who asks twice wants the second answer.
  const commands = yield* Queue.sliding<TopCommand>(1)
  const sizes = Stream.fromQueue(yield* terminal.size).pipe(
    Stream.map((size): TopInput => ({ _tag: "Size", size: sized(size) }))
  )
  const keys = Stream.fromQueue(yield* terminal.readInput).pipe(
    Stream.map((key): TopInput => ({ _tag: "Key", key })),
    Stream.concat(Stream.succeed<TopInput>({ _tag: "Ended" }))
  )
  const answers = Stream.fromQueue(commands).pipe(Stream.mapEffect((command) => carryOut(client, command)))
  const ticks = Stream.map(Stream.tick("1 second"), (): TopInput => ({ _tag: "Tick" }))
  const first = begin(
    sized({ columns: yield* terminal.columns, rows: yield* terminal.rows }),
    caller.scopes.includes("manage")
  )
  const inputs: ReadonlyArray<Stream.Stream<TopInput, Stream.Error<Client["watchDevices"]>>> = [
    fleet(client),
    figures(client, caller.devices === null),
    keys,
    sizes,
    answers,
    ticks
  ]
  yield* Stream.mergeAll(inputs, { concurrency: "unbounded" }).pipe(
    Stream.mapAccum(() => first, (state, input) => {
      const stepped = step(state, input)
      return [stepped.state, [stepped]]
    }),
    Stream.tap(({ command, state }) =>
      Effect.gen(function*() {
        screen.draw(topLines(state, yield* Clock.currentTimeMillis), state.size)
        if (command !== null) yield* Queue.offer(commands, command)
      })
    ),
    Stream.takeUntil(({ command }) => command?._tag === "Quit"),
    Stream.runDrain
  )
}, Effect.scoped)

/** Only the view's own keys end it: Escape leaves a search. */
const terminalOfKeys = NodeTerminal.make(() => false)

export const top = Command.make("top", remoteFlags, (flags) =>
  process.stdin.isTTY && process.stdout.isTTY
    ? withClient(flags, (client) =>
      Effect.scoped(Effect.flatMap(terminalOfKeys, (terminal) =>
        Effect.provideService(follow(client), Terminal.Terminal, terminal))))
    : Effect.fail(CommandFailed.of(
      "this view needs a terminal",
      "for programs: columba devices list --json, columba events tail --json",
      exitCode.misused
    ))).pipe(
    Command.withDescription("Shows the fleet live: states, rates, backlogs, and devices that need attention"),
    Command.withExamples([{ command: "columba top", description: "? shows the keys, q leaves" }])
  )
