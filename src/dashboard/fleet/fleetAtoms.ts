/** The live data of the fleet: every device, and the figures of the server. */
import { Cause, DateTime, Effect, Schedule, Stream } from "effect"
import { Atom } from "effect/reactivity"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import type { Overview } from "../../contracts/ServerPayloads.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { client, mayAtom, sessionAtom } from "../session.ts"
import type { Session } from "../session.ts"
import { addReading } from "./FleetHistory.ts"
import type { Reading } from "./FleetHistory.ts"
import { FleetModel } from "../../client/FleetModel.ts"
import type { RowFilter } from "../../client/FleetModel.ts"

/** Changes are drawn together: faster than eyes follow, and one drawing for all that arrived in the meantime. */
const drawEvery = "100 millis"

/** The first part contains every device at once. */
const drawAtMost = 2000

export const fleetAtom = client.atom(
  Stream.unwrap(Effect.map(ColumbaClient, ({ watchDevices }) => watchDevices)).pipe(
    Stream.groupedWithin(drawAtMost, drawEvery),
    Stream.mapAccum(() => new FleetModel(), (model, items) => [model, [model.apply(items)]])
  )
).pipe(Atom.keepAlive)

export const filterAtom = Atom.make<RowFilter>({ search: "", state: "all", gateway: "" }).pipe(Atom.keepAlive)

/** Two seconds: often enough to see a rate, seldom enough to cost nothing. */
const askEvery = "2 seconds"
const answerWithin = "5 seconds"

/** Two minutes. */
const readingsKept = 60

export interface Figures {
  readonly overview: Overview | null
  /** Events per second between readings, oldest first. */
  readonly rates: ReadonlyArray<number>
  /** Oldest first. */
  readonly history: ReadonlyArray<Reading>
  /** Null while the server answers; otherwise since when it does not, by this machine's clock. */
  readonly lostSince: number | null
  /** The session whose key the server did not accept. */
  readonly refused: Session | null
}

export const noFigures: Figures = { overview: null, rates: [], history: [], lostSince: null, refused: null }

const addRate = (rates: ReadonlyArray<number>, before: Overview | null, now: Overview): ReadonlyArray<number> => {
  if (before === null || before.head === null || now.head === null) return rates
  const seconds = (Date.parse(now.at) - Date.parse(before.at)) / 1000
  // A log that went back has no rate.
  return seconds <= 0 || now.head < before.head
    ? rates
    : [...rates, (now.head - before.head) / seconds].slice(-readingsKept)
}

const isRefusal = (cause: Cause.Cause<unknown>): boolean => {
  const error = Cause.squash(cause)
  return typeof error === "object" && error !== null && "_tag" in error && error._tag === "Unauthorized"
}

/**
 * A limited key may not see figures of the whole fleet; the server is asked all the same, to see whether it answers.
 */
const ask = (whole: boolean) =>
  Effect.flatMap(
    ColumbaClient,
    ({ server }): Effect.Effect<Overview | null, unknown> => whole ? server.overview() : Effect.as(server.ping(), null)
  ).pipe(Effect.timeout(answerWithin), Effect.exit)

export const figuresAtom = client.atom((get) => {
  const whole = get(mayAtom).readFleet
  const session = get(sessionAtom)
  return Stream.fromEffectSchedule(ask(whole), Schedule.spaced(askEvery)).pipe(
    Stream.mapEffect((answer) => Effect.map(DateTime.now, (now) => ({ answer, now: now.epochMilliseconds }))),
    Stream.mapAccum(() => noFigures, (figures, { answer, now }) => {
      const next: Figures = answer._tag === "Failure" && isRefusal(answer.cause)
        ? { ...figures, refused: session }
        : answer._tag === "Failure"
        ? { ...figures, lostSince: figures.lostSince ?? now }
        : {
          overview: answer.value,
          rates: answer.value === null ? [] : addRate(figures.rates, figures.overview, answer.value),
          history: answer.value === null ? [] : addReading(figures.history, answer.value, now),
          lostSince: null,
          refused: null
        }
      return [next, [next]]
    })
  )
}).pipe(Atom.keepAlive)

/** The needs of a device are read again when its state has changed, and from time to time, since causes change too. */
const explainEvery = "20 seconds"

export const explanationAtom = Atom.family((id: DeviceId) =>
  client.atom(Effect.flatMap(ColumbaClient, ({ devices }) => devices.explain({ id }))).pipe(
    Atom.withRefresh(explainEvery)
  )
)

export const subscriptionsAtom = client.atom(
  Effect.flatMap(ColumbaClient, ({ subscriptions }) => subscriptions.list()).pipe(Effect.timeout(answerWithin))
).pipe(Atom.withRefresh("5 seconds"))

export const serverAtom = client.atom(
  Effect.flatMap(ColumbaClient, ({ server }) => server.info()).pipe(Effect.timeout(answerWithin))
).pipe(Atom.withRefresh("10 seconds"))
