/**
 * `columba devices login`: shows the codes of a login in the terminal, counts down, and follows it to its end. The
 * code is drawn in place and erased at the end, so that it does not stay in the scrollback. Ctrl-C leaves the login,
 * which cancels it unless somebody else follows it.
 */
import { Clock, Duration, Effect, Fiber, Option, Redacted, Schema, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import type { LoginFailure } from "../domain/Login.ts"
import { LoginStep } from "../domain/Login.ts"
import { CommandFailed } from "./failures.ts"
import { hasColours, print, printJson } from "./printer.ts"
import { qrLines } from "./qrLines.ts"
import { deviceArgument, json, remoteFlags, withClient } from "./remote.ts"
import { Screen } from "./screen.ts"
import { bold, countColumns, dim, green, styled, yellow } from "./styledText.ts"
import type { Part } from "./styledText.ts"

/** The size of the drawing area; null if nothing is redrawn. */
export interface Size {
  readonly columns: number
  readonly rows: number
}

/** The advice for a login that failed. */
const hints: Readonly<Partial<Record<LoginFailure, string>>> = {
  "logged-in": "the gateway holds an account that does not connect: columba devices disconnect, then log in again",
  method: "try the other way: with --code, or without",
  phone: "give the number with its country's, as in --code +6281234567890",
  gateway: "see that the gateway runs: columba doctor",
  "not-connected": "see what the gateway says: columba devices status; then log in again",
  stopped: "see why: columba devices explain"
}

/** Rows around the picture: a line above, one below, and one for the cursor. */
const frameRows = 5

export const loginLines = (
  step: LoginStep,
  now: number,
  { colours, qrUrl, size }: { readonly colours: boolean; readonly qrUrl: string; readonly size: Size | null }
): ReadonlyArray<Part> => {
  switch (step._tag) {
    case "Starting":
      return [dim("asking the gateway for a code …")]
    case "Qr": {
      const foot = styled`code ${step.attempt}, ${countDown(step.expiresAt, now, size)}`
      if (step.text === undefined) return [styled`the gateway's picture could not be read; open ${qrUrl}`, foot]
      const picture = qrLines(Redacted.value(step.text), colours)
      const fits = size === null ||
        picture.length + frameRows <= size.rows && countColumns(picture[0] ?? "") <= size.columns
      return fits
        ? ["On the phone: WhatsApp, Linked devices, Link a device", ...picture, foot]
        : [
          yellow(
            `the code needs ${countColumns(picture[0] ?? "")} columns and ${
              picture.length + frameRows
            } rows: make the ` +
              "window larger"
          ),
          styled`or open ${qrUrl}`,
          foot
        ]
    }
    case "Code":
      return [
        "On the phone: WhatsApp, Linked devices, Link with phone number",
        styled`  ${bold(Redacted.value(step.code))}`,
        styled`code ${step.attempt}, ${countDown(step.expiresAt, now, size)}`
      ]
    case "Passkey":
      return step.code === null
        ? [yellow("WhatsApp asks for a passkey; see docs/login.md#passkeys for how to answer")]
        : [
          styled`compare with the phone: ${bold(Redacted.value(step.code))}`,
          dim("if it is the same: POST /api/v1/devices/{id}/login/passkey/confirm")
        ]
    case "Linking":
      return ["the phone has accepted; the gateway connects the account …"]
    case "LoggedIn":
      return [
        styled`${green("logged in")}${step.phone === null ? "" : ` as ${step.phone}`}${
          step.jid === null ? "" : dim(` (${step.jid})`)
        }`
      ]
    case "Failed":
    case "Expired":
      return []
  }
}

/** Without redrawing, it prints the time instead of a countdown. */
const countDown = (expiresAt: string, now: number, size: Size | null): Part => {
  if (size === null) return `until ${expiresAt}`
  const seconds = Math.max(0, Math.ceil((Date.parse(expiresAt) - now) / 1000))
  return styled`replaced within ${seconds} s   ${dim("Ctrl-C cancels")}`
}

const encodeStep = Schema.encodeSync(LoginStep)

export const login = Command.make("login", {
  ...remoteFlags,
  json,
  device: deviceArgument,
  code: Flag.Redacted("code").pipe(
    Flag.withDescription("with a pairing code for this phone instead of a QR code"),
    Flag.withMetavar("phone"),
    Flag.optional
  )
}, (flags) => {
  const asked = Option.match(flags.code, {
    onNone: () => ({ id: flags.device }),
    onSome: (phone) => ({ id: flags.device, method: "code" as const, phone })
  })
  const qrUrl = `${flags.url.replace(/\/+$/, "")}/api/v1/devices/${flags.device}/qr.png`
  return withClient(flags, (client) =>
    flags.json
      ? followPlain(client.login(asked), (step) => printJson(encodeStep(step)))
      : process.stdout.isTTY
      ? followOnScreen(client.login(asked), qrUrl)
      : followPlain(client.login(asked), (step) =>
        print(...loginLines(step, Date.now(), { colours: false, qrUrl, size: null }))))
}).pipe(
  Command.withDescription("Logs a device in: shows a QR code or pairing code until the login ends"),
  Command.withExamples([
    { command: "columba devices login dev_01K5ZQ…", description: "Scan the code with the phone" },
    {
      command: "columba devices login dev_01K5ZQ… --code +6281234567890",
      description: "Enter the code on the phone instead"
    }
  ])
)

type Steps<E> = Stream.Stream<LoginStep, E>

const followPlain = <E>(steps: Steps<E>, show: (step: LoginStep) => Effect.Effect<void>) =>
  Effect.flatMap(Stream.runFold(Stream.tap(steps, show), nothing, (_, step) => step), conclude)

const nothing = (): LoginStep => ({ _tag: "Starting" })

const followOnScreen = Effect.fnUntraced(function*<E>(steps: Steps<E>, qrUrl: string) {
  const colours = hasColours(process.stdout)
  const screen = new Screen(process.stdout, colours)
  const clock = yield* Clock.Clock
  let step = nothing()
  const draw = Effect.sync(() => {
    const { columns, rows } = process.stdout
    screen.footer(loginLines(step, clock.currentTimeMillisUnsafe(), { colours, qrUrl, size: { columns, rows } }))
  })
  const ticks = yield* Effect.forkChild(Effect.forever(Effect.andThen(draw, Effect.sleep(Duration.seconds(1)))))
  const erase = Effect.andThen(Fiber.interrupt(ticks), Effect.sync(() => screen.footer([])))
  yield* Effect.ensuring(
    Stream.runForEach(steps, (next) => {
      step = next
      return draw
    }),
    erase
  )
  yield* print(...loginLines(step, clock.currentTimeMillisUnsafe(), { colours, qrUrl, size: null }))
  return yield* conclude(step)
})

/** A login that ended without an account is a failed command. */
const conclude = (step: LoginStep): Effect.Effect<void, CommandFailed> => {
  switch (step._tag) {
    case "LoggedIn":
      return Effect.void
    case "Failed":
      return Effect.fail(CommandFailed.of(`not logged in: ${step.message}`, hints[step.reason] ?? null))
    case "Expired":
      return Effect.fail(
        CommandFailed.of("not logged in: none of the codes was used", "begin again when the phone is at hand")
      )
    default:
      return Effect.fail(CommandFailed.of("the login ended without a result", "see: columba devices explain"))
  }
}
