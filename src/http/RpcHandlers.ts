/** The operations and streams of `ColumbaRpcs`: the same services as over HTTP. */
import { Effect, Option, Stream } from "effect"
import { ColumbaRpcs } from "../contracts/ColumbaRpcs.ts"
import { pageLimitDefault, pageLimitMax } from "../contracts/Payloads.ts"
import type { EventsItem, ServerInfo, WatchItem } from "../contracts/Payloads.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Device } from "../domain/Device.ts"
import type { DeviceStateData, LoggedEvent } from "../domain/Event.ts"
import type { DeviceId } from "../domain/Ids.ts"
import { DeviceManager } from "../services/DeviceManager.ts"
import { EventLog } from "../services/EventLog.ts"
import type { EventPage } from "../services/EventLog.ts"
import { MessageRepository } from "../services/MessageRepository.ts"
import { Readiness } from "../services/Readiness.ts"
import { ServerIdentity } from "../services/ServerIdentity.ts"
import { Gateways } from "../services/WhatsAppGateway.ts"
import { Draining } from "./Draining.ts"
import { OpenStreams } from "./OpenStreams.ts"
import { decoded, pieces, readPage, findStart } from "./eventStreams.ts"

export const RpcHandlers = ColumbaRpcs.toLayer(Effect.gen(function*() {
  const manager = yield* DeviceManager
  const messages = yield* MessageRepository
  const log = yield* EventLog
  const draining = yield* Draining
  const { admit } = yield* OpenStreams
  /** With a place among the open streams until it ends, which it does when the server is about to stop. */
  const admitted = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
    Stream.unwrap(Effect.as(admit, stream)).pipe(Stream.interruptWhen(draining.begun))
  const { serverInfo } = yield* makeServerInfo
  return ColumbaRpcs.of({
    "Devices.Create": (device) => manager.register(device),
    "Devices.List": (query) => manager.list({ ...query, limit: query.limit ?? pageLimitDefault }),
    "Devices.Get": ({ id }) => manager.get(id),
    "Devices.Rename": ({ id, name }) => manager.rename(id, name),
    "Devices.Deactivate": ({ id }) => manager.deactivate(id),
    "Devices.Reactivate": ({ id }) => manager.reactivate(id),
    "Devices.Reconnect": ({ id }) => manager.reconnect(id),
    "Devices.Release": ({ id }) => manager.release(id),
    "Devices.Status": ({ id }) => manager.syncStatus(id),
    "Devices.Connection": ({ id }) => manager.connection(id),
    "Devices.Explain": ({ id }) => manager.explain(id),
    "Messages.List": (query) => messages.list({ ...query, limit: query.limit ?? pageLimitDefault }),
    "Messages.Get": ({ id }) => messages.get(id),
    "Events.Page": (query) =>
      Effect.map(readPage(log, query), ({ events, next, through }) => ({ items: events.map(decoded), next, through })),
    "Server.Info": () => serverInfo,
    WatchDevices: () => admitted(watchDevices(manager, log)),
    Events: ({ after, device, kinds }) =>
      admitted(Stream.unwrap(Effect.map(findStart(log, after), (start) =>
        // The first item says where the stream begins: a client that is cut off at once knows where to go on.
        Stream.concat(
          Stream.make<EventsItem[]>({ _tag: "Heartbeat", through: start }),
          Stream.flatMap(log.follow({ after: start, device, kinds }), eventItems)
        ))))
  })
}))

const makeServerInfo = Effect.gen(function*() {
  const identity = yield* ServerIdentity
  const gateways = yield* Gateways
  const readiness = yield* Readiness
  const log = yield* EventLog
  const serverInfo = Effect.gen(function*() {
    const checks = yield* readiness.report
    const head = yield* log.bounds.pipe(Effect.map((bounds) => bounds.head), Effect.orElseSucceed(() => null))
    return {
      ...identity,
      gateways: Array.from(gateways.all.values(), ({ description, name }) => ({ name, description })),
      checks,
      head
    } satisfies ServerInfo
  })
  return { serverInfo }
})

/** One chunk a run of events: the transport sends a chunk as one message and waits until the client has taken it. */
const eventItems = (page: EventPage): Stream.Stream<EventsItem> =>
  page.events.length === 0
    ? Stream.make({ _tag: "Heartbeat", through: page.through })
    : Stream.flatMap(
      Stream.fromIterable(pieces(page)),
      (run) => Stream.fromArray(run.map((event): EventsItem => ({ _tag: "Event", event: decoded(event) })))
    )

type Manager = DeviceManager["Service"]
type Log = EventLog["Service"]

/**
 * The log's head is taken before the devices are listed: what changes in between is told again afterwards, and nothing
 * falls between the two.
 */
const watchDevices = (manager: Manager, log: Log) =>
  Stream.unwrap(Effect.map(log.bounds, ({ head }) => {
    const seen = new Set<DeviceId>()
    const current = Stream.map(allDevices(manager), (device): WatchItem => {
      seen.add(device.id)
      return { _tag: "Device", device }
    })
    const changes = Stream.mapEffect(
      log.follow({ after: head, kinds: ["device.state"] }),
      (page) => changeItems(manager, seen, page)
    ).pipe(Stream.flatMap((items) => Stream.fromArray(items)))
    return current.pipe(
      Stream.concat(Stream.make<WatchItem[]>({ _tag: "Synced", through: head })),
      Stream.concat(changes)
    )
  }))

const allDevices = (manager: Manager) =>
  Stream.paginate(undefined as string | undefined, (cursor) =>
    Effect.map(
      // Our own cursors are valid.
      Effect.catchTag(manager.list({ limit: pageLimitMax, cursor }), "CursorInvalid", Effect.die),
      ({ items, next }) =>
        [items, Option.map(Option.fromNullOr(next), (cursor) => cursor as string | undefined)] as const
    ))

/** A device that was added since is told whole before its first change. */
const changeItems = Effect.fnUntraced(function*(manager: Manager, seen: Set<DeviceId>, page: EventPage) {
  if (page.events.length === 0) return [{ _tag: "Heartbeat", through: page.through } satisfies WatchItem]
  const items: Array<WatchItem> = []
  for (const event of page.events) {
    if (!seen.has(event.deviceId)) {
      const device = yield* found(manager, event.deviceId)
      if (device !== null) items.push({ _tag: "Device", device })
      seen.add(event.deviceId)
    }
    items.push(changed(event))
  }
  return items
})

const found = (manager: Manager, id: DeviceId): Effect.Effect<Device | null, StorageUnavailable> =>
  Effect.catchTag(manager.get(id), "DeviceNotFound", () => Effect.succeed(null))

const changed = (event: LoggedEvent): WatchItem => {
  const data = JSON.parse(event.data) as DeviceStateData
  return { _tag: "Changed", seq: event.seq, deviceId: event.deviceId, at: event.recordedAt, ...data }
}
