/**
 * The tables as plain maps: what the memory layers of the log and of both repositories share. Follows the rules of the
 * SQL schema one by one, so that a test in memory proves the same as one on disk.
 */
import { randomUUID } from "node:crypto"
import { Clock, Context, Effect, Layer, PubSub } from "effect"
import type { Device } from "../../domain/Device.ts"
import type { LoggedEvent } from "../../domain/Event.ts"
import type { EventId } from "../../domain/Ids.ts"
import { isLid } from "../../domain/Jid.ts"
import { advance } from "../../domain/Message.ts"
import type { Message, MessageStatus } from "../../domain/Message.ts"
import { deriveKey } from "../../log/EventKey.ts"
import type { CursorMove, Projection, PreparedDraft, WriteResult, Written } from "../../log/LogStore.ts"

export interface DeviceRow {
  /** 1, 2, 3 … in order of creation. */
  readonly ordinal: number
  readonly device: Device
  readonly epoch: number
  readonly owner: string | null
  readonly reconnectRequests: number
  readonly releaseRequests: number
}

export interface MessageRow {
  readonly seq: number
  readonly message: Message
}

export interface CursorRow {
  readonly epoch: number
  readonly seq: number
}

/** Events, kept from `oldest` on; the index of `seq` is `seq - oldest`. */
export class MemoryTables {
  events: Array<LoggedEvent> = []
  oldest = 1
  head = 0
  readonly logId = randomUUID()
  recordedAt = 0
  readonly seqById = new Map<string, number>()
  readonly keys = new Map<string, string | null>()
  readonly messages = new Map<string, MessageRow>()
  readonly acks = new Map<string, Array<MessageStatus>>()
  readonly aliases = new Map<string, string>()
  readonly cursors = new Map<string, CursorRow>()
  readonly devices = new Map<string, DeviceRow>()
  /** The `ordinal` of the device that was created last. */
  lastOrdinal = 0

  write(drafts: ReadonlyArray<PreparedDraft>, moves: ReadonlyArray<CursorMove>, now: number): WriteResult {
    this.recordedAt = Math.max(this.recordedAt, now)
    const recordedAt = new Date(this.recordedAt).toISOString()
    for (const draft of drafts) {
      for (const { jid, lid } of draft.aliases) {
        this.aliases.set(`${draft.deviceId} ${lid}`, jid)
        this.aliases.set(`${draft.deviceId} ${jid}`, lid)
      }
    }
    const before = this.head
    const written = drafts.map((draft) => this.#writeOne(draft, recordedAt))
    const lost = moves.flatMap((move, index) => this.#move(move, before) ? [] : [index])
    return { written, head: this.head, oldest: this.oldest, logId: this.logId, recordedAt, lost }
  }

  #writeOne(draft: PreparedDraft, recordedAt: string): Written {
    const same = this.seqById.get(draft.id)
    if (same !== undefined) return { _tag: "Committed", seq: same, fresh: false }
    if (draft.fence !== null && this.devices.get(draft.fence.deviceId)?.epoch !== draft.fence.epoch) {
      return { _tag: "Fenced" }
    }
    const spellings = this.#spellings(draft)
    const known = spellings.find((key) => this.keys.has(key))
    if (known !== undefined) {
      const content = this.keys.get(known)!
      return content !== null && draft.content !== null && content !== draft.content
        ? { _tag: "Conflict" }
        : { _tag: "Duplicate" }
    }
    const seq = ++this.head
    for (const key of spellings) this.keys.set(key, draft.content)
    this.seqById.set(draft.id, seq)
    const { data, dataBytes, deviceId, id, kind, occurredAt, via } = draft
    this.events.push({ seq, id, kind, deviceId, occurredAt, recordedAt, via, data, bytes: dataBytes })
    if (draft.projection !== null) this.#apply(draft.projection, draft, seq, recordedAt)
    return { _tag: "Committed", seq, fresh: true }
  }

  /** Every key by which this event may be known. */
  #spellings(draft: PreparedDraft): ReadonlyArray<string> {
    if (draft.key === null) return []
    if (draft.keyParts === null) return [draft.key]
    const { base, chat, sender } = draft.keyParts
    const both = (address: string): ReadonlyArray<string> => {
      const other = this.aliases.get(`${draft.deviceId} ${address}`)
      if (other === undefined) return [address]
      return isLid(address) ? [other, address] : [address, other]
    }
    return both(chat).flatMap((inChat) => both(sender).map((from) => deriveKey(base, inChat, from)))
  }

  #apply(effects: Projection, draft: PreparedDraft, seq: number, recordedAt: string): void {
    switch (effects._tag) {
      case "Message": {
        if (this.messages.has(effects.id)) return
        const { _tag, ...fields } = effects
        const acks = effects.direction === "out" ? this.acks.get(effects.id) ?? [] : []
        const first: MessageStatus = effects.direction === "out" ? "sent" : "delivered"
        this.messages.set(effects.id, {
          seq,
          message: {
            ...fields,
            deviceId: draft.deviceId,
            status: acks.reduce(advance, first),
            occurredAt: draft.occurredAt,
            createdAt: recordedAt,
            updatedAt: recordedAt
          }
        })
        return
      }
      case "Ack": {
        const acks = this.acks.get(effects.messageId) ?? []
        acks.push(effects.status)
        this.acks.set(effects.messageId, acks)
        const row = this.messages.get(effects.messageId)
        if (row === undefined) return
        const status = advance(row.message.status, effects.status)
        if (status === row.message.status) return
        this.messages.set(effects.messageId, { ...row, message: { ...row.message, status, updatedAt: recordedAt } })
        return
      }
      case "State": {
        const row = this.devices.get(draft.deviceId)
        if (row === undefined) return
        // Who is logged out has no account any more; every other state keeps what is known of it.
        const gone = effects.tag === "LoggedOut"
        const device: Device = {
          ...row.device,
          state: JSON.parse(effects.state) as Device["state"],
          jid: gone ? null : effects.jid ?? row.device.jid,
          phone: gone ? null : effects.phone ?? row.device.phone,
          updatedAt: recordedAt
        }
        this.devices.set(draft.deviceId, { ...row, device })
      }
    }
  }

  /** The event of a number, where it is kept. */
  findId(seq: number): EventId | null {
    return this.events[seq - this.oldest]?.id ?? null
  }

  #move(move: CursorMove, head: number): boolean {
    const row = this.cursors.get(move.sink)
    if (row === undefined || row.epoch !== move.epoch || move.seq > head) return false
    const id = this.findId(move.seq)
    if (move.id !== null && id !== null && id !== move.id) return false
    this.cursors.set(move.sink, { epoch: row.epoch, seq: Math.max(row.seq, move.seq) })
    return true
  }
}

export class MemoryDatabase extends Context.Service<MemoryDatabase, {
  readonly tables: MemoryTables
  readonly now: () => number
  /** Null: the desired state of any device may have changed. */
  readonly changes: PubSub.PubSub<null>
}>()("columba/layers/memory/MemoryDatabase") {}

/** One pending change is enough: it says that any device may have changed. */
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
