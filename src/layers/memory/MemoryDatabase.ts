/**
 * The tables as plain maps, shared by the memory layers of the log and of both repositories. Follows the rules of the
 * SQL schema one by one, so that a test in memory proves the same as one on disk.
 */
import { randomUUID } from "node:crypto"
import { Clock, Context, Duration, Effect, Layer, PubSub } from "effect"
import type { Device } from "../../domain/Device.ts"
import type { LoggedEvent } from "../../domain/Event.ts"
import type { Gap } from "../../domain/Gap.ts"
import type { DeviceId, EventId } from "../../domain/Ids.ts"
import { canonical, isLid } from "../../domain/Jid.ts"
import type { AckStatus } from "../../domain/Message.ts"
import type { SubscriptionId } from "../../domain/Subscription.ts"
import { FloorAboveHead } from "../../log/LogStore.ts"
import type { CursorMove, PreparedDraft, PreparedGroup, WriteBatch, WriteResult, Written } from "../../log/LogStore.ts"
import { renameMessage } from "../../log/PreparedDraft.ts"
import { deriveKey } from "../../services/EventIdentity.ts"
import type { Deletion } from "../../services/EventLog.ts"
import type { StoredSubscription } from "../../services/SubscriptionRepository.ts"
import { applyEffect } from "./memoryEffects.ts"
import type { Times } from "./memoryEffects.ts"
import { eraseSchedules } from "./memorySchedules.ts"
import type { MemoryScheduleKeys, MemorySchedules } from "./memorySchedules.ts"
import { eraseSends, nameAck } from "./memorySends.ts"
import type { MemorySend } from "./memorySends.ts"

interface DeathRow {
  readonly owner: string
  /** When another process claimed the device. */
  readonly claimedAt: string
  /** As `DeviceClaim.triedWith`. */
  readonly trial: number | null
}

export interface DeviceRow {
  /** 1, 2, 3 … in order of creation. */
  readonly ordinal: number
  readonly device: Device
  readonly epoch: number
  /** As `HandOver.claim`. */
  readonly claim: string
  readonly owner: string | null
  /** Set by the last claim, until the new owner has recorded a state. */
  readonly aliveUntil: string | null
  /** The consecutive processes that died while running it. */
  readonly deaths: ReadonlyArray<DeathRow>
  /** As `HandOver.confirmed`. */
  readonly handedOverTo: number | null
  readonly reconnectRequests: number
  readonly releaseRequests: number
}

/** `message` is a message's key, `chat` the chat that the event belongs to. */
interface PlaceRow {
  readonly message: string | null
  readonly chat: string | null
}

interface IdentityRow {
  readonly content: string | null
  readonly seq: number
}

interface StatusRow {
  readonly status: AckStatus
  readonly updatedAt: string
}

interface WatermarkRow {
  readonly through: string
  readonly sweptAt: string | null
}

interface CursorRow {
  readonly epoch: number
  readonly seq: number
  /** Maximum time in milliseconds that an event waits; null: without limit. */
  readonly keep: number | null
}

export type MemorySubscription = Omit<StoredSubscription, "confirmed"> & { readonly paused: boolean }

/** Follows `columba_redact`. */
const redact = (data: string, account: ReadonlyArray<string | null>): string => {
  const field = /"(jid|phone)":"([^"\\]+)"/g
  const texts = [...account, ...Array.from(data.matchAll(field), (match) => match[2]!)]
  const numbers = new Set(texts.flatMap((one) => /\d{7,}/.exec(one ?? "")?.[0] ?? []))
  const plain = data.replace(field, "\"$1\":null")
  let redacted = plain
  for (const number of numbers) redacted = redacted.replace(new RegExp(`(?<!\\d)${number}(?!\\d)`, "g"), "erased")
  try {
    JSON.parse(redacted)
    return redacted
  } catch {
    return plain
  }
}

/** See `ErasedData`. */
const erasedData = `{"erased":true}`

/** Events, kept from number `oldest`; the index of `seq` is `seq - oldest`. */
export class MemoryTables {
  events: Array<LoggedEvent> = []
  readonly places = new Map<number, PlaceRow>()
  oldest = 1
  head = 0
  readonly logId = randomUUID()
  recordedAt = 0
  /** When old events were deleted last. */
  deletedAt: number | null = null
  readonly seqById = new Map<string, number>()
  readonly identities = new Map<string, IdentityRow>()
  readonly statuses = new Map<string, StatusRow>()
  readonly aliases = new Map<string, string>()
  /** Aliases that an erasure has left, with its time. */
  readonly erasedAliases = new Map<string, number>()
  readonly cursors = new Map<string, CursorRow>()
  readonly devices = new Map<string, DeviceRow>()
  readonly gaps = new Map<string, Gap>()
  readonly watermarks = new Map<string, WatermarkRow>()
  /** The devices that each process has on trial, and how many it has on trial in all. */
  readonly trials = new Map<string, Map<DeviceId, number>>()
  /** The last time at which each process that ran devices was alive. */
  readonly heartbeats = new Map<string, string>()
  /** The `ordinal` of the device that was created last. */
  lastOrdinal = 0
  readonly sends = new Map<string, MemorySend>()
  readonly schedules: MemorySchedules = new Map()
  readonly subscriptions = new Map<SubscriptionId, MemorySubscription>()
  readonly scheduleKeys: MemoryScheduleKeys = new Map()

