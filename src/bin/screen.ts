/**
 * The terminal while it serves: the parts that run, once, then log lines as they come, and below them a few stats that
 * are refreshed in place. Nothing else may write to the terminal meanwhile.
 */
import { Cause, Logger, References } from "effect"
import type { LogLevel } from "effect"
import type { Stats } from "../layers/App.ts"
import { describeState } from "../services/BrokerStatus.ts"
import { bold, dim, fit, green, join, padEnd, red, render, styled, yellow } from "./styledText.ts"
import type { Part } from "./styledText.ts"

/** The screen's counts besides the app's own stats. */
export interface Reading {
  readonly at: number
  readonly stats: Stats
  /** Events that this terminal, as a reader of the log, has received. */
  readonly received: number
}

export class Screen {
  readonly #stream: NodeJS.WriteStream
  readonly #colours: boolean
  #footer: ReadonlyArray<Part> = []
  #shown = 0

  constructor(stream: NodeJS.WriteStream, colours: boolean) {
    this.#stream = stream
    this.#colours = colours
  }

  /** Lines that stay. */
  lines(...lines: ReadonlyArray<Part>): void {
    const text = lines.map((line) => `${render(line, this.#colours)}\n`).join("")
    this.#stream.write(`${this.#erase()}${text}${this.#draw()}`)
  }

  /** Replaces the part that is refreshed in place. */
  footer(lines: ReadonlyArray<Part>): void {
    this.#footer = lines
    this.#stream.write(`${this.#erase()}${this.#draw()}`)
  }

  #erase(): string {
    const shown = this.#shown
    this.#shown = 0
    return shown === 0 ? "" : `\u001b[${shown}A\r\u001b[J`
  }

  /** Each line is cut to the terminal's width: a wrapped line would be two, and the next erase would miss one. */
  #draw(): string {
    const columns = this.#stream.columns ?? 80
    const rows = Math.max(1, (this.#stream.rows ?? 24) - 1)
    const lines = this.#footer.slice(0, rows)
    this.#shown = lines.length
    return lines.map((line) => `${render(fit(line, columns), this.#colours)}\n`).join("")
  }
}

const number = new Intl.NumberFormat("en-US")

const perSecond = (now: number, before: number, seconds: number): string =>
  `${(seconds <= 0 ? 0 : Math.max(0, now - before) / seconds).toFixed(1)}/s`

const renderDevices = ({ devices, online }: Stats): Part => {
  if (devices === 0) return styled`${number.format(0)} ${dim("add one: columba devices add --name 'Front desk'")}`
  const text = `${number.format(online)} of ${number.format(devices)} online`
  return online === devices ? green(text) : yellow(text)
}

const renderCommitted = (now: Reading, before: Reading, seconds: number): Part => {
  const { committed } = now.stats
  if (committed === null) return red("the database does not answer; nothing is acknowledged until it does")
  const rate = perSecond(committed, before.stats.committed ?? committed, seconds)
  return styled`${number.format(committed)} committed  ${dim(rate)}`
}

const renderDelivered = (now: Reading, before: Reading, seconds: number): ReadonlyArray<Part> =>
  now.stats.sinks.length === 0
    ? [
      styled`${number.format(now.received)} to this terminal  ${
        dim(`${perSecond(now.received, before.received, seconds)}, live from the log`)
      }`
    ]
    : now.stats.sinks.map((sink) => {
      const last = before.stats.sinks.find((one) => one.sink === sink.sink)?.confirmed ?? sink.confirmed
      const rate = `${perSecond(sink.confirmed, last, seconds)}, ${number.format(sink.lag)} behind`
      const line = styled`${number.format(sink.confirmed)} to ${sink.sink}  ${dim(rate)}`
      return sink.failure === null ? line : styled`${line}  ${red(sink.failure.message)}`
    })

/**
 * A broker that refuses the connection looks configured in the head of the screen; this shows whether it accepts
 * events.
 */
const renderBroker = ({ broker }: Stats): ReadonlyArray<Part> =>
  broker === null || broker._tag === "Connected"
    ? []
    : [red(describeState(broker))]

/** The stats as lines. Rates are over the time between the two readings. */
export const statLines = (now: Reading, before: Reading): ReadonlyArray<Part> => {
  const seconds = (now.at - before.at) / 1000
  const label = (text: string, value: Part): Part => styled`  ${padEnd(bold(text), 10)} ${value}`
  return [
    "",
    label("devices", renderDevices(now.stats)),
    label("events", renderCommitted(now, before, seconds)),
    ...renderDelivered(now, before, seconds).map((line, index) => label(index === 0 ? "delivered" : "", line)),
    ...renderBroker(now.stats).map((line) => label("broker", line)),
    ...now.stats.incidents.map((incident) =>
      label("incident", red(`gateway '${incident.gateway}' is down since ${incident.since}: ${incident.reason}`))
    ),
    dim("  Ctrl-C stops in order, a second one at once")
  ]
}

const renderLevel = (level: LogLevel.LogLevel): Part => {
  const text = level.toUpperCase().padEnd(5)
  if (level === "Error" || level === "Fatal") return red(text)
  return level === "Warn" ? yellow(text) : dim(text)
}

const show = (value: unknown): string => {
  if (typeof value === "string") return value
  if (value instanceof Error) return value.message
  if (typeof value !== "object" || value === null) return String(value)
  return Object.entries(value).map(([key, field]) =>
    `${key}=${typeof field === "string" ? field : JSON.stringify(field)}`
  ).join(" ")
}

/** Log lines for a person. `write` places them: above the stats on a screen, otherwise on stdout. */
export const prettyLogger = (write: (line: Part) => void): Logger.Logger<unknown, void> =>
  Logger.make(({ cause, date, fiber, logLevel, message }) => {
    const words = (Array.isArray(message) ? message : [message]).map(show)
    const annotations = Object.entries(fiber.getRef(References.CurrentLogAnnotations))
      .map(([key, value]) => dim(`${key}=${show(value)}`))
    const why = cause.reasons.length === 0 ? [] : [show(Cause.squash(cause))]
    const time = dim(date.toISOString().slice(11, 19))
    write(styled`${time} ${renderLevel(logLevel)} ${join([...words, ...why, ...annotations])}`)
  })
