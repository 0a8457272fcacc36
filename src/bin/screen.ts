/**
 * The terminal while it serves: what runs, once, then log lines as they come, and below them a few stats that are
 * refreshed in place. Nothing else may write to the terminal meanwhile.
 */
import { Cause, Logger, References } from "effect"
import type { LogLevel } from "effect"
import type { Stats } from "../layers/App.ts"
import { fit } from "./style.ts"
import type { Style } from "./style.ts"

/** What the screen counts besides the app's own stats. */
export interface Reading {
  readonly at: number
  readonly stats: Stats
  /** Events that this terminal, as a reader of the log, was given. */
  readonly heard: number
}

export class Screen {
  readonly #stream: NodeJS.WriteStream
  readonly style: Style
  #footer: ReadonlyArray<string> = []
  #shown = 0

  constructor(stream: NodeJS.WriteStream, style: Style) {
    this.#stream = stream
    this.style = style
  }

  /** A line that stays. */
  line(text: string): void {
    this.#stream.write(`${this.#erase()}${text}\n${this.#draw()}`)
  }

  /** Replaces what is refreshed in place. */
  footer(lines: ReadonlyArray<string>): void {
    this.#footer = lines
    this.#stream.write(`${this.#erase()}${this.#draw()}`)
  }

  #erase(): string {
    const shown = this.#shown
    this.#shown = 0
    return shown === 0 ? "" : `\u001b[${shown}A\r\u001b[J`
  }

  /** Each line is cut to the terminal's width: one that wrapped would be two, and the next erase would miss. */
  #draw(): string {
    const columns = this.#stream.columns ?? 80
    const rows = Math.max(1, (this.#stream.rows ?? 24) - 1)
    const lines = this.#footer.slice(0, rows)
    this.#shown = lines.length
    return lines.map((line) => `${fit(line, columns)}\n`).join("")
  }
}

const number = new Intl.NumberFormat("en-US")

const perSecond = (now: number, before: number, seconds: number): string =>
  `${(seconds <= 0 ? 0 : Math.max(0, now - before) / seconds).toFixed(1)}/s`

const deviceLine = ({ devices, online }: Stats, { dim, green, yellow }: Style): string => {
  if (devices === 0) return `${number.format(0)} ${dim("add one: columba devices add --name 'Front desk'")}`
  const text = `${number.format(online)} of ${number.format(devices)} online`
  return online === devices ? green(text) : yellow(text)
}

/** The stats as lines. Rates are over the time between the two readings. */
export const figureLines = (now: Reading, before: Reading, style: Style): ReadonlyArray<string> => {
  const { bold, dim, red } = style
  const seconds = (now.at - before.at) / 1000
  const label = (text: string): string => `  ${bold(text.padEnd(10))} `
  const { committed, incidents, sinks } = now.stats
  const events = committed === null
    ? red("the database does not answer; nothing is acknowledged until it does")
    : `${number.format(committed)} committed  ${
      dim(perSecond(committed, before.stats.committed ?? committed, seconds))
    }`
  const delivered = sinks.length === 0
    ? [
      `${number.format(now.heard)} to this terminal  ${
        dim(`${perSecond(now.heard, before.heard, seconds)}, live from the log`)
      }`
    ]
    : sinks.map((sink) => {
      const last = before.stats.sinks.find((one) => one.sink === sink.sink)?.confirmed ?? sink.confirmed
      const rate = dim(`${perSecond(sink.confirmed, last, seconds)}, ${number.format(sink.lag)} behind`)
      const trouble = sink.failure === null ? "" : `  ${red(sink.failure.message)}`
      return `${number.format(sink.confirmed)} to ${sink.sink}  ${rate}${trouble}`
    })
  return [
    "",
    `${label("devices")}${deviceLine(now.stats, style)}`,
    `${label("events")}${events}`,
    ...delivered.map((line, index) => `${label(index === 0 ? "delivered" : "")}${line}`),
    ...incidents.map((incident) =>
      `${label("incident")}${red(`gateway '${incident.gateway}' is down since ${incident.since}: ${incident.reason}`)}`
    ),
    dim("  Ctrl-C stops in order, a second one at once")
  ]
}

const levelColour = (level: LogLevel.LogLevel, style: Style): string => {
  const text = level.toUpperCase().padEnd(5)
  if (level === "Error" || level === "Fatal") return style.red(text)
  return level === "Warn" ? style.yellow(text) : style.dim(text)
}

const shown = (value: unknown): string => {
  if (typeof value === "string") return value
  if (value instanceof Error) return value.message
  if (typeof value !== "object" || value === null) return String(value)
  return Object.entries(value).map(([key, field]) =>
    `${key}=${typeof field === "string" ? field : JSON.stringify(field)}`
  ).join(" ")
}

/** Log lines as a person reads them, above the stats. */
export const screenLogger = (screen: Screen): Logger.Logger<unknown, void> =>
  Logger.make(({ cause, date, fiber, logLevel, message }) => {
    const { dim } = screen.style
    const words = (Array.isArray(message) ? message : [message]).map(shown)
    const annotations = Object.entries(fiber.getRef(References.CurrentLogAnnotations))
      .map(([key, value]) => dim(`${key}=${shown(value)}`))
    const why = cause.reasons.length === 0 ? [] : [shown(Cause.squash(cause))]
    const time = dim(date.toISOString().slice(11, 19))
    screen.line(`${time} ${levelColour(logLevel, screen.style)} ${[...words, ...why, ...annotations].join(" ")}`)
  })
