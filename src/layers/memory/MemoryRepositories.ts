/** Devices and messages in memory, over the tables that the memory log writes. */
import { randomUUID } from "node:crypto"
import { Clock, Duration, Effect, Layer, Option, PubSub, Stream } from "effect"
import { isVisible } from "../../contracts/Authorization.ts"
import type { VisibleDevices } from "../../contracts/Authorization.ts"
import type { Device, DesiredDevice } from "../../domain/Device.ts"
import type { DeviceStateData, MessageData } from "../../domain/EventData.ts"
import type { RecordedDevice } from "../../domain/RecordedDevice.ts"
import { DeviceNotFound, UpstreamIdTaken } from "../../domain/DeviceErrors.ts"
import type { DeviceStateTag } from "../../domain/DeviceState.ts"
import type { LoggedEvent } from "../../domain/Event.ts"
import type { DeviceId, MessageId } from "../../domain/Ids.ts"
import type { Message } from "../../domain/Message.ts"
import { MessageNotFound } from "../../domain/MessageErrors.ts"
import { aliveFor, DeviceRepository } from "../../services/DeviceRepository.ts"
import type { DeviceClaim, HandOver } from "../../services/DeviceRepository.ts"
import { nextEpoch } from "../../services/epochs.ts"
import { MemoryDatabase } from "./MemoryDatabase.ts"
import type { DeviceRow, MemoryTables } from "./MemoryDatabase.ts"
import { findByMessage } from "./memorySends.ts"
import type { MemorySend } from "./memorySends.ts"
import { viewMessage } from "../../log/messageView.ts"
import { parseMessageId } from "../../services/EventIdentity.ts"
import { MessageRepository } from "../../services/MessageRepository.ts"
import { formatPlace, isOlder, mergePages, newest, parsePlace, placePattern } from "../../services/messagePlaces.ts"
import { readText } from "../../services/sendDrafts.ts"
import { viewSend } from "../../services/sendView.ts"
import { decodeCursor, encodeCursor, pageLimit, seqPattern } from "../../services/pageCursor.ts"

