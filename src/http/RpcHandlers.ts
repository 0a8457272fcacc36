/** The RPCs: the operations of the table, and the streams. */
import { Effect, Hash, Option, Schema, Stream } from "effect"
import { CurrentCaller, isVisible } from "../contracts/Authorization.ts"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import { ColumbaRpcs } from "../contracts/ColumbaRpcs.ts"
import { pageLimitMax } from "../contracts/Paging.ts"
import type { EventsItem, WatchItem } from "../contracts/EventPayloads.ts"
import { DeviceNotFound } from "../domain/DeviceErrors.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Device } from "../domain/Device.ts"
import type { LoggedEvent } from "../domain/Event.ts"
import { DeviceStateData } from "../domain/EventData.ts"
import { positionAfter } from "../domain/Ids.ts"
import type { DeviceId } from "../domain/Ids.ts"
import { ChangedDevices } from "../actors/fleet/ChangedDevices.ts"
import { DeviceManager } from "../services/DeviceManager.ts"
import { EventLog } from "../services/EventLog.ts"
import type { EventPage, ReadBudget } from "../services/EventLog.ts"
import { AuditTrail } from "./AuditTrail.ts"
import { Draining } from "./Draining.ts"
import { OpenStreams } from "./OpenStreams.ts"
import { Operations } from "./Operations.ts"
import { decoded, findStart, hiddenFrom, pieces } from "./eventStreams.ts"

export const RpcHandlers = ColumbaRpcs.toLayer(Effect.gen(function*() {
  const manager = yield* DeviceManager
  const operations = yield* Operations
  const log = yield* EventLog
  const trail = yield* AuditTrail
  const draining = yield* Draining
  const { admit } = yield* OpenStreams
  /**
   * Runs the stream with a place and a budget among the open streams, and with the devices that its caller may see. It
   * ends when the server is about to stop or its client does not read.
   */
  const admitted = <A, E, R>(open: (visible: VisibleDevices, budget: ReadBudget) => Stream.Stream<A, E, R>) =>
    Stream.unwrap(Effect.gen(function*() {
      const { budget, guard } = yield* admit
      const { devices } = yield* CurrentCaller
      return guard(Stream.interruptWhen(open(devices, budget), draining.begun))
    }))
  const hidden = Effect.map(CurrentCaller, hiddenFrom)
  return ColumbaRpcs.of({
    ...operations,
    Login: (asked) =>
      admitted((visible) => {
        if (!isVisible(visible, asked.id)) return Stream.fail(DeviceNotFound.of(asked.id))
        const login: ReturnType<Manager["followLogin"]> = manager.followLogin(asked)
        return Stream.unwrap(Effect.as(trail.begun("Login", asked), login))
      }),
    WatchDevices: () => admitted((visible, budget) => watchDevices(manager, log, visible, budget)),
    Events: ({ after, device, kinds }) =>
      admitted((visible, budget) =>
        Stream.unwrap(Effect.map(Effect.all([findStart(log, after), hidden]), ([{ position, ...from }, hidden]) =>
          // The first item contains the position where the stream begins, so a client that is disconnected at once can
          // resume.
          Stream.concat(
            Stream.make<EventsItem[]>({ _tag: "Heartbeat", through: position }),
            Stream.flatMap(log.follow({ ...from, device, visible, kinds, hidden, budget }), eventItems)
          )))
      )
  })
}))

/**
 * One chunk per piece of a page. The transport sends a chunk as one message and waits until the client has
 * acknowledged it.
 */
const eventItems = (page: EventPage): Stream.Stream<EventsItem> =>
  page.events.length === 0
    ? Stream.make(heartbeat(page))
    : Stream.flatMap(
      Stream.fromIterable(pieces(page)),
      (run) =>
        Stream.fromArray(
          run.map((event): EventsItem => ({
            _tag: "Event",
            event: decoded(event),
            position: positionAfter(event.seq, event.id)
          }))
        )
    )

const heartbeat = ({ through, throughId }: EventPage) =>
  ({ _tag: "Heartbeat", through: positionAfter(through, throughId) }) as const

type Manager = DeviceManager["Service"]
type Log = EventLog["Service"]

