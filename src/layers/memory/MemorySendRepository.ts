/** Messages to send in memory, over the tables that the memory log writes. */
import { Duration, Effect, Layer, PubSub, Stream } from "effect"
import { isVisible } from "../../contracts/Authorization.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { IdempotencyKeyReused } from "../../domain/SendErrors.ts"
import { fileOf } from "../../domain/Send.ts"
import type { SendState } from "../../domain/Send.ts"
import { deriveMessageKey, parseMessageId } from "../../services/EventIdentity.ts"
import {
  asAccepted,
  doubtfulMax,
  heldAfter,
  idempotencyHours,
  SendRepository,
  unasked
} from "../../services/SendRepository.ts"
import type { Accepted, StoredSend } from "../../services/SendRepository.ts"
import { MemoryDatabase } from "./MemoryDatabase.ts"
import { findByMessage } from "./memorySends.ts"
import type { MemorySend } from "./memorySends.ts"

/** As in the table's statements. */
const toldAfterMillis = 5000
const limitedMillis = 3_600_000
const doubtMillis = 24 * 3_600_000

/** Readers only record the change. */
const changesMax = 64

const final: ReadonlySet<SendState> = new Set(["sent", "failed", "cancelled", "expired", "unknown"])

export const layer: Layer.Layer<SendRepository, never, MemoryDatabase> = Layer.effect(
  SendRepository,
  Effect.gen(function*() {
    const { now, tables } = yield* MemoryDatabase
    const { sends } = tables
    const signals = yield* PubSub.sliding<DeviceId | null>(changesMax)
    let ordinal = 0
    const iso = (at: number) => new Date(at).toISOString()
    const waits = ({ send }: MemorySend) =>
      (send.state === "pending" || send.state === "scheduled") && Date.parse(send.expiresAt) > now()
    const mayBeSent = ({ claimedAt, state, updatedAt }: StoredSend) =>
      !final.has(state) || (state === "unknown" && Date.parse(claimedAt ?? updatedAt) > now() - doubtMillis)
    const change = (row: MemorySend, update: Partial<StoredSend>, more: Partial<MemorySend> = {}): MemorySend => {
      const changed = { ...row, ...more, send: { ...row.send, ...update, updatedAt: iso(now()) } }
      sends.set(row.send.id, changed)
      return changed
    }
    const findRow = (id: string): MemorySend | undefined =>
      sends.get(id) ?? findByMessage(sends, parseMessageId(id) ?? "")
    const rows = () => [...sends.values()]
    /** The message that the key identifies. A key expires with its message. */
    const findByKey = (device: DeviceId, key: string): MemorySend | null => {
      const known = rows().find((row) => row.send.deviceId === device && row.key === key)
      if (known === undefined) return null
      if (Date.parse(known.send.createdAt) >= now() - idempotencyHours * 3_600_000) return known
      sends.set(known.send.id, { ...known, key: null })
      return null
    }

    return SendRepository.of({
      accept: (wanted) =>
        Effect.suspend((): Effect.Effect<Accepted, IdempotencyKeyReused> => {
          const at = now()
          const { grace, idempotency, onUnknown, scheduledAt, ...fields } = wanted
          const known = idempotency === null ? null : findByKey(wanted.deviceId, idempotency.key)
          if (known !== null) {
            return known.digest === idempotency?.digest
              ? Effect.succeed({ send: asAccepted(known.send), repeated: true })
              : Effect.fail(IdempotencyKeyReused.of())
          }
          const dueAt = scheduledAt === null ? at : Math.max(at, Date.parse(scheduledAt))
          const send: StoredSend = {
            ...fields,
            onUnknown,
            scheduledAt,
            state: dueAt > at ? "scheduled" : "pending",
            expiresAt: iso(dueAt + Duration.toMillis(grace)),
            attempts: 0,
            claimedAt: null,
            waId: null,
            reason: null,
            detail: null,
            createdAt: iso(at),
            updatedAt: iso(at)
          }
          sends.set(send.id, {
            send,
            ordinal: ++ordinal,
            head: tables.head,
            key: idempotency?.key ?? null,
            digest: idempotency?.digest ?? null,
            dueAt,
            epoch: 0,
            message: null,
            untold: false,
            fetching: false
          })
          return Effect.as(PubSub.publish(signals, send.deviceId), { send, repeated: false })
        }),
      find: (id, visible) =>
        Effect.sync(() => {
          const row = findRow(id)
          return row !== undefined && isVisible(visible, row.send.deviceId) ? row.send : null
        }),
      cancel: (id, visible) =>
        Effect.sync(() => {
          const row = findRow(id)
          if (row === undefined || !isVisible(visible, row.send.deviceId)) return null
          if (!waits(row)) return { done: false, send: row.send }
          return { done: true, send: change(row, { state: "cancelled" }, { untold: true }).send }
        }),
      claim: (device, epoch, resting = []) =>
        Effect.sync(() => {
          if (tables.devices.get(device)?.epoch !== epoch) return null
          const mine = rows().filter(({ send }) => send.deviceId === device)
          const busy = new Set(resting)
          for (const chat of mine.flatMap(({ send }) => send.state === "sending" ? [send.chat] : [])) busy.add(chat)
          const [next] = mine
            .filter((row) =>
              row.send.state === "pending" && waits(row) && row.dueAt <= now() && !busy.has(row.send.chat)
            )
            .sort((one, other) => one.dueAt - other.dueAt || one.ordinal - other.ordinal)
          if (next === undefined) return null
          const limited = mine.some(({ send }) =>
            send.chat === next.send.chat && send.reason === "reach-out-limit" &&
            Date.parse(send.updatedAt) > now() - limitedMillis
          )
          const file = fileOf(next.send.body.content)
          const { send } = change(
            next,
            { state: "sending", attempts: next.send.attempts + 1, claimedAt: iso(now()) },
            { epoch, fetching: file !== null && "url" in file }
          )
          return { ...send, epoch, limited }
        }),
      begin: ({ deviceId, epoch, id }) =>
        Effect.sync(() => {
          const row = sends.get(id)
          if (row?.send.state !== "sending" || row.epoch !== epoch) return false
          if (tables.devices.get(deviceId)?.epoch !== epoch) return false
          change(row, { claimedAt: iso(now()) }, { fetching: false })
          return true
        }),
      pace: (device, millis) =>
        Effect.sync(() => {
          const row = tables.devices.get(device)
          if (row === undefined) return null
          const mine = rows().flatMap(({ send }) => send.deviceId === device ? [send] : [])
          const counted = mine.filter(({ reason, state }) =>
            (state === "sending" || state === "sent" || state === "failed" || state === "unknown") &&
            (reason === null || !unasked.includes(reason))
          )
          return {
            now: now(),
            createdAt: Date.parse(row.device.createdAt),
            waiting: mine.filter(({ state }) => state === "pending").length,
            sent: counted
              .flatMap(({ chat, claimedAt }) => claimedAt === null ? [] : [{ at: Date.parse(claimedAt), chat }])
              .filter(({ at }) => at > now() - millis)
              .sort((one, other) => one.at - other.at)
          }
        }),
      release: ({ epoch, id }, why) =>
        Effect.sync(() => {
          const row = sends.get(id)
          if (row?.send.state === "sending" && row.epoch === epoch) change(row, { state: "pending", ...why })
        }),
      held: Effect.sync(() =>
        rows().flatMap(({ epoch, send }) =>
          send.state === "sending" && tables.devices.get(send.deviceId)?.epoch === epoch &&
            Date.parse(send.claimedAt ?? "") < now() - Duration.toMillis(heldAfter)
            ? [{ id: send.id, deviceId: send.deviceId, epoch }]
            : []
        )
      ),
      retry: (id) =>
        Effect.sync(() => {
          const row = sends.get(id)
          if (row?.send.state === "unknown") change(row, { state: "pending" })
        }),
      waiting: Effect.sync(() => [
        ...new Set(rows().flatMap(({ send }) => send.state === "pending" ? [send.deviceId] : []))
      ]),
      sweep: Effect.sync(() => {
        const due = new Set<DeviceId>()
        const untold: Array<StoredSend> = []
        const active = rows().some(({ send }) => send.state === "unknown" || !final.has(send.state))
        for (const row of rows()) {
          const { send } = row
          if (row.untold && Date.parse(send.updatedAt) < now() - toldAfterMillis) untold.push(send)
          if (send.state === "scheduled" && waits(row) && row.dueAt <= now()) {
            change(row, { state: "pending" })
            due.add(send.deviceId)
          } else if ((send.state === "pending" || send.state === "scheduled") && !waits(row)) {
            const detail = send.detail ?? "it was not sent in its time"
            untold.push(change(row, { state: "expired", reason: "expired", detail }, { untold: true }).send)
          } else if (send.state === "sending" && tables.devices.get(send.deviceId)?.epoch !== row.epoch) {
            if (row.fetching) {
              change(row, { state: "pending" }, { fetching: false })
              due.add(send.deviceId)
              continue
            }
            const detail = "the process that was sending it ended before the gateway's answer was recorded"
            untold.push(change(row, { state: "unknown", reason: "process-ended", detail }, { untold: true }).send)
          }
        }
        return { due: [...due], untold, active }
      }),
      doubtful: Effect.sync(() =>
        rows().flatMap(({ send }) =>
          send.state === "unknown" && Date.parse(send.claimedAt ?? send.updatedAt) > now() - doubtMillis
            ? [{ send, age: now() - Date.parse(send.claimedAt ?? send.updatedAt) }]
            : []
        ).sort((one, other) => other.age - one.age).slice(-doubtfulMax)
      ),
      filesInUse: Effect.sync(() => {
        const used = new Map<DeviceId, Set<string>>()
        for (const { send } of rows()) {
          const file = fileOf(send.body.content)
          if (file === null || !("id" in file) || !mayBeSent(send)) continue
          used.set(send.deviceId, (used.get(send.deviceId) ?? new Set()).add(file.id))
        }
        return used
      }),
      repeated: (device, { digest, key }) =>
        Effect.suspend(() => {
          const known = findByKey(device, key)
          if (known === null) return Effect.succeed(null)
          return known.digest === digest
            ? Effect.succeed(asAccepted(known.send))
            : Effect.fail(IdempotencyKeyReused.of())
        }),
      linked: (device, waIds) =>
        Effect.sync(() =>
          new Set(waIds.filter((waId) => findByMessage(sends, deriveMessageKey(device, waId)) !== undefined))
        ),
      changes: Stream.unwrap(
        Effect.map(
          PubSub.subscribe(signals),
          (subscription) => Stream.concat(Stream.make(null), Stream.fromSubscription(subscription))
        )
      ),
      deleteOlderThan: (keep) =>
        Effect.sync(() => {
          const limit = now() - Duration.toMillis(keep)
          const old = rows().filter(({ send }) => final.has(send.state) && Date.parse(send.updatedAt) < limit)
          for (const { send } of old) sends.delete(send.id)
          return old.length
        })
    })
  })
)
