/** The live data of one device's page. */
import { Effect, identity, Schedule, Stream } from "effect"
import type { Duration } from "effect"
import { AsyncResult, Atom } from "effect/reactivity"
import { ColumbaClient } from "../../client/ColumbaClient.ts"
import type { ReadableEvent } from "../../domain/Event.ts"
import { Position } from "../../domain/Ids.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { fleetAtom } from "../fleet/fleetAtoms.ts"
import { client } from "../session.ts"
import { addEvents, noEvents } from "./DeviceLog.ts"

type Client = ColumbaClient["Service"]

const withClient = <A, E>(call: (client: Client) => Effect.Effect<A, E>) => Effect.flatMap(ColumbaClient, call)

/**
 * The log is read forwards, and the page needs its end: growing windows, from the newest numbers backwards, until one
 * has enough events of this device. Each is a few pages at most.
 */
const windows = [2_000, 50_000, 1_000_000, Number.POSITIVE_INFINITY]
const pageSize = 500
const pagesMax = 4
const enough = 40

const readWindow = Effect.fnUntraced(function*(client: Client, device: DeviceId, from: number) {
  let events: ReadonlyArray<ReadableEvent> = []
  let after = Position.make(String(from))
  for (let page = 0; page < pagesMax; page++) {
    const { items, next, through } = yield* client.events.page({ device, after, limit: pageSize })
    events = [...events, ...items].slice(-pageSize)
    after = next ?? through
    if (next === null) break
  }
  return { events, after }
})

/** The newest number: an attempt to read after it returns it. */
const readEnd = Effect.fnUntraced(function*(client: Client, device: DeviceId) {
  const newest = yield* client.events.follow({ device }).pipe(Stream.runHead)
  const position = newest._tag === "Some" && newest.value._tag === "Heartbeat"
    ? newest.value.through
    : Position.make("0")
  const head = Number(position.split("-")[0])
  for (const window of windows) {
    const from = Math.max(0, head - window)
    const found = yield* readWindow(client, device, from).pipe(
      // Retention has deleted events that far back.
      Effect.catchTag("EventsExpired", () => Effect.succeed(null))
    )
    if (found === null) break
    if (found.events.length >= enough || from === 0) return found
  }
  return { events: [] as ReadonlyArray<ReadableEvent>, after: position }
})

const drawEvery = "100 millis"
const drawAtMost = 500

/** The end of the device's log, and then new events. */
export const deviceLogAtom = Atom.family((device: DeviceId) =>
  client.atom(
    Stream.unwrap(withClient((client) =>
      Effect.map(readEnd(client, device), ({ after, events }) =>
        client.events.follow({ device, after, onReset: "resume" }).pipe(
          Stream.groupedWithin(drawAtMost, drawEvery),
          Stream.mapAccum(() =>
            addEvents(noEvents, events), (view, items) => {
            const next = addEvents(
              view,
              items.flatMap((item) =>
                item._tag === "Event" ? [item.event] : []
              )
            )
            return [next, [next]]
          })
        ))
    ))
  )
)

/** Also read from time to time, since an actor's counters and the reasons for waiting make no event. */
const askEvery = "5 seconds"

const passing = new Set(["RpcClientError", "StorageUnavailable", "TimeoutError"])

const mayPass = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error && passing.has(String(error._tag))

/** Reads again when events of some kinds have arrived; not more often than this, however many arrive. */
const readEvery = "1 second"

const changesOf = (kind: "messages" | "gaps" | "states") => (device: DeviceId) =>
  Atom.make((get) => AsyncResult.getOrElse(get(deviceLogAtom(device)), () => noEvents).changes[kind])

const rereading = <A, E>(
  kind: "messages" | "gaps" | "states",
  read: (client: Client, device: DeviceId) => Effect.Effect<A, E>,
  atLeastEvery?: Duration.Input
) =>
  Atom.family((device: DeviceId) => {
    const changes = changesOf(kind)(device)
    return client.atom((get) =>
      get.stream(changes).pipe(
        atLeastEvery === undefined ? identity : Stream.merge(Stream.drop(Stream.tick(atLeastEvery), 1)),
        Stream.buffer({ capacity: 1, strategy: "sliding" }),
        Stream.throttle({ cost: (changed) => changed.length, units: 1, duration: readEvery, strategy: "shape" }),
        Stream.mapEffect(() => withClient((client) => read(client, device))),
        // A read that failed for a reason that may pass is repeated; meanwhile the page shows that the server is
        // unavailable.
        Stream.retry(Schedule.while(Schedule.spaced(askEvery), ({ input }) => mayPass(input)))
      )
    )
  })

const messagesShown = 60
const gapsShown = 200

export const messagesAtom = rereading(
  "messages",
  (client, device) => client.messages.list({ device, limit: messagesShown })
)

export const gapsAtom = rereading("gaps", (client, id) => client.devices.gaps({ id, limit: gapsShown }))

/** The row, read again when its state has changed: only the row shows that the device was deactivated. */
export const deviceAtom = Atom.family((id: DeviceId) =>
  client.atom((get) => {
    const fleet = AsyncResult.value(get(rowAtom(id)))
    void fleet
    return withClient(({ devices }) => devices.get({ id }))
  })
)

const rowAtom = Atom.family((id: DeviceId) => Atom.mapResult(fleetAtom, ({ byId }) => byId.get(id)))

export const explanationNowAtom = rereading("states", ({ devices }, id) => devices.explain({ id }), askEvery)

export const connectionAtom = Atom.family((id: DeviceId) =>
  client.atom(withClient(({ devices }) => devices.connection({ id }))).pipe(Atom.withRefresh(askEvery))
)