/**
 * The log's head is read before the devices are listed, and names are watched from before too. A change in between is
 * sent again afterwards, and none is lost.
 */
const watchDevices = (manager: Manager, log: Log, visible: VisibleDevices, budget: ReadBudget) =>
  Stream.unwrap(Effect.gen(function*() {
    const { head, headId } = yield* log.bounds
    const watch: Watch = { manager, visible, names: new Map(), edited: new ChangedDevices() }
    yield* Effect.forkScoped(Stream.runForEach(manager.changes, (id) => Effect.sync(() => watch.edited.add(id))))
    const current = Stream.map(allDevices(manager, visible), (device): WatchItem => {
      watch.names.set(device.id, Hash.string(device.name))
      return { _tag: "Device", device }
    })
    const changes = Stream.mapEffect(
      log.follow({ after: head, visible, kinds: ["device.state"], budget }),
      (page) => changeItems(watch, page)
    )
    const renames = Stream.mapEffect(Stream.fromEffectRepeat(watch.edited.take), (ids) => renamedItems(watch, ids))
    return current.pipe(
      Stream.concat(Stream.make<WatchItem[]>({ _tag: "Synced", through: positionAfter(head, headId) })),
      Stream.concat(Stream.flatMap(Stream.merge(changes, renames), (items) => Stream.fromArray(items)))
    )
  }))

/** What one watcher has received. */
interface Watch {
  readonly manager: Manager
  readonly visible: VisibleDevices
  /** For every device that the watcher has received, a hash of the name that it has. */
  readonly names: Map<DeviceId, number>
  readonly edited: ChangedDevices
}

const allDevices = (manager: Manager, visible: VisibleDevices) =>
  Stream.paginate(undefined as string | undefined, (cursor) =>
    Effect.map(
      // A cursor from a page is valid.
      Effect.catchTag(manager.list({ limit: pageLimitMax, cursor, visible }), "CursorInvalid", Effect.die),
      ({ items, next }) =>
        [items, Option.map(Option.fromNullOr(next), (cursor) => cursor as string | undefined)] as const
    ))

/** A device that was added after the list is sent as a whole before its first change. */
const changeItems = Effect.fnUntraced(function*(watch: Watch, page: EventPage) {
  if (page.events.length === 0) return [heartbeat(page)]
  const items: Array<WatchItem> = []
  for (const event of page.events) {
    if (!watch.names.has(event.deviceId)) {
      const device = yield* found(watch.manager, event.deviceId)
      if (device !== null) items.push({ _tag: "Device", device })
      watch.names.set(event.deviceId, Hash.string(device?.name ?? ""))
      // Its name may have changed since it was read.
      watch.edited.add(event.deviceId)
    }
    const item = changed(event)
    if (item !== null) items.push(item)
    else yield* Effect.logWarning(`Event ${event.seq} is no transition that this version can read; watchers miss it`)
  }
  return items
})

/** For devices that the watcher has received; the others are sent as a whole, with their current name. */
const renamedItems = (watch: Watch, ids: ReadonlyArray<DeviceId> | undefined) =>
  (ids === undefined
    ? allDevices(watch.manager, watch.visible)
    : Stream.mapEffect(Stream.fromIterable(ids), (id) => found(watch.manager, id))).pipe(
      Stream.runFold((): Array<WatchItem> => [], (items, device) => {
        const known = device === null ? undefined : watch.names.get(device.id)
        if (device === null || known === undefined || known === Hash.string(device.name)) return items
        watch.names.set(device.id, Hash.string(device.name))
        items.push({ _tag: "Renamed", deviceId: device.id, name: device.name })
        return items
      })
    )

const found = (manager: Manager, id: DeviceId): Effect.Effect<Device | null, StorageUnavailable> =>
  Effect.catchTag(manager.get(id), "DeviceNotFound", () => Effect.succeed(null))

/** Null for an event that is no transition to this version. */
const changed = (event: LoggedEvent): WatchItem | null => {
  const data: unknown = JSON.parse(event.data)
  return isTransition(data)
    ? { _tag: "Changed", seq: event.seq, deviceId: event.deviceId, at: event.recordedAt, ...data }
    : null
}

const isTransition = Schema.is(DeviceStateData)