  write({ anchor, floor, groups, moves }: WriteBatch, now: number): WriteResult | FloorAboveHead {
    const bounds = { oldest: this.oldest, logId: this.logId }
    const before = this.head
    const anchorId = this.findId(anchor)
    if (before < floor) return FloorAboveHead.of({ ...bounds, head: before })
    this.recordedAt = Math.max(this.recordedAt, now)
    const recordedAt = new Date(this.recordedAt).toISOString()
    for (const draft of groups.flatMap((group) => group.drafts)) {
      for (const { jid, lid } of draft.aliases) {
        for (const [spelling, other] of [[lid, jid], [jid, lid]] as const) {
          this.aliases.set(`${draft.deviceId} ${spelling}`, other)
          this.erasedAliases.delete(`${draft.deviceId} ${spelling}`)
        }
      }
    }
    const refused: Array<number> = []
    const named = new Map<number, string>()
    let drafts = 0
    const written = groups.flatMap((group, index) => {
      const first = drafts
      drafts += group.drafts.length
      if (this.#admits(group, floor)) {
        group.drafts.forEach((draft, at) => {
          const name = nameAck(this.sends, draft)
          if (name !== null) named.set(first + at, name)
        })
        return this.#writeGroup(group, floor, { recordedAt, now })
      }
      refused.push(index)
      return group.drafts.map(() => ({ _tag: "Fenced" as const }))
    })
    const lost = moves.flatMap((move, index) => this.#move(move, before) ? [] : [index])
    return { ...bounds, written, head: this.head, anchorId, recordedAt, lost, refused, named }
  }

  #isRepeated({ drafts }: PreparedGroup, floor: number): boolean {
    return drafts.some((draft) => this.#findRepeated(draft, floor) !== null)
  }

  /** A group that was committed before is not refused, whatever the current fence. */
  #admits(group: PreparedGroup, floor: number): boolean {
    const { fence } = group
    return fence === null || this.devices.get(fence.deviceId)?.epoch === fence.epoch || this.#isRepeated(group, floor)
  }

  #writeGroup(group: PreparedGroup, floor: number, times: Times): ReadonlyArray<Written> {
    const repeated = this.#isRepeated(group, floor)
    const written = group.drafts.map((draft) => this.#writeOne(draft, floor, times))
    if (!repeated) { for (const effect of group.effects) applyEffect(this, effect, times) }
    return written
  }