export const layerDevices: Layer.Layer<DeviceRepository, never, MemoryDatabase> = Layer.effect(
  DeviceRepository,
  Effect.gen(function*() {
    const { changes, now, tables } = yield* MemoryDatabase
    const isoNow = () => new Date(now()).toISOString()

    const change = (id: DeviceId, update: (row: DeviceRow) => DeviceRow): Effect.Effect<Device, DeviceNotFound> =>
      Effect.suspend(() => {
        const row = tables.devices.get(id)
        if (row === undefined) return Effect.fail(DeviceNotFound.of(id))
        const changed = update(row)
        const device = { ...changed.device, updatedAt: isoNow() }
        tables.devices.set(id, { ...changed, device })
        return Effect.as(PubSub.publish(changes, null), device)
      })

    return DeviceRepository.of({
      insert: (fields) =>
        Effect.suspend(() => {
          for (const { device } of tables.devices.values()) {
            if (device.gateway === fields.gateway && device.upstreamId === fields.upstreamId) {
              return Effect.fail(UpstreamIdTaken.of(fields.gateway, fields.upstreamId, device.id))
            }
          }
          const createdAt = isoNow()
          const device: Device = {
            ...fields,
            phone: null,
            jid: null,
            state: { _tag: "Inactive" },
            active: true,
            pacing: null,
            createdAt,
            updatedAt: createdAt
          }
          tables.devices.set(device.id, {
            ordinal: ++tables.lastOrdinal,
            device,
            epoch: 0,
            owner: null,
            aliveUntil: null,
            deaths: [],
            claim: randomUUID(),
            handedOverTo: null,
            reconnectRequests: 0,
            releaseRequests: 0
          })
          return Effect.as(PubSub.publish(changes, null), device)
        }),
      get: (id) =>
        Effect.suspend(() => {
          const row = tables.devices.get(id)
          return row === undefined ? Effect.fail(DeviceNotFound.of(id)) : Effect.succeed(row.device)
        }),
      list: Effect.fnUntraced(function*(options) {
        const after = options.cursor === undefined ? 0 : Number(yield* decodeCursor(options.cursor, seqPattern))
        const limit = pageLimit(options.limit)
        // A map lists its rows in order of insertion, and a change of a row keeps its place.
        const found = Array.from(tables.devices.values()).filter(({ device, ordinal }) =>
          ordinal > after && isVisible(options.visible, device.id) &&
          (options.state === undefined || device.state._tag === options.state)
        )
        const rows = found.slice(0, limit)
        return {
          items: rows.map(({ device }) => device),
          next: found.length > limit ? encodeCursor(String(rows[limit - 1]!.ordinal)) : null
        }
      }),
      edit: (id, { name, pacing }) =>
        change(id, (row) => ({
          ...row,
          device: {
            ...row.device,
            name: name ?? row.device.name,
            pacing: pacing === undefined ? row.device.pacing : pacing
          }
        })),
      setActive: (id, active) => change(id, (row) => ({ ...row, device: { ...row.device, active } })),
      requestReconnect: (id) => change(id, (row) => ({ ...row, reconnectRequests: row.reconnectRequests + 1 })),
      requestRelease: (id) => change(id, (row) => ({ ...row, releaseRequests: row.releaseRequests + 1 })),
      claim: (owner, ids) =>
        Effect.sync(() => {
          const claimedAt = isoNow()
          if (!tables.heartbeats.has(owner)) tables.heartbeats.set(owner, claimedAt)
          const claims = new Map<DeviceId, DeviceClaim>()
          for (const id of ids) {
            const row = tables.devices.get(id)
            if (row === undefined || claims.has(id)) continue
            const epoch = nextEpoch(row.epoch, now())
            const aliveUntil = row.aliveUntil ??
              (row.owner === null ? null : tables.heartbeats.get(row.owner) ?? null)
            const { deaths, triedWith } = findDeaths(tables, row, owner, claimedAt)
            tables.devices.set(id, { ...row, owner, epoch, claim: randomUUID(), aliveUntil, deaths })
            claims.set(id, {
              epoch,
              aliveUntil,
              claimedAt,
              deaths: deaths.length,
              trials: deaths.filter(({ trial }) => trial !== null).length,
              triedWith
            })
          }
          return claims
        }),
      disclaim: (owner, running, aliveUntil) =>
        Effect.sync(() => {
          for (const [id, row] of tables.devices) {
            if (row.owner !== owner || row.aliveUntil !== null || running.includes(row.device.id)) continue
            const { _tag } = row.device.state
            if (_tag === "Inactive" || _tag === "Quarantined") continue
            tables.devices.set(id, { ...row, aliveUntil: aliveUntil ?? new Date(0).toISOString() })
          }
        }),
      beginTrial: (owner, ids) =>
        Effect.sync(() => {
          const tried = tables.trials.get(owner) ?? new Map<DeviceId, number>()
          for (const id of ids) tried.set(id, ids.length)
          tables.trials.set(owner, tried)
        }),
      endTrial: (owner, ids) =>
        Effect.sync(() => {
          for (const id of ids) tables.trials.get(owner)?.delete(id)
        }),
      forgetDeaths: (owner, ids) =>
        Effect.sync(() => {
          for (const id of ids) {
            const row = tables.devices.get(id)
            if (row?.owner === owner) tables.devices.set(id, { ...row, deaths: [] })
          }
        }),
      handOvers: (ids) =>
        Effect.sync(() =>
          new Map(ids.flatMap((id): ReadonlyArray<readonly [DeviceId, HandOver]> => {
            const row = tables.devices.get(id)
            if (row === undefined) return []
            const { claim, device, epoch, handedOverTo } = row
            return [[id, { epoch, claim, online: device.state._tag === "Online", confirmed: handedOverTo }]]
          }))
        ),
      confirmHandOvers: (claims) =>
        Effect.sync(() => {
          for (const [id, claim] of claims) {
            const row = tables.devices.get(id)
            if (row?.claim === claim) tables.devices.set(id, { ...row, handedOverTo: row.epoch })
          }
        }),
      recorded: (ids, transitionsMax) =>
        Effect.sync(() =>
          new Map(ids.flatMap((id): ReadonlyArray<readonly [DeviceId, RecordedDevice]> => {
            const row = tables.devices.get(id)
            if (row === undefined) return []
            const transitions = tables.events.filter((event) => event.deviceId === id && event.kind === "device.state")
              .slice(-transitionsMax).toReversed()
            return [[id, {
              device: row.device,
              transitions: transitions.map(({ data, recordedAt, seq }) => ({
                seq,
                at: recordedAt,
                data: JSON.parse(data) as DeviceStateData
              }))
            }]]
          }))
        ),
      owner: (id) =>
        Effect.suspend(() => {
          const row = tables.devices.get(id)
          return row === undefined ? Effect.fail(DeviceNotFound.of(id)) : Effect.succeed(row.owner)
        }),
      findSlots: (gateway, { accounts, ids, upstreamIds }) =>
        Effect.sync(() =>
          Array.from(tables.devices.values()).flatMap(({ device: { active, gateway: its, id, jid, upstreamId } }) =>
            its === gateway &&
              (ids.includes(id) || upstreamIds.includes(upstreamId) || (jid !== null && accounts.includes(jid)))
              ? [{ deviceId: id, upstreamId, jid, active }]
              : []
          )
        ),
      desired: (ids) =>
        Effect.sync(() =>
          Array.from(tables.devices.values())
            .filter(({ device }) => device.active || device.state._tag !== "Inactive")
            .filter(({ device }) => ids === undefined || ids.includes(device.id))
            .map(({ device, reconnectRequests, releaseRequests }): DesiredDevice => ({
              pacing: device.pacing,
              id: device.id,
              gateway: device.gateway,
              upstreamId: device.upstreamId,
              jid: device.jid,
              active: device.active,
              reconnectRequests,
              releaseRequests
            }))
        ),
      changes: Stream.unwrap(
        // Subscribed before the first null, so that no change falls between the two.
        Effect.map(
          PubSub.subscribe(changes),
          (subscription) => Stream.concat(Stream.make(null), Stream.fromSubscription(subscription))
        )
      ),
      owners: Effect.map(Clock.currentTimeMillis, (now) =>
        [...tables.heartbeats].map(([owner, aliveAt]) => ({
          owner,
          aliveAt,
          alive: Date.parse(aliveAt) > now - Duration.toMillis(aliveFor),
          devices: [...tables.devices.values()].filter((row) => row.owner === owner && row.device.active).length
        })).filter(({ alive, devices }) => alive || devices > 0)),
      countByState: Effect.sync(() => {
        const counts: Partial<Record<DeviceStateTag, number>> = {}
        for (const { device } of tables.devices.values()) {
          counts[device.state._tag] = (counts[device.state._tag] ?? 0) + 1
        }
        return counts
      })
    })
  })
)

