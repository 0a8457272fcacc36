/** Actions and queries of a harness on the program, as any client of its API would do them. */
import { Effect } from "effect"
import type { Gap } from "../../../src/domain/Gap.ts"
import { until } from "../../support/until.ts"
import type { ColumbaProcess } from "./ColumbaProcess.ts"

export interface LoggedEvent {
  readonly id: string
  readonly seq: string
  readonly deviceId: string
}

interface EventsPage {
  readonly items: ReadonlyArray<LoggedEvent>
  readonly through: string
}

/** The largest page that the API gives. */
const pageMax = 1_000

export const readEvents = (columba: ColumbaProcess, after: string | number, limit: number) =>
  columba.get<EventsPage>(`/api/v1/events?after=${after}&limit=${limit}`)

/** Registers `slot-1` and so on; returns the gateway's name of each device by Columba's id. */
export const addDevices = Effect.fnUntraced(function*(columba: ColumbaProcess, count: number) {
  const upstreamIds = Array.from({ length: count }, (_, index) => `slot-${index + 1}`)
  const pairs = yield* Effect.forEach(
    upstreamIds,
    (upstreamId) =>
      Effect.map(
        columba.post<{ readonly id: string }>("/api/v1/devices", { name: upstreamId, upstreamId }),
        ({ id }) => [id, upstreamId] as const
      ),
    { concurrency: 8 }
  )
  return new Map(pairs)
})

/** Whether this many devices of a gateway that posts its events have set their webhook address. */
export const webhooksAreSet = (columba: ColumbaProcess, devices: number) =>
  Effect.map(columba.metric(`columba_device_webhooks{gateway="default",status="set"}`), (set) => set === devices)

/** Remembers the events that were committed during a run. They must never be missing later. */
export const makeWitness = () => {
  const events: Array<LoggedEvent> = []
  let position = "0"
  return {
    events: events as ReadonlyArray<LoggedEvent>,
    /** Reads the events committed since the last time, from whichever process. */
    lookAt: Effect.fnUntraced(function*(columba: ColumbaProcess) {
      for (;;) {
        const { items, through } = yield* readEvents(columba, position, pageMax)
        events.push(...items)
        position = through
        if (items.length < pageMax) return
      }
    })
  }
}

/** The whole log. */
export const readAllEvents = Effect.fnUntraced(function*(columba: ColumbaProcess) {
  const { events, lookAt } = makeWitness()
  yield* lookAt(columba)
  return events
})

interface GapPage {
  readonly items: ReadonlyArray<Gap>
  readonly next: string | null
}

/** Every gap that the program has recorded, once it has accounted for all of them. */
export const readGaps = Effect.fnUntraced(function*(columba: ColumbaProcess) {
  yield* until(
    "no gap is open",
    Effect.map(columba.get<GapPage>("/api/v1/gaps?status=open&limit=1"), ({ items }) => items.length === 0)
  )
  const all: Array<Gap> = []
  for (let cursor = "";;) {
    const { items, next } = yield* columba.get<GapPage>(`/api/v1/gaps?limit=1000${cursor}`)
    all.push(...items)
    if (next === null) return all
    cursor = `&cursor=${next}`
  }
})