  #findRepeated(draft: PreparedDraft, floor: number): number | null {
    const seq = this.seqById.get(draft.id)
    return seq !== undefined && seq > floor ? seq : null
  }

  #writeOne(draft: PreparedDraft, floor: number, times: Times): Written {
    const same = this.#findRepeated(draft, floor)
    if (same !== null) return { _tag: "Committed", seq: same, fresh: false }
    const spellings = this.#spellings(draft)
    const known = spellings.find((key) => this.identities.has(key))
    if (known !== undefined) {
      const { content, seq } = this.identities.get(known)!
      // The digest goes with its event.
      return seq >= this.oldest && content !== null && draft.content !== null && content !== draft.content
        ? { _tag: "Conflict" }
        : { _tag: "Duplicate" }
    }
    const seq = ++this.head
    for (const key of spellings) this.identities.set(key, { content: draft.content, seq })
    this.seqById.set(draft.id, seq)
    const { chat, dataBytes, deviceId, id, kind, message, occurredAt, via } = draft
    const { recordedAt } = times
    const name = nameAck(this.sends, draft)
    const data = name === null ? draft.data : renameMessage(draft.data, name)
    this.events.push({ seq, id, kind, deviceId, occurredAt, recordedAt, via, data, bytes: dataBytes })
    if (message !== null || chat !== null) this.places.set(seq, { message, chat })
    for (const effect of draft.effects) applyEffect(this, effect, times)
    return { _tag: "Committed", seq, fresh: true }
  }

  /** Every key that may identify this event. */
  #spellings(draft: PreparedDraft): ReadonlyArray<string> {
    if (draft.key === null) return []
    if (draft.keyParts === null) return [draft.key]
    const { base, chat, sender } = draft.keyParts
    const both = (address: string): ReadonlyArray<string> => {
      const other = this.aliases.get(`${draft.deviceId} ${address}`)
      if (other === undefined) return [address]
      return isLid(address) ? [other, address] : [address, other]
    }
    return both(chat).flatMap((inChat) => both(sender).map((from) => deriveKey({ base, chat: inChat, sender: from })))
  }

  deleteOlderThan(keep: Duration.Duration, stepMax: Duration.Duration, now: number): Deletion {
    const elapsed = this.deletedAt === null ? 0 : now - this.deletedAt
    if (elapsed > Duration.toMillis(stepMax)) return { _tag: "Refused", elapsed: Duration.millis(elapsed) }
    this.deletedAt = now
    const rows = [...this.cursors.values()]
    const upto = Math.min(this.head - 1, ...rows.flatMap((row) => row.keep === null ? [row.seq] : []))
    const limited = rows.flatMap(({ keep, seq }) => keep === null ? [] : [{ keep, seq }])
    const held = Array.from(this.subscriptions.values(), ({ subscription }) => subscription.health.held).flat()
    const waited = Math.min(this.head, ...limited.map(({ seq }) => seq), ...held.map(({ seq }) => seq - 1))
    const before = (keepMillis: number) => new Date(now - keepMillis).toISOString()
    const limit = before(Duration.toMillis(keep))
    const waitedLimit = before(Math.max(Duration.toMillis(keep), ...limited.map(({ keep }) => keep)))
    let count = 0
    for (const event of this.events) {
      if (event.seq > upto || event.recordedAt > (event.seq > waited ? waitedLimit : limit)) break
      count++
      this.seqById.delete(event.id)
      this.places.delete(event.seq)
    }
    this.events = this.events.slice(count)
    this.oldest += count
    for (const [key, since] of this.erasedAliases) {
      const [device, spelling] = key.split(" ")
      const chats = new Set([spelling, this.aliases.get(key)])
      const isUsed = this.events.some(({ deviceId, seq }) => {
        const place = this.places.get(seq)
        return deviceId === device && place !== undefined && place.message !== null && chats.has(place.chat ?? "")
      })
      if (since > now - Duration.toMillis(keep) || isUsed) continue
      this.aliases.delete(key)
      this.erasedAliases.delete(key)
    }
    return { _tag: "Deleted", count }
  }

  erase(device: DeviceId, chat: string | null, now: number): number {
    const spelled = chat === null ? [] : [chat, canonical(chat)]
    const spellings = [...spelled, ...spelled.flatMap((one) => this.aliases.get(`${device} ${one}`) ?? [])]
    const erased = new Set<number>()
    const row = this.devices.get(device)
    const account = row === undefined ? [] : [row.device.jid, row.device.phone]
    let isNamed = false
    this.events = this.events.map((event) => {
      const place = this.places.get(event.seq) ?? { message: null, chat: null }
      const named = place.chat === null
        ? /^(gateway\.|frame\.rejected$)/.test(event.kind) && (
          chat === null || spellings.some((one) => event.data.includes(one))
        )
        : chat === null || spellings.includes(place.chat)
      if (event.deviceId !== device) return event
      if (!named) {
        isNamed ||= spellings.some((one) => event.data.includes(one))
        if (chat !== null || !event.kind.startsWith("device.")) return event
        const data = redact(event.data, account)
        return { ...event, data, bytes: Buffer.byteLength(data) }
      }
      if (place.message !== null) this.statuses.delete(place.message)
      this.places.delete(event.seq)
      erased.add(event.seq)
      return { ...event, kind: "event.erased", data: erasedData, bytes: erasedData.length }
    })
    for (const [key, row] of this.identities) {
      if (erased.has(row.seq)) this.identities.set(key, { ...row, content: null })
    }
    eraseSends(this.sends, device, chat === null ? null : spellings)
    eraseSchedules(this.schedules, device, chat === null ? null : spellings, now)
    if (chat === null && row !== undefined) {
      const state = JSON.parse(redact(JSON.stringify(row.device.state), account)) as Device["state"]
      this.devices.set(device, { ...row, device: { ...row.device, jid: null, phone: null, state } })
    }
    if (!isNamed) {
      for (const [key, other] of this.aliases) {
        const [of, spelling] = key.split(" ")
        if (of !== device || this.erasedAliases.has(key)) continue
        if (chat === null || [spelling, other].some((one) => spelled.includes(one!))) this.erasedAliases.set(key, now)
      }
    }
    return erased.size
  }

  /** The id of the event with this number, where it is kept. */
  findId(seq: number): EventId | null {
    return this.events[seq - this.oldest]?.id ?? null
  }

  #move(move: CursorMove, head: number): boolean {
    const row = this.cursors.get(move.sink)
    if (row === undefined || row.epoch !== move.epoch || move.seq > head) return false
    const id = this.findId(move.seq)
    if (move.id !== null && id !== null && id !== move.id) return false
    this.cursors.set(move.sink, { ...row, seq: Math.max(row.seq, move.seq) })
    return true
  }
}

export class MemoryDatabase extends Context.Service<MemoryDatabase, {
  readonly tables: MemoryTables
  readonly now: () => number
  /** Null: the desired state of any device may have changed. */
  readonly changes: PubSub.PubSub<null>
}>()("columba/layers/memory/MemoryDatabase") {}

/** One pending change is enough: it means that any device may have changed. */
const changesMax = 1

export const layer: Layer.Layer<MemoryDatabase> = Layer.effect(
  MemoryDatabase,
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    return MemoryDatabase.of({
      tables: new MemoryTables(),
      now: () => clock.currentTimeMillisUnsafe(),
      changes: yield* PubSub.sliding<null>(changesMax)
    })
  })
)