export const layerMessages: Layer.Layer<MessageRepository, never, MemoryDatabase> = Layer.effect(
  MessageRepository,
  Effect.gen(function*() {
    const { tables } = yield* MemoryDatabase
    const view = (event: LoggedEvent): Message | null => {
      const message = tables.places.get(event.seq)?.message ?? null
      return message === null ? null : viewMessage({ ...event, message }, tables.statuses.get(message) ?? null)
    }
    const find = (id: MessageId, visible: VisibleDevices) =>
      Effect.suspend(() => {
        const key = parseMessageId(id)
        const seq = key === null ? undefined : tables.identities.get(key)?.seq
        const event = seq === undefined ? undefined : tables.events[seq - tables.oldest]
        const message = event === undefined ? null : view(event)
        return event === undefined || message === null || !isVisible(visible, message.deviceId)
          ? Effect.fail(MessageNotFound.of(id))
          : Effect.succeed({ event, message })
      })
    const viewSent = ({ message, send }: MemorySend): Message =>
      viewSend(send, send.state === "sent" && message !== null ? tables.statuses.get(message) ?? null : null)
    const findSend = (id: MessageId, visible: VisibleDevices): MemorySend | null => {
      const row = tables.sends.get(id) ?? findByMessage(tables.sends, parseMessageId(id) ?? "")
      return row !== undefined && isVisible(visible, row.send.deviceId) ? row : null
    }
    return MessageRepository.of({
      get: (id, visible) =>
        Effect.suspend(() => {
          const row = findSend(id, visible)
          return row === null ? Effect.map(find(id, visible), ({ message }) => message) : Effect.succeed(viewSent(row))
        }),
      content: (id, visible) =>
        Effect.suspend(() => {
          const row = findSend(id, visible)
          if (row === null || row.send.waId === null) {
            return Effect.map(find(id, visible), ({ event }) => ({
              deviceId: event.deviceId,
              data: JSON.parse(event.data) as MessageData
            }))
          }
          const { body: { content }, chat, deviceId, sender, waId } = row.send
          const data = { waId, chat, sender, fromMe: true, type: content.type, body: readText(content) }
          return Effect.succeed({ deviceId, data: { messageId: id, ...data } })
        }),
      known: (ids) =>
        Effect.forEach(ids, (id) => Effect.option(find(id, undefined))).pipe(
          Effect.map((found) => new Set(found.flatMap((one) => Option.isSome(one) ? [one.value.message.id] : [])))
        ),
      list: Effect.fnUntraced(function*(options) {
        const before = options.cursor === undefined
          ? newest
          : parsePlace(yield* decodeCursor(options.cursor, placePattern))
        const logged = tables.events.flatMap((event) => {
          const key = tables.places.get(event.seq)?.message ?? null
          const message = key !== null && findByMessage(tables.sends, key) === undefined ? view(event) : null
          return message === null ? [] : [{ place: { seq: event.seq, ordinal: 0 }, message }]
        })
        const sent = Array.from(tables.sends.values(), (row) => ({
          place: { seq: row.head, ordinal: row.ordinal },
          message: viewSent(row)
        }))
        const isAsked = ({ chat, deviceId, status, waId }: Message): boolean =>
          (options.device === undefined || deviceId === options.device) && isVisible(options.visible, deviceId) &&
          (options.chat === undefined || chat === options.chat) &&
          (options.status === undefined || status === options.status) &&
          (options.waId === undefined || waId === options.waId)
        const rows = [...logged, ...sent].filter(({ message, place }) => isOlder(place, before) && isAsked(message))
        const { items, next } = mergePages(pageLimit(options.limit), { rows, through: null })
        return { items, next: next === null ? null : encodeCursor(formatPlace(next)) }
      })
    })
  })
)

/** Follows `columba_claim`. */
const findDeaths = (
  tables: MemoryTables,
  row: DeviceRow,
  owner: string,
  claimedAt: string
): Pick<DeviceRow, "deaths"> & Pick<DeviceClaim, "triedWith"> => {
  const before = row.deaths.filter((death) =>
    death.owner !== owner && (tables.heartbeats.get(death.owner) ?? "") <= death.claimedAt
  )
  if (row.owner === owner) return { deaths: before, triedWith: null }
  const { id, state: { _tag } } = row.device
  if (row.owner === null || row.aliveUntil === null && (_tag === "Inactive" || _tag === "Quarantined")) {
    return { deaths: [], triedWith: null }
  }
  const trials = tables.trials.get(row.owner)
  const triedWith = trials?.get(id) ?? null
  if (trials !== undefined && trials.size > 0 && triedWith === null) return { deaths: [], triedWith }
  return { deaths: [...before.slice(-15), { owner: row.owner, claimedAt, trial: triedWith }], triedWith }
}
