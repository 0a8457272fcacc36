/**
 * The operations of people and programs on devices. Commands are written as desired state and return once that is
 * durable; the fleet follows, wherever the device's actor lives.
 */
import { Context, Effect, Layer, Option, Stream, Struct } from "effect"
import { SecureRandom } from "effect/crypto"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { DeviceConnection, DeviceStatus, Erasure } from "../contracts/DevicePayloads.ts"
import type { Device } from "../domain/Device.ts"
import { DeviceNotFound, DeviceStateConflict, StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceUnreachable, GatewayUnavailable, GatewayUnknown, UpstreamIdTaken } from "../domain/DeviceErrors.ts"
import type { GatewayUnusable } from "../domain/GatewayErrors.ts"
import type { DeviceStateTag } from "../domain/DeviceState.ts"
import { explain } from "../domain/Explanation.ts"
import type { Explanation, Reception } from "../domain/Explanation.ts"
import type { Gap, GapStatus, Provable } from "../domain/Gap.ts"
import type { DeviceId, GatewayName, UpstreamId } from "../domain/Ids.ts"
import { canonical } from "../domain/Jid.ts"
import { parsePacing } from "../domain/Pacing.ts"
import type { Pacing } from "../domain/Pacing.ts"
import type { CursorInvalid } from "../domain/MessageErrors.ts"
import type { ContentType } from "../domain/Send.ts"
import { DeviceFleet } from "./DeviceFleet.ts"
import type { ActorView } from "./DeviceFleet.ts"
import { DeviceRepository } from "./DeviceRepository.ts"
import type { Page } from "./DeviceRepository.ts"
import { EventLog } from "./EventLog.ts"
import { GapRepository } from "./GapRepository.ts"
import { GatewayDirectory, useGateway } from "./GatewayDirectory.ts"
import * as LoginManager from "./LoginManager.ts"
import { gatewayWebhookUrl, PublicAddress } from "./PublicAddress.ts"
import { MessageMedia } from "./MessageMedia.ts"
import { SendRepository } from "./SendRepository.ts"
import * as SendWaits from "./sendWaits.ts"
import { ServerIdentity } from "./ServerIdentity.ts"

/** Number of transitions that an explanation is based on. */
const transitionsRead = 5

/** Commits of the actor's records take milliseconds; more means that the database is unavailable. */
const flushMax = "5 seconds"

/** Listeners only record notifications, so none lags behind another. */
const changesMax = 64

type OnDevice<A, E = never> = (id: DeviceId) => Effect.Effect<A, DeviceNotFound | StorageUnavailable | E>

/**
 * For a caller who may see these devices: the number of other devices that wait for a gateway is not part of the
 * answer.
 */
type OnVisibleDevice<A> = (
  id: DeviceId,
  visible: VisibleDevices
) => Effect.Effect<A, DeviceNotFound | StorageUnavailable>

export class DeviceManager extends Context.Service<
  DeviceManager,
  {
    /** Creates the slot at the gateway if it is missing, then the device, active. */
    readonly register: (device: {
      readonly name: string
      readonly gateway?: GatewayName | undefined
      readonly upstreamId?: UpstreamId | undefined
    }) => Effect.Effect<
      Device,
      GatewayUnknown | GatewayUnusable | GatewayUnavailable | UpstreamIdTaken | StorageUnavailable
    >
    readonly get: OnDevice<Device>
    readonly list: (options: {
      readonly state?: DeviceStateTag | undefined
      /** The devices that the caller may see; undefined for all. */
      readonly visible?: VisibleDevices
      readonly limit: number
      readonly cursor?: string | undefined
    }) => Effect.Effect<Page<Device>, StorageUnavailable | CursorInvalid>
    /** Devices whose row may have changed by a command; null: any of them. Repeats are possible. */
    readonly changes: Stream.Stream<DeviceId | null>
    /** Omitted fields are unchanged. `pacing`: null for the server's default; text is one line. */
    readonly edit: (
      id: DeviceId,
      change: { readonly name?: string | undefined; readonly pacing?: Pacing | string | null | undefined }
    ) => Effect.Effect<Device, DeviceNotFound | StorageUnavailable>
    /** Repeating it changes nothing. */
    readonly deactivate: OnDevice<Device>
    readonly reactivate: OnDevice<Device>
    /** Not for inactive devices, and not out of quarantine: that is `release`. */
    readonly reconnect: OnDevice<Device, DeviceStateConflict>
    /** Only out of quarantine. */
    readonly release: OnDevice<Device, DeviceStateConflict>
    /** Asks the gateway. If the device's actor can be reached, it acts on the answer and records it first. */
    readonly syncStatus: OnDevice<
      DeviceStatus,
      DeviceUnreachable | GatewayUnknown | GatewayUnusable | GatewayUnavailable
    >
    readonly connection: OnVisibleDevice<DeviceConnection>
    readonly explain: OnVisibleDevice<Explanation>
    /** Newest first by when they were recorded. */
    readonly gaps: (options: {
      readonly id: DeviceId
      readonly status?: GapStatus | undefined
      readonly unproven?: Provable | undefined
      readonly limit: number
      readonly cursor?: string | undefined
    }) => Effect.Effect<Page<Gap>, DeviceNotFound | StorageUnavailable | CursorInvalid>
    /**
     * Erases what the log holds of one chat of the device, in both spellings of its account, including events not yet
     * written. Events that sinks have delivered before are not erased.
     */
    readonly eraseChat: (id: DeviceId, chat: string) => Effect.Effect<Erasure, DeviceNotFound | StorageUnavailable>
    /** The same for all chats of the device; the address and the phone number of its account are removed too. */
    readonly eraseChats: OnDevice<Erasure>
  } & LoginManager.LoginManager
