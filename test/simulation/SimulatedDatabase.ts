/**
 * The database of a simulated world: the memory stores behind a network and a server that fail. A statement may never
 * arrive, be done without an answer, be answered late, or be done after its client's timeout; the server may be down or
 * crash. Statements that were answered as done are kept.
 *
 * A process has its own clients (`databaseClients.ts`). A statement that was in flight when the process died may still be
 * done.
 */
import { Cause, Effect, Exit, Layer, PubSub, Scope } from "effect"
import type { Context } from "effect"
import { StorageUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { LoggedEvent } from "../../src/domain/Event.ts"
import type { Gap } from "../../src/domain/Gap.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { MemoryDatabase, MemoryTables } from "../../src/layers/memory/MemoryDatabase.ts"
import * as MemoryGapRepository from "../../src/layers/memory/MemoryGapRepository.ts"
import * as MemoryLogStore from "../../src/layers/memory/MemoryLogStore.ts"
import * as MemoryRepositories from "../../src/layers/memory/MemoryRepositories.ts"
import * as MemoryWebhookRefusals from "../../src/layers/memory/MemoryWebhookRefusals.ts"
import * as MemorySendRepository from "../../src/layers/memory/MemorySendRepository.ts"
import * as MemorySubscriptionRepository from "../../src/layers/memory/MemorySubscriptionRepository.ts"
import type { LogStore } from "../../src/log/LogStore.ts"
import type { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import type { GapRepository } from "../../src/services/GapRepository.ts"
import type { SendRepository } from "../../src/services/SendRepository.ts"
import type { SubscriptionRepository } from "../../src/services/SubscriptionRepository.ts"
import type { WebhookRefusals } from "../../src/services/WebhookRefusals.ts"
import type { Seeded } from "../../src/simulator/Seeded.ts"
import { WriteWatch } from "./WriteWatch.ts"
import type { Trace } from "./Trace.ts"
import type { Machine, VirtualTime } from "./VirtualTime.ts"

export interface DatabaseFaults {
  /** Probability per statement of a fault. */
  readonly failure: number
  /** The maximum time of a statement on its way, one way. */
  readonly latencyMax: number
  /** Other processes may write too, as far as the log knows: it asks for the head each second. */
  readonly shared: boolean
}

export type Stores =
  | LogStore
  | DeviceRepository
  | GapRepository
  | WebhookRefusals
  | SubscriptionRepository
  | SendRepository

/** The signals that a process receives without asking. */
export interface DatabaseListener {
  readonly onCommit: (head: number) => void
  readonly onDevices: (device: DeviceId | null) => void
  readonly onRefusals: () => void
  readonly onSubscriptions: () => void
}

/** A client waits this long for an answer: `silenceMax` and `answerMax` of the real one. */
const silence = { least: 10_000, most: 15_000 }

/** The maximum time after its client's timeout in which a statement may still be done, because the network delayed it. */
const afterwardsMax = 3000

const shakyFailure = 0.3

/** By then processes have noticed that an older copy has replaced the database. */
const learnedWithin = 10 * 60_000

/** The tables as they were at one moment of the world. */
export interface Snapshot {
  readonly at: number
  readonly tables: MemoryTables
  readonly history: ReadonlyArray<LoggedEvent>
}

export const undoneKey = (seq: number, id: string): string => `${seq} ${id}`

interface Statement {
  /** The connection is lost: no more answers come, and statements that have not arrived are not done. */
  readonly cut: () => void
}

export class SimulatedDatabase {
  readonly tables = new MemoryTables()
  faults: DatabaseFaults
  /** Until when the server is away. */
  downUntil = 0
  /** Until when it is reachable and gives no answer. */
  stalledUntil = 0
  readonly #time: VirtualTime
  readonly #random: Seeded
  readonly #trace: Trace
  readonly #stores: Context.Context<Stores>
  readonly #inFlight = new Set<Statement>()
  readonly #listeners = new Map<Machine, DatabaseListener>()
  /** All events that the log ever had, including those deleted by retention, without those undone by a restored copy. */
  readonly history: Array<LoggedEvent> = []
  #headBefore = 0
  /** Events that a restored copy has undone, by `undoneKey`: a process may write the same event again, under another number. */
  readonly undone = new Set<string>()
  /** Gaps that retention has deleted. */
  readonly pastGaps = new Map<string, Gap>()
  /** Events and gaps that retention has deleted and should not have. */
  readonly forgotten: Array<string> = []
  /**
   * Messages that a reading of a history brought and retention has deleted before that reading was over, by device and id:
   * their evidence is gone with them.
   */
  readonly unjudged = new Set<string>()
  readonly watch = new WriteWatch(this.tables, (device, waId) => this.#messages.has(`${device} ${waId}`))
  /** Messages that the log has had, by device and id. */
  readonly #messages = new Set<string>()
  /** Until when statements fail more often: what often ends a process affects the database too. */
  shakyUntil = 0
  /** How often another server has taken over: statements in flight to the previous one are not done. */
  #server = 1

  constructor(time: VirtualTime, random: Seeded, trace: Trace, faults: DatabaseFaults) {
    this.#time = time
    this.#random = random
    this.#trace = trace
    this.faults = faults
    const database = Layer.effect(
      MemoryDatabase,
      Effect.map(PubSub.sliding<null>(1), (changes) => ({ tables: this.tables, now: () => time.wall, changes }))
    )
    const stores = Layer.mergeAll(
      MemoryLogStore.layer,
      MemoryRepositories.layerDevices,
      MemoryGapRepository.layer,
      MemoryWebhookRefusals.layer,
      MemorySubscriptionRepository.layer,
      MemorySendRepository.layer
    ).pipe(Layer.provide(database))
    this.#stores = Effect.runSync(Layer.buildWithScope(Layer.fresh(stores), Scope.makeUnsafe()))
  }

  /** The stores themselves, for the world: its queries are answered at once. */
  get direct(): Context.Context<Stores> {
    return this.#stores
  }

  /** All connections are lost, and none can be made for a time. */
  crash(downFor: number): void {
    this.downUntil = Math.max(this.downUntil, this.#time.now + downFor)
    for (const statement of [...this.#inFlight]) statement.cut()
  }

  /** Rows are never changed in place, so the maps are all that must be copied. */
  snapshot(): Snapshot {
    const tables = new MemoryTables()
    copyTables(this.tables, tables)
    return { at: this.#time.now, tables, history: [...this.history] }
  }

  /** An older copy replaces the database. */
  restore({ tables }: Snapshot): void {
    copyTables(tables, this.tables)
  }

  /** Its server is lost, and after a time another one takes over with an older copy. */
  fallBack(snapshot: Snapshot, downFor: number): void {
    this.crash(downFor)
    this.#server++
    this.watch.fellBack(this.#time.wall + downFor + learnedWithin)
    this.restore(snapshot)
    const { head } = this.tables
    this.#headBefore = head
    for (const { id, seq } of this.history) this.undone.add(undoneKey(seq, id))
    this.history.splice(0, Number.POSITIVE_INFINITY, ...snapshot.history)
    this.#messages.clear()
    this.#noteMessages(this.history)
    for (const { id, seq } of this.history) this.undone.delete(undoneKey(seq, id))
    this.#trace.add(`an older copy of the database takes over: its log ends with ${head}`)
  }

  /** The signals of commits and changes that a process receives from now on. */
  listen(machine: Machine, listener: DatabaseListener): void {
    this.#listeners.set(machine, listener)
  }

  /** A process is gone, and its connections with it. */
  forgetMachine(machine: Machine): void {
    this.#listeners.delete(machine)
  }

  /** Something has changed, which processes are notified of. */
  tell(signal: (listener: DatabaseListener) => void): void {
    for (const [machine, listener] of this.#listeners) machine.postAfter(this.#delay(), () => signal(listener))
  }

  /** Written by a process: new events join the history of the log. */
  written(): void {
    const { events, head, oldest } = this.tables
    // Numbers have no holes, so the index of an event follows from its number.
    const fresh = events.slice(Math.max(0, this.#headBefore + 1 - oldest))
    this.#headBefore = head
    if (fresh.length > 0) this.history.splice(fresh[0]!.seq - 1, Number.POSITIVE_INFINITY, ...fresh)
    for (const { id, seq } of fresh) this.undone.delete(undoneKey(seq, id))
    this.#noteMessages(fresh)
    this.tell(({ onCommit }) => onCommit(head))
  }

  #noteMessages(events: ReadonlyArray<LoggedEvent>): void {
    for (const { data, deviceId, kind } of events) {
      if (kind !== "message.received" && kind !== "message.sent") continue
      this.#messages.add(`${deviceId} ${(JSON.parse(data) as { readonly waId: string }).waId}`)
    }
  }

  /** Checks a deletion by retention: no event that is young, that a reader has yet to confirm, or that a subscription holds. */
  deleted(keepMillis: number, before: number): void {
    const { cursors, oldest, subscriptions, watermarks } = this.tables
    const rows = [...cursors]
    for (const { data, deviceId, kind, recordedAt, seq, via } of this.history.slice(before - 1, oldest - 1)) {
      if (via === "backfill" && kind === "message.received" && (watermarks.get(deviceId)?.through ?? "") < recordedAt) {
        this.unjudged.add(`${deviceId} ${(JSON.parse(data) as { readonly waId: string }).waId}`)
      }
      const age = this.#time.wall - Date.parse(recordedAt)
      const waiting = rows.filter(([, row]) => row.seq < seq && (row.keep === null || age < row.keep))
      const holding = [...subscriptions.values()].filter(({ subscription: { health } }) =>
        health.held.some((one) => one.deviceId === deviceId && one.seq <= seq)
      )
      const readers = [...waiting.map(([sink]) => sink), ...holding.map(({ subscription: { id } }) => id)]
      const held = readers.map((reader) => ` before ${reader} had it`).join()
      if (age < keepMillis || held !== "") this.forgotten.push(`${seq} after ${Math.round(age / 1000)} s${held}`)
    }
  }

  /** Retention has deleted gaps: only those that were accounted for long ago. */
  gapsDeleted(keepMillis: number, before: ReadonlyMap<string, Gap>): void {
    for (const [id, gap] of before) {
      if (this.tables.gaps.has(id)) continue
      this.pastGaps.set(id, gap)
      const age = gap.closedAt === null ? 0 : this.#time.wall - Date.parse(gap.closedAt)
      if (age < keepMillis) this.forgotten.push(`gap ${id} after ${Math.round(age / 1000)} s`)
    }
  }

  #delay(): number {
    return 0.1 + this.#random.next() ** 4 * this.faults.latencyMax
  }

  /** `lateToo`: it may be done although its client has timed out. */
  ask<A, E>(
    machine: Machine,
    name: string,
    statement: Effect.Effect<A, E>,
    lateToo = false
  ): Effect.Effect<A, E | StorageUnavailable> {
    return Effect.callback<A, E | StorageUnavailable>((resume) => {
      // Statements of a dead process reach nobody.
      if (!machine.alive) return
      const answer = (exit: Exit.Exit<A, E | StorageUnavailable>) => machine.post(() => resume(exit))
      const fail = () => answer(Exit.fail(StorageUnavailable.of(name)))
      const timers: Array<() => void> = []
      let done = false
      const server = this.#server
      const handle: Statement = {
        cut: () => {
          this.#inFlight.delete(handle)
          for (const cancel of timers) cancel()
          timers.push(this.#time.after(this.#delay(), fail))
        }
      }
      this.#inFlight.add(handle)
      const at = (millis: number, run: () => void) => timers.push(this.#time.after(millis, run))
      const perform = (): Exit.Exit<A, E> => {
        done = true
        const exit = Effect.runSyncExit(statement)
        if (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) throw Cause.squash(exit.cause)
        return exit
      }
      const performAndAnswer = () => {
        const exit = perform()
        at(this.#delay(), () => {
          this.#inFlight.delete(handle)
          answer(exit)
        })
      }
      const giveUp = (after: number) =>
        at(after, () => {
          this.#inFlight.delete(handle)
          fail()
        })
      const patience = silence.least + this.#random.next() * (silence.most - silence.least)
      const { now } = this.#time
      if (now < this.downUntil) {
        giveUp(this.#random.chance(0.8) ? this.#delay() : patience)
      } else if (now < this.stalledUntil) {
        const wait = this.stalledUntil - now
        if (wait < patience) at(wait + this.#delay(), performAndAnswer)
        else giveUp(patience)
      } else if (this.#random.chance(now < this.shakyUntil ? shakyFailure : this.faults.failure)) {
        const fault = this.#random.pick(lateToo ? faultsOfWrites : faultsOfReads)
        this.#trace.add(`database: ${name}: ${fault}`)
        switch (fault) {
          case "refused":
            giveUp(this.#delay())
            break
          case "silent":
            giveUp(patience)
            break
          case "slow":
            at(this.#random.next() * 4000, () => {
              const exit = perform()
              at(this.#random.next() * 4000, () => {
                this.#inFlight.delete(handle)
                answer(exit)
              })
            })
            break
          case "answer lost":
            at(this.#delay(), () => {
              perform()
              giveUp(this.#random.chance(0.5) ? this.#delay() : patience)
            })
            break
          case "done late":
            // Not cut with the connection: it is beyond the client.
            this.#time.after(patience + this.#random.next() * afterwardsMax, () => {
              if (this.#server === server) perform()
            })
            giveUp(patience)
        }
      } else {
        at(this.#delay(), performAndAnswer)
      }
      return Effect.sync(() => {
        // Interrupted: the statement continues at the server unless it never left.
        if (!done && this.#random.chance(0.5)) { for (const cancel of timers) cancel() }
      })
    })
  }
}

const copyTables = (from: MemoryTables, to: MemoryTables): void => {
  to.events = [...from.events]
  Object.assign(to, {
    head: from.head,
    oldest: from.oldest,
    recordedAt: from.recordedAt,
    lastOrdinal: from.lastOrdinal,
    logId: from.logId,
    deletedAt: from.deletedAt
  })
  copyMap(from.places, to.places)
  copyMap(from.seqById, to.seqById)
  copyMap(from.identities, to.identities)
  copyMap(from.statuses, to.statuses)
  copyMap(from.aliases, to.aliases)
  copyMap(from.erasedAliases, to.erasedAliases)
  copyMap(from.cursors, to.cursors)
  copyMap(from.devices, to.devices)
  copyMap(from.gaps, to.gaps)
  copyMap(from.watermarks, to.watermarks)
  copyMap(from.heartbeats, to.heartbeats)
  copyMap(from.sends, to.sends)
  copyMap(from.subscriptions, to.subscriptions)
}

const copyMap = <Key, Value>(from: ReadonlyMap<Key, Value>, to: Map<Key, Value>): void => {
  to.clear()
  for (const [key, value] of from) to.set(key, value)
}

const faultsOfReads = ["refused", "silent", "slow", "answer lost"] as const
const faultsOfWrites = [...faultsOfReads, "answer lost", "answer lost", "done late"] as const