>()("columba/services/DeviceManager") {
  static readonly layer = Layer.effect(
    DeviceManager,
    Effect.gen(function*() {
      const devices = yield* DeviceRepository
      const fleet = yield* DeviceFleet
      const directory = yield* GatewayDirectory
      const log = yield* EventLog
      const ledger = yield* GapRepository
      const identity = yield* ServerIdentity
      const media = yield* Effect.serviceOption(MessageMedia)
      const sends = yield* Effect.serviceOption(SendRepository)
      const waits = Option.isNone(sends) ? null : yield* SendWaits.make(devices, sends.value)
      const publicAddress = yield* PublicAddress
      const random = yield* SecureRandom.SecureRandom
      // All listeners share one connection to the database, which exists only while there are any.
      const changes = yield* Stream.share(devices.changes, { capacity: changesMax, strategy: "suspend" })

      const register: DeviceManager["Service"]["register"] = Effect.fn("DeviceManager.register")(function*(wanted) {
        const id = `dev_${yield* random.ulid}` as DeviceId
        const upstreamId = wanted.upstreamId ?? (id as string as UpstreamId)
        const gateway = yield* useGateway(
          directory,
          wanted.gateway,
          ({ ensureSlot, name }) => Effect.as(ensureSlot(upstreamId), name)
        )
        return yield* devices.insert({ id, name: wanted.name, gateway, upstreamId })
      })

      const reconnect: DeviceManager["Service"]["reconnect"] = Effect.fn("DeviceManager.reconnect")(function*(id) {
        const device = yield* devices.get(id)
        if (!device.active || device.state._tag === "Quarantined") {
          return yield* DeviceStateConflict.of(id, "reconnect", device.active ? "Quarantined" : "Inactive")
        }
        return yield* devices.requestReconnect(id)
      })

      const release: DeviceManager["Service"]["release"] = Effect.fn("DeviceManager.release")(function*(id) {
        const device = yield* devices.get(id)
        if (device.state._tag !== "Quarantined") {
          return yield* DeviceStateConflict.of(id, "release", device.state._tag)
        }
        return yield* devices.requestRelease(id)
      })

      const syncStatus: DeviceManager["Service"]["syncStatus"] = Effect.fn("DeviceManager.syncStatus")(function*(id) {
        const device = yield* devices.get(id)
        const target = { deviceId: id, upstreamId: device.upstreamId, jid: device.jid }
        const upstream = yield* useGateway(directory, device.gateway, ({ status }) => status(target)).pipe(
          Effect.tapErrorTag("GatewayUnavailable", ({ message }) =>
            // The caller then reads the recorded state.
            Effect.andThen(Effect.ignore(fleet.reportSilence(id, message)), Effect.timeoutOption(log.flush, flushMax)))
        )
        // Only the actor records the device's state. If the actor lives elsewhere, it asks the gateway itself.
        const reported = yield* fleet.reportStatus(id, upstream)
        if (!reported) return { device, upstream }
        const recorded = yield* Effect.timeoutOption(log.flush, flushMax)
        if (Option.isNone(recorded)) return yield* StorageUnavailable.of("record the status")
        return { device: yield* devices.get(id), upstream }
      })

      /**
       * The recorded state of a device is returned even if its actor does not answer; `silence` reports that it did
       * not.
       */
      const findActor = (id: DeviceId) =>
        Effect.map(fleet.view(id), (view) => ({ view, silence: null })).pipe(
          Effect.catchTag("DeviceUnreachable", ({ message }) => Effect.succeed({ view: null, silence: message }))
        )

      const findIncident = Effect.fnUntraced(function*(
        device: Device,
        view: ActorView | null,
        visible: VisibleDevices
      ) {
        const incident = view === null
          ? (yield* fleet.incidents).find(({ gateway }) => gateway === device.gateway) ?? null
          : view.incident
        if (incident === null) return null
        return visible === undefined ? incident : { ...incident, waiting: null }
      })

      const findGaps = Effect.fnUntraced(function*(id: DeviceId) {
        const counts = yield* ledger.countsOf(id)
        return { counts, open: counts.open === 0 ? [] : (yield* ledger.openOf([id])).get(id) ?? [] }
      })

      /** A gateway that cannot be used now gives no answer, and the device's state shows that. */
      const findReception = (device: Device, view: ActorView | null): Effect.Effect<Reception | null> =>
        useGateway(directory, device.gateway, ({ capabilities, name, webhook }) =>
          Effect.succeed(
            capabilities.liveEvents === "session" || webhook === undefined ? null : {
              webhook: view?.webhook ?? null,
              lastWebhookAt: view?.lastWebhookAt ?? null,
              instructions: webhook.instructions(gatewayWebhookUrl(publicAddress, name))
            }
          )).pipe(Effect.orElseSucceed(() => null))

      const listContents = (device: Device): Effect.Effect<ReadonlyArray<ContentType>> =>
        useGateway(directory, device.gateway, ({ send }) => Effect.succeed([...send?.contents ?? []])).pipe(
          Effect.orElseSucceed(() => [])
        )

      const explanation: DeviceManager["Service"]["explain"] = Effect.fn("DeviceManager.explain")(
        function*(id, visible) {
          const recorded = (yield* devices.recorded([id], transitionsRead)).get(id)
          if (recorded === undefined) return yield* DeviceNotFound.of(id)
          const { view } = yield* findActor(id)
          return explain({
            ...recorded,
            incident: yield* findIncident(recorded.device, view, visible),
            reception: yield* findReception(recorded.device, view),
            sending: waits === null ? null : yield* waits.ofDevice(recorded.device),
            gaps: yield* findGaps(id)
          })
        }
      )

      const connection: DeviceManager["Service"]["connection"] = Effect.fn("DeviceManager.connection")(function*(
        id,
        visible
      ) {
        const device = yield* devices.get(id)
        const { silence, view } = yield* findActor(id)
        const incident = yield* findIncident(device, view, visible)
        const { evidence, gaps } = explain({
          device,
          transitions: [],
          incident,
          reception: yield* findReception(device, view),
          sending: null,
          gaps: yield* findGaps(id)
        })
        return {
          deviceId: id,
          state: device.state,
          active: device.active,
          node: view?.node ?? identity.node,
          hosted: view === null ? null : Struct.omit(view, ["incident", "node"]),
          evidence: view === null
            ? [...evidence, silence ?? `this process (${identity.node}) hosts no actor of the device`]
            : evidence,
          gaps,
          incident,
          sends: yield* listContents(device)
        }
      })

      /** Drafts in memory are committed first: written after the erasure, they would stay. */
      const erase = Effect.fnUntraced(function*(id: DeviceId, erasure: Effect.Effect<number, StorageUnavailable>) {
        yield* devices.get(id)
        yield* Effect.timeoutOrElse(log.flush, {
          duration: flushMax,
          orElse: () => Effect.fail(StorageUnavailable.of("commit what waits before an erasure"))
        })
        const erased = yield* erasure
        if (Option.isSome(media)) {
          yield* Effect.catchTag(
            media.value.forget(id),
            "MediaStoreFailed",
            () => Effect.fail(StorageUnavailable.of("delete kept files of what was erased"))
          )
        }
        return { erased }
      })

      return DeviceManager.of({
        ...LoginManager.make({ devices, directory, fleet, log, node: identity.node, syncStatus }),
        register,
        get: devices.get,
        list: devices.list,
        changes,
        edit: (id, { name, pacing }) =>
          devices.edit(id, { name, pacing: typeof pacing === "string" ? parsePacing(pacing) : pacing }),
        deactivate: (id) => devices.setActive(id, false),
        reactivate: (id) => devices.setActive(id, true),
        reconnect,
        release,
        syncStatus,
        connection,
        explain: explanation,
        gaps: Effect.fn("DeviceManager.gaps")(function*({ id, ...options }) {
          yield* devices.get(id)
          return yield* ledger.page({ ...options, device: id })
        }),
        eraseChat: (id, chat) => erase(id, log.eraseChat(id, canonical(chat))),
        eraseChats: (id) => erase(id, log.eraseDevice(id))
      })
    })
  ).pipe(Layer.provide(SecureRandom.layerWebCrypto))
}
